"""Splits keep patients apart, take the wanted numbers, and say what is missing where they cannot."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsus.data.manifest import Manifest, patients_across_splits
from wsus.data.splits import SplitConfig, assign_folds, make_splits, splits_from_manifest
from wsus.errors import ConfigError, ManifestError, SplitError
from wsus.types import ImageRecord, Split


def manifest_of(benign: int, malignant: int, *, prefix: str = "", images: int = 2) -> Manifest:
    """So many patients per class, each with so many images."""
    labels = [0] * benign + [1] * malignant
    records = tuple(
        ImageRecord(image_id=f"{prefix}p{p}-{i}", patient_id=f"{prefix}p{p}", path=Path(f"{prefix}p{p}-{i}.png"), label=label)
        for p, label in enumerate(labels)
        for i in range(images)
    )
    return Manifest(records=records, name=prefix or "A")


def counts(manifest: Manifest, split: Split) -> tuple[int, int]:
    labels = Counter(record.label for record in manifest.by_split(split))
    return labels[0], labels[1]


def splits_of(manifest: Manifest) -> dict[str, Split | None]:
    return {record.image_id: record.split for record in manifest.records}


SMALL = SplitConfig(train_per_class=21, internal_per_class=5, external_per_class=4, development_fraction=0.2)


def test_the_wanted_numbers_are_taken_exactly() -> None:
    result = make_splits(manifest_of(30, 20), manifest_of(6, 7, prefix="B"), SMALL)

    assert counts(result, Split.INTERNAL) == (5, 5)
    assert counts(result, Split.EXTERNAL) == (4, 4)
    train, development = counts(result, Split.TRAIN), counts(result, Split.DEVELOPMENT)
    assert (train[0] + development[0], train[1] + development[1]) == (21, 21)
    # 21 images are 11 patients of two images, one of them trimmed; a fifth of 11 is 2 patients, 3 or 4 images
    assert set(development) <= {3, 4}
    assert len(result.records) == 2 * (30 + 20 + 6 + 7)


def test_no_patient_lies_in_two_splits_and_scored_patients_count_once() -> None:
    result = make_splits(manifest_of(30, 20, images=3), manifest_of(6, 7, prefix="B", images=3), SMALL)

    assert patients_across_splits(result.records) == {}
    for split in (Split.INTERNAL, Split.EXTERNAL):
        patients = [record.patient_id for record in result.by_split(split)]
        assert len(patients) == len(set(patients))


def test_external_images_come_from_the_external_source_only() -> None:
    result = make_splits(manifest_of(30, 20), manifest_of(6, 7, prefix="B"), replace(SMALL, external_per_class=None))
    assert counts(result, Split.EXTERNAL) == (6, 7)
    assert {r.image_id[0] for r in result.by_split(Split.EXTERNAL)} == {"B"}
    assert {r.image_id[0] for r in result.by_split(Split.TRAIN)} == {"p"}


def test_none_takes_all_that_is_left_for_training() -> None:
    result = make_splits(manifest_of(30, 20), None, replace(SMALL, train_per_class=None))
    train, development = counts(result, Split.TRAIN), counts(result, Split.DEVELOPMENT)
    assert (train[0] + development[0], train[1] + development[1]) == (2 * (30 - 5), 2 * (20 - 5))
    assert development == (2 * 5, 2 * 3)


def test_the_seed_decides_and_the_order_of_the_rows_does_not() -> None:
    manifest = manifest_of(30, 20)
    turned = manifest.with_records(reversed(manifest.records))

    first = splits_of(make_splits(manifest, None, SMALL))

    assert splits_of(make_splits(turned, None, SMALL)) == first
    assert splits_of(make_splits(manifest, None, replace(SMALL, seed=1))) != first


def test_the_internal_set_does_not_move_when_more_training_images_are_wanted() -> None:
    manifest = manifest_of(30, 20)
    small, large = make_splits(manifest, None, SMALL), make_splits(manifest, None, replace(SMALL, train_per_class=30))
    assert small.by_split(Split.INTERNAL) == large.by_split(Split.INTERNAL)


def test_latest_takes_the_patients_who_came_last() -> None:
    manifest = manifest_of(12, 12, images=2)
    dates = {f"p{p}": f"2020-{1 + p % 12:02d}-01" for p in range(24)}
    dated = manifest.with_records(replace(r, acquired=dates[r.patient_id]) for r in manifest.records)
    config = SplitConfig(train_per_class=None, internal_per_class=3, internal_from="latest")

    result = make_splits(dated, None, config)

    assert {r.acquired for r in result.by_split(Split.INTERNAL)} == {"2020-10-01", "2020-11-01", "2020-12-01"}
    with pytest.raises(SplitError, match="needs the column 'acquired' for every image"):
        make_splits(manifest, None, config)


def test_a_patient_with_both_classes_is_trained_on_but_never_scored() -> None:
    manifest = manifest_of(12, 12, images=1)
    both = tuple(
        ImageRecord(image_id=f"both{p}-{label}", patient_id=f"both{p}", path=Path("x.png"), label=label)
        for p in range(20)
        for label in (0, 1)
    )
    config = SplitConfig(train_per_class=None, internal_per_class=10, development_fraction=0.5)

    result = make_splits(manifest.with_records((*manifest.records, *both)), None, config)

    assert {r.split for r in result.records if r.patient_id.startswith("both")} == {Split.TRAIN}


@settings(max_examples=60, deadline=None)
@given(
    single=st.lists(st.integers(1, 4), min_size=5, max_size=15),
    both=st.lists(st.integers(1, 3), max_size=5),
    seed=st.integers(0, 1000),
    train=st.integers(2, 4),
)
def test_any_patients_are_divided_cleanly(single: list[int], both: list[int], seed: int, train: int) -> None:
    groups = [(f"{label}-{i}", [label] * n) for label in (0, 1) for i, n in enumerate(single)]
    groups += [(f"both-{i}", [0, 1] * n) for i, n in enumerate(both)]
    records = tuple(
        ImageRecord(image_id=f"{patient}-{i}", patient_id=patient, path=Path("x.png"), label=label)
        for patient, labels in groups
        for i, label in enumerate(labels)
    )
    config = SplitConfig(train_per_class=train, internal_per_class=1, development_fraction=0.0, seed=seed)

    result = make_splits(Manifest(records=records, name="m"), None, config)

    assert patients_across_splits(result.records) == {}
    assert counts(result, Split.INTERNAL) == (1, 1)
    assert not any(r.patient_id.startswith("both") for r in result.by_split(Split.INTERNAL))
    assert counts(result, Split.TRAIN) == (train, train)


@pytest.mark.parametrize(
    ("benign", "malignant", "config", "message"),
    [
        (0, 20, SMALL, "A: all images are malignant; a study needs benign and malignant ones"),
        (
            20,
            4,
            SMALL,
            r"A: 5 malignant patients wanted \(internal_per_class\), 4 available; set internal_per_class to 4 or less",
        ),
        (20, 9, SMALL, r"A: 21 malignant images wanted \(train_per_class\), 8 available; set train_per_class to 8 or less"),
        (5, 30, replace(SMALL, train_per_class=None), "1 benign images wanted .*, 0 available; ask for fewer in the sets"),
        (6, 30, replace(SMALL, train_per_class=None), "needs 2 or more benign training patients, 1 are available"),
    ],
)
def test_what_is_missing_is_named(benign: int, malignant: int, config: SplitConfig, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        make_splits(manifest_of(benign, malignant), None, config)


def test_a_small_external_source_is_named() -> None:
    with pytest.raises(SplitError, match=r"B: 4 benign patients wanted \(external_per_class\), 3 available"):
        make_splits(manifest_of(30, 30), manifest_of(3, 9, prefix="B"), SMALL)


def test_the_same_source_twice_is_refused() -> None:
    with pytest.raises(ManifestError, match="A and A share 120 image_id value"):
        make_splits(manifest_of(30, 30), manifest_of(30, 30), SMALL)


def test_an_image_without_a_label_cannot_be_split() -> None:
    manifest = manifest_of(30, 30)
    unlabelled = manifest.with_records([replace(manifest.records[0], label=None), *manifest.records[1:]])
    with pytest.raises(SplitError, match="image 'p0-0' has no label"):
        make_splits(unlabelled, None, SMALL)


def with_splits(manifest: Manifest, train: range, internal: range) -> Manifest:
    where = {f"p{p}": Split.TRAIN for p in train} | {f"p{p}": Split.INTERNAL for p in internal}
    return manifest.with_records(replace(r, split=where.get(r.patient_id)) for r in manifest.records)


def test_given_splits_are_kept_and_development_is_cut_from_training() -> None:
    given_splits = with_splits(manifest_of(15, 15), range(5, 25), range(5))
    internal = {f"p{p}" for p in range(3)} | {f"p{p}" for p in range(27, 30)}
    manifest = given_splits.with_records(
        replace(r, split=Split.INTERNAL if r.patient_id in internal else (None if r.split is Split.INTERNAL else r.split))
        for r in given_splits.records
    )

    result = splits_from_manifest(manifest, SMALL)

    assert {r.patient_id for r in result.by_split(Split.INTERNAL)} == internal
    assert counts(result, Split.DEVELOPMENT) == (4, 4)  # a fifth of ten patients per class, two images each
    assert counts(result, Split.TRAIN) == (16, 16)
    assert {r.patient_id for r in result.by_split(Split.UNUSED)} == {"p3", "p4", "p25", "p26"}


def test_given_development_is_not_touched() -> None:
    manifest = make_splits(manifest_of(30, 20), None, SMALL)
    assert splits_of(splits_from_manifest(manifest, replace(SMALL, seed=7))) == splits_of(manifest)


def test_given_splits_that_leak_or_lack_a_class_are_refused() -> None:
    manifest = with_splits(manifest_of(15, 15), range(5, 25), range(5))
    with pytest.raises(SplitError, match="the split 'internal' holds benign only"):
        splits_from_manifest(manifest, SMALL)
    leaking = manifest.with_records([replace(manifest.records[0], split=Split.TRAIN), *manifest.records[1:]])
    with pytest.raises(SplitError, match="patient 'p0' has images in the splits internal and train"):
        splits_from_manifest(leaking, SMALL)
    with pytest.raises(SplitError, match="no image has a split"):
        splits_from_manifest(manifest_of(15, 15), SMALL)


def test_folds_are_even_stratified_and_keep_patients_whole() -> None:
    manifest = manifest_of(10, 8)

    folds = assign_folds(manifest.records, 3, seed=0)

    assert set(folds) == {f"p{p}" for p in range(18)}
    assert sorted(Counter(folds[f"p{p}"] for p in range(10)).values()) == [3, 3, 4]
    assert sorted(Counter(folds[f"p{p}"] for p in range(10, 18)).values()) == [2, 3, 3]
    assert Counter(folds.values()) == {0: 6, 1: 6, 2: 6}
    assert assign_folds(tuple(reversed(manifest.records)), 3, seed=0) == folds
    assert assign_folds(manifest.records, 3, seed=1) != folds


def test_more_folds_than_patients_are_refused() -> None:
    with pytest.raises(SplitError, match="3 folds need 3 malignant training patients, 2 are available"):
        assign_folds(manifest_of(5, 2).records, 3, seed=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_per_class": 0}, "train_per_class must be at least 1; got 0"),
        ({"development_fraction": 1.0}, r"development_fraction must lie in \[0, 1\); got 1.0"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"seed": -1}, "seed must not be negative"),
        ({"internal_from": "newest"}, "internal_from must be 'random' or 'latest'; got 'newest'"),
    ],
)
def test_settings_that_cannot_be_are_named(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SplitConfig(**values)


def test_several_images_of_a_patient_in_a_scored_split_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    records = []
    for split in (Split.TRAIN, Split.DEVELOPMENT, Split.INTERNAL):
        for i in range(8):
            patient = f"{split}-{i // 2}" if split is Split.INTERNAL else f"{split}-{i}"
            label = i // 2 % 2 if split is Split.INTERNAL else i % 2
            records.append(
                ImageRecord(
                    image_id=f"{split}-{i}",
                    path=Path(f"{split}-{i}.png"),
                    label=label,
                    patient_id=patient,
                    split=split,
                    institution="A",
                )
            )
    splits_from_manifest(Manifest(name="several", records=tuple(records)))

    assert "the split 'internal' holds 8 images of 4 patients (4 with several, at most 2)" in caplog.text
