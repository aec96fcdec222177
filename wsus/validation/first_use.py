"""Which images a published model has been judged on: the first look is the only one that no choice was made after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from wsus.models.asked import AskedModel
from wsus.validation.sets import LabelledSet

Purpose = Literal["evaluate", "calibrate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """How often a model has met a set, this time included. first: ISO time; None where nobody keeps count.

    before: purposes of the earlier uses, each once.
    """

    times: int
    first: str | None
    before: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """For a report."""
        if self.first is None:
            return "Whether these images were used with this model before is not known: a bundle's own folder keeps no record."
        if self.times == 1:
            return "First use of these images with this model."
        how = " and ".join({"evaluate": "to judge it", "calibrate": "to calibrate it"}[purpose] for purpose in self.before)
        return (
            f"Use {self.times} of these images with this model, first on {self.first[:10]} ({how}): whatever was chosen after "
            "looking makes the figures too good."
        )


def uses_key(name: str, digest: str) -> str:
    """Where the uses of a set with all versions of a model lie in its store."""
    return f"models/{name}/uses/{digest[:32]}.json"


def record_use(model: AskedModel, images: LabelledSet, purpose: Purpose) -> Use:
    """Note a use in the model's store, and say how many there have been; a bundle's own folder keeps no record."""
    if model.store is None or model.name is None:
        return Use(times=1, first=None)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    one = {"bundle": model.bundle.digest, "time": now, "purpose": purpose}

    def noted(old: dict[str, Any] | None) -> dict[str, Any]:
        return {"set": images.name, "digest": images.digest, "uses": [*(old or {}).get("uses", []), one]}

    uses = model.store.update_json(uses_key(model.name, images.digest), noted)["uses"]
    mine = [use for use in uses if use["bundle"] == model.bundle.digest]
    before = tuple(dict.fromkeys(str(use["purpose"]) for use in mine[:-1]))
    return Use(times=len(mine), first=str(mine[0]["time"]), before=before)
