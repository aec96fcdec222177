"""What the figures say, in sentences that claim no more than they show: one line per set and figure, good news or bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from wsus.comparison.localisation_result import LocalisationResult
from wsus.comparison.result import CellResult, Comparison, PairResult
from wsus.evaluation.paired import NonInferiority, Verdict
from wsus.evaluation.power import PowerOfTest
from wsus.report.wording import (
    SMALL_CLASS,
    backbone_name,
    mode_name,
    number,
    p_clause,
    percent,
    percent_with_interval,
    split_name,
    with_interval,
)
from wsus.types import ENSEMBLE

Tone = Literal["good", "bad", "open"]
SCORED = ("internal", "external")
FIGURES = ("auc", "sensitivity", "specificity")
_EXPECTED_FLAGGED = 0.01  # the guard's bound is set where one of a hundred images like the training images would lie beyond it
_LOCALISED = {
    "overlap": "touched the mask",
    "iou50": "reached an IoU of 0.5",
    "development_box_acc": "reached it at the development set's own threshold",
    "pointing": "had its peak inside",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """A finding. tone: good (supports weak supervision), bad (speaks against it), open (the data do not decide)."""

    text: str
    tone: Tone


def verdicts(comparison: Comparison) -> tuple[Sentence, ...]:
    """By set: non-inferiority of AUC, sensitivity, specificity; differences that remain after adjustment; localisation,
    calibration and the guard of the network that was chosen."""
    found: list[Sentence] = []
    for split in SCORED:
        found += [sentence for figure in FIGURES for sentence in _noninferiority(comparison, split, figure)]
        found += [sentence for figure in FIGURES for sentence in _differences(comparison, split, figure)]
        found += _of_chosen(comparison, split)
    return tuple(found)


def patient_remarks(comparison: Comparison) -> tuple[str, ...]:
    """Which sets hold several images of a patient, and what that changes; to be read before any figure."""
    remarks = []
    for split in SCORED:
        cell = next((cell for cell in comparison.cells if cell.split == split), None)
        if cell is not None and cell.n_patients < cell.n:
            remarks.append(
                f"{split_name(split)} set: {cell.n:,} images of {cell.n_patients:,} patients. Every verdict, P value and interval"
                " allows for that (variance over patients), but for intervals of partial AUCs; figures with one value per patient"
                " stand in a table of their own."
            )
    return tuple(remarks)


def remarks(comparison: Comparison) -> tuple[str, ...]:
    """What a reader must know of the figures: the comparison's own notes, images that a pair does not share, how many tests
    were made, and what the intervals do not hold."""
    return (
        *comparison.notes,
        *(left_out(pair) for pair in comparison.pairs if pair.only_weak or pair.only_full),
        *_tests_made(comparison),
        *_seeds(comparison),
    )


def left_out(pair: PairResult) -> str:
    """Which images only one of the two modes scored, so that the pair goes without them."""
    names = [*pair.only_weak, *pair.only_full]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more, all named in comparison.json" if len(names) > 5 else "")
    return (
        f"{split_name(pair.split)} set, {backbone_name(pair.backbone)}, weak and {_mode_in_text(pair.mode)}: {len(names)} images"
        f" were scored by one of the two alone and are left out of the pair, which has {pair.n} ({shown})."
    )


def judged(pair: PairResult, figure: str) -> NonInferiority | None:
    """A pair's test of non-inferiority on one of FIGURES."""
    return {
        "auc": pair.noninferiority,
        "sensitivity": pair.noninferiority_sensitivity,
        "specificity": pair.noninferiority_specificity,
    }[figure]


def _tests_made(comparison: Comparison) -> Iterator[str]:
    counts = {split: comparison.tests(split) for split in SCORED if comparison.tests(split)}
    if counts:
        parts = _listed([f"{count} on the {split} set" for split, count in counts.items()])
        yield (
            f"Tests made of weak against full supervision: {parts} (AUC, sensitivity and specificity of every pair), and as many"
            " of non-inferiority. Holm's adjustment covers each set's tests of a kind; P values without that word are raw."
        )


def _seeds(comparison: Comparison) -> Iterator[str]:
    trained = max((len(cell.auc_by_seed) for cell in comparison.cells), default=0)
    if trained == 0:
        return
    together = any(cell.seed == ENSEMBLE for cell in comparison.cells)
    stands = "which stand for it together, as an ensemble" if together else "of which the development set chose one"
    seeds = "one seed" if trained == 1 else f"up to {trained} seeds, {stands}"
    yield (
        f"Each cell was trained with {seeds}. Verdicts hold for the networks that were trained: they take in the chance in the"
        " choice of patients, not that of training again"
        + ("." if trained == 1 else "; the spread between seeds stands beside it in the table of seeds.")
    )


