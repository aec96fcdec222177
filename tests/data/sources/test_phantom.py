"""What the phantoms promise: identical bytes, overlapping classes, visible cues, no shortcut, two unlike institutions."""

import hashlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from wsus.data.images import read_image, read_mask
from wsus.data.sources.phantom import (
    INSTITUTIONS,
    PhantomConfig,
    PhantomImage,
    PhantomPatient,
    generate,
    make_image,
    make_patient,
    write_phantoms,
)
from wsus.data.sources.phantom_lesion import SEPARATION, Lesion, best_auc, draw_lesion
from wsus.data.sources.phantom_marks import burn_marks
from wsus.data.sources.phantom_physics import draw_anatomy
from wsus.errors import ConfigError, DataError
from wsus.types import BENIGN, MALIGNANT

SMALL = PhantomConfig(patients_per_class=3, seed=7)


@pytest.fixture(scope="module")
def patients() -> dict[str, list[PhantomPatient]]:
    return {name: list(generate(PhantomConfig(patients_per_class=20, institution=name, seed=11))) for name in ("A", "B")}


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def _images(patients: list[PhantomPatient], label: int | None = None) -> list[PhantomImage]:
    return [image for patient in patients if label in (None, patient.label) for image in patient.images]


def _box(image: PhantomImage) -> tuple[slice, slice]:
    rows, columns = ndimage.find_objects(image.mask_HW.astype(int))[0]
    return rows, columns


def _mean(images: list[PhantomImage], measure: Callable[[PhantomImage], float]) -> float:
    return float(np.mean([measure(image) for image in images]))


def _behind_against_beside(image: PhantomImage) -> float:
    """Brightness behind the lesion's middle half minus that of the columns without lesion, at the same depth."""
    rows, columns = _box(image)
    band = image.pixels_HW[rows.stop + 3 : rows.stop + 43].astype(float)
    quarter = (columns.stop - columns.start) // 4
    beside = np.delete(band, np.arange(columns.start, columns.stop), axis=1)
    return float(band[:, columns.start + quarter : columns.stop - quarter].mean() - beside.mean())


def _height_to_width(image: PhantomImage) -> float:
    rows, columns = _box(image)
    return (rows.stop - rows.start) / (columns.stop - columns.start)


def _raggedness(image: PhantomImage) -> float:
    """Perimeter squared over area of the mask, relative to a disc: 1 for a smooth round lesion, more for a ragged one."""
    edge = image.mask_HW & ~ndimage.binary_erosion(image.mask_HW)
    return float(edge.sum() ** 2 / (4 * np.pi * image.mask_HW.sum()))


# --- identical bytes


def test_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    configs = [SMALL, replace(SMALL, institution="B")]

    one = write_phantoms(tmp_path / "one", configs, workers=1)
    three = write_phantoms(tmp_path / "three", configs, workers=3)

    digests = _digests(tmp_path / "one")
    assert digests == _digests(tmp_path / "three")
    assert len(digests) == 2 * len(one)
    assert [replace(r, path=Path(), mask_paths=()) for r in one] == [replace(r, path=Path(), mask_paths=()) for r in three]


def test_another_seed_or_institution_gives_other_patients() -> None:
    pixels = [
        make_patient(config, 0).images[0].pixels_HW.tobytes()
        for config in (SMALL, replace(SMALL, seed=8), replace(SMALL, institution="B"))
    ]
    assert len(set(pixels)) == 3


def test_a_longer_series_begins_with_the_shorter_one() -> None:
    short, long = list(generate(SMALL)), list(generate(replace(SMALL, patients_per_class=4)))

    assert len(long) == 8
    for a, b in zip(short, long[:6], strict=True):
        assert a.patient_id == b.patient_id
        assert all((x.pixels_HW == y.pixels_HW).all() for x, y in zip(a.images, b.images, strict=True))


