"""How a study ended, as `outcome.json` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tune_jobs.compute import Compute, together
from tune_jobs.ended import half_trained, stands_as_asked
from tune_jobs.keys import cell_key, outcome_key
from tune_jobs.study import StudyConfig
from wsus.storage import Store


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """How a study ended. failures: {"trial", "cell", "error"}; new: cells that this run finished.

    wall_s: of all runs of the study together, also of those that were interrupted.
    by_part: what the trials, the U-Nets and the scoring took, failed trials and repeated epochs included.
    """

    name: str
    cells: tuple[str, ...]
    new: tuple[str, ...]
    failures: tuple[dict[str, str], ...]
    wall_s: float
    by_part: Mapping[str, Compute]
    concurrency: int

    @property
    def compute(self) -> Compute:
        """What all parts took together."""
        return together(self.by_part.values())

    @property
    def train_s(self) -> float:
        """Time of trials and U-Nets, as if one had run after the other."""
        return sum(compute.seconds for part, compute in self.by_part.items() if part != "scoring")


def finished_before(config: StudyConfig, store: Store) -> StudyOutcome | None:
    """The outcome of an earlier run; None where there is none or not of all cells, where trials failed, or a cell is missing or
    half-trained.
    """
    key = outcome_key(config.name)
    if not store.exists(key):
        return None
    old = store.read_json(key)
    settings, cells = config.to_json(), config.cells()
    published = all(store.is_published(cell_key(config.name, cell)) for cell in cells)
    if set(old["cells"]) != {str(cell) for cell in cells}:
        return None  # a run that ended with fewer; the one that made the others was interrupted before its own end
    if old["failures"] or not published or any(half_trained(store, config.name, cell, settings) for cell in cells):
        return None
    if not all(stands_as_asked(store, config.name, cell, ensemble=config.ensemble) for cell in cells):
        return None
    return StudyOutcome(
        name=config.name,
        cells=tuple(old["cells"]),
        new=(),
        failures=(),
        wall_s=old["wall_s"],
        by_part={part: Compute.from_json(value) for part, value in old.get("by_part", {}).items()},  # older stores: none
        concurrency=old["concurrency"],
    )


def record_outcome(config: StudyConfig, outcome: StudyOutcome, store: Store) -> None:
    """Write `outcome.json`."""
    value = {name: getattr(outcome, name) for name in ("cells", "failures", "wall_s", "train_s", "concurrency")}
    value["compute"] = outcome.compute.to_json()
    value["by_part"] = {part: compute.to_json() for part, compute in outcome.by_part.items()}
    store.write_json(outcome_key(config.name), value)


def scoring_compute(store: Store, config: StudyConfig) -> Compute:
    """What the scoring of all published cells took; those of an older version did not say."""
    keys = [cell_key(config.name, cell) for cell in config.cells()]
    notes = [store.read_json(f"{key}/cell.json") for key in keys if store.is_published(key)]
    return together(Compute.from_json(note["scoring"]) for note in notes if "scoring" in note)
