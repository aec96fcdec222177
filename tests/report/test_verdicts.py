"""Sentences claim no more than the figures show."""

from __future__ import annotations

import dataclasses

from wsus.comparison.estimates import Estimate
from wsus.comparison.localisation_result import LocalisationFigure, LocalisationGroup, LocalisationResult
from wsus.comparison.result import Comparison
from wsus.evaluation.paired import NonInferiority, Verdict
from wsus.report.verdicts import patient_remarks, remarks, verdicts


def _verdict(word: Verdict, lower: float | None = -0.02) -> NonInferiority:
    return NonInferiority(margin=0.05, diff=0.0, lower=lower, upper=0.02, p_value=0.01, verdict=word, confidence=0.975)


def _with(comparison: Comparison, *words: Verdict) -> Comparison:
    """The first pairs of the internal set against manual ROI, AUC verdicts as given, and nothing else to report."""
    pairs = [pair for pair in comparison.pairs if (pair.split, pair.mode) == ("internal", "manual_roi")]
    changed = tuple(
        dataclasses.replace(
            pair,
            noninferiority=_verdict(word),
            p_holm=0.5,
            noninferiority_p_holm={"auc": 0.01},
            auc_weak=0.8,
            auc_full=0.9,
            sensitivity=dataclasses.replace(pair.sensitivity, p_holm=0.5),
            specificity=dataclasses.replace(pair.specificity, p_holm=0.5),
        )
        for pair, word in zip(pairs, words, strict=False)
    )
    return dataclasses.replace(comparison, pairs=changed, localisation=(), best_weak=None)


def test_each_set_has_a_line_for_each_figure(comparison: Comparison) -> None:
    found = verdicts(_with(comparison, Verdict.NON_INFERIOR, Verdict.NON_INFERIOR))

    starts = ("Internal set, AUC of", "Internal set, sensitivity of", "Internal set, specificity of")
    assert [sentence.text.startswith(start) for sentence, start in zip(found, starts, strict=True)] == [True] * 3
    assert found[0].text == (
        "Internal set, AUC of weak supervision against manual ROI: non-inferior for VGG16 (0.80 against 0.90) and ResNet34"
        " (0.80 against 0.90) (margin 0.05). Non-inferior after Holm's adjustment: 2 of 2."
        " Only 20 images of a class: the intervals are rough."
    )
    assert found[0].tone == "good"


def test_one_inconclusive_leaves_it_open_and_names_it(comparison: Comparison) -> None:
    sentence = verdicts(_with(comparison, Verdict.NON_INFERIOR, Verdict.INCONCLUSIVE))[0]

    assert "non-inferior for VGG16 (0.80 against 0.90); inconclusive for ResNet34" in sentence.text
    assert sentence.tone == "open"


def test_inferior_share_stands_at_the_top_as_an_inferior_auc_does(comparison: Comparison) -> None:
    changed = _with(comparison, Verdict.NON_INFERIOR)
    (pair,) = changed.pairs
    counts = dataclasses.replace(pair.sensitivity, both_right=12, only_weak_right=2, only_full_right=6, both_wrong=0)
    worse = dataclasses.replace(pair, sensitivity=counts, noninferiority_sensitivity=_verdict(Verdict.INFERIOR))

    sentence = verdicts(dataclasses.replace(changed, pairs=(worse,)))[1]

    assert sentence.text.startswith(
        "Internal set, sensitivity of weak supervision against manual ROI: inferior for VGG16 (70 against 90%)"
    )
    assert sentence.tone == "bad"


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

    remark = remarks(dataclasses.replace(comparison, pairs=(pair,), notes=()))[0]

    assert "7 images were scored by one of the two alone and are left out of the pair, which has 33" in remark
    assert "internal-0004 and 2 more" in remark
    assert remarks(dataclasses.replace(comparison, pairs=(), cells=(), notes=("a note",))) == ("a note",)


def test_several_images_of_a_patient_and_the_number_of_tests_are_said(comparison: Comparison) -> None:
    (cell,) = (one for one in comparison.cells if (one.backbone, one.mode, one.split) == ("vgg16", "weak", "internal"))
    only = dataclasses.replace(comparison, cells=(dataclasses.replace(cell, n=400, n_patients=100),))

    assert patient_remarks(only)[0].startswith("Internal set: 400 images of 100 patients. Every verdict")
    assert patient_remarks(dataclasses.replace(only, cells=(dataclasses.replace(cell, n_patients=cell.n),))) == ()
    text = " ".join(remarks(comparison))
    assert "15 on the internal set and 15 on the external set (AUC, sensitivity and specificity of every pair)" in text
    assert "up to 2 seeds" in text