def test_classes_come_in_random_order_and_in_equal_numbers(patients: dict[str, list[PhantomPatient]]) -> None:
    labels = [patient.label for patient in patients["A"]]
    assert labels.count(BENIGN) == labels.count(MALIGNANT) == 20
    assert len(set(labels[::2])) == 2  # the number of a patient does not give its class away


# --- what lies in the folder


def test_records_and_files_belong_together(tmp_path: Path) -> None:
    records = write_phantoms(tmp_path / "set", [SMALL, replace(SMALL, institution="B")])

    assert len({record.image_id for record in records}) == len(records)
    assert {record.path for record in records} == set((tmp_path / "set" / "images").iterdir())
    for record in records:
        image = read_image(record.path)
        mask_HW = read_mask(record.mask_paths[0], image=image)
        assert mask_HW.any()
        assert record.path.is_absolute()
        assert record.split is None
        assert all(getattr(record, field.name) is not None for field in fields(record) if field.name not in ("split", "frame"))
        assert record.patient_id[0] == record.institution
        first, last = INSTITUTIONS[record.institution or ""].period
        assert first <= (record.acquired or "") <= last
        assert 5 <= (record.lesion_size_mm or 0) <= 40
    assert not [path for path in tmp_path.iterdir() if path.name != "set"]


def test_period_of_acquisition_is_kept() -> None:
    config = replace(SMALL, patients_per_class=10, period=("2020-02-01", "2020-02-29"), images_per_patient_weights=(1.0,))
    assert {patient.acquired[:7] for patient in generate(config)} == {"2020-02"}


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert write_phantoms(tmp_path / "set", [PhantomConfig(patients_per_class=1)])


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not empty.*remove it or choose another"):
        write_phantoms(tmp_path, [SMALL])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("mine")
    with pytest.raises(DataError, match=r"set: a file stands where"):
        write_phantoms(tmp_path / "set", [SMALL])


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full_disk)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        write_phantoms(tmp_path / "set", [SMALL])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patients_per_class": 0}, "at least 1; got 0"),
        ({"institution": "C"}, "'A' or 'B'; got 'C'"),
        ({"seed": -1}, "must not be negative; got -1"),
        ({"images_per_patient_weights": (0.0, 0.0)}, "positive sum"),
        ({"images_per_patient_weights": ()}, "positive sum"),
        ({"images_per_patient_weights": (1.0, float("nan"))}, "positive sum"),
        ({"period": ("2020-01-01", "soon")}, "two ISO dates.*soon"),
        ({"period": ("2020-01-02", "2020-01-01")}, "ends .2020-01-01. before it begins"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changes)


def test_the_same_patients_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="institution 'A' and seed 7: they would hold the same patients"):
        write_phantoms(tmp_path / "set", [SMALL, replace(SMALL, period=("2020-01-01", "2020-12-31"))])
    with pytest.raises(ConfigError, match="give at least one PhantomConfig"):
        write_phantoms(tmp_path / "set", [])
    with pytest.raises(ConfigError, match="workers must be at least 1; got 0"):
        write_phantoms(tmp_path / "set", [SMALL], workers=0)


# --- lesions


def test_mask_is_one_piece_of_the_images_size(patients: dict[str, list[PhantomPatient]]) -> None:
    for image in _images(patients["A"] + patients["B"]):
        assert image.pixels_HW.dtype == np.uint8
        assert image.mask_HW.dtype == bool
        assert image.mask_HW.shape == image.pixels_HW.shape
        assert ndimage.label(image.mask_HW, structure=np.ones((3, 3)))[1] == 1
        assert 0.01 < image.mask_HW.mean() < 0.35


def test_a_smooth_lesions_mask_is_the_ellipse_that_its_descriptors_name() -> None:
    rng = np.random.default_rng(0)
    plain = Lesion(label=BENIGN, latent_D=np.array([0.0, -6.0, -6.0, 0.0, 0.0, 0.0]), diameter_mm=10.0, tilt_rad=0.0)
    scanner, marks = INSTITUTIONS["A"].scanners[0], INSTITUTIONS["A"].marks

    image = make_image(plain, draw_anatomy(rng), scanner, marks, rng)

    area_mm2 = np.pi / 4 * image.descriptors.diameter_mm**2
    assert image.mask_HW.sum() * scanner.mm_per_px**2 == pytest.approx(area_mm2, rel=0.05)
    assert _height_to_width(image) == pytest.approx(image.descriptors.height_to_width, rel=0.08)


