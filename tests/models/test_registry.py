"""Models are published as numbered versions, and aliases point at one of them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wsus.errors import BundleError, ConfigError, UnknownNameError
from wsus.models.registry import PublishedModel, bundle_folder, list_models, promote_model, publish_model, resolve_model
from wsus.storage import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "card.json").write_text("{}")
    return folder


def test_versions_are_counted_and_production_follows(store: FolderStore, bundle: Path) -> None:
    first = publish_model(store, "best-weak", bundle)
    second = publish_model(store, "best-weak", bundle, alias="candidate")

    assert first == PublishedModel(name="best-weak", version=1, aliases=("production",))
    assert second == PublishedModel(name="best-weak", version=2, aliases=("candidate",))
    assert resolve_model(store) == "models/best-weak/1"
    assert resolve_model(store, "best-weak", alias="candidate") == "models/best-weak/2"
    assert list_models(store) == [first, second]


def test_promotion_moves_the_alias_alone(store: FolderStore, bundle: Path) -> None:
    publish_model(store, "m", bundle)
    publish_model(store, "m", bundle, alias="candidate")
    promoted = promote_model(store, "m", 2)
    assert promoted.aliases == ("candidate", "production")
    assert [model.aliases for model in list_models(store)] == [(), ("candidate", "production")]


def test_tenth_version_comes_after_the_ninth(store: FolderStore, bundle: Path) -> None:
    versions = [publish_model(store, "m", bundle).version for _ in range(11)]
    assert versions == list(range(1, 12))
    assert [model.version for model in list_models(store)] == versions


def test_half_published_version_does_not_count(store: FolderStore, bundle: Path) -> None:
    publish_model(store, "m", bundle)
    store.write_bytes("models/m/2/card.json", b"{}")  # without SHA256SUMS: it was interrupted
    assert [model.version for model in list_models(store)] == [1]
    with pytest.raises(ConfigError, match="model 'm' has no version 2; it has 1"):
        promote_model(store, "m", 2)


def test_publishers_at_the_same_time_get_a_version_and_an_alias_each(store: FolderStore, bundle: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        published = list(pool.map(lambda number: publish_model(store, "m", bundle, alias=f"a{number}"), range(12)))
    assert sorted(model.version for model in published) == list(range(1, 13))
    assert store.read_json("models/m/aliases.json") == {f"a{n}": model.version for n, model in enumerate(published)}


def test_number_of_an_interrupted_version_stays_taken(store: FolderStore, bundle: Path) -> None:
    publish_model(store, "m", bundle)
    store.write_bytes("models/m/2/card.json", b"{}")
    assert publish_model(store, "m", bundle).version == 3


def test_unknown_model_suggests_the_nearest(store: FolderStore, bundle: Path) -> None:
    publish_model(store, "best-weak", bundle)
    for ask in (lambda: promote_model(store, "best-week", 1), lambda: resolve_model(store, "best-week")):
        with pytest.raises(UnknownNameError, match=r"unknown model 'best-week'\. Did you mean 'best-weak'"):
            ask()


def test_unknown_alias_names_those_that_exist(store: FolderStore, bundle: Path) -> None:
    publish_model(store, "m", bundle)
    with pytest.raises(BundleError, match="model 'm' has no alias 'staging'; it has production"):
        resolve_model(store, "m", alias="staging")


def test_empty_store_says_what_to_run(store: FolderStore) -> None:
    with pytest.raises(BundleError, match="holds no published model; run `wsus publish`"):
        resolve_model(store)


def test_several_models_must_be_told_apart(store: FolderStore, bundle: Path) -> None:
    publish_model(store, "b", bundle)
    publish_model(store, "a", bundle)
    with pytest.raises(BundleError, match="holds the models a, b; say which with --model-name"):
        resolve_model(store)
    assert resolve_model(store, "a") == "models/a/1"


@pytest.mark.parametrize("name", ["", "Best", "a/b", "..", "-a", "a" * 64])
def test_names_that_cannot_be_addresses_are_refused(name: str, store: FolderStore, bundle: Path) -> None:
    with pytest.raises(ConfigError, match="a model's name has lower-case letters, digits and hyphens"):
        publish_model(store, name, bundle)
    assert store.keys() == []


def test_address_of_a_bundle_or_of_a_store(store: FolderStore, bundle: Path) -> None:
    publish_model(store, "m", bundle)
    with bundle_folder(str(bundle)) as folder:
        assert folder == bundle
    with bundle_folder(store.address, name="m") as folder:
        assert (folder / "card.json").read_text() == "{}"
    assert not folder.exists()


def test_address_of_nothing_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(BundleError, match="gone: no such folder; expected a model bundle or a store"),
        bundle_folder(str(tmp_path / "gone")),
    ):
        pass
