"""`wsus stats` from a file of degenerate cases, against fractions that are worked out pair by pair in this file alone."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsus.two_scores.stats import stats_from_csv

RELATIVE = 1e-12
KINDS = (
    "continuous", "ties", "three values", "two values", "one value", "constant a", "constant both", "identical", "same ranks",
    "separated", "separated against constant", "separated against reversed", "nearly tied", "huge and tiny", "mirrored",
)  # fmt: skip
SIZES = ((1, 1), (1, 5), (6, 1), (2, 2), (4, 4), (12, 5), (5, 40))


def scored(kind: str, n_pos: int, n_neg: int) -> tuple[list[int], list[float], list[float]]:
    """Cases of one kind, the same every time."""
    rng = np.random.default_rng([KINDS.index(kind), n_pos, n_neg])
    labels = rng.permutation([1] * n_pos + [0] * n_neg)
    common = rng.normal(size=labels.size)
    a, b = (1 / (1 + np.exp(-(labels + common + rng.normal(size=labels.size) - 0.5))) for _ in range(2))
    apart = np.where(labels == 1, 0.6 + 0.3 * a, 0.4 * a)
    constant = np.full(labels.size, 0.5)
    pairs = {
        "continuous": (a, b),
        "ties": (a.round(1), b.round(1)),
        "three values": ((2 * a).round() / 2, (2 * b).round() / 2),
        "two values": ((a > 0.5).astype(float), (b > 0.4).astype(float)),
        "one value": (np.where(a < 0.9, 0.5, a), b.round(1)),
        "constant a": (constant, b),
        "constant both": (constant, constant - 0.1),
        "identical": (a, a),
        "same ranks": (a, a**3),
        "separated": (apart, b),
        "separated against constant": (apart, constant),
        "separated against reversed": (apart, 1 - apart),
        "nearly tied": (0.5 + 1e-16 * np.floor(4 * a), 0.5 + 1e-10 * np.round(50 * b)),
        "huge and tiny": (-a * 1e300, b * 1e-300),
        "mirrored": (a, 1 - a),
    }
    found_a, found_b = pairs[kind]
    return labels.tolist(), found_a.tolist(), found_b.tolist()


def written(path: Path, labels: list[int], a: list[float], b: list[float]) -> Path:
    """As spreadsheets write it: a byte-order mark, CRLF, columns in another order, labels in words."""
    rows = [
        f"{y!r},case {i},{('benign', 'Malignant')[label]},{x!r}" for i, (label, x, y) in enumerate(zip(labels, a, b, strict=True))
    ]
    path.write_bytes(("\ufeff" + "\r\n".join(["score_b,id,label,score_a", *rows]) + "\r\n").encode())
    return path


def wins(labels: list[int], scores: list[float]) -> tuple[list[Fraction], list[Fraction]]:
    """Placements of malignant and of benign cases, by comparing every pair."""
    pos = [score for label, score in zip(labels, scores, strict=True) if label]
    neg = [score for label, score in zip(labels, scores, strict=True) if not label]
    won = [[Fraction((x > y) - (x < y) + 1, 2) for y in neg] for x in pos]
    return [sum(row) / Fraction(len(neg)) for row in won], [sum(column) / Fraction(len(pos)) for column in zip(*won, strict=True)]


def covariance(x: list[Fraction], y: list[Fraction]) -> Fraction:
    mean_x, mean_y = sum(x) / Fraction(len(x)), sum(y) / Fraction(len(y))
    return sum((p - mean_x) * (q - mean_y) for p, q in zip(x, y, strict=True)) / Fraction(len(x) - 1)


def no_likelier(ways: list[int], observed: int) -> float:
    """The share of the outcomes that are no likelier than the observed one, up to R's relative 1e-7."""
    limit = ways[observed] * (1 + Fraction(1, 10**7))
    return float(Fraction(sum(way for way in ways if way <= limit), sum(ways)))


def fisher(a: int, b: int, c: int, d: int) -> float:
    row, column, other = a + b, a + c, c + d
    lowest = max(0, column - other)
    ways = [math.comb(row, x) * math.comb(other, column - x) for x in range(lowest, min(row, column) + 1)]
    return no_likelier(ways, a - lowest)