def test_a_mask_holds_the_dark_lesion_and_not_its_halo(patients: dict[str, list[PhantomPatient]]) -> None:
    def inside_against_rim(image: PhantomImage) -> float:
        rim_HW = ndimage.binary_dilation(image.mask_HW, iterations=8) & ~ndimage.binary_dilation(image.mask_HW, iterations=2)
        return float(image.pixels_HW[rim_HW].mean() - image.pixels_HW[image.mask_HW].mean())

    assert min(inside_against_rim(image) for image in _images(patients["A"])) > 5


def test_patients_have_one_to_three_views_of_one_lesion(patients: dict[str, list[PhantomPatient]]) -> None:
    counts = [len(patient.images) for patient in patients["A"]]
    assert set(counts) == {1, 2, 3}

    pairs = [patient.images[:2] for patient in patients["A"] if len(patient.images) > 1]
    for first, second in pairs:
        assert first.pixels_HW.tobytes() != second.pixels_HW.tobytes()
    within_D = np.std([a.descriptors.features() - b.descriptors.features() for a, b in pairs], axis=0)
    between_D = np.std([a.descriptors.features() for a, _ in pairs], axis=0)
    assert (within_D < 0.7 * between_D).all()


# --- the classes overlap


def test_best_auc_is_what_the_latents_allow() -> None:
    rng = np.random.default_rng(3)
    lesions = [draw_lesion(label, rng) for label in (BENIGN, MALIGNANT) for _ in range(4000)]
    auc = roc_auc_score([lesion.label for lesion in lesions], [lesion.log_odds() for lesion in lesions])

    assert auc == pytest.approx(best_auc(), abs=0.006)
    assert 0.93 < best_auc(of_views=True) < best_auc() < 0.975


def test_a_regression_on_the_descriptors_is_good_and_not_perfect() -> None:
    rng = np.random.default_rng(4)
    lesions = [draw_lesion(label, rng) for label in (BENIGN, MALIGNANT) for _ in range(1500)]
    features_ND = np.array([lesion.view(rng).features() for lesion in lesions])
    labels_N = np.array([lesion.label for lesion in lesions])
    features_ND = (features_ND - features_ND.mean(0)) / features_ND.std(0)

    fitted = LogisticRegression().fit(features_ND[::2], labels_N[::2])
    auc = roc_auc_score(labels_N[1::2], fitted.decision_function(features_ND[1::2]))

    assert 0.85 < auc < 0.99
    assert auc == pytest.approx(best_auc(of_views=True), abs=0.015)  # clipping takes little away
    for descriptor, name in zip(features_ND.T, SEPARATION, strict=True):
        alone = roc_auc_score(labels_N, descriptor)
        assert 0.6 < max(alone, 1 - alone) < 0.9, name  # each tells something, none tells all


def test_birads_follows_malignancy_with_errors(patients: dict[str, list[PhantomPatient]]) -> None:
    everyone = patients["A"] + patients["B"]
    auc = roc_auc_score([p.label for p in everyone], [int(p.birads) for p in everyone])
    assert 0.8 < auc < 1.0
    assert {p.birads for p in everyone} == {"2", "3", "4", "5"}


# --- cues are in the picture, shortcuts are not


@pytest.mark.parametrize("institution", ["A", "B"])
@pytest.mark.parametrize(
    ("measure", "sign", "least"),
    [(_behind_against_beside, -1, 15.0), (_height_to_width, 1, 0.12), (_raggedness, 1, 0.08)],
    ids=["shadow", "not parallel", "ragged"],
)
def test_malignant_lesions_differ_on_average(
    patients: dict[str, list[PhantomPatient]],
    institution: str,
    measure: Callable[[PhantomImage], float],
    sign: int,
    least: float,
) -> None:
    benign, malignant = (_images(patients[institution], label) for label in (BENIGN, MALIGNANT))
    assert sign * (_mean(malignant, measure) - _mean(benign, measure)) > least


