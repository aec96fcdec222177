"""A methods paragraph with this study's own numbers, to be pasted into a manuscript."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsus.evaluation.comparison_result import Comparison
from wsus.report.inputs import ReportInputs
from wsus.report.wording import SPLIT_ORDER, backbone_name, number, percent, split_name


def methods_paragraphs(comparison: Comparison, inputs: ReportInputs) -> tuple[str, ...]:
    """Data, networks, statistics: one paragraph each. What the study's record does not say is not made up."""
    return (_data(inputs), _networks(comparison, inputs), _statistics(comparison))


def _data(inputs: ReportInputs) -> str:
    parts = []
    for split in SPLIT_ORDER:
        rows = inputs.records[inputs.records["split"] == split]
        if len(rows) and split != "unused":
            benign, malignant = int((rows["label"] == 0).sum()), int((rows["label"] == 1).sum())
            patients, name = rows["patient_id"].nunique(), split_name(split).lower()
            parts.append(f"{name} set, {benign:,} benign and {malignant:,} malignant ({patients:,} patients)")
    return f"Images: {'; '.join(parts)}. No patient contributed to more than one set."


def _networks(comparison: Comparison, inputs: ReportInputs) -> str:
    names = ", ".join(backbone_name(name) for name in comparison.backbones)
    size = find_setting(inputs.study.get("config", {}), "size_px")
    margin = find_setting(inputs.study.get("config", {}), "margin_px")
    threshold = find_setting(inputs.study.get("config", {}), "cam_threshold")
    seeds = sorted({int(seed) for seed in inputs.predictions["seed"].unique()})
    modes = {
        "weak": "from whole images and their labels alone (weak supervision)",
        "manual_roi": f"from squares around the manually drawn lesion{f' with a margin of {margin} pixels' if margin else ''}",
        "auto_roi": "from the same squares around the lesion as segmented by a U-Net, cross-fitted on the training patients",
    }
    ways = "; ".join(modes[mode] for mode in comparison.modes if mode in modes)
    sized = f" Inputs were resized to {size} x {size} pixels and scaled to [0, 1] by the image's maximum." if size else ""
    focus = f" Maps were scaled to their range and cut at {threshold}." if threshold else ""
    return (
        f"Networks ({names}) with global average pooling and one linear layer were trained {ways}.{sized} Class activation"
        f" maps were the weighted sum of the last feature maps (Zhou et al. 2016).{focus} Epoch, hyperparameters and seed were"
        " chosen by the AUC on the development set; the validation sets were scored once. Seeds per network and mode:"
        f" {len(seeds)}."
    )


def _statistics(comparison: Comparison) -> str:
    settings = comparison.settings
    confidence = percent(settings["confidence"], 0)
    one_sided = percent(settings["noninferiority_confidence"], 0)
    draws = settings["bootstrap"]
    bootstrap = f" (and percentile intervals of {draws:,} bootstrap draws of patients)" if draws else ""
    return (
        f"Areas under the ROC curve (AUC) are given with {confidence}% DeLong intervals, proportions with Clopper-Pearson"
        " intervals. Weak and full supervision were compared on the same images by the paired DeLong test (AUC) and the exact"
        " McNemar test (sensitivity, specificity); P values of the AUC were adjusted by Holm's method within each set. Weak"
        f" supervision was called non-inferior where the lower bound of the one-sided {one_sided}% interval of the difference lay"
        f" above {number(-settings['margin'], 2)}. To allow for several images of one patient, Obuchowski's variance{bootstrap}"
        " was computed. Localisation of benign and malignant masses was compared by Fisher's exact test. Tests were two-sided"
        f" unless stated otherwise, at a level of {settings['alpha']:g}."
    )


def find_setting(config: Any, name: str) -> Any:
    """The first value under `name` anywhere in a nested configuration; None where there is none."""
    if isinstance(config, Mapping):
        if name in config:
            return config[name]
        for value in config.values():
            found = find_setting(value, name)
            if found is not None:
                return found
    return None
