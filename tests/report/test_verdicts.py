"""Sentences claim no more than the figures show."""

from __future__ import annotations

import dataclasses

from wsus.comparison.result import Comparison, Estimate, LocalisationFigure, LocalisationGroup, LocalisationResult
from wsus.evaluation.paired import NonInferiority, Verdict
from wsus.report.verdicts import remarks, verdicts


def _verdict(word: Verdict, lower: float | None = -0.02) -> NonInferiority:
    return NonInferiority(margin=0.05, diff=0.0, lower=lower, upper=0.02, p_value=0.01, verdict=word, confidence=0.95)


def _with(comparison: Comparison, *words: Verdict) -> Comparison:
    """The first pairs of the internal set against manual ROI, with verdicts as given and nothing else to report."""
    pairs = [pair for pair in comparison.pairs if (pair.split, pair.mode) == ("internal", "manual_roi")]
    changed = tuple(
        dataclasses.replace(pair, noninferiority=_verdict(word), p_holm=0.5) for pair, word in zip(pairs, words, strict=False)
    )
    return dataclasses.replace(comparison, pairs=changed, localisation=())


def test_all_non_inferior_supports(comparison: Comparison) -> None:
    (sentence,) = verdicts(_with(comparison, Verdict.NON_INFERIOR, Verdict.NON_INFERIOR))

    assert sentence.text == (
        "Internal set, weak against manual ROI: AUC non-inferior for VGG16 and ResNet34 (margin 0.05)."
        " Only 20 images of a class: the intervals are rough."
    )
    assert sentence.tone == "good"


def test_one_inconclusive_leaves_it_open_and_names_it(comparison: Comparison) -> None:
    (sentence,) = verdicts(_with(comparison, Verdict.NON_INFERIOR, Verdict.INCONCLUSIVE))

    assert "non-inferior for VGG16; inconclusive for ResNet34" in sentence.text
    assert sentence.tone == "open"


def test_inconclusive_says_what_the_set_could_show_and_what_it_takes(comparison: Comparison) -> None:
    changed = _with(comparison, Verdict.NON_INFERIOR, Verdict.INCONCLUSIVE)
    power = changed.pairs[1].power_auc

    assert power is not None
    assert power.power is not None
    assert power.needed_pos is not None
    assert power.needed_neg is not None
    assert (
        f"a set of this size shows it with a chance of {100 * power.power:.0f}%;"
        f" a chance of 80% takes {power.needed_pos + power.needed_neg:,} images."
    ) in verdicts(changed)[0].text


def test_images_that_one_mode_did_not_score_are_a_remark(comparison: Comparison) -> None:
    names = tuple(f"internal-{i:04d}" for i in range(7))
    pair = dataclasses.replace(comparison.pairs[0], split="internal", n=33, only_weak=names[:6], only_full=names[6:])

    (remark,) = remarks(dataclasses.replace(comparison, pairs=(pair,), notes=()))

    assert "7 images were scored by one of the two alone and are left out of the pair, which has 33" in remark
    assert "internal-0004 and 2 more" in remark
    assert remarks(dataclasses.replace(comparison, pairs=(), notes=("a note",))) == ("a note",)


def test_one_inferior_speaks_against(comparison: Comparison) -> None:
    assert verdicts(_with(comparison, Verdict.NON_INFERIOR, Verdict.INFERIOR))[0].tone == "bad"


def test_bound_that_cannot_be_estimated_is_not_called_inconclusive(comparison: Comparison) -> None:
    changed = _with(comparison, Verdict.INCONCLUSIVE)
    changed = dataclasses.replace(
        changed, pairs=(dataclasses.replace(changed.pairs[0], noninferiority=_verdict(Verdict.INCONCLUSIVE, None)),)
    )

    assert "AUC not estimable for VGG16" in verdicts(changed)[0].text


def test_difference_that_remains_after_adjustment_is_said(comparison: Comparison) -> None:
    changed = _with(comparison, Verdict.INCONCLUSIVE)
    pair = dataclasses.replace(changed.pairs[0], p_holm=0.01, auc_difference=Estimate(value=-0.1, low=-0.15, high=-0.05))

    sentence = verdicts(dataclasses.replace(changed, pairs=(pair,)))[1]

    assert "lower than that of manual ROI (difference −0.100 (−0.150 to −0.050); P = 0.01" in sentence.text
    assert sentence.tone == "bad"


def _located(ours: int, box: int | None) -> LocalisationResult:
    def share(x: int | None, low: float = 0.0) -> Estimate:
        return Estimate(note="not computed") if x is None else Estimate(value=x / 200, low=low, high=1.0, x=x, n=200)

    figures = tuple(
        LocalisationFigure(criterion=name, own=share(ours, ours / 200 - 0.02), centre_box=share(box), random_map=share(1))
        for name in ("overlap", "iou50", "development_box_acc")
    )
    group = LocalisationGroup(variable="all", level="all", n=200, figures=figures)
    return LocalisationResult(backbone="vgg16", split="internal", n=200, without_mask=0, groups=(group,), fisher_p={}, curve=None)


def test_localisation_no_better_than_a_centred_box_is_no_support(comparison: Comparison) -> None:
    bare = dataclasses.replace(comparison, pairs=(), best_weak="vgg16")

    near = verdicts(dataclasses.replace(bare, localisation=(_located(196, 192),)))[0]
    clear = verdicts(dataclasses.replace(bare, localisation=(_located(196, 120),)))[0]

    assert (near.tone, clear.tone) == ("open", "good")
    assert "touched the mask in 98% (a centred box: 96%)" in near.text
    assert near.text.endswith("not in every respect a clear gain over a box that never looked.")


def test_localisation_without_a_baseline_claims_nothing(comparison: Comparison) -> None:
    bare = dataclasses.replace(comparison, pairs=(), best_weak="vgg16", localisation=(_located(196, None),))

    (sentence,) = verdicts(bare)

    assert sentence.tone == "open"
    assert sentence.text.endswith(
        "the focus touched the mask in 98%, reached an IoU of 0.5 in 98% and reached it at the development set's"
        " own threshold in 98%."
    )
