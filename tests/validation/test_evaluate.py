"""A published model on labelled images: figures agree with the statistics, and what a reader must know is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from wsus.comparison.compare import ComparisonConfig
from wsus.errors import BundleError, ConfigError, DataError, StoreError, UnknownNameError
from wsus.models.asked import asked_models
from wsus.models.registry import publish_model
from wsus.storage import open_store
from wsus.types import Mode
from wsus.validation.evaluate import EvaluationConfig, evaluate
from wsus.validation.report import check_place, summary, write_evaluation
from wsus.validation.result import Evaluation
from wsus.validation.sets import kind_and_path, read_sets

MakeBundle = Callable[..., Path]

CONFIG = EvaluationConfig(prevalence=0.1, comparison=ComparisonConfig(bootstrap=50))


def evaluated(models: list[str], data: list[str], out: Path) -> Evaluation:
    with asked_models(models) as asked:
        evaluation, examples = evaluate(asked, read_sets(data), CONFIG, say=lambda _: None)
    write_evaluation(out, evaluation, examples)
    return evaluation


def test_two_models_on_folders_leave_predictions_statistics_and_a_report(
    store_address: str, class_folders: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluation = evaluated([f"tiny={store_address}", f"other={store_address}"], [f"class-folders={class_folders}"], out)
    (one,) = evaluation.sets

    rows = pd.read_csv(out / "predictions.csv")
    assert len(rows) == 2 * 24 == len(pd.read_parquet(out / "predictions.parquet"))
    for cell in one.comparison.cells:
        mine = rows[rows["model"] == cell.backbone]
        assert cell.auc.value == pytest.approx(roc_auc_score(mine["label"], mine["pom"]))
    ((pair),) = one.pairs
    aucs = [cell.auc.value for cell in one.comparison.cells]
    assert pair.result.auc_difference.value == pytest.approx(aucs[0] - aucs[1])

    written = json.loads((out / "evaluation.json").read_text())
    assert [model["label"] for model in written["models"]] == ["tiny", "other"]
    page = (out / "report.html").read_text()
    assert "our-images" in page
    assert "external validation set" not in page
    assert 'class="paper"' not in page
    assert "the paper" not in page
    assert "First use of these images with this model" in page
    for name in ("our-images_performance.csv", "our-images_pairs.tex", "our-images_calibration.md", "our-images_table4.csv"):
        assert (out / "tables" / name).is_file()


def test_predictive_values_at_a_prevalence_follow_bayes(store_address: str, class_folders: Path, tmp_path: Path) -> None:
    (one,) = evaluated([f"tiny={store_address}"], [str(class_folders)], tmp_path / "out").sets
    (cell,), (at,) = one.comparison.cells, one.at_prevalence
    sensitivity, specificity = cell.tp / (cell.tp + cell.fn), cell.tn / (cell.tn + cell.fp)
    positive = sensitivity * 0.1 + (1 - specificity) * 0.9
    assert at.ppv == (pytest.approx(sensitivity * 0.1 / positive) if positive else None)


def test_uses_are_counted_in_the_store_by_version(store_address: str, class_folders: Path, tmp_path: Path) -> None:
    for version, times in (("2", 1), ("2", 2), ("1", 1)):
        evaluation = evaluated([f"tiny@{version}={store_address}"], [str(class_folders)], tmp_path / "out")
        assert evaluation.sets[0].uses["tiny"].times == times
    assert "Use 2 of these images" not in summary(evaluation)


def test_a_model_that_is_not_in_production_yet_is_judged_by_its_newest_version(
    make_bundle: MakeBundle, class_folders: Path, tmp_path: Path
) -> None:
    address = str(tmp_path / "store")
    for seed in (0, 1):
        publish_model(open_store(address), "tiny", make_bundle("tiny", seed), alias="trial" if seed == 0 else "other")
    with asked_models([address]) as (model,):
        assert model.version == 2


def test_images_that_trained_the_model_are_counted(make_bundle: MakeBundle, class_folders: Path, tmp_path: Path) -> None:
    seen = tuple(sorted((class_folders / "benign").glob("*.png"))[:5])
    evaluation = evaluated([str(make_bundle(seen=seen))], [str(class_folders)], tmp_path / "out")
    assert evaluation.sets[0].seen == {"tiny": {"train": 5}}
    assert "5 of these 24 images are 5 of its train images: its figures here are too good" in summary(evaluation)


def test_a_damaged_image_is_left_out_by_name(make_bundle: MakeBundle, class_folders: Path, tmp_path: Path) -> None:
    table = class_folders / "table.csv"
    damaged = class_folders / "damaged.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n")
    lines = [f"{i},p{i // 2},{name}/{i}.png,{name}" for name in ("malignant",) for i in range(12)]
    lines += [f"b{i},q{i},benign/{i}.png,benign" for i in range(12)] + ["bad,q99,damaged.png,benign"]
    table.write_text("image_id,patient_id,path,label\n" + "\n".join(lines) + "\n")
    try:
        (one,) = evaluated([str(make_bundle())], [f"manifest={table}"], tmp_path / "out").sets
    finally:
        table.unlink()
        damaged.unlink()
    assert [item["image_id"] for item in one.left_out] == ["bad"]
    assert [(found.rule, found.n) for found in one.comparison.cells[0].patient_level] == [("max", 18), ("mean", 18)]


def test_a_model_that_needs_masks_says_so(make_bundle: MakeBundle, class_folders: Path, tmp_path: Path) -> None:
    bundle = make_bundle(mode=Mode.MANUAL_ROI)
    (one,) = evaluated([str(bundle)], [str(class_folders)], tmp_path / "out").sets
    assert len(one.left_out) == 12  # the benign ones have no masks
    assert "mask" in one.left_out[0]["reason"]


def test_mistakes_are_named(make_bundle: MakeBundle, store_address: str, class_folders: Path, tmp_path: Path) -> None:
    bundle = str(make_bundle())
    with pytest.raises(ConfigError, match="is named twice"), asked_models([bundle, bundle]):
        pass
    with pytest.raises(BundleError, match=r"nowhere: no such folder"), asked_models(["nowhere"]):
        pass
    with (
        pytest.raises(UnknownNameError, match=r"unknown model 'tinny'\. Did you mean 'tiny'"),
        asked_models([f"tinny={store_address}"]),
    ):
        pass
    with pytest.raises(ConfigError, match="has no version 9"), asked_models([f"tiny@9={store_address}"]):
        pass
    with pytest.raises(BundleError, match="say which"), asked_models([store_address]):
        pass
    with pytest.raises(UnknownNameError, match=r"unknown kind of --data 'bussi'\. Did you mean 'busi'"):
        kind_and_path("bussi=somewhere")
    with pytest.raises(DataError, match="no such file or folder"):
        kind_and_path("nowhere")
    with pytest.raises(ConfigError, match=r"share of cancers, in \(0, 1\)"):
        EvaluationConfig(prevalence=2)
    with pytest.raises(StoreError, match="holds files that are no evaluation"):
        check_place(class_folders)
