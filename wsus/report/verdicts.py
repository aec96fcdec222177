"""What the figures say, in sentences that claim no more than they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from wsus.comparison.result import Comparison, LocalisationResult, PairResult
from wsus.evaluation.paired import Verdict
from wsus.report.wording import SMALL_CLASS, backbone_name, mode_name, number, p_clause, percent, split_name, with_interval

Tone = Literal["good", "bad", "open"]
SCORED = ("internal", "external")
_LOCALISED = {
    "overlap": "touched the mask",
    "iou50": "reached an IoU of 0.5",
    "development_box_acc": "reached it at the development set's own threshold",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """A finding. tone: good (supports weak supervision), bad (speaks against it), open (the data do not decide)."""

    text: str
    tone: Tone


def verdicts(comparison: Comparison) -> tuple[Sentence, ...]:
    """The study's findings: non-inferiority by set and mode, differences that remain after adjustment, localisation."""
    return (*_noninferiority(comparison), *_differences(comparison), *_localisation(comparison))


def remarks(comparison: Comparison) -> tuple[str, ...]:
    """What a reader must know before the figures: the comparison's own notes, and images that a pair does not share."""
    return (*comparison.notes, *(left_out(pair) for pair in comparison.pairs if pair.only_weak or pair.only_full))


def left_out(pair: PairResult) -> str:
    """Which images only one of the two modes scored, so that the pair goes without them."""
    names = [*pair.only_weak, *pair.only_full]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more, all named in comparison.json" if len(names) > 5 else "")
    return (
        f"{split_name(pair.split)} set, {backbone_name(pair.backbone)}, weak and {_mode_in_text(pair.mode)}: {len(names)} images"
        f" were scored by one of the two alone and are left out of the pair, which has {pair.n} ({shown})."
    )


def _noninferiority(comparison: Comparison) -> Iterator[Sentence]:
    margin = number(comparison.settings["margin"], 2)
    for split in SCORED:
        for mode in comparison.modes:
            pairs = [pair for pair in comparison.pairs if (pair.split, pair.mode) == (split, mode)]
            if not pairs:
                continue
            by_verdict = {word: [p for p in pairs if _verdict_of(p) == word] for word in (*Verdict, "not estimable")}
            parts = [f"{word} for {_names(group)}" for word, group in by_verdict.items() if group]
            yield Sentence(
                text=f"{split.capitalize()} set, weak against {_mode_in_text(mode)}: AUC {'; '.join(parts)} (margin {margin})."
                + _small_set(pairs)
                + _power(by_verdict[Verdict.INCONCLUSIVE], percent(comparison.settings["power"], 0)),
                tone=_tone(by_verdict, len(pairs)),
            )


def _small_set(pairs: list[PairResult]) -> str:
    fewest = min(min(pair.sensitivity.n, pair.specificity.n) for pair in pairs)
    return f" Only {fewest} images of a class: the intervals are rough." if fewest < SMALL_CLASS else ""


def _power(inconclusive: list[PairResult], target: str) -> str:
    """What the undecided comparisons could have shown, and the images that it would take; '' where none is undecided."""
    found = [pair.power_auc for pair in inconclusive if pair.power_auc is not None]
    powers = [one.power for one in found if one.power is not None]
    needed = [one.needed_pos + one.needed_neg for one in found if one.needed_pos is not None and one.needed_neg is not None]
    if not powers or not needed:
        return ""
    low, high = percent(min(powers), 0), percent(max(powers), 0)
    chance = f"{low}%" if low == high else f"{low} to {high}%"
    fewest, most = f"{min(needed):,}", f"{max(needed):,}"
    images = fewest if fewest == most else f"{fewest} to {most}"
    return (
        f" If both are equally good, a set of this size shows it with a chance of {chance};"
        f" a chance of {target}% takes {images} images."
    )


def _tone(by_verdict: dict[str, list[PairResult]], total: int) -> Tone:
    if by_verdict[Verdict.INFERIOR]:
        return "bad"
    return "good" if len(by_verdict[Verdict.NON_INFERIOR]) == total else "open"


def _verdict_of(pair: PairResult) -> str:
    found = pair.noninferiority
    return "not estimable" if found is None or found.lower is None else str(found.verdict)


def _differences(comparison: Comparison) -> Iterator[Sentence]:
    alpha = comparison.settings["alpha"]
    for pair in comparison.pairs:
        if pair.split not in SCORED or pair.p_holm is None or pair.p_holm >= alpha or pair.auc_difference.value is None:
            continue
        higher = pair.auc_difference.value > 0
        yield Sentence(
            text=(
                f"{pair.split.capitalize()} set, {backbone_name(pair.backbone)}: the AUC of weak supervision was"
                f" {'higher' if higher else 'lower'} than that of {_mode_in_text(pair.mode)} (difference"
                f" {with_interval(pair.auc_difference)}; {p_clause(pair.p_holm)} after Holm's adjustment)."
            ),
            tone="good" if higher else "bad",
        )


def _localisation(comparison: Comparison) -> Iterator[Sentence]:
    if comparison.best_weak is None:
        return
    for split in SCORED:
        found = comparison.located(comparison.best_weak, split)
        if found is not None:
            yield _localisation_sentence(found)


def _localisation_sentence(found: LocalisationResult) -> Sentence:
    """The paper's overlap and the stricter IoU, each beside what a centred box reaches without looking."""
    clauses, beaten = [], []
    group = found.group("all")
    for criterion, words in _LOCALISED.items():
        figure = group.figure(criterion) if group else None
        if figure is None or figure.own.value is None or figure.own.low is None:
            continue
        share = figure.centre_box.value
        clauses.append(
            f"{words} in {percent(figure.own.value, 0)}%" + ("" if share is None else f" (a centred box: {percent(share, 0)}%)")
        )
        if share is not None:
            beaten.append(figure.own.low > share)
    end = "." if all(beaten) else "; not in every respect a clear gain over a box that never looked."
    who = f"{found.split.capitalize()} set, {backbone_name(found.backbone)}"
    return Sentence(
        text=f"{who}: of {found.n} images the focus {_listed(clauses)}{end}",
        tone="good" if beaten and all(beaten) else "open",
    )


def _mode_in_text(mode: str) -> str:
    return mode_name(mode).replace("Manual", "manual").replace("Automatic", "automatic")


def _names(pairs: list[PairResult]) -> str:
    return _listed([backbone_name(pair.backbone) for pair in pairs])


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
