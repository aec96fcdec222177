"""Do verdicts hold where a patient has several images?  False non-inferiority, type I error and coverage, simulated.

    python benchmarks/patients.py [--simulations 2000] [--seed 1] [--readers 0.5] [--quick]

60, 120 and 200 patients (half malignant) with 1, 2, 4 or 1 to 4 images each; the latent scores of a patient's images are
correlated by 0, 0.4 or 0.8, two readers by 0.5 (networks that saw the same images: rather 0.9). Per setting:

  false non-inferiority  reader a is worse than b by exactly the margin 0.05 (AUC 0.80 against 0.85, sensitivity 0.80 against
                         0.85) and is called non-inferior at a one-sided 5 %
  type I                 both are equally good (AUC 0.85, sensitivity 0.85); two-sided P < 0.05
  coverage               95 % intervals: AUC, sensitivity, difference of AUCs

Each figure comes from the library's own function, the one that a report uses. Wanted: 4 to 6 %, and 93 to 97 %. Figures
outside, by more than two standard errors of the simulation, are marked; those of exact tests with one image per patient
are conservative by their nature (below 4 %, above 97 %) and marked '-'. For comparison, unmarked: 'images' is what taking
images as independent gives, 'plain' difference +- z se over patients in place of limits on the logit scale.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy import special

from wsus.evaluation.auc import delong_paired
from wsus.evaluation.clustered import clustered_paired
from wsus.evaluation.clustered_shares import clustered_paired_shares, clustered_proportion
from wsus.evaluation.intervals import clopper_pearson
from wsus.evaluation.paired import Verdict, mcnemar_exact, noninferiority_auc, noninferiority_paired

MARGIN, BETTER = 0.05, 0.85
WORSE = BETTER - MARGIN
ONE_SIDED_Z = float(special.ndtri(0.95))
ERRORS, COVERED = (0.04, 0.06), (0.93, 0.97)
Flags = dict[str, bool]
Scores = NDArray[np.float64]


def main() -> int:
    """Print every figure of every setting; 1 where one lies outside its limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readers", type=float, default=0.5, help="correlation of two readers, of patients and of images alike")
    parser.add_argument("--quick", action="store_true", help="120 patients alone")
    asked = parser.parse_args()
    start, missed = time.perf_counter(), 0
    for patients in (120,) if asked.quick else (60, 120, 200):
        for images in ("1", "2", "4", "1-4"):
            for correlation in (0.0, 0.4, 0.8):
                rng = np.random.default_rng([asked.seed, patients, len(images) + int(images[-1]), round(10 * correlation)])
                rates = simulated(patients, images, (correlation, asked.readers), asked.simulations, rng)
                missed += reported(f"{patients} patients x {images}, correlation {correlation}", rates, asked.simulations, images)
    print(f"\n{time.perf_counter() - start:.0f} s; {missed} figures outside their limits")
    return 0 if missed == 0 else 1


def simulated(
    patients: int, images: str, correlations: tuple[float, float], times: int, rng: np.random.Generator
) -> dict[str, float]:
    """How often each event came out. correlations: of a patient's images, and of the readers."""
    held = 1 + np.arange(patients) // 2 % 4 if images == "1-4" else np.full(patients, int(images))
    patient = np.repeat(np.arange(patients), held)
    malignant = patient % 2 == 0
    found: dict[str, int] = defaultdict(int)
    for _ in range(times):
        noise = _correlated(patient, patients, correlations, rng)
        for name, event in {**_auc(malignant, patient, noise), **_shares(patient[malignant], noise[:, malignant])}.items():
            found[name] += event
    return {name: count / times for name, count in found.items()}


def _correlated(patient: NDArray[np.int64], patients: int, correlations: tuple[float, float], rng: np.random.Generator) -> Scores:
    """Latent scores of two readers with unit variance, shape (2, images)."""
    correlation, readers = correlations

    def shared(size: int) -> Scores:
        return math.sqrt(readers) * rng.normal(size=size) + math.sqrt(1 - readers) * rng.normal(size=(2, size))

    return math.sqrt(correlation) * shared(patients)[:, patient] + math.sqrt(1 - correlation) * shared(patient.size)


def _auc(malignant: NDArray[np.bool_], patient: NDArray[np.int64], noise: Scores) -> Flags:
    def scores(reader: int, auc: float) -> Scores:
        return noise[reader] + math.sqrt(2.0) * float(special.ndtri(auc)) * malignant

    worse, better, equal = scores(0, WORSE), scores(1, BETTER), scores(0, BETTER)
    margin, same = (clustered_paired(malignant, a, better, patient) for a in (worse, equal))
    plain = delong_paired(malignant, worse, better)
    low, high = same.ci_diff or (math.nan, math.nan)
    logit_low, logit_high = same.b.ci_logit or (math.nan, math.nan)
    return {
        "false non-inferiority, AUC": noninferiority_auc(margin, MARGIN, 0.95).verdict is Verdict.NON_INFERIOR,
        "false non-inferiority, AUC, images": noninferiority_auc(plain, MARGIN, 0.95).verdict is Verdict.NON_INFERIOR,
        "false non-inferiority, AUC, plain": margin.diff - ONE_SIDED_Z * (margin.se_diff or math.inf) > -MARGIN,
        "type I, AUC": same.p_value is not None and same.p_value < 0.05,
        "coverage, AUC": logit_low <= BETTER <= logit_high,
        "coverage, difference of AUCs": low <= 0.0 <= high,
    }


def _shares(patient: NDArray[np.int64], noise: Scores) -> Flags:
    right = {(reader, share): noise[reader] >= special.ndtri(1 - share) for reader in (0, 1) for share in (WORSE, BETTER)}
    margin = clustered_paired_shares(right[0, WORSE], right[1, BETTER], patient)
    same = clustered_paired_shares(right[0, BETTER], right[1, BETTER], patient)
    one_each = same.n_patients == patient.size
    judged = noninferiority_paired(margin.counts, MARGIN, 0.95) if one_each else margin.noninferiority(MARGIN, 0.95)
    p = mcnemar_exact(same.counts).p_value if one_each else same.p_value
    share = clustered_proportion(right[1, BETTER], patient)
    low, high = share.ci or (math.nan, math.nan)
    plain_low, plain_high = clopper_pearson(share.count, share.total)
    plain = noninferiority_paired(margin.counts, MARGIN, 0.95)
    return {
        "false non-inferiority, sensitivity": judged is not None and judged.verdict is Verdict.NON_INFERIOR,
        "false non-inferiority, sensitivity, images": plain.verdict is Verdict.NON_INFERIOR,
        "type I, sensitivity": p is not None and p < 0.05,
        "coverage, sensitivity": low <= BETTER <= high,
        "coverage, sensitivity, images": plain_low <= BETTER <= plain_high,
    }


def reported(setting: str, rates: dict[str, float], times: int, images: str) -> int:
    """Print a setting; how many figures lie outside their limits."""
    print(setting)
    missed = 0
    for name, rate in rates.items():
        low, high = COVERED if name.startswith("coverage") else ERRORS
        slack = 2 * math.sqrt(rate * (1 - rate) / times)
        outside = not low - slack <= rate <= high + slack
        exact = "sensitivity" in name and images == "1" and (rate < 0.5 or rate > high)
        mark = " " if name.endswith(("images", "plain")) or not outside else "-" if exact else "*"
        missed += mark == "*"
        print(f"  {name:<44}{100 * rate:6.1f} %{mark}", flush=True)
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
