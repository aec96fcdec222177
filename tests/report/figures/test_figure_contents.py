"""Figures exist for what is there, are left out for what is not, and depend on nothing but the study."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_study import made_gallery
from PIL import Image

from wsus.comparison.result import Comparison
from wsus.report.figures.canvas import Drawing
from wsus.report.figures.forest import forest_drawing
from wsus.report.figures.gallery import gallery_drawing
from wsus.report.figures.hard_cases import CASES_PER_FIGURE, hard_case_drawings
from wsus.report.figures.plots import roc_drawing, training_drawing
from wsus.report.figures.schematics import flow_drawing, method_drawing
from wsus.report.inputs import CellArtefacts, GalleryItem, ReportInputs
from wsus.report.wording import backbone_name, percent_with_interval


@pytest.mark.slow
def test_order_figure_of_a_whole_study(report_dir: Path) -> None:
    networks = {f"cam_{name}" for name in ("vgg16", "resnet34", "googlenet")}
    kinds = ("roc", "calibration", "decision", "subgroups", "box_accuracy")
    by_split = {f"{kind}_{split}" for kind in kinds for split in ("internal", "external")}

    slugs = {path.stem for path in (report_dir / "figures").glob("*.svg")}
    hard = {slug for slug in slugs if slug.startswith("hard_cases_")}
    assert hard
    assert slugs - hard == {"figure1_flow", "figure2_method", "training"} | networks | by_split


def test_flow_counts_what_was_found_and_left_out(study: ReportInputs, comparison: Comparison) -> None:
    drawing = flow_drawing(study, comparison)

    assert drawing.alt == "387 images found, 147 left out, 240 taken."
    assert drawing.svg.startswith(b"<?xml")
    assert b"<dc:date>" not in drawing.svg


def test_flow_says_what_the_best_weak_network_called_them(study: ReportInputs, comparison: Comparison) -> None:
    with_calls, without = flow_drawing(study, comparison), flow_drawing(study, dataclasses.replace(comparison, best_weak=None))

    name = backbone_name(comparison.best_weak or "")
    assert f"Below: what the weakly-supervised {name}, chosen on the development set, called them" in with_calls.caption
    assert "Below" not in without.caption
    assert _height(with_calls) > _height(without)


def test_patients_of_unused_images_may_stand_in_another_set(study: ReportInputs, comparison: Comparison) -> None:
    more = study.records.tail(1).assign(image_id="more", split="unused")
    records = pd.concat([study.records, more], ignore_index=True)

    caption = flow_drawing(dataclasses.replace(study, records=records), comparison).caption

    assert "further images of a patient; no patient is in two of the other sets" in caption
    assert "No patient is in two sets." in flow_drawing(study, comparison).caption


def test_method_shows_the_modes_and_settings_of_the_study(study: ReportInputs) -> None:
    changed = dataclasses.replace(study, study={**study.study, "config": {"cam_threshold": 0.45, "crop": {"margin_px": 12}}})

    whole, one = method_drawing(changed, ["weak", "manual_roi", "auto_roi"]), method_drawing(changed, ["weak"])

    assert whole.alt.endswith("weak, manual roi, automatic roi.")
    assert (one.title, one.alt) == ("Figure 2. The supervision mode", "From image to probability of malignancy: weak.")
    assert _height(one) < _height(whole) / 2


def _height(drawing: Drawing) -> int:
    return Image.open(io.BytesIO(drawing.png)).height


def test_figures_are_the_same_bytes_each_time(comparison: Comparison, study: ReportInputs) -> None:
    first, second = (training_drawing(study, comparison.backbones) for _ in range(2))

    assert first is not None
    assert second is not None
    assert (first.svg, first.png) == (second.svg, second.png)


def test_gallery_shows_box_and_outline_where_they_are() -> None:
    grey_HW = np.full((100, 200), 90, dtype=np.uint8)
    mask_HW = np.zeros((100, 200), dtype=bool)
    mask_HW[40:60, 80:120] = True
    bare = GalleryItem(
        kind="true_positive", split="internal", image_id="a", label=1, pom=0.9,
        box_xyxy_px=None, image_HW=grey_HW, cam_HW=np.zeros_like(grey_HW), mask_HW=None,
    )  # fmt: skip
    with_both = dataclasses.replace(bare, box_xyxy_px=(50, 20, 150, 80), mask_HW=mask_HW)

    pictures = [_picture(item) for item in (bare, with_both)]
    yellow = [(np.abs(picture.astype(int) - (255, 214, 64)).sum(axis=2) < 60).sum() for picture in pictures]
    assert yellow[0] == 0
    assert yellow[1] > 100


def _picture(item: GalleryItem) -> np.ndarray:
    cell = CellArtefacts(backbone="net", mode="weak", info={}, history=pd.DataFrame(), gallery=(item,))
    drawing = gallery_drawing(cell)
    assert drawing is not None
    return np.asarray(Image.open(io.BytesIO(drawing.png)).convert("RGB"))


def test_gallery_without_an_item_of_a_kind_is_drawn_with_the_others() -> None:
    items = made_gallery(0)[:2]
    cell = CellArtefacts(backbone="net", mode="weak", info={}, history=pd.DataFrame(), gallery=items)

    drawing = gallery_drawing(cell)

    assert drawing is not None
    assert drawing.alt == "false negative: malignant, POM 0.120; true positive: malignant, POM 0.970"


def test_no_data_no_figure(comparison: Comparison, study: ReportInputs) -> None:
    empty = dataclasses.replace(comparison, cells=(), subgroups=())

    assert roc_drawing(empty, study.predictions, "internal") is None
    assert forest_drawing(empty, "internal") is None
    assert training_drawing(dataclasses.replace(study, cells=()), comparison.backbones) is None
    assert gallery_drawing(CellArtefacts(backbone="net", mode="weak", info={}, history=pd.DataFrame())) is None


def test_forest_has_every_kind_of_subgroup_and_shares_where_there_is_one_class_only(comparison: Comparison) -> None:
    drawing = forest_drawing(comparison, "external")

    assert drawing is not None
    for variable in ("Scanner GE Logiq 5", "BI-RADS 3", "Lesion size ≥ 20 mm", "Calipers in the picture yes"):
        assert f"VGG16, {variable}: " in drawing.alt
    item = next(i for i in comparison.subgroups if (i.backbone, i.split, i.level) == ("vgg16", "external", "cyst"))
    assert f"VGG16, Histology cyst: specificity {percent_with_interval(item.specificity, digits=0)}%" in drawing.alt
    assert "hollow where a class has fewer than 30 images" in drawing.caption


def test_forest_of_histology_alone_has_no_auc_panel(comparison: Comparison) -> None:
    only = tuple(item for item in comparison.subgroups if item.variable == "histology")

    whole, part = (
        forest_drawing(comparison, "internal"),
        forest_drawing(dataclasses.replace(comparison, subgroups=only), "internal"),
    )

    assert whole is not None
    assert part is not None
    assert "AUC:" not in part.caption
    assert Image.open(io.BytesIO(part.png)).height < Image.open(io.BytesIO(whole.png)).height / 2


@pytest.mark.slow
def test_hard_cases_are_drawn_with_what_every_cell_said(comparison: Comparison, study: ReportInputs) -> None:
    drawings = hard_case_drawings(comparison, study)

    assert len(drawings) == -(-len(comparison.hard_cases) // CASES_PER_FIGURE)
    assert [drawing.slug for drawing in drawings] == [f"hard_cases_{place}" for place in range(1, len(drawings) + 1)]
    worst = comparison.hard_cases[0]
    assert drawings[0].alt.startswith(f"{worst.image_id} ({worst.split} set): {'malignant' if worst.label else 'benign'}, called")
    picture = np.asarray(Image.open(io.BytesIO(drawings[0].png)).convert("RGB")).astype(int)
    yellow = (np.abs(picture - (255, 214, 64)).sum(axis=2) < 60).sum()
    assert yellow > 300  # outlines of the masks


def test_study_that_kept_no_pictures_has_no_figure_of_hard_cases(comparison: Comparison, study: ReportInputs) -> None:
    assert hard_case_drawings(comparison, dataclasses.replace(study, hard_pictures=())) == ()


def test_map_of_another_size_than_its_image_is_refused() -> None:
    grey_HW = np.zeros((4, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"a: the map is \(2, 4\), its image \(4, 4\)"):
        GalleryItem(
            kind="true_negative", split="internal", image_id="a", label=0, pom=0.1,
            box_xyxy_px=None, image_HW=grey_HW, cam_HW=grey_HW[:2], mask_HW=None,
        )  # fmt: skip
