"""How many cases a comparison needs, and what the one that was made could have shown.

Sources: Obuchowski 1998, Statistical Methods in Medical Research 7:371, and Liu, Ma, Wu and Tai 2006, Statistics in
Medicine 25:1219 (AUC, paired non-inferiority); Tango 1998, Statistics in Medicine 17:891, and Nam 1997, Biometrics 53:1422
(paired shares); Hoenig and Heisey 2001, The American Statistician 55:19, on why the power is never computed from the
difference that was observed: what is taken from the data is the spread alone, and the true difference is stated beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from wsus.evaluation.auc import PairedAucTest
from wsus.evaluation.clustered import ClusteredPairedTest
from wsus.evaluation.paired import ONE_SIDED, PairedCounts, tango_variance


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerOfTest:
    """What a test can show. power, needed_*: None where the spread is unknown, as `note` says.

    power: that the test comes out with the cases that there are, if the true difference is `assumed_diff`.
    needed_pos, needed_neg: malignant and benign cases for `target` power; None for a class that the test does not use.
        Where a patient has several images, they are images, with as many of a patient as here.
    """

    assumed_diff: float
    target: float
    power: float | None
    needed_pos: int | None
    needed_neg: int | None
    note: str | None = None


def power_noninferiority_auc(
    test: PairedAucTest | ClusteredPairedTest,
    margin: float = 0.05,
    *,
    assumed_diff: float = 0.0,
    target: float = 0.8,
    confidence: float = ONE_SIDED,
) -> PowerOfTest:
    """Power of the one-sided test of non-inferiority on AUC, and the cases for `target` power at the same share of classes.

    The variance of the difference falls as 1 / n with both classes growing alike; its size is that of `test`.

    Args:
        margin: of non-inferiority.  assumed_diff: the true a - b, above -margin; 0 says that a is as good as b.
        confidence: one-sided.
    Raises:
        ValueError: a margin, difference, target or confidence that cannot be.
    """
    _check(target, confidence)
    distance = margin + assumed_diff
    if not 0.0 < margin < 1.0 or distance <= 0.0:
        raise ValueError(
            f"non-inferiority needs a margin in (0, 1) and a true difference above -margin; got {margin}, {assumed_diff}"
        )
    if test.se_diff is None or test.se_diff == 0.0:
        note = test.notes[0] if test.notes else "the variance of the difference is 0: its spread is unknown"
        return PowerOfTest(assumed_diff=assumed_diff, target=target, power=None, needed_pos=None, needed_neg=None, note=note)
    z = float(special.ndtri(confidence))
    factor = ((z + float(special.ndtri(target))) * test.se_diff / distance) ** 2
    return PowerOfTest(
        assumed_diff=assumed_diff,
        target=target,
        power=float(special.ndtr(distance / test.se_diff - z)),
        needed_pos=max(2, math.ceil(test.a.n_pos * factor)),
        needed_neg=max(2, math.ceil(test.a.n_neg * factor)),
    )


def power_noninferiority_paired(
    counts: PairedCounts,
    margin: float = 0.05,
    *,
    target: float = 0.8,
    confidence: float = ONE_SIDED,
    malignant: bool = True,
    design_effect: float = 1.0,
) -> PowerOfTest:
    """Power of Tango's test of non-inferiority of two shares if both are equal, and the cases of the class for `target` power.

    By the normal approximation: with no difference, and the share of discordant cases that was observed (at least one case),
    the statistic's numerator has variance psi / n, and its denominator the variance under the margin.

    Args:
        counts: the cases of one class.  malignant: which class that is; the other one needs no case.
        design_effect: how many cases weigh as much as one independent case.
    Raises:
        ValueError: there is no case; a margin, target or confidence that cannot be.
    """
    _check(target, confidence)
    if not 0.0 < margin < 1.0:
        raise ValueError(f"margin must lie in (0, 1), such as 0.05; got {margin!r}")
    if counts.total == 0:
        raise ValueError("there is no case to compare two readers on")
    discordant = counts.only_a_correct + counts.only_b_correct
    share = max(discordant, 1) / counts.total
    effective = counts.total / design_effect
    under_margin = math.sqrt(tango_variance(1.0, share / 2, share / 2, -margin))
    z, z_power = float(special.ndtri(confidence)), float(special.ndtri(target))
    cases = ((z * under_margin + z_power * math.sqrt(share)) / margin) ** 2
    needed = max(2, math.ceil(cases * design_effect))
    return PowerOfTest(
        assumed_diff=0.0,
        target=target,
        power=float(special.ndtr((margin * math.sqrt(effective) - z * under_margin) / math.sqrt(share))),
        needed_pos=needed if malignant else None,
        needed_neg=None if malignant else needed,
        note=None if discordant else "no case was discordant: one was taken to be",
    )


def _check(target: float, confidence: float) -> None:
    if not 0.0 < target < 1.0 or not 0.0 < confidence < 1.0:
        raise ValueError(f"power and level must lie in (0, 1), such as 0.8 and 0.95; got {target!r} and {confidence!r}")