def _noninferiority(comparison: Comparison, split: str, figure: str) -> Iterator[Sentence]:
    pairs = [pair for pair in comparison.pairs if pair.split == split]
    if not pairs:
        return
    by_mode = {mode: [pair for pair in pairs if pair.mode == mode] for mode in comparison.modes}
    clauses = [f"{_mode_in_text(mode)}: {_by_verdict(group, figure)}" for mode, group in by_mode.items() if group]
    words = [_verdict_of(pair, figure) for pair in pairs]
    name = "AUC" if figure == "auc" else figure
    yield Sentence(
        text=f"{split_name(split)} set, {name} of weak supervision against {'; against '.join(clauses)}"
        f" (margin {number(comparison.settings['margin'], 2)})."
        + _after_holm(comparison, pairs, figure)
        + (_small_set(pairs) if figure == "auc" else "")
        + _power([pair for pair in pairs if _verdict_of(pair, figure) == Verdict.INCONCLUSIVE], figure, comparison),
        tone=_tone(words),
    )


def _by_verdict(pairs: list[PairResult], figure: str) -> str:
    groups = {word: [pair for pair in pairs if _verdict_of(pair, figure) == word] for word in (*Verdict, "not estimable")}
    decided = (Verdict.NON_INFERIOR, Verdict.INFERIOR)
    return "; ".join(
        f"{word} for {_listed([backbone_name(p.backbone) + (_both(p, figure) if word in decided else '') for p in group])}"
        for word, group in groups.items()
        if group
    )


def _both(pair: PairResult, figure: str) -> str:
    """' (70 against 94%)': the two figures behind a verdict."""
    if figure == "auc":
        return f" ({number(pair.auc_weak, 2)} against {number(pair.auc_full, 2)})"
    counts = pair.sensitivity if figure == "sensitivity" else pair.specificity
    weak, full = counts.both_right + counts.only_weak_right, counts.both_right + counts.only_full_right
    return f" ({percent(weak / counts.n, 0)} against {percent(full / counts.n, 0)}%)"


def _after_holm(comparison: Comparison, pairs: list[PairResult], figure: str) -> str:
    """How many verdicts 'non-inferior' hold after adjustment; '' where there is none to adjust."""
    found = [pair for pair in pairs if _verdict_of(pair, figure) == Verdict.NON_INFERIOR]
    level = 1.0 - comparison.settings["noninferiority_confidence"]
    adjusted = [p for pair in found if (p := pair.noninferiority_p_holm.get(figure)) is not None]
    if not found or not adjusted:
        return ""
    kept = sum(p < level for p in adjusted)
    return f" Non-inferior after Holm's adjustment: {kept} of {len(found)}."


def _small_set(pairs: list[PairResult]) -> str:
    fewest = min(min(pair.sensitivity.n, pair.specificity.n) for pair in pairs)
    return f" Only {fewest} images of a class: the intervals are rough." if fewest < SMALL_CLASS else ""


def _power(inconclusive: list[PairResult], figure: str, comparison: Comparison) -> str:
    """What the undecided comparisons could have shown, and the images that it would take; '' where none is undecided."""
    found = [one for pair in inconclusive if (one := _power_of(pair, figure)) is not None]
    powers = [one.power for one in found if one.power is not None]
    needed = [(one.needed_pos or 0) + (one.needed_neg or 0) for one in found if one.power is not None]
    if not powers:
        return ""
    low, high = percent(min(powers), 0), percent(max(powers), 0)
    chance = f"{low}%" if low == high else f"{low} to {high}%"
    fewest, most = f"{min(needed):,}", f"{max(needed):,}"
    kind = {"auc": "images", "sensitivity": "malignant images", "specificity": "benign images"}[figure]
    images = f"{fewest if fewest == most else f'{fewest} to {most}'} {kind}"
    target = percent(comparison.settings["power"], 0)
    return (
        f" If both are equally good, a set of this size shows it with a chance of {chance}; a chance of {target}% takes {images}."
    )


def _power_of(pair: PairResult, figure: str) -> PowerOfTest | None:
    return {"auc": pair.power_auc, "sensitivity": pair.power_sensitivity, "specificity": pair.power_specificity}[figure]


def _tone(words: list[str]) -> Tone:
    if Verdict.INFERIOR in words:
        return "bad"
    return "good" if all(word == Verdict.NON_INFERIOR for word in words) else "open"


def _verdict_of(pair: PairResult, figure: str) -> str:
    found = judged(pair, figure)
    return "not estimable" if found is None or found.lower is None else str(found.verdict)


def _differences(comparison: Comparison, split: str, figure: str) -> Iterator[Sentence]:
    """Differences whose two-sided P is below alpha after adjustment."""
    for pair in comparison.pairs:
        p = {"auc": pair.p_holm, "sensitivity": pair.sensitivity.p_holm, "specificity": pair.specificity.p_holm}[figure]
        if pair.split != split or p is None or p >= comparison.settings["alpha"]:
            continue
        counts = pair.sensitivity if figure == "sensitivity" else pair.specificity
        difference = (
            pair.auc_difference.value if figure == "auc" else (counts.only_weak_right - counts.only_full_right) / counts.n
        )
        if difference is None:
            continue
        said = with_interval(pair.auc_difference) if figure == "auc" else f"{percent(difference, 0)} percentage points"
        yield Sentence(
            text=(
                f"{split_name(split)} set, {backbone_name(pair.backbone)}: the {'AUC' if figure == 'auc' else figure} of weak"
                f" supervision was {'higher' if difference > 0 else 'lower'} than that of {_mode_in_text(pair.mode)} (difference"
                f" {said}; {p_clause(p)} after Holm's adjustment)."
            ),
            tone="good" if difference > 0 else "bad",
        )