def same(found: float | None, expected: float | None) -> bool:
    return found is expected or (found is not None and expected is not None and math.isclose(found, expected, rel_tol=RELATIVE))


@pytest.mark.parametrize(("kind", "size"), list(product(KINDS, SIZES)))
def test_figures_are_those_of_every_pair_compared(kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    labels, a, b = scored(kind, *size)
    stats: dict[str, Any] = json.loads(json.dumps(stats_from_csv(written(tmp_path / "x.csv", labels, a, b)), allow_nan=False))
    (pos_a, neg_a), (pos_b, neg_b) = wins(labels, a), wins(labels, b)
    n_pos, n_neg = size
    auc_a, auc_b = sum(pos_a) / Fraction(n_pos), sum(pos_b) / Fraction(n_pos)

    assert (stats["auc_a"], stats["auc_b"], stats["paired"]["diff"]) == (float(auc_a), float(auc_b), float(auc_a - auc_b))
    if min(size) < 2:
        assert [stats[key] for key in ("var_a", "var_b", "cov_ab")] == [None] * 3
        assert [stats["paired"][key] for key in ("se_diff", "Z", "p", "log10_p")] == [None] * 4
        assert stats["unpaired"] == {"D": None, "df": None, "p": None}
        assert "single_case_in_a_class" in stats["flags"]
        return
    var_a = covariance(pos_a, pos_a) / n_pos + covariance(neg_a, neg_a) / n_neg
    var_b = covariance(pos_b, pos_b) / n_pos + covariance(neg_b, neg_b) / n_neg
    cov = covariance(pos_a, pos_b) / n_pos + covariance(neg_a, neg_b) / n_neg
    assert (stats["var_a"], stats["var_b"], stats["cov_ab"]) == (float(var_a), float(var_b), float(cov))
    var_diff = var_a + var_b - 2 * cov
    assert ("var_diff_zero" in stats["flags"], "auc_equal" in stats["flags"]) == (var_diff == 0, auc_a == auc_b)
    z = float(auc_a - auc_b) / math.sqrt(var_diff) if var_diff else 0.0 if auc_a == auc_b else None
    assert same(stats["paired"]["Z"], z)
    assert same(stats["paired"]["p"], None if z is None else math.erfc(abs(z) / math.sqrt(2)))
    assert same(stats["unpaired"]["D"], float(auc_a - auc_b) / math.sqrt(var_a + var_b) if var_a + var_b else None)


@pytest.mark.parametrize(("kind", "size"), list(product(KINDS, SIZES)))
def test_calls_and_their_exact_tests_are_counted(kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    labels, a, b = scored(kind, *size)
    at = stats_from_csv(written(tmp_path / "x.csv", labels, a, b))["threshold"]
    right = {
        side: [(score >= 0.5) == bool(y) for y, score in zip(labels, scores, strict=True)]
        for side, scores in (("a", a), ("b", b))
    }
    tp, tn = (
        {side: sum(ok for ok, y in zip(right[side], labels, strict=True) if y == label) for side in "ab"} for label in (1, 0)
    )

    for side in "ab":
        assert (at[side]["tp"], at[side]["tn"]) == (tp[side], tn[side])
        assert same(at[side]["fisher_p"], fisher(tn[side], size[1] - tn[side], tp[side], size[0] - tp[side]))
    assert same(at["fisher_sens_a_vs_b_p"], fisher(tp["a"], size[0] - tp["a"], tp["b"], size[0] - tp["b"]))
    for name, label in (("mcnemar_pos", 1), ("mcnemar_neg", 0)):
        pairs = [(x, y) for x, y, z in zip(right["a"], right["b"], labels, strict=True) if z == label]
        only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
        assert (at[name]["only_a_correct"], at[name]["only_b_correct"]) == (only_a, only_b)
        assert same(at[name]["p"], no_likelier([math.comb(only_a + only_b, k) for k in range(only_a + only_b + 1)], only_a))
