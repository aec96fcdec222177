"""Models behind an alias: swapped whole, tested first, refused by name; canary and shadow."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from published_models import CROP, add_site, made_image, publish, seen
from safetensors.numpy import load_file, save_file

from serve_app.exchange import Answer, Question, Refusal, Unseen
from serve_app.metrics import MemoryMetrics
from serve_app.settings import ServeSettings
from serve_app.shelf import ModelShelf, loader
from wsus.data.roi import CropConfig
from wsus.errors import BundleError
from wsus.inference.publishing import write_servable
from wsus.models.bundle import SELF_TEST, read_bundle
from wsus.models.registry import promote_model, publish_model, read_rollout, set_canary, set_shadow
from wsus.models.signing import sign_model
from wsus.storage import SUMS, Store, open_store, sums_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two versions of a model that answer differently; the alias points at the first."""
    publish(tmp_path, seed=1)
    store = publish(tmp_path, seed=2)
    promote_model(store, "tiny", 1)
    return store


@pytest.fixture
def shelf(store: Store, metrics: MemoryMetrics) -> Iterator[ModelShelf]:
    made = ModelShelf(store, "tiny", metrics, load=loader(ServeSettings(store=store.address, insecure=True)))
    yield made
    made.close()


def question(seed: int = 0, share: float = 0.5, *crops: CropConfig) -> Question:
    views = tuple(seen(made_image(seed), crop) for crop in crops or (CROP,))
    return Question(image_id=f"i{seed}", views=views, share=share)


def answered(shelf: ModelShelf, share: float = 0.5) -> Answer:
    (answer,) = shelf.answer([question(share=share)])
    assert isinstance(answer, Answer)
    return answer


def test_promotion_swaps_and_going_back_swaps_back(store: Store, shelf: ModelShelf) -> None:
    first = answered(shelf)
    promote_model(store, "tiny", 2)
    assert answered(shelf).model.version == 1, "nothing changes before the alias is looked at"
    shelf.refresh()
    second = answered(shelf)
    assert (first.model.version, second.model.version) == (1, 2)
    assert first.pom != pytest.approx(second.pom, abs=1e-4)
    promote_model(store, "tiny", 1)
    shelf.refresh()
    assert answered(shelf).pom == first.pom


def damage(store: Store, version: int) -> None:
    """Change one byte of the weights and leave the digests as they are."""
    key = f"models/tiny/{version}/model.safetensors"
    content = bytearray(store.read_bytes(key))
    content[-1] ^= 1
    store.write_bytes(key, bytes(content))


def test_a_broken_version_is_refused_by_name_and_the_old_one_goes_on(
    store: Store, shelf: ModelShelf, metrics: MemoryMetrics
) -> None:
    damage(store, 2)
    promote_model(store, "tiny", 2)
    shelf.refresh()
    shelf.refresh()
    assert answered(shelf).model.version == 1
    (refused,) = shelf.status().refused
    assert refused.startswith("tiny 2: ")
    assert "SHA-256" in refused
    assert metrics.of("wsus_model_refused", version="2") == [1], "it is tried once, not at every look"
    promote_model(store, "tiny", 1)
    shelf.refresh()
    assert shelf.status().refused == ()
    assert metrics.of("wsus_model_refused", version="2") == [1, 0]


def test_without_a_first_model_there_is_no_shelf(store: Store, metrics: MemoryMetrics) -> None:
    damage(store, 1)
    with pytest.raises(BundleError, match="SHA-256"):
        ModelShelf(store, "tiny", metrics, load=loader(ServeSettings(store=store.address, insecure=True)))


def test_a_store_that_is_away_leaves_everything_as_it_is(store: Store, shelf: ModelShelf, metrics: MemoryMetrics) -> None:
    store.write_bytes("models/tiny/aliases.json", b"{")
    shelf.refresh()
    assert answered(shelf).model.version == 1
    assert metrics.of("wsus_store_unreachable") == [1]
    store.write_json("models/tiny/aliases.json", {"production": 1})
    shelf.refresh()
    assert metrics.of("wsus_store_unreachable") == [1, 0]


def test_a_version_that_cannot_be_fetched_now_is_taken_at_the_next_look(
    store: Store, shelf: ModelShelf, metrics: MemoryMetrics
) -> None:
    key = "models/tiny/2/model.safetensors"
    content = store.read_bytes(key)
    promote_model(store, "tiny", 2)
    store.delete(key)
    shelf.refresh()
    assert answered(shelf).model.version == 1
    assert shelf.status().refused == ()
    assert metrics.of("wsus_store_unreachable")[-1] == 1
    store.write_bytes(key, content)
    shelf.refresh()
    assert answered(shelf).model.version == 2


