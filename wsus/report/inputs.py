"""What a report is made of: everything a study left in its store, already loaded.

Whoever reads the store fills these; the report itself opens no file of a study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from wsus.types import BoxXyxyPx, GreyHW, MaskHW

GALLERY_KINDS = ("true_positive", "false_negative", "false_positive", "true_negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class GalleryItem:
    """One image beside what a weakly-supervised network looked at (the paper's Figure 3).

    kind: one of GALLERY_KINDS.
    pom: probability of malignancy, in [0, 1].
    image_HW: grey uint8, original pixels.  cam_HW: uint8 0..255, the scaled map in the same pixels.
    mask_HW: bool lesion mask, None where there is none.
    box_xyxy_px: box of the focus' largest component; None where the map is constant.
    """

    kind: str
    split: str
    image_id: str
    label: int
    pom: float
    box_xyxy_px: BoxXyxyPx | None
    image_HW: GreyHW
    cam_HW: GreyHW
    mask_HW: MaskHW | None

    def __post_init__(self) -> None:
        if self.kind not in GALLERY_KINDS:
            raise ValueError(f"kind must be one of {', '.join(GALLERY_KINDS)}; got {self.kind!r}")
        if self.cam_HW.shape != self.image_HW.shape:
            raise ValueError(f"{self.image_id}: the map is {self.cam_HW.shape}, its image {self.image_HW.shape}; both are (H, W)")


@dataclass(frozen=True, kw_only=True, slots=True)
class HardCasePicture:
    """One of the hardest cases as a picture, made small.

    image_HW: grey uint8.  mask_HW: bool lesion mask, None where there is none.
    cam_of: backbone of a weak network -> its map of the predicted class, uint8 0..255; all in the same pixels.
    """

    split: str
    image_id: str
    image_HW: GreyHW
    mask_HW: MaskHW | None
    cam_of: Mapping[str, GreyHW]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellArtefacts:
    """What the training of one cell (backbone x mode) left.

    info: hyperparameters, best_seed, best_epoch, epochs, train_s, data_wait_share, parameters, development_auc, bundle_digest,
        training and scoring (what they took: seconds, cpu_hours, gpu_hours, peak_memory_mb ...); any of them may be missing.
    history: one row per seed, sample and epoch: train_loss, development_loss, development_auc, lr, train_s, data_wait_s.
    """

    backbone: str
    mode: str
    info: dict[str, Any]
    history: pd.DataFrame
    gallery: tuple[GalleryItem, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportInputs:
    """A whole study.

    study: the content of study.json: name, config (nested), manifest_digest, versions, seed, created; of outcome.json: wall_s,
        compute, by_part; and the notes of its runs.
    records: one row per image taken: image_id, patient_id, label, split, institution, device, birads, histology,
        age_years, lesion_size_mm, calipers.
    left_out: what an import did not take: {"source", "item", "reason", "count"}.
    predictions: the table of `wsus.comparison.predictions`, all cells in one.
    failures: trials without a result: {"trial", "cell", "error"}.
    hard_pictures: the hardest cases as pictures; none where the study kept none.
    openings: each time that a scored split was opened: {"opened", "cell", "seed", "images", "network"}.
    facts: what only people know (`wsus.report.facts.FACTS`), by name.
    """

    study: dict[str, Any]
    records: pd.DataFrame
    left_out: tuple[dict[str, Any], ...] = ()
    predictions: pd.DataFrame
    cells: tuple[CellArtefacts, ...] = ()
    failures: tuple[dict[str, str], ...] = ()
    hard_pictures: tuple[HardCasePicture, ...] = ()
    openings: tuple[dict[str, Any], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def chosen_seeds(self) -> dict[tuple[str, str], int]:
        """The seed that stands for each cell in the tables, by (backbone, mode); cells without one are left out."""
        return {
            (cell.backbone, cell.mode): int(cell.info["best_seed"])
            for cell in self.cells
            if cell.info.get("best_seed") is not None
        }
