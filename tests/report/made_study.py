"""A small study made from a seed, with what a real one has: seeds, devices, masks, a gallery and training curves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from wsus.evaluation.box_accuracy import CAM_THRESHOLDS
from wsus.report.inputs import GALLERY_KINDS, CellArtefacts, GalleryItem, HardCasePicture, ReportInputs

BACKBONES = ("vgg16", "resnet34", "googlenet")
MODES = ("weak", "manual_roi", "auto_roi")
_SKILL = {"weak": 1.9, "manual_roi": 2.1, "auto_roi": 1.8}
_HISTOLOGY = (("fibroadenoma", "cyst"), ("invasive ductal carcinoma", "invasive lobular carcinoma"))
_DEVICES = ("GE Logiq 5", "GE Logiq 7", "Toshiba Aplio 300", "U-Systems")


def made_records(per_class: int, seed: int = 0) -> pd.DataFrame:
    """Images of four splits, `per_class` of each class in the scored ones; two images of every third patient."""
    rng = np.random.default_rng(seed)
    rows = []
    for split, n in (("train", 3 * per_class), ("development", per_class), ("internal", per_class), ("external", per_class)):
        for i in range(2 * n):
            label = i % 2
            patient = i // 2 - (i // 2) % 3 // 2
            rows.append(
                {
                    "image_id": f"{split}-{i:04d}",
                    "patient_id": f"{split}-{label}-p{patient:04d}",
                    "label": label,
                    "split": split,
                    "institution": "B" if split == "external" else "A",
                    "device": None if split == "external" and i % 7 == 0 else _DEVICES[int(rng.integers(4))],
                    "birads": str(int(np.clip(rng.integers(2, 5) + label, 2, 5))),
                    "histology": _HISTOLOGY[label][i % 5 // 3],
                    "age_years": float(np.clip(rng.normal(50, 12), 18, 88).round()),
                    "lesion_size_mm": float(np.clip(rng.gamma(4, 4), 3, 60).round(1)),
                    "calipers": ("yes", "no", None)[i // 2 % 3],
                }
            )
    return pd.DataFrame(rows)


def made_predictions(
    records: pd.DataFrame, seeds: tuple[int, ...] = (0, 1), backbones: tuple[str, ...] = BACKBONES, modes: tuple[str, ...] = MODES
) -> pd.DataFrame:
    """Scores that share a difficulty per image, so that two cells are correlated, as real ones are."""
    scored = records[records["split"] != "train"].reset_index(drop=True)
    rng = np.random.default_rng(1)
    difficulty = rng.normal(size=len(scored))
    parts = []
    for b, backbone in enumerate(backbones):
        for mode in modes:
            for seed in seeds:
                skill = _SKILL[mode] - 0.1 * b - 0.5 * (scored["split"] == "external").to_numpy()
                signal = skill * (scored["label"].to_numpy() - 0.5)
                pom = 1 / (1 + np.exp(-1.4 * (signal + 0.7 * difficulty + 0.7 * rng.normal(size=len(scored)))))
                parts.append(_with_localisation(scored, backbone, mode, seed, pom, rng))
    return pd.concat(parts, ignore_index=True)


def _with_localisation(
    scored: pd.DataFrame, backbone: str, mode: str, seed: int, pom: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    n = len(scored)
    iou = np.clip(rng.normal(0.5, 0.2, n), 0, 1)
    curves = {
        f"{prefix}{name}": _curves(iou, best_at, reach) if mode == "weak" else [None] * n
        for prefix, best_at, reach in (("", 0.55, 1.3), ("centre_box_", 0.6, 1.0), ("random_map_", 0.5, 0.6))
        for name in ("iou_by_threshold", "best_iou_by_threshold")
    }
    for prefix, skill in (("", 0.6), ("centre_box_", 0.4), ("random_map_", 0.15)):
        lists = _levels(iou, skill) if mode == "weak" else ([None] * n, [None] * n)
        curves |= dict(zip((f"{prefix}lesion_by_level", f"{prefix}image_by_level"), lists, strict=True))
    return scored.assign(
        backbone=backbone,
        mode=mode,
        seed=seed,
        pom=pom,
        operating_point=0.5,
        called_malignant=pom >= 0.5,
        localised=(rng.random(n) < 0.97).astype(object),
        iou=iou,
        pointing_hit=(rng.random(n) < 0.85).astype(object),
        pointing_hit_15px=(rng.random(n) < 0.92).astype(object),
        fallback_crop=False,
        dice=2 * iou / (1 + iou),
        energy_in_mask=np.clip(rng.normal(0.4, 0.1, n), 0, 1),
        centre_box_dice=0.4,
        random_map_dice=0.2,
        centre_box_energy_in_mask=0.3,
        random_map_energy_in_mask=0.15,
        **curves,
        centre_box_localised=rng.random(n) < 0.96,
        centre_box_iou=np.clip(rng.normal(0.35, 0.15, n), 0, 1),
        centre_box_pointing_hit=rng.random(n) < 0.6,
        centre_box_pointing_hit_15px=rng.random(n) < 0.7,
        random_map_localised=rng.random(n) < 0.9,
        random_map_iou=np.clip(rng.normal(0.15, 0.1, n), 0, 1),
        random_map_pointing_hit=rng.random(n) < 0.15,
        random_map_pointing_hit_15px=rng.random(n) < 0.25,
    )


def _curves(iou: np.ndarray, best_at: float, reach: float) -> list[np.ndarray]:
    """IoUs by threshold of every image: best at one threshold, worse beside it."""
    shape = np.exp(-(((np.array(CAM_THRESHOLDS) - best_at) / 0.25) ** 2))
    return [np.clip(reach * one * shape, 0, 1).astype(np.float32) for one in iou]


def _levels(iou: np.ndarray, skill: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Shares of lesion and image by level: a lesion of a tenth of the image, the higher on the map the better it fits."""
    rising = np.linspace(0, 1, 100)
    lesion = [(0.1 * shape / shape.sum()).astype(np.float32) for shape in (np.exp(4 * skill * one * rising) for one in iou)]
    rest = 0.9 * np.exp(-4 * rising) / np.exp(-4 * rising).sum()
    return lesion, [(one + rest).astype(np.float32) for one in lesion]


