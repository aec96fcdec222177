"""A site profile: slope one on images that it did not see, the order kept, refused where it would be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from wsus.errors import BundleError, ConfigError, DataError, UnknownNameError
from wsus.evaluation.auc import auc_with_interval
from wsus.evaluation.calibration import calibration
from wsus.inference.files import predict_files
from wsus.models.asked import AskedModel, asked_model
from wsus.models.sites import NOT_CALIBRATED, SiteProfile, find_profile, read_profiles, sites_folder, write_profile
from wsus.validation.calibrate import CalibrationConfig, check_unseen, fit_profile, profile_lines
from wsus.validation.sets import LabelledSet, read_sets

MakeBundle = Callable[..., Path]


def too_extreme(n: int, seed: int = 0, per_patient: int = 1) -> pd.DataFrame:
    """POMs of a model whose logits are 2.5 times too large and shifted by 1."""
    rng = np.random.default_rng(seed)
    true_logit = rng.normal(-0.5, 1.5, n)
    labels = (rng.random(n) < expit(true_logit)).astype(int)
    patients = [f"p{row // per_patient}" for row in range(n)]
    return pd.DataFrame({"label": labels, "pom": expit(2.5 * true_logit + 1), "patient_id": patients, "operating_point": 0.5})


@pytest.fixture
def asked(make_bundle: MakeBundle, class_folders: Path):  # type: ignore[no-untyped-def]
    with asked_model(str(make_bundle())) as model:
        yield model, read_sets([str(class_folders)])[0]


def profile_of(asked: tuple[AskedModel, LabelledSet], table: pd.DataFrame, **settings: object) -> SiteProfile:
    return fit_profile("our-place", *asked, table, CalibrationConfig(**settings))  # type: ignore[arg-type]


def test_slope_becomes_one_for_images_that_were_not_fitted_and_the_auc_stays(asked: tuple[AskedModel, LabelledSet]) -> None:
    table = too_extreme(800)
    profile = profile_of(asked, table)
    assert profile.before["slope"] == pytest.approx(0.4, abs=0.06)
    assert profile.after["slope"] == pytest.approx(1.0, abs=0.1)
    assert profile.after["auc"] == profile.before["auc"]

    new = too_extreme(5000, seed=1)
    found = calibration(new["label"], profile.scaling.apply(new["pom"]))
    assert found.slope == pytest.approx(1.0, abs=0.15)
    assert found.in_the_large == pytest.approx(0.0, abs=0.15)
    assert auc_with_interval(new["label"], profile.scaling.apply(new["pom"])).auc == pytest.approx(
        auc_with_interval(new["label"], new["pom"]).auc
    )


def test_a_target_sensitivity_is_about_reached_where_it_was_not_fitted(asked: tuple[AskedModel, LabelledSet]) -> None:
    profile = profile_of(asked, too_extreme(1000), rule="sensitivity:0.9")
    assert profile.after["sensitivity"]["value"] == pytest.approx(0.9, abs=0.03)
    new = too_extreme(5000, seed=2)
    called = profile.scaling.apply(new["pom"]) >= profile.operating_point
    assert called[new["label"] == 1].mean() == pytest.approx(0.9, abs=0.04)


def test_cost_is_a_threshold_on_the_probability_and_keep_moves_no_call(asked: tuple[AskedModel, LabelledSet]) -> None:
    table = too_extreme(300)
    assert profile_of(asked, table, rule="cost:9").operating_point == pytest.approx(0.1)
    kept = profile_of(asked, table, rule="keep")
    assert ((kept.scaling.apply(table["pom"]) >= kept.operating_point) == (table["pom"] >= 0.5)).all()


def test_another_prevalence_moves_probabilities_and_cuts_together(asked: tuple[AskedModel, LabelledSet]) -> None:
    table = too_extreme(600)
    here, there = (profile_of(asked, table, rule="youden", not_sure=0.1, prevalence=p) for p in (None, 0.02))
    for one in (here, there):
        assert one.not_sure is not None
    p_here, p_there = here.scaling.apply(table["pom"]), there.scaling.apply(table["pom"])
    assert p_there.mean() < 0.1 < p_here.mean()
    assert ((p_here >= here.operating_point) == (p_there >= there.operating_point)).all()
    assert there.not_sure
    assert here.not_sure
    assert (here.not_sure.unsure(p_here) == there.not_sure.unsure(p_there)).all()
    assert "2 % of those examined" in "\n".join(profile_lines(there))


def test_not_sure_reaches_its_coverage_across_patients(asked: tuple[AskedModel, LabelledSet]) -> None:
    profile = profile_of(asked, too_extreme(1500, per_patient=3), not_sure=0.1)
    measured = profile.after["not_sure"]
    for name in ("coverage_malignant", "coverage_benign"):
        assert measured[name]["value"] == pytest.approx(0.9, abs=0.03)
    assert 0 < measured["share"]["value"] < 1


def test_too_few_cases_are_refused(asked: tuple[AskedModel, LabelledSet]) -> None:
    few = too_extreme(40)
    with pytest.raises(DataError, match="temperature scaling needs 20 malignant images"):
        profile_of(asked, few)
    with pytest.raises(DataError, match="isotonic scaling needs 500"):
        profile_of(asked, too_extreme(300), method="isotonic")
    with pytest.raises(DataError, match=r"0\.99 sensitivity needs 100 malignant images, \d+ are there"):
        profile_of(asked, too_extreme(150), rule="sensitivity:0.99")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rule": "best"}, "an operating point is"),
        ({"rule": "sensitivity:1.5"}, "a target sensitivity lies"),
        ({"rule": "cost:0"}, "above 0"),
        ({"prevalence": 1.0}, "share of cancers"),
        ({"folds": 1}, "at least 2"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        CalibrationConfig(**settings)  # type: ignore[arg-type]


def test_images_that_trained_the_model_are_refused(make_bundle: MakeBundle, class_folders: Path) -> None:
    seen = tuple(sorted((class_folders / "malignant").glob("?.png"))[:3])
    with asked_model(str(make_bundle(seen=seen))) as model:
        (images,) = read_sets([str(class_folders)])
        with pytest.raises(DataError, match="holds 3 of its train images that tiny@"):
            check_unseen(model, images)


def test_a_profile_is_kept_beside_the_model_and_used_by_predict(
    asked: tuple[AskedModel, LabelledSet], store_address: str, class_folders: Path
) -> None:
    with asked_model(f"tiny={store_address}") as model:
        profile = fit_profile("our-place", model, asked[1], too_extreme(400), CalibrationConfig(not_sure=0.1))
        before = model.bundle.digest
        address = write_profile(profile, model.where)
    assert address.endswith("models/tiny/sites/2/our-place.json")
    with asked_model(f"tiny={store_address}") as model:
        assert model.bundle.digest == before
        assert model.profile("our-place") == profile
        with pytest.raises(UnknownNameError, match=r"unknown site 'our-plaice'\. Did you mean 'our-place'"):
            model.profile("our-plaice")

    image = class_folders / "benign" / "0.png"
    (own,) = predict_files([image], store_address, name="tiny")
    (here,) = predict_files([image], store_address, name="tiny", site="our-place")
    assert own["pom_means"] == NOT_CALIBRATED
    assert here["model_pom"] == own["pom"]
    assert here["pom"] == pytest.approx(profile.scaling.apply(own["pom"]))
    assert here["operating_point"] == profile.operating_point
    assert here["not_sure"] in (True, False)
    assert "calibrated for our-place on 400 images" in here["pom_means"]


def test_a_profile_of_another_bundle_or_a_damaged_one_is_refused(
    asked: tuple[AskedModel, LabelledSet], make_bundle: MakeBundle
) -> None:
    profile = profile_of(asked, too_extreme(300))
    other = make_bundle("other", 5)
    write_profile(profile, other)
    with pytest.raises(BundleError, match="fitted to the model"):
        read_profiles(other, "0" * 64)
    path = sites_folder(other) / "our-place.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "scaling": {}}))
    with pytest.raises(BundleError, match="holds what this version does not know"):
        read_profiles(other, profile.bundle_digest)
    path.write_text(json.dumps({"schema_version": 9}))
    with pytest.raises(BundleError, match="not a site profile of this version"):
        read_profiles(other, profile.bundle_digest)
    with pytest.raises(ConfigError, match="has no site profile; `wsus calibrate"):
        find_profile({}, "here", "tiny@0")
