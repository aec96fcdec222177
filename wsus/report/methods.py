"""A methods paragraph with this study's own numbers, to be pasted into a manuscript."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsus.comparison.result import Comparison
from wsus.report.inputs import ReportInputs
from wsus.report.limitations import opened
from wsus.report.wording import SPLIT_ORDER, backbone_name, number, percent, split_name
from wsus.types import ENSEMBLE

_OPTIMIZERS = {"adamw": "AdamW", "sgd": "stochastic gradient descent with momentum"}
_POOLING = {
    "average": (
        "global average pooling",
        "Class activation maps were the weighted sum of the last feature maps (Zhou et al. 2016).",
    ),
    "attention": (
        "attention pooling of early feature maps beside global average pooling",
        "Maps were the attention over places (Ilse et al. 2018).",
    ),
}
_CHANGES = {"flip": "left-right flip", "attenuation": "brightness over depth", "gamma": "gamma", "blur": "blur"}


def methods_paragraphs(comparison: Comparison, inputs: ReportInputs) -> tuple[str, ...]:
    """Data, networks, training, localisation, statistics: one paragraph each. What the record does not say is not made up."""
    paragraphs = (
        _data(inputs),
        _networks(comparison, inputs),
        _training(inputs.study.get("config", {})),
        _localisation(comparison),
        _statistics(comparison),
    )
    return tuple(paragraph for paragraph in paragraphs if paragraph)


def _data(inputs: ReportInputs) -> str:
    parts = []
    for split in SPLIT_ORDER:
        rows = inputs.records[inputs.records["split"] == split]
        if len(rows) and split != "unused":
            benign, malignant = int((rows["label"] == 0).sum()), int((rows["label"] == 1).sum())
            patients, name = rows["patient_id"].nunique(), split_name(split).lower()
            parts.append(f"{name} set, {benign:,} benign and {malignant:,} malignant ({patients:,} patients)")
    source = f" ({inputs.study['data']})" if inputs.study.get("data") else ""
    left_out = sum(int(item.get("count", 1)) for item in inputs.left_out)
    without = f" {left_out:,} images or files were left out on import." if left_out else ""
    return f"Images{source}: {'; '.join(parts)}. No patient contributed to more than one set.{without}"


def _networks(comparison: Comparison, inputs: ReportInputs) -> str:
    names = ", ".join(backbone_name(name) for name in comparison.backbones)
    config = inputs.study.get("config", {})
    size, margin, threshold = (find_setting(config, name) for name in ("size_px", "margin_px", "cam_threshold"))
    trained = {int(seed) for seed in inputs.predictions["seed"].unique()}
    seeds = trained - {ENSEMBLE}
    together = "; class scores and maps are the means over the seeds" if ENSEMBLE in trained else ""
    modes = {
        "weak": "from whole images and their labels alone (weak supervision)",
        "manual_roi": f"from squares around the manually drawn lesion{f' with a margin of {margin} pixels' if margin else ''}",
        "auto_roi": "from the same squares around the lesion as segmented by a U-Net, cross-fitted on the training patients",
    }
    ways = "; ".join(modes[mode] for mode in comparison.modes if mode in modes)
    fit = find_setting(config, "fit")
    shape = {"pad": ", whole images padded to a square,", "stretch": ", whole images stretched,"}.get(str(fit), "")
    sized = f" Inputs were resized to {size} x {size} pixels{shape} and scaled to [0, 1] by the image's maximum." if size else ""
    if find_setting(config, "cam_threshold_rule") == "development":
        threshold = "the threshold whose boxes met most lesions of the development set"
    focus = f" Maps were scaled to their range and cut at {threshold}." if threshold else ""
    smooth = find_setting(config, "smooth_epochs") or 1
    smoothed = f" (of an epoch the mean of {smooth} epochs)" if smooth > 1 else ""
    pooling, maps = _POOLING.get(str(find_setting(config, "pooling")), _POOLING["average"])
    return (
        f"Networks ({names}) with {pooling} and one linear layer were trained {ways}.{sized} {maps}{focus} Epoch,"
        f" hyperparameters and seed were chosen by the AUC on the development set{smoothed}. {opened(inputs)}"
        f" Seeds per network and mode: {len(seeds)}{together}."
    )


def _training(config: Mapping[str, Any]) -> str:
    """Optimiser, schedule, augmentation, search; empty where the record has no such settings."""
    train = config.get("train")
    if not isinstance(train, Mapping) or "optimizer" not in train:
        return ""
    settings = [
        f"{_OPTIMIZERS.get(train['optimizer'], train['optimizer'])} with a peak learning rate of {train['lr']:g}"
        f" ({train['schedule'].replace('_', '-')} schedule) and weight decay of {train['weight_decay']:g}",
        f"{train['epochs']} epochs in batches of {train['batch_size']}",
    ]
    settings += [f"label smoothing of {train['label_smoothing']:g}"] if train.get("label_smoothing") else []
    settings += ["classes weighed by the inverse of their frequency"] if train.get("class_weights") else []
    settings += [f"an exponential moving average of the weights ({train['ema_decay']:g})"] if train.get("ema_decay") else []
    trained = config.get("backbones") or ()
    own = {name: changes for name, changes in (config.get("per_backbone") or {}).items() if name in trained}
    settings += [
        f"for {backbone_name(name)} {', '.join(f'{key} = {value}' for key, value in sorted(changes.items()))}"
        for name, changes in sorted(own.items())
    ]
    changes = [_CHANGES.get(name, name) for name, reach in (train.get("augment") or {}).items() if reach]
    augmented = f" Training images were changed at random ({', '.join(changes)})." if changes else ""
    weights = {"none": "random initial weights", "imagenet": "weights pretrained on ImageNet"}
    start = f" from {weights.get(config['weights'], 'given weights')}" if config.get("weights") else ""
    samples = int(config.get("samples", 1))
    kind = {"random": "random search", "optuna": "a tree-structured Parzen estimator"}.get(str(config.get("search")), "search")
    searched = f" Hyperparameters: {samples} samples per network, mode and seed by {kind}." if samples > 1 else ""
    return f"Training{start}: {'; '.join(settings)}.{augmented}{searched}"


def _localisation(comparison: Comparison) -> str:
    if not comparison.localisation:
        return ""
    return (
        "Localisation was assessed on images with a manual mask: overlap of focus and mask, as in Kim et al. 2021; an"
        " intersection over union of at least 0.5 of the box of the largest component with the mask's box; MaxBoxAcc and"
        " MaxBoxAccV2 (Choe et al. 2020), and the same at the threshold that was best on the development set; PxAP (Choe et al."
        " 2020); the pointing game, with and without its tolerance of 15 pixels (Zhang et al. 2018); Dice; and the energy inside"
        " the mask (Wang et al. 2020). Each stands beside a centred box and a random map. Means have Student's t intervals."
    )


def _statistics(comparison: Comparison) -> str:
    settings = comparison.settings
    confidence = percent(settings["confidence"], 0)
    start = number(settings["partial_auc_from"], 2)
    located = (
        " Localisation of benign and malignant masses was compared by Fisher's exact test, maps with a centred box on the same"
        " images by McNemar's test."
    )
    tested = located if comparison.localisation else ""
    if comparison.pairs or comparison.localisation:
        tested += f" Tests were two-sided unless stated otherwise, at a level of {settings['alpha']:g}."
    draws = settings["bootstrap"]
    bootstrap = f" (and percentile intervals of {draws:,} bootstrap draws of patients)" if draws else ""
    return (
        f"Areas under the ROC curve (AUC) are given with {confidence}% DeLong intervals, proportions with Clopper-Pearson"
        " intervals, likelihood ratios with exact unconditional intervals (score intervals in sets of more than 2,000 images),"
        f" partial AUCs (specificity, and sensitivity, of {start} or more; standardised after McClish) with intervals on the"
        f" logit scale. Net benefit was computed over all threshold probabilities (decision curve).{_against_full(comparison)}"
        f"{_over_patients(comparison)} Intervals from Obuchowski's variance on the logit scale{bootstrap} stand beside."
        " Calibration is given as slope, intercept and calibration in the large of a logistic fit (Cox) and as the Brier score,"
        f" with Wald intervals.{tested}"
    )


def _against_full(comparison: Comparison) -> str:
    """How weak and full supervision were compared; empty where nothing was."""
    if not comparison.pairs:
        return ""
    settings = comparison.settings
    one_sided, target = f"{100 * settings['noninferiority_confidence']:g}", percent(settings["power"], 0)
    return (
        " Weak and full supervision were compared on the same images by the paired DeLong test (AUC) and the exact McNemar test"
        " (sensitivity, specificity); P values were adjusted by Holm's method over all tests of a set, those of non-inferiority"
        f" among themselves. Weak supervision was called non-inferior where the lower bound of the one-sided {one_sided}%"
        f" interval of the difference lay above {number(-settings['margin'], 2)} (for the AUC a profile limit of both AUCs on the"
        " logit scale; for sensitivity and specificity Tango's score interval). The number of images for"
        f" {target}% power was estimated from the observed spread of the difference, as if both were equally good."
    )


def _over_patients(comparison: Comparison) -> str:
    sets = [split for split in ("internal", "external") if any(c.split == split and c.n_patients < c.n for c in comparison.cells)]
    if not sets:
        return ""
    return (
        f" The {' and the '.join(sets)} set held several images of some patients; there, tests and intervals were over patients:"
        " AUCs by Obuchowski's variance (1997; intervals on the logit scale), shares by Clopper-Pearson and Tango intervals at"
        " the effective number of images (Rao and Scott 1992), those of localisation too, McNemar's test after Obuchowski (1998),"
        " calibration by the sandwich estimator; partial AUCs took images as independent. Results per patient (highest and mean"
        " probability) stand beside."
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
