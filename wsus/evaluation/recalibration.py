"""Making a score mean a probability on the images of one place, and saying how well that holds for images that were not used.

Sources: Platt 1999 (logistic scaling); Guo et al. 2017, ICML (temperature); Zadrozny and Elkan 2002, KDD (isotonic regression);
Vovk, Gammerman and Shafer 2005, and Vovk 2012, ACML (conformal prediction with a guarantee for each class).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsus.errors import ConfigError, DataError
from wsus.evaluation.cases import check_labels, check_scores

Method = Literal["temperature", "platt", "isotonic"]
FEWEST_PER_CLASS: dict[Method, int] = {"temperature": 20, "platt": 30, "isotonic": 500}
_CLIP = 1e-6  # in fitting: one POM next to 0 or 1 must not rule the slope
_LEAST, _MOST = 1e-300, 1 - 2**-53  # in applying: finite logits, and the order of any two POMs stays


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """A map from POM to probability that never turns the order of two images around.

    slope, intercept: p' = expit(intercept + slope logit p); of a temperature T, 1 / T and 0.
    knots: of an isotonic fit instead, (p, p') with straight lines between.  shift: added to logit p' for another prevalence.
    """

    method: Method
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    shift: float = 0.0

    def apply(self, poms: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of POMs in [0, 1], in their shape."""
        p = np.clip(np.asarray(poms, dtype=np.float64), _LEAST, _MOST)
        if self.knots:
            x, y = np.array(self.knots).T
            logits = special.logit(np.clip(np.interp(p, x, y), _CLIP, 1 - _CLIP))
        else:
            logits = self.intercept + self.slope * special.logit(p)
        return np.asarray(special.expit(logits + self.shift))

    def at_prevalence(self, share: float, prevalence: float) -> Scaling:
        """The same where `prevalence` of those examined have cancer, and not the `share` of the cases that it was fitted to."""
        return replace(self, shift=float(special.logit(prevalence) - special.logit(share)))


@dataclass(frozen=True, kw_only=True, slots=True)
class NotSure:
    """Where a probability fits both classes or neither, at an error of at most `alpha` in each class.

    malignant_from: malignant cannot be ruled out from here on.  benign_to: nor benign up to here.
    """

    alpha: float
    malignant_from: float
    benign_to: float

    def fits(self, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(malignant fits, benign fits) of each probability."""
        p = np.asarray(probabilities, dtype=np.float64)
        return p >= self.malignant_from, p <= self.benign_to

    def unsure(self, probabilities: ArrayLike) -> NDArray[np.bool_]:
        """True where both fit, or neither."""
        malignant, benign = self.fits(probabilities)
        return malignant == benign


def fit_scaling(method: Method, labels: ArrayLike, poms: ArrayLike) -> Scaling:
    """Fit one method by maximum likelihood (isotonic: least squares).

    Args:
        labels: 1 malignant, 0 benign, shape (N,).  poms: in [0, 1], shape (N,).
    Raises:
        ConfigError: no such method.
        DataError: too few cases of a class, or malignant cases do not score higher than benign ones.
    """
    if method not in get_args(Method):
        raise ConfigError(f"method is one of {', '.join(get_args(Method))}; got {method!r}")
    positive = check_labels(labels)
    p = np.clip(check_scores(poms, positive.size, name="POM"), _CLIP, 1 - _CLIP)
    if method == "isotonic":
        return _isotonic(positive, p)
    slope, intercept = _logistic(positive, special.logit(p), with_intercept=method == "platt")
    if not slope > 0:
        raise DataError(
            f"the model does not order these images: the fitted slope is {slope:.2g}, and no scaling of its probabilities would "
            "help; look at the evaluation's AUC first"
        )
    return Scaling(method=method, slope=slope, intercept=intercept)


def check_enough(method: Method, labels: ArrayLike) -> None:
    """Raise DataError where a class has fewer cases than a method needs."""
    positive = check_labels(labels)
    fewest, n_pos = FEWEST_PER_CLASS[method], int(positive.sum())
    for word, found in (("malignant", n_pos), ("benign", positive.size - n_pos)):
        if found < fewest:
            others = [name for name, needed in FEWEST_PER_CLASS.items() if needed <= min(n_pos, positive.size - n_pos)]
            instead = f"; {' or '.join(others)} can be fitted to these" if others else ""
            raise DataError(f"{method} scaling needs {fewest} {word} images, {found} are there{instead}; add {word} images")


def choose_method(labels: ArrayLike) -> Method:
    """Platt scaling where there are cases enough, else a temperature; isotonic regression is for who asks for it."""
    positive = check_labels(labels)
    rarer = min(int(positive.sum()), int((~positive).sum()))
    return "platt" if rarer >= FEWEST_PER_CLASS["platt"] else "temperature"


def fit_not_sure(labels: ArrayLike, probabilities: ArrayLike, alpha: float) -> NotSure:
    """Class-conditional split-conformal thresholds: of new cases of a class at most `alpha` have it ruled out, on average.

    Raises:
        ConfigError: alpha outside (0, 0.5).
        DataError: a class has so few cases that nothing could ever be ruled out.
    """
    if not 0 < alpha < 0.5:
        raise ConfigError(f"the error that 'not sure' allows lies in (0, 0.5), as 0.1; got {alpha!r}")
    positive = check_labels(labels)
    p = check_scores(probabilities, positive.size, name="probability")
    needed = math.ceil(1 / alpha) - 1
    rarer = min(int(positive.sum()), int((~positive).sum()))
    if rarer < needed:
        raise DataError(f"an error of {alpha:g} in each class needs {needed} images of a class to be told; {rarer} are there")
    malignant, benign = np.sort(p[positive]), np.sort(p[~positive])
    return NotSure(
        alpha=alpha,
        malignant_from=float(malignant[math.floor(alpha * (malignant.size + 1) + 1e-9) - 1]),
        benign_to=float(benign[::-1][math.floor(alpha * (benign.size + 1) + 1e-9) - 1]),
    )


def patient_folds(labels: ArrayLike, patients: ArrayLike, folds: int, seed: int) -> list[NDArray[np.int64]]:
    """The rows of each fold: all images of a patient in one, classes spread evenly. Raises DataError where there are too few."""
    from sklearn.model_selection import StratifiedGroupKFold

    positive = check_labels(labels)
    groups = np.asarray(patients).astype(str)
    fewest = min(len(set(groups[positive])), len(set(groups[~positive])))
    if fewest < folds:
        raise DataError(
            f"{folds} folds need as many patients of each class; {fewest} are there: ask for fewer folds, or add some"
        )
    made = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed).split(groups, positive, groups)
    return [rows for _, rows in made]


def _logistic(positive: NDArray[np.bool_], logits: NDArray[np.float64], *, with_intercept: bool) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    if logits[positive].min() > logits[~positive].max():
        raise DataError("the POMs separate the classes without an error, so that no slope is right; there is nothing to scale")
    model = LogisticRegression(C=np.inf, fit_intercept=with_intercept, tol=1e-8, max_iter=1000)
    model.fit(logits[:, None], positive)
    return float(model.coef_[0, 0]), float(np.ravel(model.intercept_)[0]) if with_intercept else 0.0


def _isotonic(positive: NDArray[np.bool_], p: NDArray[np.float64]) -> Scaling:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(p, positive.astype(float))
    # a step that holds one class alone would say 0 or 1: rule of succession over all cases
    low, high = 1 / (p.size + 2), 1 - 1 / (p.size + 2)
    y = np.clip(fitted.y_thresholds_, low, high)
    knots = tuple((float(a), float(b)) for a, b in zip(fitted.X_thresholds_, y, strict=True))
    return Scaling(method="isotonic", knots=knots)