def made_gallery(seed: int) -> tuple[GalleryItem, ...]:
    """Four speckled pictures with an ellipse, and a map beside it."""
    rng = np.random.default_rng(seed)
    items = []
    for k, kind in enumerate(GALLERY_KINDS):
        height, width = 300, 360
        y, x = np.mgrid[:height, :width]
        cy, cx = rng.integers(100, 200), rng.integers(120, 240)
        lesion = ((y - cy) / 45) ** 2 + ((x - cx) / 70) ** 2 < 1
        grey = np.clip(rng.rayleigh(60, (height, width)) * np.where(lesion, 0.35, 1.0) * np.exp(-y / 500), 0, 255)
        heat = np.exp(-(((y - cy - 15) / 70) ** 2) - ((x - cx + 20) / 80) ** 2)
        items.append(
            GalleryItem(
                kind=kind,
                split="external",
                image_id=f"external-{seed:02d}{k:02d}",
                label=int(kind in ("true_positive", "false_negative")),
                pom=(0.97, 0.12, 0.88, 0.03)[k],
                box_xyxy_px=(int(cx - 90), int(cy - 60), int(cx + 60), int(cy + 80)),
                image_HW=grey.astype(np.uint8),
                cam_HW=(255 * heat).astype(np.uint8),
                mask_HW=lesion,
            )
        )
    return tuple(items)


def made_hard_pictures(predictions: pd.DataFrame) -> tuple[HardCasePicture, ...]:
    """A picture of every image of the scored sets: the study does not know beforehand which ones are hard."""
    images = predictions.loc[predictions["split"].isin(["internal", "external"]), ["split", "image_id"]].drop_duplicates()
    image = made_gallery(3)[0]
    small = {"image_HW": image.image_HW[::3, ::3], "mask_HW": image.mask_HW[::3, ::3]}
    return tuple(
        HardCasePicture(split=split, image_id=image_id, **small, cam_of=dict.fromkeys(BACKBONES, image.cam_HW[::3, ::3]))
        for split, image_id in images.itertuples(index=False)
    )


def made_compute(seconds: float) -> dict[str, object]:
    """What some work on one core took."""
    return {
        "seconds": seconds,
        "cpu_hours": seconds / 3600,
        "gpu_hours": 0.0,
        "peak_memory_mb": 1830.0,
        "peak_gpu_memory_mb": 0.0,
        "devices": ["Some Processor @ 2.00GHz"],
    }


