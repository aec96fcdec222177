"""May a model go into production? The questions that are asked before the alias moves, and their answers, which the card keeps.

They hold off what is plainly unfit; a model that passes is no clinically useful one for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsus.errors import ConfigError

_CHANCE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """min_development: images that the operating point and the network itself were chosen on, at least."""

    min_development: int = 20

    def __post_init__(self) -> None:
        if self.min_development < 2:
            raise ConfigError(f"at least two development images are needed, one of each class; got {self.min_development}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateCheck:
    """One question.  found: the answer in words, with what was wanted."""

    check: str
    passed: bool
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GateNote:
    """All questions and their answers."""

    checks: tuple[GateCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether the alias may move."""
        return all(check.passed for check in self.checks)

    @property
    def why_not(self) -> str:
        """What did not pass, in one line."""
        return "; ".join(f"{check.check}: {check.found}" for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        """As the card holds it."""
        checks = [{"check": check.check, "passed": check.passed, "found": check.found} for check in self.checks]
        return {"passed": self.passed, "checks": checks}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GateNote:
        """The inverse. Raises KeyError, TypeError where it is not what `to_json` writes."""
        return cls(checks=tuple(GateCheck(**check) for check in value["checks"]))


def ask_gate(figures: Mapping[str, Any], *, unfinished: str | None, config: GateConfig) -> GateNote:
    """Ask all questions but that of the self-test, without which no bundle is published.

    Args:
        figures: of the card: by split, with `n` and the AUC with its interval, over patients where several images are one's.
        unfinished: what the study lacks; None where it is complete.
    """
    images = int(figures.get("development", {}).get("n", 0))
    checks = [
        GateCheck(check="study complete", passed=unfinished is None, found=unfinished or "all cells are trained to their end"),
        GateCheck(
            check="development images",
            passed=images >= config.min_development,
            found=f"{images}, at least {config.min_development} wanted",
        ),
        *(_above_chance(split, figures[split]) for split in ("development", "external") if split in figures),
        GateCheck(check="self-test", passed=True, found="every engine gives the numbers of publishing, or nothing is published"),
    ]
    return GateNote(checks=tuple(checks))


def _above_chance(split: str, figures: Mapping[str, Any]) -> GateCheck:
    """Patients are what is independent: where they have several images each, the interval over patients counts."""
    over_patients = figures.get("n_patients") is not None and figures["n_patients"] < figures["n"]
    auc = figures["auc_clustered" if over_patients and figures.get("auc_clustered") else "auc"]
    check = f"{split} AUC above chance"
    if not auc.get("ci") or auc["ci"][0] is None:
        return GateCheck(
            check=check, passed=False, found=f"no interval could be estimated ({auc.get('note') or 'too few images'})"
        )
    low, high = auc["ci"]
    found = f"{auc['value']:.3f} ({low:.3f}-{high:.3f}), a lower bound above {_CHANCE} wanted"
    return GateCheck(check=check, passed=low > _CHANCE, found=found)
