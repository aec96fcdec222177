"""Image files through the inference path: what `wsus predict` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from wsus.data.images import read_grey
from wsus.errors import StoreError
from wsus.inference.engine import EngineChoice
from wsus.inference.predict import DecodedImage, Predictor
from wsus.registry import PRODUCTION, bundle_folder
from wsus.training.bundle import read_bundle
from wsus.types import CLASS_NAMES, Explain, GreyHW, Prediction


def predict_files(
    paths: Sequence[Path],
    model: str,
    *,
    name: str | None = None,
    alias: str = PRODUCTION,
    overlay_dir: Path | None = None,
    explain: Explain = "predicted",
    engine: EngineChoice = "auto",
) -> list[dict[str, Any]]:
    """Predict image files, all of them or none.

    Args:
        model: a bundle's folder, or a store with a published model.  overlay_dir: where to write `<stem>-cam.png`.
        engine: see `wsus.inference.engine.make_engine`.
    Returns:
        per image: image, pom, label, operating_point, explained_class, boxes_xyxy_px, area_fraction, constant_map, model, and
        overlay where asked.
    Raises:
        ImageError: a file cannot be used.  BundleError: the model cannot.  ConfigError: the engine cannot run it.
    """
    images = [DecodedImage(image_id=path.name, image_HW=read_grey(path)) for path in paths]
    with bundle_folder(model, name=name, alias=alias) as folder:
        predictor = Predictor(read_bundle(folder), engine=engine)
    answers = []
    for path, image, prediction in zip(paths, images, predictor.predict(images, explain), strict=True):
        answer = _answer(path, prediction)
        if overlay_dir is not None:
            answer["overlay"] = str(_write_overlay(overlay_dir / f"{path.stem}-cam.png", image.image_HW, prediction))
        answers.append(answer)
    return answers


def overlay(image_HW: GreyHW, prediction: Prediction) -> Image.Image:
    """The image with its map in colour where it looked, and the box of the largest focus."""
    from matplotlib import colormaps

    heat_HW3 = colormaps["inferno"](prediction.cam_HW)[..., :3] * 255
    share_HW1 = 0.55 * prediction.cam_HW[..., None]
    blended_HW3 = (1 - share_HW1) * image_HW[..., None] + share_HW1 * heat_HW3
    picture = Image.fromarray(np.round(blended_HW3).astype(np.uint8))
    if prediction.localisation.boxes_xyxy_px:
        x0, y0, x1, y1 = prediction.localisation.boxes_xyxy_px[0]
        ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), outline=(80, 220, 255), width=2)
    return picture


def _answer(path: Path, prediction: Prediction) -> dict[str, Any]:
    return {
        "image": str(path),
        "pom": prediction.pom,
        "label": CLASS_NAMES[prediction.label],
        "operating_point": prediction.operating_point,
        "explained_class": CLASS_NAMES[prediction.explained_class],
        "boxes_xyxy_px": [list(box) for box in prediction.localisation.boxes_xyxy_px],
        "area_fraction": prediction.localisation.area_fraction,
        "constant_map": prediction.localisation.constant_map,
        "model": prediction.model_id,
    }


def _write_overlay(path: Path, image_HW: GreyHW, prediction: Prediction) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        overlay(image_HW, prediction).save(path)
    except OSError as error:
        raise StoreError(f"{path}: the overlay cannot be written ({error.strerror or error})") from error
    return path