def made_run(wall_s: float, *, ended: bool) -> dict[str, object]:
    """The note of one run, with a newer torch than the study began with."""
    versions = {"wsus": "0.1.0", "python": "3.11.9", "torch": "2.14.2", "ray": "2.60.0", "numpy": "2.4.6"}
    run = {"started": "2026-01-02T03:04:05+00:00", "wall_s": wall_s, "ended": ended, "resources": {"CPU": 1.0}}
    return {**run, "versions": versions, "platform": "Linux"}


def made_cell(backbone: str, mode: str, seeds: tuple[int, ...], *, epochs: int = 12) -> CellArtefacts:
    """Training curves and the facts of one cell."""
    rng = np.random.default_rng(len(backbone) + 7 * len(mode))
    rows = [
        {
            "seed": seed,
            "sample": 0,
            "epoch": epoch,
            "train_loss": 0.7 * np.exp(-epoch / 5) + 0.02 * rng.random(),
            "development_loss": 0.6 * np.exp(-epoch / 6) + 0.1 + 0.03 * rng.random(),
            "development_auc": 0.92 - 0.35 * np.exp(-epoch / 3) + 0.02 * rng.random(),
            "lr": 1e-3,
            "train_s": 12.0,
            "data_wait_s": 0.2,
        }
        for seed in seeds
        for epoch in range(1, epochs + 1)
    ]
    return CellArtefacts(
        backbone=backbone,
        mode=mode,
        info={
            "hyperparameters": {"lr": 1e-3, "weight_decay": 1e-4},
            "best_seed": seeds[0],
            "best_epoch": epochs - 2,
            "epochs": epochs,
            "train_s": 12.0 * epochs * len(seeds),
            "data_wait_share": 0.016,
            "parameters": 21_300_000,
            "development_auc": 0.91,
            "bundle_digest": "ab" * 32,
            "training": made_compute(12.0 * epochs * len(seeds)),
            "scoring": made_compute(3.0),
        },
        history=pd.DataFrame(rows),
        gallery=made_gallery(len(backbone)) if mode == "weak" else (),
    )


def made_study(
    *, per_class: int = 30, seeds: tuple[int, ...] = (0, 1), without: tuple[tuple[str, str], ...] = ()
) -> ReportInputs:
    """A whole study; the cells named in `without` failed."""
    records = made_records(per_class)
    table = made_predictions(records, seeds)
    keys = pd.Series(list(zip(table["backbone"], table["mode"], strict=True)), index=table.index)
    cells = [(backbone, mode) for backbone in BACKBONES for mode in MODES]
    return ReportInputs(
        study={
            "name": "made",
            "config": {
                "recipe": "quick",
                "backbones": list(BACKBONES),
                "modes": list(MODES),
                "seeds": list(seeds),
                "training": {"epochs": 12, "optimiser": "adamw", "lr": 1e-3},
                "crop": {"size_px": 224, "margin_px": 30, "fit": "pad"},
                "cam_threshold": 0.3,
            },
            "manifest_digest": "sha256:9f2c" + "0" * 60,
            "versions": {"wsus": "0.1.0", "python": "3.11.9", "torch": "2.14.1", "ray": "2.60.0", "numpy": "2.4.6"},
            "seed": 0,
            "created": "2026-01-02T03:04:05+00:00",
            "wall_s": 245.0,
            "compute": made_compute(2700.0),
            "by_part": {"trials": made_compute(2592.0), "U-Nets": made_compute(81.0), "scoring": made_compute(27.0)},
            "runs": [made_run(95.0, ended=False), made_run(150.0, ended=True)],
        },
        records=records,
        left_out=(
            {"source": "busi", "item": "normal", "reason": "no lesion", "count": 133},
            {"source": "busi", "item": "near-duplicates", "reason": "near-duplicate in another class", "count": 14},
        ),
        predictions=table[~keys.isin(list(without))].reset_index(drop=True),
        cells=tuple(made_cell(backbone, mode, seeds) for backbone, mode in cells if (backbone, mode) not in without),
        hard_pictures=made_hard_pictures(table),
        failures=tuple(
            {"trial": f"{backbone}-{mode}-s0", "cell": f"{backbone}-{mode}", "error": "TrainingDivergedError: the loss is NaN"}
            for backbone, mode in without
        ),
    )