def test_canary_answers_its_share_and_says_so(store: Store, shelf: ModelShelf) -> None:
    set_canary(store, "tiny", 2, share=0.25)
    shelf.refresh()
    shares = [0.0, 0.2, 0.25, 0.9]
    answers = shelf.answer([question(seed, share) for seed, share in enumerate(shares)])
    assert [(a.model.version, a.model.role) for a in answers if isinstance(a, Answer)] == [
        (2, "canary"), (2, "canary"), (1, "primary"), (1, "primary"),
    ]  # fmt: skip
    set_canary(store, "tiny", None)
    shelf.refresh()
    assert answered(shelf, share=0.0).model.version == 1


def test_a_promoted_canary_is_a_canary_no_more(store: Store) -> None:
    set_canary(store, "tiny", 2, share=0.25)
    promote_model(store, "tiny", 2)
    assert read_rollout(store, "tiny").canary is None
    assert read_rollout(store, "tiny").primary == 2


def test_shadow_sees_the_same_images_and_only_metrics_differ(store: Store, shelf: ModelShelf, metrics: MemoryMetrics) -> None:
    before = answered(shelf)
    set_shadow(store, "tiny", 2)
    shelf.refresh()
    after = answered(shelf)
    shelf.close()
    assert (after.pom, after.model) == (before.pom, before.model)
    (shadow_pom,) = metrics.of("wsus_pom", role="shadow", version="2")
    assert metrics.of("wsus_shadow_difference", version="2") == [pytest.approx(abs(shadow_pom - before.pom))]


def test_an_image_that_cannot_be_answered_does_not_fail_its_neighbours(shelf: ModelShelf) -> None:
    black = Question(image_id="black", views=(seen(0 * made_image(), CROP),), share=0.5)
    good, bad, also_good = shelf.answer([question(1), black, question(2)])
    assert isinstance(bad, Refusal)
    assert "black" in bad.detail
    assert isinstance(good, Answer)
    assert isinstance(also_good, Answer)
    (alone,) = shelf.answer([question(2)])
    assert isinstance(alone, Answer)
    assert also_good.pom == pytest.approx(alone.pom, abs=1e-6)


def test_a_question_without_a_needed_view_is_sent_back_and_its_neighbours_are_answered(
    tmp_path: Path, store: Store, shelf: ModelShelf
) -> None:
    other = CropConfig(size_px=96)
    publish(tmp_path, seed=3, crop=other)
    promote_model(store, "tiny", 1)
    set_shadow(store, "tiny", 3)
    shelf.refresh()
    assert shelf.status().crops == (CROP, other)
    old, new = shelf.answer([question(1), question(1, 0.5, CROP, other)])
    assert old == Unseen(crops=(CROP, other))
    assert isinstance(new, Answer)
    assert new.model.version == 1


def test_the_digest_names_the_bundle(store: Store, shelf: ModelShelf) -> None:
    sums = store.read_bytes("models/tiny/1/SHA256SUMS")
    assert answered(shelf).model.digest == hashlib.sha256(sums).hexdigest()


