"""What printed counts still tell: two shares of right calls, as a paper states them, without its cases.

Where both shares are of the same cases, the paired test needs to know on how many the two differ, and papers do not say.
Their margins leave a range for it, and so for the P of the exact McNemar test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from wsus.errors import ConfigError
from wsus.evaluation.intervals import Proportion, proportion
from wsus.evaluation.paired import PairedCounts, fisher_exact, mcnemar_exact


@dataclass(frozen=True, kw_only=True, slots=True)
class SharePair:
    """Two published shares. fisher_p: two-sided, as if the cases were others.

    discordant, mcnemar_p: smallest and largest that the margins allow if both shares are of the same cases; None where the
        numbers of cases differ.
    """

    a: Proportion
    b: Proportion
    fisher_p: float
    discordant: tuple[int, int] | None
    mcnemar_p: tuple[float, float] | None
    confidence: float = 0.95

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`. determined: the margins leave one table only."""
        shares = {
            name: {
                "x": share.count,
                "n": share.total,
                "estimate": share.estimate,
                f"clopper_pearson_{100 * self.confidence:g}": list(share.ci or ()),
            }
            for name, share in (("a", self.a), ("b", self.b))
        }
        bounds = None
        if self.discordant is not None and self.mcnemar_p is not None:
            low, high = self.mcnemar_p
            bounds = {
                "discordant_range": list(self.discordant),
                "p_min": low,
                "p_max": high,
                "determined": self.discordant[0] == self.discordant[1],
            }
        return {**shares, "fisher_p": self.fisher_p, "mcnemar_exact_bounds": bounds}


def share_pair(x_a: int, n_a: int, x_b: int, n_b: int, *, confidence: float = 0.95) -> SharePair:
    """Exact intervals and tests of x_a of n_a against x_b of n_b, in the same time for any number of cases.

    Raises:
        ConfigError: a confidence outside (0, 1).  ValueError: counts that cannot be.
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"the confidence must lie in (0, 1), such as 0.95; got {confidence!r}")
    a, b = proportion(x_a, n_a, confidence), proportion(x_b, n_b, confidence)
    tables = _extreme_tables(x_a, x_b, n_a) if n_a == n_b else []
    discordant = [table.only_a_correct + table.only_b_correct for table in tables]
    p_values = [mcnemar_exact(table).p_value for table in tables]
    return SharePair(
        a=a,
        b=b,
        fisher_p=fisher_exact(x_a, n_a - x_a, x_b, n_b - x_b).p,
        discordant=(min(discordant), max(discordant)) if tables else None,
        mcnemar_p=(min(p_values), max(p_values)) if tables else None,
        confidence=confidence,
    )


def read_share(text: str) -> tuple[int, int]:
    """'87/100' -> (87, 100).

    Raises:
        ConfigError: the text is no such share.
    """
    found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    x, n = (int(part) for part in found.groups()) if found else (1, 0)
    if not 0 <= x <= n or n == 0:
        raise ConfigError(f"{text!r}: expected right calls / cases, such as 87/100")
    return x, n


def format_shares(pair: SharePair) -> str:
    """The figures as text for people."""
    lines = []
    for name, share in (("a", pair.a), ("b", pair.b)):
        low, high = share.ci or (0.0, 1.0)
        method = f"Clopper-Pearson {100 * pair.confidence:g} %"
        lines.append(f"{name}: {share.count} of {share.total} = {share.estimate:.4f} ({low:.4f} to {high:.4f}, {method})")
    lines.append(f"Fisher's exact test, if the cases are others:  P = {pair.fisher_p:.4g}")
    if pair.discordant is None or pair.mcnemar_p is None:
        return "\n".join([*lines, "The numbers of cases differ: no McNemar test."])
    (fewest, most), (low, high) = pair.discordant, pair.mcnemar_p
    said = f"P = {low:.4g}" if low == high else f"P between {low:.4g} and {high:.4g}, with {fewest} to {most} discordant cases"
    return "\n".join([*lines, f"exact McNemar test, if the cases are the same: {said}"])


def _extreme_tables(x_a: int, x_b: int, n: int) -> list[PairedCounts]:
    """The 2 x 2 tables of two readers, right on x_a and on x_b of the same n cases, with the fewest and most discordant cases.

    With the difference fixed the exact P grows with their number (every two more discordant cases, one of each kind, move
    mass towards the middle), so that these two hold the smallest and largest P.
    """
    return [
        PairedCounts(both_correct=both, only_a_correct=x_a - both, only_b_correct=x_b - both, both_wrong=n - x_a - x_b + both)
        for both in sorted({max(0, x_a + x_b - n), min(x_a, x_b)})
    ]
