"""Recipes are complete studies, and say which data they need."""

import pytest

from tune_jobs.recipes import RECIPES, make_config
from wsus.errors import ConfigError, UnknownNameError
from wsus.types import Mode

DATA = {
    "quick": {},
    "smoke": {"bus-bra": "/a", "busi": "/b"},
    "open-small": {"bus-bra": "/a", "busi": "/b"},
    "open": {"bus-bra": "/a", "busi": "/b"},
    "paper": {"manifest": "/a.csv", "external": "/b.csv"},
}


def test_order_recipe_has_its_data_here() -> None:
    assert {*DATA, "own"} == set(RECIPES)  # own reads its images: test_own


@pytest.mark.parametrize("recipe", DATA)
def test_recipe_compares_all_modes_on_both_sets(recipe: str) -> None:
    config = make_config(recipe, DATA[recipe])
    assert (config.name, config.recipe) == (recipe, recipe)
    assert config.modes == tuple(Mode)
    assert config.data.external is not None
    assert config.data.splits.development_fraction > 0
    assert len(config.trials()) == len(config.backbones) * 3


@pytest.mark.parametrize("recipe", DATA)
def test_name_is_the_studys_address_alone(recipe: str) -> None:
    renamed, plain = make_config(recipe, DATA[recipe], name="mine").to_json(), make_config(recipe, DATA[recipe]).to_json()
    assert renamed.pop("name") == "mine"
    plain.pop("name")
    assert renamed == plain


def test_paper_keeps_the_papers_numbers() -> None:
    config = make_config("paper", DATA["paper"])
    splits = config.data.splits
    assert (splits.train_per_class, splits.internal_per_class, splits.external_per_class) == (500, 100, 100)
    assert (config.crop.size_px, config.crop.margin_px, config.crop.fit) == (224, 30, "stretch")
    assert (config.cam_threshold, config.operating_point) == (0.3, 0.5)
    assert config.backbones == ("vgg16", "resnet34", "googlenet")
    assert (config.head, config.width, config.weights) == ("cam", 1.0, "imagenet")


def test_paper_runs_without_an_external_set() -> None:
    assert make_config("paper", {"manifest": "/a.csv"}).data.external is None


def test_quick_trains_tiny_networks_from_scratch_on_phantoms() -> None:
    config = make_config("quick", {})
    assert config.data.internal.kind == "phantom"
    assert config.data.external is not None
    assert (config.data.internal.institution, config.data.external.institution) == ("A", "B")
    assert (config.width, config.weights) == (0.125, "none")


@pytest.mark.parametrize(
    ("recipe", "data", "message"),
    [
        ("quick", {"busi": "/b"}, "makes its own phantoms and takes no --data; got busi"),
        ("smoke", {}, "needs --data bus-bra=DIR and --data busi=DIR"),
        ("open", {"bus-bra": "/a"}, "needs --data busi=DIR; see docs/data.md"),
        ("paper", {}, "needs --data manifest=CSV"),
        ("paper", {"bus-bra": "/a", "manifest": "/a.csv"}, "takes --data external=CSV .*; got bus-bra, manifest"),
        ("paper", {"manifest": "/a.csv", "extrenal": "/b.csv"}, "Did you mean 'external'"),
    ],
)
def test_other_data_is_refused(recipe: str, data: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(recipe, data)


def test_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"unknown recipe 'quikc'\. Did you mean 'quick'\? Known: open, open-small, own, paper, quick, smoke",
    ):
        make_config("quikc", {})