def test_a_store_without_models_says_what_to_do(tmp_path: Path, metrics: MemoryMetrics) -> None:
    with pytest.raises(BundleError, match="wsus publish"):
        ModelShelf(open_store(tmp_path), None, metrics, load=loader(ServeSettings(store=str(tmp_path), insecure=True)))


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with graph and self-test, as `wsus publish` makes it."""
    root = tmp_path_factory.mktemp("servable")
    with publish(root, seed=4).fetched("models/tiny/1") as fetched:
        bundle = read_bundle(fetched)
        write_servable(bundle, root / "servable", replace(bundle.card, name="tiny"))
    return root / "servable"


@pytest.mark.slow
def test_a_published_graph_answers_as_torch_does_and_without_it(servable: Path, tmp_path: Path, metrics: MemoryMetrics) -> None:
    store = open_store(tmp_path)
    publish_model(store, "tiny", servable)
    poms = {}
    for engine in ("onnx", "torch"):
        settings = ServeSettings(store=store.address, insecure=True, engine=engine)
        shelf = ModelShelf(store, "tiny", metrics, load=loader(settings))
        answer = answered(shelf)
        poms[engine] = answer.pom
        assert answer.model.engine == engine
        shelf.close()
    assert poms["onnx"] == pytest.approx(poms["torch"], abs=1e-4)


@pytest.mark.slow
def test_a_version_that_fails_its_own_test_is_refused(servable: Path, tmp_path: Path, metrics: MemoryMetrics) -> None:
    wrong = Path(shutil.copytree(servable, tmp_path / "wrong"))
    expected = load_file(wrong / SELF_TEST)
    save_file({**expected, "poms": expected["poms"] + 0.001}, wrong / SELF_TEST)
    (wrong / SUMS).write_text(sums_of(wrong))
    store = open_store(tmp_path / "store")
    publish_model(store, "tiny", servable)
    publish_model(store, "tiny", wrong)
    promote_model(store, "tiny", 1)
    shelf = ModelShelf(store, "tiny", metrics, load=loader(ServeSettings(store=store.address, insecure=True)))
    promote_model(store, "tiny", 2)
    shelf.refresh()
    assert answered(shelf).model.version == 1
    (refused,) = shelf.status().refused
    assert "POM" in refused
    shelf.close()


def test_a_site_s_profile_is_taken_at_the_next_look_and_scales_what_the_model_says(
    store: Store, shelf: ModelShelf, metrics: MemoryMetrics
) -> None:
    own = answered(shelf)
    asked = replace(question(), site="our-hospital")
    (refused,) = shelf.answer([asked])
    assert isinstance(refused, Refusal)
    assert refused.reason == "no_such_site"
    assert "wsus calibrate --for SITE" in refused.detail

    profile = add_site(store, "our-hospital")
    shelf.refresh()
    by_site, unnamed = shelf.answer([asked, question()])
    assert isinstance(by_site, Answer)
    assert by_site.by_site is not None
    assert by_site.pom == pytest.approx(float(profile.scaling.apply(own.pom)))
    assert (by_site.operating_point, by_site.label) == (0.25, int(by_site.pom >= 0.25))
    assert by_site.by_site.not_sure is bool(profile.not_sure and profile.not_sure.unsure(by_site.pom))
    assert (by_site.by_site.measured.sensitivity, by_site.by_site.model_pom) == (0.95, pytest.approx(own.pom))
    assert isinstance(unnamed, Answer)
    assert unnamed.pom == pytest.approx(own.pom)
    assert unnamed.by_site is None
    shelf.record([by_site])
    assert metrics.of("wsus_pom", version="1", role="primary")[-1] == pytest.approx(own.pom), (
        "drift is seen on the model's own scale"
    )


def test_a_canary_without_the_site_s_profile_leaves_the_answer_to_the_primary(
    store: Store, shelf: ModelShelf, metrics: MemoryMetrics
) -> None:
    add_site(store, "our-hospital")
    set_canary(store, "tiny", 2, share=0.5)
    shelf.refresh()
    asked = replace(question(share=0.1), site="our-hospital")
    answers = shelf.answer([asked, question(share=0.1)])
    assert [item.model.version for item in answers if isinstance(item, Answer)] == [1, 2]
    add_site(store, "our-hospital", version=2)
    shelf.refresh()
    (by_canary,) = shelf.answer([asked])
    assert isinstance(by_canary, Answer)
    assert by_canary.model.version == 2


def test_a_damaged_profile_is_named_and_the_older_ones_go_on(store: Store, shelf: ModelShelf) -> None:
    add_site(store, "our-hospital")
    shelf.refresh()
    store.write_json("models/tiny/sites/1/theirs.json", {"schema_version": 99})
    shelf.refresh()
    assert [profile.site for profile in shelf.status().sites[1]] == ["our-hospital"]
    (said,) = shelf.status().refused
    assert "theirs.json" in said
    store.delete("models/tiny/sites/1/theirs.json")
    shelf.refresh()
    assert shelf.status().refused == ()


def test_where_signatures_are_asked_for_nothing_else_is_loaded(store: Store, metrics: MemoryMetrics, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    keys = tmp_path / "keys.pem"
    keys.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    settings = ServeSettings(store=store.address, insecure=True, require_signature=str(keys))

    def shelf() -> ModelShelf:
        return ModelShelf(store, "tiny", metrics, load=loader(settings), signers=settings.require_signature)

    with pytest.raises(BundleError, match="tiny 1: not signed"):
        shelf()
    sign_model(store, "tiny", 1, hashlib.sha256(store.read_bytes(f"models/tiny/1/{SUMS}")).hexdigest(), key)
    standing = shelf()
    promote_model(store, "tiny", 2)
    standing.refresh()
    assert answered(standing).model.version == 1
    assert "not signed" in standing.status().refused[0]
    sign_model(store, "tiny", 2, "0" * 64, key)
    promote_model(store, "tiny", 1)
    standing.refresh()
    promote_model(store, "tiny", 2)
    standing.refresh()
    assert "its signature is by no trusted key" in standing.status().refused[0]
    standing.close()
