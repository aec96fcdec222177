"""Do the 95 % intervals hold the truth 95 times in 100?  Simulated at 100 + 100 images and a true AUC of 0.9.

    python benchmarks/coverage.py [--simulations 8000] [--bootstrap 800] [--seed 1]

Scores are normal in both classes. Where images are clustered, 50 + 50 patients have two images each, which share half of the
score's variance. Paired scores are equally good and share half of it too. Every interval is made by the library's own function,
the one that a report uses. An approximate interval must cover between 93 % and 97 %; an exact one at least 95 %, less two
standard errors of the simulation. The plain (Wald) interval over patients is printed as well, and falls short: that is why a
report gives the one on the logit scale.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, special

from wsus.evaluation.auc import auc_with_interval, delong_paired
from wsus.evaluation.clustered import bootstrap_auc, clustered_auc, clustered_paired
from wsus.evaluation.intervals import Interval, clopper_pearson
from wsus.evaluation.likelihood_ratios import ratio_of_proportions
from wsus.evaluation.paired import noninferiority_auc, noninferiority_paired, paired_counts
from wsus.evaluation.partial_auc import partial_auc

N, AUC = 100, 0.9
SEPARATION = math.sqrt(2.0) * float(special.ndtri(AUC))
LOWEST, HIGHEST = 0.93, 0.97
RANGE = 0.2  # of the partial AUC: specificity, or sensitivity, of 0.8 or more
LABELS = np.repeat([1, 0], N)
PATIENTS = np.repeat(np.arange(N), 2)

Found = dict[str, tuple[float, Interval | None]]  # name of the interval: the truth, and what was found
Scores = NDArray[np.float64]


@dataclass
class Tally:
    """How often the intervals of one name held the truth, and how wide they were; one that does not exist held nothing."""

    made: int = 0
    held: int = 0
    too_high: int = 0
    missing: int = 0
    width: float = 0.0

    def add(self, truth: float, interval: Interval | None) -> None:
        """Count one interval."""
        self.made += 1
        if interval is None:
            self.missing += 1
            return
        self.held += interval[0] <= truth <= interval[1]
        self.too_high += interval[0] > truth
        self.width += interval[1] - interval[0]

    @property
    def coverage(self) -> float:
        return self.held / self.made

    @property
    def error(self) -> float:
        return math.sqrt(self.coverage * (1.0 - self.coverage) / self.made)


def main() -> int:
    """Print the coverage of every interval; 1 where one lies outside its limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=8000)
    parser.add_argument("--bootstrap", type=int, default=800, help="simulations of the bootstrap, 500 draws each")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    start = time.perf_counter()
    print(f"{N} + {N} images, true AUC {AUC}, {asked.simulations:,} simulations ({asked.bootstrap:,} of the bootstrap)\n")
    print(f"{'interval':<52}{'coverage':>9}{'+-':>8}{'too high':>10}{'mean width':>12}")
    kept = True
    for number, (simulate, times) in enumerate(
        [
            (one_score, asked.simulations),
            (clustered, asked.simulations),
            (paired, asked.simulations),
            (calls, asked.simulations),
            (bootstrap, asked.bootstrap),
        ]
    ):
        for name, tally in tallied(simulate, times, np.random.default_rng([asked.seed, number])).items():
            kept &= reported(name, tally)
    print(f"\n{time.perf_counter() - start:.0f} s; limits {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


def tallied(simulate: Callable[[np.random.Generator], Found], times: int, rng: np.random.Generator) -> dict[str, Tally]:
    """Run one simulation many times."""
    tallies: dict[str, Tally] = {}
    for _ in range(times):
        for name, (truth, interval) in simulate(rng).items():
            tallies.setdefault(name, Tally()).add(truth, interval)
    return tallies


def reported(name: str, tally: Tally) -> bool:
    """Print a line; False where the coverage is not what it must be."""
    exact, shown_only = "exact" in name, "not reported" in name
    good = tally.coverage >= 0.95 - 2 * tally.error if exact else LOWEST <= tally.coverage <= HIGHEST
    width = f"{tally.width / (tally.made - tally.missing):.4f}" if math.isfinite(tally.width) else "one-sided"
    remark = "" if good or shown_only else "  MISSED"
    remark += f"  ({tally.missing} had none)" if tally.missing else ""
    print(f"{name:<52}{tally.coverage:>9.4f}{tally.error:>8.4f}{tally.too_high / tally.made:>10.4f}{width:>12}{remark}")
    return good or shown_only


def one_score(rng: np.random.Generator) -> Found:
    """One score of independent images."""
    scores = SEPARATION * LABELS + rng.normal(size=2 * N)
    found = auc_with_interval(LABELS, scores)
    part = {focus: partial_auc(LABELS, scores, focus=focus, low=1 - RANGE).ci for focus in ("specificity", "sensitivity")}
    return {
        "AUC, DeLong": (AUC, found.ci),
        "AUC, DeLong on the logit scale": (AUC, found.ci_logit),
        "AUC, score (Newcombe)": (AUC, found.ci_score),
        f"partial AUC, specificity >= {1 - RANGE:g}": (true_partial_auc(), part["specificity"]),
        f"partial AUC, sensitivity >= {1 - RANGE:g}": (true_partial_auc(), part["sensitivity"]),
    }


def clustered(rng: np.random.Generator) -> Found:
    """Two scores of images of which every patient has two."""
    a, b = (SEPARATION * LABELS + scores for scores in correlated(rng, N, 2))
    one, both = clustered_auc(LABELS, a, PATIENTS), clustered_paired(LABELS, a, b, PATIENTS)
    return {
        "AUC over patients, Obuchowski on the logit scale": (AUC, one.ci_logit),
        "AUC over patients, Obuchowski plain (not reported)": (AUC, one.ci),
        "AUC over patients, DeLong (not reported)": (AUC, auc_with_interval(LABELS, a).ci),
        "difference of AUCs over patients, Obuchowski": (0.0, both.ci_diff),
    }


def paired(rng: np.random.Generator) -> Found:
    """Two equally good scores of independent images: two-sided, and the two one-sided 95 % bounds as one 90 % interval."""
    a, b = (SEPARATION * LABELS + scores for scores in correlated(rng, 2 * N, 1))
    test = delong_paired(LABELS, a, b)
    bound = noninferiority_auc(test, confidence=0.95)
    malignant = LABELS == 1
    share = noninferiority_paired(paired_counts(a[malignant] >= 1.0, b[malignant] >= 1.0), confidence=0.95)
    return {
        "difference of AUCs, DeLong": (0.0, test.ci_diff),
        "non-inferiority of the AUC, lower bound (95 %)": (0.0, above(bound.lower)),
        "non-inferiority of sensitivity, Tango's bound (95 %)": (0.0, above(share.lower)),
    }


def calls(rng: np.random.Generator) -> Found:
    """Calls at the threshold of equal sensitivity and specificity."""
    share = float(special.ndtr(SEPARATION / 2))
    tp, fp = int(rng.binomial(N, share)), int(rng.binomial(N, 1.0 - share))
    return {
        "sensitivity, Clopper-Pearson (exact)": (share, clopper_pearson(tp, N)),
        "likelihood ratio LR+ (exact)": (share / (1.0 - share), ratio(tp, fp)),
        "likelihood ratio LR- (exact)": ((1.0 - share) / share, ratio(N - tp, N - fp)),
    }


def bootstrap(rng: np.random.Generator) -> Found:
    """Percentiles over patients with two images each."""
    a, _ = (SEPARATION * LABELS + scores for scores in correlated(rng, N, 2))
    found = bootstrap_auc(LABELS, a, PATIENTS, draws=500, seed=int(rng.integers(2**31)))
    return {"AUC over patients, bootstrap percentiles": (AUC, found.ci)}


def correlated(rng: np.random.Generator, patients: int, images: int) -> Iterator[Scores]:
    """Two standard normal scores: half of the variance of each is the patient's, and shared by both scores."""
    common = np.repeat(rng.normal(size=patients), images)
    for _ in range(2):
        yield math.sqrt(0.5) * common + math.sqrt(0.5) * rng.normal(size=patients * images)


def above(bound: float | None) -> Interval | None:
    """A one-sided bound as an interval."""
    return None if bound is None else (bound, math.inf)


@cache
def ratio(x1: int, x0: int) -> Interval | None:
    """The exact interval of a ratio of shares of N; None where an end is infinite."""
    found = ratio_of_proportions(x1, N, x0, N)
    return None if found.low is None or found.high is None else (found.low, found.high)


@cache
def true_partial_auc() -> float:
    """Of the binormal curve over false-positive rates up to RANGE; by symmetry over sensitivities too."""
    area, _ = integrate.quad(lambda rate: special.ndtr(SEPARATION + special.ndtri(rate)), 0.0, RANGE)
    return float(area)


if __name__ == "__main__":
    raise SystemExit(main())
