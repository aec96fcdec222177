"""Two columns of scores: every figure that R gives, to 1e-12, and what is said where R has nothing to say."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsus.errors import ConfigError, DataError
from wsus.two_scores.stats import StatsSettings, format_stats, stats_from_csv, stats_from_scores

RELATIVE, LOG10_RELATIVE, TINY = 1e-12, 1e-9, 1e-100
ONLY_R = {"file", "kind", "notes", "proc_auto_direction", "proc_warnings"}  # how the case was made; R's own words
BESIDE_R = {
    "hints",
    "holm",
    "calibration",
    "decision_curve",
    "ci_score_a",
    "ci_score_b",
    "log10_p",
    "noninferiority",
    "settings",
    "predictive",
    "likelihood_ratios",
    "partial_auc",
    "power",
}


def as_json(stats: dict[str, Any]) -> dict[str, Any]:
    """What a reader of the JSON sees; fails on NaN."""
    return json.loads(json.dumps(stats, allow_nan=False))  # type: ignore[no-any-return]


def by_the_protocol(case: dict[str, Any]) -> dict[str, Any]:
    """R's answer, changed where the project's protocol decides otherwise."""
    expected = {key: value for key, value in case.items() if key not in ONLY_R}
    for key in ("mcnemar_pos", "mcnemar_neg"):
        pairs = expected["threshold"][key]
        if pairs["only_a_correct"] + pairs["only_b_correct"] == 0:
            pairs["p"] = 1.0
    if "var_diff_zero" in case["flags"] and "auc_equal" not in case["flags"]:
        expected["paired"] |= {"Z": None, "p": None, "log10_p": None}
    return expected


def differences(found: Any, expected: Any, path: str = "") -> list[str]:
    """Where two answers differ by more than the tolerance, as readable lines."""
    if isinstance(expected, dict):
        missing = [f"{path}: keys {sorted(found)} for {sorted(expected)}"] if not set(expected) <= set(found) else []
        return missing or [line for key in expected for line in differences(found[key], expected[key], f"{path}.{key}")]
    if isinstance(expected, list):
        if len(found) != len(expected):
            return [f"{path}: {found} for {expected}"]
        return [line for one, other in zip(found, expected, strict=True) for line in differences(one, other, path)]
    if isinstance(expected, str) or expected is None or found is None:
        return [] if found == expected else [f"{path}: {found} for {expected}"]
    if path.split(".")[-1] in ("p", "fisher_p") and expected < TINY:
        return [] if found < TINY else [f"{path}: {found} for {expected}"]  # its logarithm is compared instead
    tolerance = LOG10_RELATIVE if path.endswith("log10_p") and expected < math.log10(TINY) else RELATIVE
    return [] if math.isclose(found, expected, rel_tol=tolerance) else [f"{path}: {found!r} for {expected!r}"]


def test_all_cases_of_r_agree(test_reference_dir: Path) -> None:
    folder = test_reference_dir / "stats"
    cases = json.loads((folder / "expected.json").read_text())["cases"]
    found = {name: as_json(stats_from_csv(folder / case["file"])) for name, case in cases.items()}
    lines = [f"{name}{line}" for name, case in cases.items() for line in differences(found[name], by_the_protocol(case))]

    assert len(cases) >= 40
    assert lines == []


def test_notes_stand_where_r_has_them_and_at_every_null(test_reference_dir: Path) -> None:
    folder = test_reference_dir / "stats"
    for name, case in json.loads((folder / "expected.json").read_text())["cases"].items():
        stats = stats_from_csv(folder / case["file"])
        expected = set(case["notes"]) | ({"paired.p"} if stats["paired"]["p"] is None else set())
        assert set(stats["notes"]) == expected, name


def scored(kind: str, n_pos: int = 6, n_neg: int = 6) -> tuple[list[int], list[float], list[float]]:
    """The degenerate kinds of pairs, made small."""
    labels = [1] * n_pos + [0] * n_neg
    up = [0.9 - i / 100 for i in range(n_pos)] + [0.4 - i / 100 for i in range(n_neg)]
    mixed = [0.3 + 0.1 * (i % 4) for i in range(n_pos)] + [0.2 + 0.1 * (i % 5) for i in range(n_neg)]
    constant = [0.5] * len(labels)
    turned = [1 - score for score in up]
    pairs = {
        "sep_both": (up, [score**2 for score in up]),
        "sep_a_const_b": (up, constant),
        "sep_a_rev_b": (up, turned),
        "const_both": (constant, [0.1] * len(labels)),
        "ident_tie": (mixed, mixed),
        "const_b": (mixed, constant),
        "rev_a": (turned, mixed),
    }
    return labels, *pairs[kind]


@pytest.mark.parametrize(
    ("kind", "flags", "nulls"),
    [
        (
            "sep_both",
            ["auc_a_is_1", "var_a_zero", "auc_b_is_1", "var_b_zero", "var_diff_zero", "auc_equal"],
            {"ci_logit_a", "ci_logit_b"},
        ),
        ("sep_a_const_b", ["auc_a_is_1", "var_a_zero", "var_b_zero", "var_diff_zero"], {"ci_logit_a", "paired.Z", "paired.p"}),
        (
            "sep_a_rev_b",
            ["auc_a_is_1", "var_a_zero", "auc_b_is_0", "var_b_zero", "var_diff_zero"],
            {"ci_logit_b", "paired.log10_p"},
        ),
        ("const_both", ["var_a_zero", "var_b_zero", "var_diff_zero", "auc_equal"], {"unpaired.D", "unpaired.df", "unpaired.p"}),
        ("ident_tie", ["var_diff_zero", "auc_equal"], {"threshold.mcnemar_pos.p", "threshold.mcnemar_neg.p"}),
        ("const_b", ["var_b_zero"], set()),
        ("rev_a", ["auc_a_is_0", "var_a_zero"], {"ci_logit_a"}),
    ],
)
def test_degenerate_pairs_raise_their_flags_and_say_why(kind: str, flags: list[str], nulls: set[str]) -> None:
    stats = as_json(stats_from_scores(*scored(kind)))

    assert stats["flags"] == flags
    assert nulls <= set(stats["notes"])
    undefined = [key for key, value in stats["paired"].items() if value is None]
    assert {f"paired.{key}" for key in undefined} <= set(stats["notes"])
    if "auc_equal" in flags and "var_diff_zero" in flags:
        assert (stats["paired"]["Z"], stats["paired"]["p"], stats["paired"]["log10_p"]) == (0.0, 1.0, 0.0)


def test_perfect_auc_is_given_an_interval_that_has_a_width() -> None:
    stats = as_json(stats_from_scores(*scored("sep_both")))
    assert stats["ci_a"] == [1.0, 1.0]
    assert "use ci_score_a" in stats["notes"]["ci_logit_a"]
    assert 0.5 < stats["ci_score_a"][0] < 0.9


def test_one_malignant_case_gives_aucs_and_counts_alone() -> None:
    stats = as_json(stats_from_scores(*scored("const_b", n_pos=1)))

    assert stats["flags"] == ["single_case_in_a_class"]
    assert stats["var_a"] is None
    assert stats["ci_a"] == stats["ci_logit_a"] == [None, None]
    assert [stats["paired"][key] for key in ("se_diff", "Z", "p", "log10_p")] == [None] * 4
    assert stats["threshold"]["a"]["tp"] + stats["threshold"]["a"]["fn"] == 1
    assert stats["noninferiority"]["auc"]["verdict"] == "inconclusive"


def test_threshold_and_margin_are_used_and_said(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("id,label,score_a,score_b\na,1,2,3\nb,1,1,1\nc,0,1,0\nd,0,0,2\n")
    stats = stats_from_csv(path, StatsSettings(threshold=2.0, margin=0.2))

    assert (stats["settings"]["threshold"], stats["settings"]["margin"], stats["settings"]["confidence"]) == (2.0, 0.2, 0.95)
    assert stats["settings"]["noninferiority_confidence"] == 0.975
    assert (stats["threshold"]["a"]["tp"], stats["threshold"]["a"]["n_at_threshold"]) == (1, 1)
    assert stats["threshold"]["a"]["gt_rule"]["tp"] == 0
    assert stats["noninferiority"]["sensitivity"]["margin"] == 0.2


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"margin": 5.0}, r"margin .* \(0, 1\).*got 5"),
        ({"threshold": math.inf}, "finite"),
        ({"prevalence": 0.0}, r"the prevalence must lie in \(0, 1\)"),
        ({"draws": 0}, "1 draw or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        StatsSettings(**settings)


def test_verdict_is_the_tests_own_and_says_where_it_does_not_hold_after_holm() -> None:
    """One verdict of three is non-inferior by its own bound alone: adjusted, its P lies above the level."""
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 150)
    shared = rng.normal(size=300)
    a, b = (1 / (1 + np.exp(-(1.6 * (2 * labels - 1) + shared + 0.45 * rng.normal(size=300)))) for _ in range(2))
    found = stats_from_scores(labels, a, b, settings=StatsSettings(margin=0.016))
    tests, adjusted = found["noninferiority"], found["holm"]["noninferiority"]

    for name, test in tests.items():
        expected = adjusted[name] < 0.025 if test["verdict"] == "non-inferior" else None
        assert test["holds_after_holm"] is expected
        assert (test["verdict"] == "non-inferior") == (test["p"] < 0.025)
    assert [test["holds_after_holm"] for test in tests.values()].count(False) == 1
    assert format_stats(found).count("non-inferior, not after Holm's adjustment (p = ") == 1


def test_patients_change_the_verdicts_and_leave_the_figures_of_r(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"c{i},{i % 2},{rng.normal() + i % 2:.3f},{rng.normal() + i % 2:.3f}", f"p{i // 4}") for i in range(80)]
    plain, with_patients = tmp_path / "plain.csv", tmp_path / "patients.csv"
    plain.write_text("\n".join(["id,label,score_a,score_b", *(row for row, _ in rows)]))
    with_patients.write_text("\n".join(["id,label,score_a,score_b,patient_id", *(f"{row},{patient}" for row, patient in rows)]))
    one, other = as_json(stats_from_csv(plain)), as_json(stats_from_csv(with_patients, StatsSettings(draws=300)))
    clustered = other.pop("clustered")

    for key in set(one) - {"noninferiority", "holm", "power", "calibration", "decision_curve", "settings"}:
        assert one[key] == other[key], key
    verdict, paired = other["noninferiority"]["auc"], clustered["paired"]
    assert verdict["lower"] == pytest.approx(paired["diff"] - 1.959963984540054 * paired["se_diff"], abs=0.01)  # DeLong's scale
    assert verdict["lower"] != one["noninferiority"]["auc"]["lower"]
    assert clustered["by_patient"]["mean"]["n"] == 20
    assert (clustered["n_patients"], clustered["n_images"]) == (20, 80)
    assert clustered["paired"]["diff"] == one["paired"]["diff"]
    assert clustered["var_a"] != one["var_a"]
    assert clustered["bootstrap"]["diff"]["draws"] == 300
    assert clustered["bootstrap"]["a"]["ci"] == pytest.approx(clustered["ci_a"], abs=0.05)


def test_keys_beside_those_of_r_are_known() -> None:
    stats = stats_from_scores(*scored("const_b"))
    reference = {"n", "n_pos", "n_neg", "auc_a", "auc_b", "var_a", "var_b", "ci_a", "ci_b", "ci_logit_a", "ci_logit_b", "cov_ab"}
    assert set(stats) == reference | {"paired", "unpaired", "threshold", "flags", "notes"} | BESIDE_R
    assert list(stats["threshold"]) == ["a", "b", "mcnemar_pos", "mcnemar_neg", "fisher_sens_a_vs_b_p", "fisher_spec_a_vs_b_p"]


def test_table_for_people_holds_figures_verdicts_and_reasons() -> None:
    labels, a, b = scored("sep_a_const_b")
    text = format_stats(stats_from_scores(labels, a, b, patients=[f"p{i}" for i in range(12)], settings=StatsSettings(draws=50)))

    assert "12 cases: 6 malignant, 6 benign" in text
    assert "1.0000 (1.0000 to 1.0000)" in text
    assert "AUC, paired DeLong" in text
    assert "not estimable" in text
    assert "inconclusive" in text
    assert "12 images of 12 patients" in text
    assert "flags: auc_a_is_1" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith(("note", "flags", "hint"))) < 135


def test_ratios_partial_areas_and_power_stand_beside_what_r_gives() -> None:
    stats = as_json(stats_from_scores(*scored("sep_a_const_b")))

    of_a, of_b = stats["likelihood_ratios"]["a"], stats["likelihood_ratios"]["b"]
    assert (of_a["lr_pos"], of_a["lr_pos_ci"][1], of_a["lr_neg"]) == (None, None, 0.0)
    assert of_a["lr_pos_ci"][0] > 1
    assert "infinite" in of_a["notes"]["lr_pos"]
    assert (of_b["lr_pos"], of_b["lr_neg"], of_b["lr_neg_ci"]) == (1.0, None, [None, None])  # a constant of 0.5 calls all
    assert stats["partial_auc"]["b"]["sensitivity"]["standardised"] == pytest.approx(0.5)
    assert "no width" in stats["partial_auc"]["a"]["specificity"]["notes"][0]
    assert stats["power"]["auc_noninferiority"]["power"] is None
    assert stats["power"]["sensitivity_noninferiority"]["needed_neg"] is None
    text = format_stats(stats_from_scores(*scored("sep_a_const_b")))
    assert "inf (" in text
    assert "undefined" in text


def test_table_writes_a_p_below_double_precision_as_a_power_of_ten() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([1, 0], 10_000)
    noise = rng.normal(size=(2, labels.size))
    text = format_stats(
        stats_from_scores(labels, labels * 3 + noise[0], labels * 0.2 + noise[1], settings=StatsSettings(threshold=1.0))
    )
    line = next(line for line in text.splitlines() if line.startswith("AUC, paired DeLong"))
    mantissa, exponent = line.split()[-2].split("e-")
    assert 1 <= float(mantissa) <= 10
    assert int(exponent) > 308


def test_scores_that_are_missing_are_refused() -> None:
    with pytest.raises(DataError, match="score_a: 1 of 2 scores are NaN"):
        stats_from_scores([0, 1], [math.nan, 1.0], [0.0, 1.0])


def _rows(count: int, copies: int) -> tuple[list[int], list[float], list[float], list[str]]:
    """Scores of `count` patients, each image `copies` times."""
    rng = np.random.default_rng(4)
    labels = np.arange(count) % 2
    common = rng.normal(size=count)
    scores = [1 / (1 + np.exp(-(2 * (labels - 0.5) + common + 0.8 * rng.normal(size=count)))) for _ in range(2)]
    parts = [np.repeat(values, copies).tolist() for values in (labels, *scores)]
    return parts[0], parts[1], parts[2], np.repeat([f"p{i}" for i in range(count)], copies).tolist()


def test_copies_of_images_give_the_verdict_of_the_images() -> None:
    once, often = (as_json(stats_from_scores(*_rows(60, copies), settings=StatsSettings(draws=20))) for copies in (1, 8))

    for name, verdict in often["noninferiority"].items():
        assert verdict["verdict"] == once["noninferiority"][name]["verdict"]
        assert verdict["lower"] == pytest.approx(once["noninferiority"][name]["lower"])
    assert often["power"]["auc_noninferiority"]["power"] == pytest.approx(once["power"]["auc_noninferiority"]["power"])
    assert often["clustered"]["shares"]["a"]["sens"]["ci"] == pytest.approx(once["threshold"]["a"]["sens_ci"])
    assert often["paired"]["se_diff"] < once["paired"]["se_diff"] / 2  # R's own figure, as if independent
    text = format_stats(often)
    assert text.startswith("480 images of 60 patients: verdicts")
    assert "margin 0.05, over patients" in text


def test_one_column_of_scores_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("id,label,score\na,1,0.9\nb,1,0.4\nc,0,0.6\nd,0,0.1\n")
    stats = as_json(stats_from_csv(path))

    assert stats["auc_a"] == 0.75
    assert "auc_b" not in stats
    assert (stats["threshold"]["a"]["tp"], stats["calibration"]["a"]["brier"]) == (
        1,
        pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4),
    )
    assert stats["decision_curve"]["a"]["net_benefit"][24] == pytest.approx(0.0)
    text = format_stats(stats)
    assert "slope (1 is right)" in text
    assert "non-inferior" not in text


def test_subgroups_are_reported_level_by_level(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    rows = [f"c{i},{i % 2},{0.3 + 0.4 * (i % 2) + 0.01 * i:.2f},{'X' if i < 6 else 'Y' if i < 11 else ''}" for i in range(12)]
    path.write_text("\n".join(["id,label,score_a,device", *rows]))
    stats = as_json(stats_from_csv(path, subgroup="device"))

    part = stats["subgroups"]
    assert (part["unknown"], part["levels"]["X"]["n"], part["levels"]["Y"]["n_pos"]) == (1, 6, 2)
    assert part["levels"]["X"]["a"]["auc"] == 1.0
    assert part["levels"]["X"]["a"]["auc_ci"][0] < 1.0
    assert "device X: 6, 3 mal." in format_stats(stats)
    with pytest.raises(DataError, match="no column 'age' for subgroups; found id,label,score_a,device"):
        stats_from_csv(path, subgroup="age")


def test_hints_name_another_scale_and_another_direction() -> None:
    labels = [1] * 20 + [0] * 20
    turned = [1.0 + 0.1 * i for i in range(20)] + [4.0 + 0.1 * i for i in range(20)]
    hints = stats_from_scores(labels, turned)["hints"]

    assert "score_a runs from 1 to 5.9, and the threshold is 0.5 by default" in hints[0]
    assert "far below 0.5: does a lower score mean malignant" in hints[1]
    assert stats_from_scores(labels, turned, settings=StatsSettings(threshold=3.0))["hints"] == hints[1:]
    assert "hint: score_a runs" in format_stats(stats_from_scores(labels, turned))


def test_scores_that_are_no_probabilities_have_no_calibration_and_say_so() -> None:
    stats = stats_from_scores([1, 1, 0, 0], [3.0, 1.0, 2.0, 0.5])
    assert "Calibrate raw scores first" in stats["calibration"]["a"]["notes"][0]
    assert "Calibrate raw scores first" in format_stats(stats)