def test_brightness_size_and_place_say_nothing(patients: dict[str, list[PhantomPatient]]) -> None:
    firsts = [(patient.label, patient.images[0]) for name in ("A", "B") for patient in patients[name]]
    labels = [label for label, _ in firsts]
    for measure in (
        lambda image: image.pixels_HW.mean(),
        lambda image: image.mask_HW.sum() * image.mm_per_px**2,
        lambda image: ndimage.center_of_mass(image.mask_HW)[1] / image.mask_HW.shape[1],
        lambda image: image.pixels_HW.shape[0] / image.pixels_HW.shape[1],
    ):
        # The standard error of an AUC of one half with 40 + 40 cases is 0.065.
        assert abs(roc_auc_score(labels, [measure(image) for _, image in firsts]) - 0.5) < 0.2


def test_marks_do_not_see_the_lesion_and_are_sometimes_absent() -> None:
    """`burn_marks` is given a centre and a diameter only; the same ones give the same marks."""
    style = INSTITUTIONS["A"].marks
    blank_HW = np.full((280, 240), 10, dtype=np.uint8)
    marked = [
        burn_marks(blank_HW, style, np.random.default_rng(seed), center_xy_px=(120, 110), diameter_px=70, mm_per_px=0.15)
        for seed in range(40)
    ]
    counts = [int((image.pixels_HW != 10).sum()) for image in marked]
    assert min(counts) == 0
    assert max(counts) > 100
    assert (blank_HW == 10).all()


def test_manifest_says_which_images_carry_calipers(tmp_path: Path) -> None:
    """Without its other marks, an image differs from its bare twin exactly where it has calipers."""
    blank_HW = np.full((280, 240), 10, dtype=np.uint8)
    only_calipers = replace(INSTITUTIONS["A"].marks, text=0.0, ruler=0.0, grey_bar=0.0)
    marked = [
        burn_marks(blank_HW, only_calipers, np.random.default_rng(seed), center_xy_px=(120, 110), diameter_px=70, mm_per_px=0.15)
        for seed in range(40)
    ]
    assert [image.calipers for image in marked] == [bool((image.pixels_HW != 10).any()) for image in marked]

    records = write_phantoms(tmp_path / "set", [replace(SMALL, patients_per_class=10)])
    share = np.mean([record.calipers == "yes" for record in records])
    assert {record.calipers for record in records} == {"yes", "no"}
    assert 0.2 < share < 0.7  # institution A: 0.45


# --- two institutions


def test_institutions_differ_in_size_resolution_and_brightness(patients: dict[str, list[PhantomPatient]]) -> None:
    def speckle_width(image: PhantomImage) -> float:
        """Lag-2 lateral autocorrelation of the gland's finest structure."""
        band = image.pixels_HW[60:110].astype(float)
        fine = band - ndimage.uniform_filter(band, 9)
        return float((fine[:, 2:] * fine[:, :-2]).mean() / (fine**2).mean())

    a, b = _images(patients["A"]), _images(patients["B"])
    assert all(image.pixels_HW.shape[0] > image.pixels_HW.shape[1] for image in a)  # upright
    assert all(image.pixels_HW.shape[0] <= image.pixels_HW.shape[1] for image in b)  # lying
    assert all(200 <= side <= 300 for image in a + b for side in image.pixels_HW.shape)
    assert len({image.pixels_HW.shape for image in a}) > 5
    assert _mean(b, speckle_width) > _mean(a, speckle_width) + 0.1
    assert _mean(b, lambda image: image.pixels_HW.mean()) > _mean(a, lambda image: image.pixels_HW.mean()) + 8
    assert not {p.device for p in patients["A"]} & {p.device for p in patients["B"]}