def test_calibration_and_guard_have_their_lines_good_or_bad(comparison: Comparison) -> None:
    (cell,) = (one for one in comparison.cells if (one.backbone, one.mode, one.split) == ("vgg16", "weak", "external"))
    off = dataclasses.replace(
        cell,
        calibration_slope=Estimate(value=0.5, low=0.3, high=0.7),
        calibration_in_the_large=Estimate(value=-1.0, low=-1.5, high=-0.5),
        unlike_training=Estimate(value=1.0, low=0.96, high=1.0, x=100, n=100),
    )
    bare = dataclasses.replace(comparison, pairs=(), localisation=(), best_weak="vgg16", cells=(off,))

    calibrated, guard = verdicts(bare)

    assert "the probabilities are too extreme and too high on average" in calibrated.text
    assert "calls 100 of 100 images unlike the training images" in guard.text
    assert (calibrated.tone, guard.tone) == ("bad", "bad")


def test_one_inferior_speaks_against(comparison: Comparison) -> None:
    assert verdicts(_with(comparison, Verdict.NON_INFERIOR, Verdict.INFERIOR))[0].tone == "bad"


def test_bound_that_cannot_be_estimated_is_not_called_inconclusive(comparison: Comparison) -> None:
    changed = _with(comparison, Verdict.INCONCLUSIVE)
    changed = dataclasses.replace(
        changed, pairs=(dataclasses.replace(changed.pairs[0], noninferiority=_verdict(Verdict.INCONCLUSIVE, None)),)
    )

    assert "manual ROI: not estimable for VGG16" in verdicts(changed)[0].text


def test_difference_that_remains_after_adjustment_is_said(comparison: Comparison) -> None:
    changed = _with(comparison, Verdict.INCONCLUSIVE)
    pair = dataclasses.replace(changed.pairs[0], p_holm=0.01, auc_difference=Estimate(value=-0.1, low=-0.15, high=-0.05))

    sentence = verdicts(dataclasses.replace(changed, pairs=(pair,)))[3]

    assert "lower than that of manual ROI (difference −0.100 (−0.150 to −0.050); P = 0.01" in sentence.text
    assert sentence.tone == "bad"


def _located(ours: int, box: int | None, p_box: float | None) -> LocalisationResult:
    def share(x: int | None) -> Estimate:
        return Estimate(note="not computed") if x is None else Estimate(value=x / 200, low=0.0, high=1.0, x=x, n=200)

    figures = tuple(
        LocalisationFigure(criterion=name, own=share(ours), centre_box=share(box), random_map=share(1), p_box=p_box)
        for name in ("overlap", "iou50", "development_box_acc")
    )
    group = LocalisationGroup(variable="all", level="all", n=200, figures=figures)
    return LocalisationResult(
        backbone="vgg16", split="internal", n=200, without_mask=0, groups=(group,), fisher_p={}, curve=None, pxap_bounds=None
    )


def test_gain_over_a_centred_box_is_a_paired_test(comparison: Comparison) -> None:
    bare = dataclasses.replace(comparison, pairs=(), cells=(), best_weak="vgg16")
    near, clear, worse = (
        verdicts(dataclasses.replace(bare, localisation=(_located(*figures),)))[0]
        for figures in ((196, 192, 0.2), (196, 120, 0.001), (100, 120, 0.04))
    )

    assert (near.tone, clear.tone, worse.tone) == ("open", "good", "bad")
    assert "touched the mask in 98% (a centred box: 96%, P = 0.20)" in near.text
    assert near.text.endswith("in no respect shown to be better or worse than a box that never looked (paired tests).")
    assert clear.text.endswith("better than a box that never looked in 3 of 3 respects, worse in none (paired tests).")


def test_localisation_without_a_baseline_claims_nothing(comparison: Comparison) -> None:
    bare = dataclasses.replace(comparison, pairs=(), cells=(), best_weak="vgg16", localisation=(_located(196, None, None),))

    (sentence,) = verdicts(bare)

    assert sentence.tone == "open"
    assert sentence.text.endswith(
        "the focus touched the mask in 98%, reached an IoU of 0.5 in 98% and reached it at the development set's"
        " own threshold in 98%."
    )
