"""A study's records become rows that keep the contract, and the most telling pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from wsus.comparison.predictions import LIST_COLUMNS, LOCALISATION_COLUMNS, check_predictions
from wsus.data.roi import CropConfig
from wsus.errors import ImageError
from wsus.evaluation.box_accuracy import CAM_THRESHOLDS
from wsus.inference.predict import Predictor
from wsus.inference.scoring import ScoredImage, as_table, choose_examples, score_records
from wsus.models.bundle import ModelCard, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import ImageRecord, Mode, Split

NET = NetConfig(backbone="vgg16", width=0.125)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    torch.manual_seed(0)
    net = CamNet(NET).eval()
    torch.nn.init.normal_(net.linear.weight)
    card = ModelCard(name="tiny", net=NET, mode=Mode.WEAK, crop=CropConfig(size_px=64))
    folder = tmp_path_factory.mktemp("scoring") / "bundle"
    write_bundle(folder, card, net)
    return Predictor(read_bundle(folder), batch_size=2)


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """Three images: with a mask, without one, with an empty one."""
    rng = np.random.default_rng(0)
    masks = np.zeros((2, 40, 50), dtype=np.uint8)
    masks[0, 10:30, 10:30] = 255
    made = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(1, 255, (40, 50), dtype=np.uint8)).save(path)
        mask_paths: tuple[Path, ...] = ()
        if number != 1:
            mask_paths = (tmp_path / f"m{number}.png",)
            Image.fromarray(masks[number // 2]).save(mask_paths[0])
        made.append(
            ImageRecord(
                image_id=f"i{number}",
                patient_id=f"p{number}",
                path=path,
                label=number % 2,
                split=Split.INTERNAL,
                mask_paths=mask_paths,
                device="X",
            )
        )
    return made


def test_rows_keep_the_contract(predictor: Predictor, records: list[ImageRecord]) -> None:
    rows = [row for row, _ in score_records(predictor, records)]
    table = as_table(rows, study="s", backbone="vgg16", mode="weak", seed=0)

    assert check_predictions(table, name="table") is table
    assert table.columns[:4].tolist() == ["study", "backbone", "mode", "seed"]
    assert table["image_id"].tolist() == ["i0", "i1", "i2"]
    assert table["label"].tolist() == [0, 1, 0]
    assert set(table["split"]) == {"internal"}
    assert set(table["device"]) == {"X"}
    assert (table["called_malignant"] == (table["pom"] >= 0.5)).all()


def test_localisation_is_null_where_there_is_no_mask(predictor: Predictor, records: list[ImageRecord]) -> None:
    rows = [row for row, _ in score_records(predictor, records)]
    table = as_table(rows)
    names = [*LOCALISATION_COLUMNS, *LIST_COLUMNS]
    columns = [*(f"{prefix}{name}" for prefix in ("", "centre_box_", "random_map_") for name in names), "mask_fraction"]
    assert table.loc[0, columns].notna().all()
    assert table.loc[0, "mask_fraction"] == pytest.approx(400 / 2000)
    assert table.loc[[1, 2], columns].isna().all().all()
    assert isinstance(table["localised"].dtype, pd.BooleanDtype)


def test_random_baseline_is_the_same_for_every_cell(predictor: Predictor, records: list[ImageRecord]) -> None:
    def baseline(row: dict[str, object]) -> dict[str, object]:
        found = {name: value for name, value in row.items() if name.startswith(("random_map", "centre_box"))}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}

    (first, _), *_ = score_records(predictor, records)
    (again, _), *_ = score_records(predictor, records)
    assert baseline(first) == baseline(again)
    assert len(baseline(first)) == 2 * (len(LOCALISATION_COLUMNS) + len(LIST_COLUMNS))


def test_images_with_names_that_begin_alike_get_different_random_maps(predictor: Predictor, records: list[ImageRecord]) -> None:
    named = [replace(records[0], image_id=f"bus_0001-{side}") for side in "lrst"]

    columns = ("random_map_iou", "random_map_energy_in_mask")
    found = {tuple(row[name] for name in columns) for row, _ in score_records(predictor, named)}

    assert len(found) == 4


def test_iou_by_threshold_holds_the_iou_of_the_cards_threshold_and_survives_the_file(
    predictor: Predictor, records: list[ImageRecord], tmp_path: Path
) -> None:
    table = as_table([row for row, _ in score_records(predictor, records)])
    table.to_parquet(tmp_path / "p.parquet", index=False)

    read = pd.read_parquet(tmp_path / "p.parquet")

    at = CAM_THRESHOLDS.index(predictor.cam_threshold)
    for prefix in ("", "random_map_"):
        ious = read.loc[0, f"{prefix}iou_by_threshold"]
        assert len(ious) == len(CAM_THRESHOLDS)
        assert ious[at] == pytest.approx(read.loc[0, f"{prefix}iou"], abs=1e-6)
    assert (read.loc[0, "best_iou_by_threshold"] >= read.loc[0, "iou_by_threshold"]).all()
    assert read.loc[1, "iou_by_threshold"] is None


def test_pictures_go_with_their_rows(predictor: Predictor, records: list[ImageRecord]) -> None:
    for (row, example), record in zip(score_records(predictor, records), records, strict=True):
        assert example.image_id == record.image_id == row["image_id"]
        assert (example.image_HW == np.asarray(Image.open(record.path))).all()
        assert example.cam_HW.dtype == np.uint8
        assert example.cam_HW.max() == 255
        expected = {(1, True): "true_positive", (1, False): "false_negative", (0, True): "false_positive"}
        assert example.kind == expected.get((row["label"], row["called_malignant"]), "true_negative")


def test_unreadable_image_is_named(predictor: Predictor, records: list[ImageRecord]) -> None:
    records[2].path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"2\.png: the file is empty"):
        list(score_records(predictor, records))


def example(kind: str, image_id: str, pom: float) -> ScoredImage:
    blank = np.zeros((2, 2), dtype=np.uint8)
    return ScoredImage(
        kind=kind,
        split="internal",
        image_id=image_id,
        label=1,
        pom=pom,
        box_xyxy_px=None,
        image_HW=blank,
        cam_HW=blank,
        mask_HW=None,
    )


def test_most_confident_example_of_each_kind_is_chosen() -> None:
    scored = [
        example("true_negative", "a", 0.3),
        example("true_positive", "b", 0.7),
        example("true_positive", "c", 0.9),
        example("true_negative", "d", 0.1),
        example("false_negative", "e", 0.2),
        example("false_negative", "f", 0.05),
        example("false_positive", "g", 0.8),
        example("false_positive", "h", 0.6),
    ]
    chosen = choose_examples([({}, one) for one in scored])
    assert [one.image_id for one in chosen] == ["c", "f", "g", "d"]
    assert [one.image_id for one in choose_examples([({}, one) for one in reversed(scored)])] == ["c", "f", "g", "d"]


def test_equal_confidence_is_decided_by_the_id() -> None:
    scored = [({}, example("true_positive", name, 0.9)) for name in "bac"]
    assert [one.image_id for one in choose_examples(scored)] == ["a"]
