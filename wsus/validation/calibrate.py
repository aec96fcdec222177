"""A site profile for a published model: scaling and operating point fitted to a place's images, and how well that holds.

Every figure after calibration is cross-fitted over patients: the scaling, the operating point and the thresholds of "not sure"
that judge an image come from folds without its patient. The profile itself is fitted to all of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsus.errors import ConfigError, DataError
from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.calibration import calibration
from wsus.evaluation.diagnostic import sensitivity_point, youden_point
from wsus.evaluation.intervals import Proportion, proportion
from wsus.evaluation.recalibration import (
    Method,
    NotSure,
    Scaling,
    check_enough,
    choose_method,
    fit_not_sure,
    fit_scaling,
    patient_folds,
)
from wsus.models.asked import AskedModel
from wsus.models.seen import count_seen
from wsus.models.sites import SiteProfile
from wsus.validation.sets import LabelledSet

_RULE = re.compile(r"youden|keep|(sensitivity|cost):(\d+(\.\d+)?)")
_FEWEST_FOR_SENSITIVITY = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationConfig:
    """How a site profile is fitted.

    method: None for Platt scaling where there are cases enough, else a temperature.
    rule: of the operating point: "sensitivity:0.95" (the most specific point that reaches it), "youden", "cost:9" (a missed
        cancer costs as much as nine false alarms), "keep" (where the model's own operating point lies after scaling).
    prevalence: share of cancers among those examined; that of the images where None.
    not_sure: error allowed in each class outside "not sure"; None for no such answer.
    """

    method: Method | None = None
    rule: str = "sensitivity:0.95"
    prevalence: float | None = None
    not_sure: float | None = None
    folds: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not _RULE.fullmatch(self.rule):
            raise ConfigError(f"an operating point is sensitivity:0.95, youden, cost:9 or keep; got {self.rule!r}")
        word, _, number = self.rule.partition(":")
        if word == "sensitivity" and not 0 < float(number) < 1:
            raise ConfigError(f"a target sensitivity lies in (0, 1), as 0.95; got {number}")
        if word == "cost" and not float(number) > 0:
            raise ConfigError(f"a cost is how many false alarms a missed cancer costs, above 0; got {number}")
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise ConfigError(f"prevalence is the share of cancers, in (0, 1), as 0.02; got {self.prevalence!r}")
        if self.folds < 2:
            raise ConfigError(f"folds must be at least 2; got {self.folds}")


def check_unseen(model: AskedModel, images: LabelledSet) -> bool:
    """Whether the bundle says that none of these images trained the model; False where an older bundle does not say.

    Raises:
        DataError: some of them did.
    """
    counts = count_seen(model.bundle, images.image_digests)
    same = model.bundle.card.training.get("manifest_digest") == images.digest
    if counts or same:
        words = " and ".join(f"{number} of its {split} images" for split, number in sorted((counts or {}).items()))
        raise DataError(
            f"{images.address}: holds {words or 'the images'} that {model.bundle.model_id} was trained on or chosen by; "
            "it is too sure of those, and a calibration on them would be wrong: take others"
        )
    return counts is not None


def fit_profile(
    site: str, model: AskedModel, images: LabelledSet, predictions: pd.DataFrame, config: CalibrationConfig
) -> SiteProfile:
    """Fit a site's profile, with the figures before and after.

    Args:
        predictions: the model's own POMs of these images: columns label, pom, patient_id, operating_point.
    Raises:
        DataError: too few cases for what is asked, or a model that does not order these images.
    """
    labels = predictions["label"].to_numpy(dtype=int)
    poms = predictions["pom"].to_numpy(dtype=float)
    own_point = float(predictions["operating_point"].iloc[0])
    share = float(labels.mean())
    method = config.method or choose_method(labels)
    check_enough(method, labels)
    _check_rule(config.rule, int(labels.sum()))
    prevalence = share if config.prevalence is None else config.prevalence

    fit = _Fit(labels=labels, poms=poms, method=method, rule=config.rule, own_point=own_point, not_sure=config.not_sure)
    whole = fit.of(np.arange(labels.size))
    folds = patient_folds(labels, predictions["patient_id"], config.folds, config.seed)
    fitted = whole.moved(share, prevalence)
    return SiteProfile(
        site=site,
        bundle_digest=model.bundle.digest,
        scaling=fitted.scaling,
        operating_point=fitted.point,
        rule=config.rule,
        prevalence=prevalence,
        not_sure=fitted.not_sure,
        images={
            "name": images.name,
            "digest": images.digest,
            "n": int(labels.size),
            "n_malignant": int(labels.sum()),
            "n_patients": int(predictions["patient_id"].nunique()),
            "folds": config.folds,
        },
        before=_figures(labels, poms, poms >= own_point),
        after=_after(fit, folds, labels, whole.scaling.apply(poms)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fitted:
    scaling: Scaling
    point: float
    not_sure: NotSure | None

    def moved(self, share: float, prevalence: float) -> _Fitted:
        """Fitted to cases of which `share` are cancers, and used where `prevalence` are: all cuts move along with the scale."""
        if math.isclose(share, prevalence):
            return self
        shift = Scaling(method="platt").at_prevalence(share, prevalence)

        def move(p: float) -> float:
            return float(shift.apply(p))

        moved = self.not_sure and NotSure(
            alpha=self.not_sure.alpha,
            malignant_from=move(self.not_sure.malignant_from),
            benign_to=move(self.not_sure.benign_to),
        )
        return _Fitted(scaling=self.scaling.at_prevalence(share, prevalence), point=move(self.point), not_sure=moved)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """What is fitted to any part of the cases."""

    labels: NDArray[np.int64]
    poms: NDArray[np.float64]
    method: Method
    rule: str
    own_point: float
    not_sure: float | None

    def of(self, rows: NDArray[np.int64]) -> _Fitted:
        labels, poms = self.labels[rows], self.poms[rows]
        scaling = fit_scaling(self.method, labels, poms)
        scaled = scaling.apply(poms)
        not_sure = None if self.not_sure is None else fit_not_sure(labels, scaled, self.not_sure)
        return _Fitted(scaling=scaling, point=self._point(labels, scaled, scaling), not_sure=not_sure)

    def _point(self, labels: NDArray[np.int64], scaled: NDArray[np.float64], scaling: Scaling) -> float:
        word, _, number = self.rule.partition(":")
        if word == "sensitivity":
            return sensitivity_point(labels, scaled, float(number)).threshold
        if word == "youden":
            return youden_point(labels, scaled).threshold
        if word == "cost":
            return 1 / (1 + float(number))
        return float(scaling.apply(self.own_point))


def _after(
    fit: _Fit, folds: Sequence[NDArray[np.int64]], labels: NDArray[np.int64], whole: NDArray[np.float64]
) -> dict[str, Any]:
    """Cross-fitted figures; the AUC is that of the profile itself, since folds have scales of their own."""
    count = labels.size
    scaled, called, unsure, held = (np.zeros(count, dtype=kind) for kind in (float, bool, bool, bool))
    for rows in folds:
        fitted = fit.of(np.setdiff1d(np.arange(count), rows))
        scaled[rows] = fitted.scaling.apply(fit.poms[rows])
        called[rows] = scaled[rows] >= fitted.point
        if fitted.not_sure is not None:
            malignant, benign = fitted.not_sure.fits(scaled[rows])
            unsure[rows] = malignant == benign
            held[rows] = np.where(labels[rows] == 1, malignant, benign)
    figures = _figures(labels, scaled, called) | {"auc": _auc(labels, whole), "cross_fitted": True}
    if fit.not_sure is None:
        return figures
    sure = ~unsure
    figures["not_sure"] = {
        "alpha": fit.not_sure,
        "share": _share(int(unsure.sum()), count),
        "coverage_malignant": _share(int(held[labels == 1].sum()), int((labels == 1).sum())),
        "coverage_benign": _share(int(held[labels == 0].sum()), int((labels == 0).sum())),
        "right_where_sure": _share(int((held & sure).sum()), int(sure.sum())),
    }
    return figures


def _figures(labels: NDArray[np.int64], probabilities: NDArray[np.float64], called: NDArray[np.bool_]) -> dict[str, Any]:
    found = calibration(labels, probabilities)
    malignant = labels == 1
    return {
        "auc": _auc(labels, probabilities),
        "slope": found.slope,
        "intercept": found.intercept,
        "in_the_large": found.in_the_large,
        "brier": found.brier,
        "sensitivity": _share(int((called & malignant).sum()), int(malignant.sum())),
        "specificity": _share(int((~called & ~malignant).sum()), int((~malignant).sum())),
    }


def _auc(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, Any]:
    found = auc_with_interval(labels, scores)
    return {"value": found.auc, "ci": list(found.ci or found.ci_score)}


def _share(count: int, total: int) -> dict[str, Any]:
    share: Proportion = proportion(count, total)
    return {"value": share.estimate, "ci": list(share.ci) if share.ci else None, "x": count, "n": total}


def _check_rule(rule: str, n_malignant: int) -> None:
    """A target sensitivity that no missed cancer could ever contradict is no target."""
    word, _, number = rule.partition(":")
    if word != "sensitivity":
        return
    needed = max(_FEWEST_FOR_SENSITIVITY, math.ceil(1 / (1 - float(number)) - 1e-9))
    if n_malignant < needed:
        raise DataError(
            f"an operating point of {number} sensitivity needs {needed} malignant images, {n_malignant} are there; add some, or "
            "choose --operating-point youden, cost:9 or keep"
        )


Words = Callable[[Any], str]


def profile_lines(profile: SiteProfile) -> list[str]:
    """Before and after, for a terminal."""
    rows: list[tuple[str, str, Words]] = [
        ("AUC", "auc", _with_ci),
        ("calibration slope", "slope", _two),
        ("calibration intercept", "intercept", _two),
        ("in the large", "in_the_large", _two),
        ("Brier", "brier", lambda value: f"{value:.3f}"),
        ("sensitivity", "sensitivity", _with_ci),
        ("specificity", "specificity", _with_ci),
    ]
    lines = [f"{'':22} {'before':24} after, cross-fitted over patients"]
    lines += [f"{title:22} {words(profile.before[key]):24} {words(profile.after[key])}" for title, key, words in rows]
    sets = profile.images
    lines.append(
        f"{profile.scaling.method} scaling, operating point {profile.operating_point:.3g} ({profile.rule}), fitted to "
        f"{sets['n']} images of {sets['n_patients']} patients, {sets['n_malignant']} malignant"
    )
    lines.append(
        f"a POM for {profile.site} is a probability where {100 * profile.prevalence:.3g} % of those examined have cancer"
    )
    unsure = profile.after.get("not_sure")
    if unsure is not None:
        lines.append(
            f"not sure: {_with_ci(unsure['share'])} of images; wanted coverage {1 - unsure['alpha']:.2f} of each class, measured "
            f"{_with_ci(unsure['coverage_malignant'])} malignant, {_with_ci(unsure['coverage_benign'])} benign; right where sure "
            f"{_with_ci(unsure['right_where_sure'])}"
        )
    return lines


def _two(value: float | None) -> str:
    return "not estimable" if value is None else f"{value:.2f}"


def _with_ci(value: dict[str, Any]) -> str:
    if value["value"] is None:
        return "no case"
    return f"{value['value']:.3f} ({value['ci'][0]:.3f}-{value['ci'][1]:.3f})"