def _of_chosen(comparison: Comparison, split: str) -> Iterator[Sentence]:
    """Localisation, calibration and guard of the weak network that the development set chose."""
    if comparison.best_weak is None:
        return
    located = comparison.located(comparison.best_weak, split)
    if located is not None:
        yield _localisation_sentence(located, comparison.settings["alpha"])
    cell = comparison.cell(comparison.best_weak, "weak", split)
    if cell is not None:
        yield from _calibration(cell)
        yield from _guard(cell)


def _localisation_sentence(found: LocalisationResult, alpha: float) -> Sentence:
    """Each criterion beside what a centred box reaches on the same images without looking, by a paired test."""
    clauses, gains, losses = [], 0, 0
    group = found.group("all")
    for criterion, words in _LOCALISED.items():
        figure = group.figure(criterion) if group and any(one.criterion == criterion for one in group.figures) else None
        if figure is None or figure.own.value is None:
            continue
        share, beside = figure.centre_box.value, ""
        if share is not None:
            beside = f" (a centred box: {percent(share, 0)}%{'' if figure.p_box is None else f', {p_clause(figure.p_box)}'})"
            decided = figure.p_box is not None and figure.p_box < alpha
            gains += decided and figure.own.value > share
            losses += decided and figure.own.value < share
        clauses.append(f"{words} in {percent(figure.own.value, 0)}%{beside}")
    compared = sum("a centred box" in clause for clause in clauses)
    who = f"{split_name(found.split)} set, {backbone_name(found.backbone)}"
    if compared == 0:
        return Sentence(text=f"{who}: of {found.n} images the focus {_listed(clauses)}.", tone="open")
    better, worse = ("" if not n else f"{n} of {compared}" for n in (gains, losses))
    end = {
        (True, True): f"better than a box that never looked in {better} respects, worse in {worse}",
        (True, False): f"better than a box that never looked in {better} respects, worse in none",
        (False, True): f"worse than a box that never looked in {worse} respects, better in none",
        (False, False): "in no respect shown to be better or worse than a box that never looked",
    }[bool(gains), bool(losses)]
    tone: Tone = "bad" if losses else "good" if gains == compared else "open"
    return Sentence(text=f"{who}: of {found.n} images the focus {_listed(clauses)}: {end} (paired tests).", tone=tone)


def _calibration(cell: CellResult) -> Iterator[Sentence]:
    """Bad where an interval excludes the right value; never 'good', since an interval that holds it may only be wide."""
    slope, shift = cell.calibration_slope, cell.calibration_in_the_large
    if slope.value is None and shift.value is None:
        return
    wrong = []
    if slope.low is not None and slope.high is not None and not slope.low <= 1.0 <= slope.high:
        wrong.append(f"too {'extreme' if slope.high < 1.0 else 'cautious'}")
    if shift.low is not None and shift.high is not None and not shift.low <= 0.0 <= shift.high:
        wrong.append(f"too {'low' if shift.low > 0.0 else 'high'} on average")
    said = f"the probabilities are {_listed(wrong)}" if wrong else "no error of the probabilities is shown"
    exact = f" {cell.extreme_poms} probabilities are exactly 0 or 1." if cell.extreme_poms else ""
    yield Sentence(
        text=(
            f"{split_name(cell.split)} set, {backbone_name(cell.backbone)}: calibration slope {with_interval(slope, digits=2)}"
            f" (1 is right), in the large {with_interval(shift, digits=2)} (0 is right), Brier score"
            f" {with_interval(cell.brier)}: {said}.{exact}"
        ),
        tone="bad" if wrong else "open",
    )


def _guard(cell: CellResult) -> Iterator[Sentence]:
    found = cell.unlike_training
    if found is None or found.value is None:
        return
    low, high = found.low or 0.0, 1.0 if found.high is None else found.high
    tone: Tone = "bad" if low > 0.05 else "good" if high < 0.1 and low <= _EXPECTED_FLAGGED else "open"
    yield Sentence(
        text=(
            f"{split_name(cell.split)} set, {backbone_name(cell.backbone)}: the guard calls {found.x} of {found.n} images unlike"
            f" the training images ({percent_with_interval(found)}%; about {percent(_EXPECTED_FLAGGED, 0)}% is expected where"
            " they are alike)."
        ),
        tone=tone,
    )


def _mode_in_text(mode: str) -> str:
    return mode_name(mode).replace("Manual", "manual").replace("Automatic", "automatic")


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
