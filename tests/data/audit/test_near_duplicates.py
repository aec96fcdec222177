"""The same picture is found under another crop, size, gain and annotation; other pictures are not taken for it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from wsus.data.audit.near_duplicates import (
    NEARLY_IDENTICAL,
    NearDuplicate,
    NearDuplicateConfig,
    find_near_duplicates,
    fingerprint,
    group_near_duplicates,
)
from wsus.data.images import read_grey
from wsus.errors import ConfigError
from wsus.types import GreyHW


def tissue(seed: int, height: int = 240, width: int = 300) -> GreyHW:
    """Speckle over coarser tissue, bright above and dark below, as every ultrasound image is."""
    rng = np.random.default_rng(seed)
    layers = [ndimage.gaussian_filter(rng.normal(size=(height, width)), sigma) for sigma in ((12, 28), (6, 14), (1.5, 3))]
    depth = np.linspace(1.5, -1.5, height)[:, None]
    image = 110 + 30 * depth + sum(18 * layer / layer.std() for layer in layers)
    return np.clip(image, 0, 255).astype(np.uint8)


def annotated(image_HW: GreyHW) -> GreyHW:
    picture = Image.fromarray(image_HW.copy())
    draw = ImageDraw.Draw(picture)
    draw.text((20, 200), "MAMA DIR 11H", fill=255)
    draw.line((100, 80, 160, 130), fill=255, width=2)
    return np.asarray(picture)


def resized(image_HW: GreyHW, factor: float) -> GreyHW:
    height, width = image_HW.shape
    return np.asarray(
        Image.fromarray(image_HW).resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
    )


def similarity(first: GreyHW, second: GreyHW) -> float:
    pairs = find_near_duplicates(
        [fingerprint(first), fingerprint(second)], NearDuplicateConfig(threshold=0.01, candidate_threshold=0.01)
    )
    return pairs[0].similarity if pairs else 0.0


def test_a_copy_has_similarity_one() -> None:
    assert similarity(tissue(0), tissue(0).copy()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("smaller", 0.9),
        ("annotated", 0.9),
        ("brighter", 0.9),
        ("cropped", NEARLY_IDENTICAL),
        ("cropped a lot", 0.6),
        ("noisy", 0.6),
    ],
)
def test_the_same_picture_is_recognised(name: str, least: float) -> None:
    image = tissue(1)
    other = {
        "smaller": resized(image, 0.7),
        "annotated": annotated(image),
        "brighter": np.clip(image.astype(float) ** 0.8 * 2, 0, 255).astype(np.uint8),
        "cropped": image[6:-10, 12:-4],
        "cropped a lot": image[:-18, 20:-10],
        "noisy": np.clip(image + np.random.default_rng(0).normal(0, 12, image.shape), 0, 255).astype(np.uint8),
    }[name]

    found = find_near_duplicates([fingerprint(image), fingerprint(tissue(2)), fingerprint(other)])

    assert [(pair.first, pair.second) for pair in found] == [(0, 2)]
    assert found[0].similarity >= least


def test_other_pictures_of_the_same_make_are_not_near() -> None:
    prints = [fingerprint(annotated(tissue(seed))) for seed in range(60)]
    assert find_near_duplicates(prints) == ()


def test_a_mirrored_picture_is_another_picture() -> None:
    assert similarity(tissue(0), tissue(0)[:, ::-1].copy()) < 0.45


def test_pairs_come_most_similar_first_and_do_not_depend_on_the_order() -> None:
    images = [tissue(0), annotated(tissue(0))[6:-10, 12:-4], tissue(3), tissue(0)]

    found = find_near_duplicates([fingerprint(image) for image in images])
    turned = find_near_duplicates([fingerprint(image) for image in images[::-1]])

    assert (found[0].first, found[0].second) == (0, 3)
    assert {(pair.first, pair.second) for pair in found} == {(0, 3), (0, 1), (1, 3)}
    assert {(3 - pair.second, 3 - pair.first) for pair in turned} == {(0, 3), (0, 1), (1, 3)}


def test_more_copies_than_partners_still_become_one_group() -> None:
    prints = [fingerprint(tissue(0))] * 30 + [fingerprint(tissue(1))]
    groups = group_near_duplicates(31, find_near_duplicates(prints, NearDuplicateConfig(partners=5)))
    assert len(groups) <= 6
    assert groups[-1] == (30,)


def test_few_images_have_no_pairs() -> None:
    assert find_near_duplicates([]) == ()
    assert find_near_duplicates([fingerprint(tissue(0))]) == ()


def test_groups_join_chains_and_keep_single_images() -> None:
    pairs = [NearDuplicate(first=1, second=4, similarity=0.9), NearDuplicate(first=4, second=5, similarity=0.8)]
    assert group_near_duplicates(6, pairs) == [(0,), (1, 4, 5), (2,), (3,)]
    assert group_near_duplicates(2, []) == [(0,), (1,)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": 0.0}, r"threshold must lie in \(0, 1\]; got 0.0"),
        ({"candidate_threshold": 1.5}, "candidate_threshold must lie"),
        ({"partners": 0}, "partners must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_named(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NearDuplicateConfig(**values)


@pytest.mark.slow
def test_busi_holds_about_a_hundred_nearly_identical_pairs_seven_across_classes(test_data_dir: Path) -> None:
    paths = sorted(path for path in (test_data_dir / "busi").rglob("*.png") if "_mask" not in path.stem)
    prints = [fingerprint(read_grey(path)) for path in paths]

    start = time.perf_counter()
    pairs = find_near_duplicates(prints)

    assert len(prints) == 780
    assert time.perf_counter() - start < 60
    classes = {pair: {paths[pair.first].parent.name, paths[pair.second].parent.name} for pair in pairs}
    alike = [pair for pair in pairs if pair.similarity >= NEARLY_IDENTICAL]
    assert 95 <= len(alike) <= 125
    assert sum(len(classes[pair]) == 2 for pair in alike) == 7
    # with other crops and neighbouring frames, each looked at by eye
    assert 225 <= len(pairs) <= 245
    across = {frozenset((paths[p.first].stem, paths[p.second].stem)) for p in pairs if len(classes[p]) == 2}
    assert frozenset(("benign (433)", "malignant (145)")) in across
    assert frozenset(("benign (437)", "normal (34)")) in across
    assert len(across) == 11


@pytest.mark.slow
def test_bus_bra_holds_one_woman_under_two_cases(test_data_dir: Path) -> None:
    paths = sorted((test_data_dir / "bus-bra" / "Images").glob("*.png"))
    pairs = find_near_duplicates([fingerprint(read_grey(path)) for path in paths])
    assert {(paths[p.first].stem, paths[p.second].stem) for p in pairs} == {
        ("bus_0056-l", "bus_0091-l"),
        ("bus_0056-r", "bus_0091-r"),
    }
