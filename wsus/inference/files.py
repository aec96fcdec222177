"""Image files through the inference path: what `wsus predict` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsus.data.images import read_frames, read_image
from wsus.errors import StoreError
from wsus.inference.engines.engine import EngineChoice
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.asked import asked_model
from wsus.models.registry import PRODUCTION
from wsus.models.sites import NOT_CALIBRATED, SiteProfile
from wsus.types import CLASS_NAMES, UNLIKE_TRAINING, BoxXyxyPx, Explain, GreyHW, GreyImage, Prediction


def predict_files(
    paths: Sequence[Path],
    model: str,
    *,
    name: str | None = None,
    alias: str = PRODUCTION,
    overlay_dir: Path | None = None,
    explain: Explain = "predicted",
    engine: EngineChoice = "auto",
    frame: int | None = None,
    all_frames: bool = False,
    site: str | None = None,
) -> list[dict[str, Any]]:
    """Predict image files, all of them or none.

    Args:
        model: a bundle's folder, or a store with a published model.  overlay_dir: where to write `<stem>-cam.png`.
        engine: see `wsus.inference.engines.choose.make_engine`.
        site: whose profile the probabilities are scaled and cut by (`wsus calibrate`).
        frame: the index, from 0, of the frame to be read of files that hold several.  all_frames: each that shows something.
    Returns:
        per image or frame: image, pom, label, operating_point, explained_class, boxes_xyxy_px, sizes_mm (of the boxes: width,
        height; None where the scale is not known), area_fraction, constant_map, model, pom_means, ood_score and ood_threshold
        (None where the model has no guard), warnings; of files with several frames frame and frames; where a DICOM file names its
        B-mode region, region_xyxy_px, in which the boxes are counted; overlay where asked; by a site's profile site,
        model_pom (the model's own) and not_sure.
    Raises:
        ImageError: a file cannot be used.  BundleError: the model cannot.  ConfigError: the engine cannot run it.
    """
    read = [(path, image) for path in paths for image in (read_frames(path) if all_frames else (read_image(path, frame=frame),))]
    with asked_model(model, name=name, alias=alias) as asked:
        predictor = Predictor(asked.bundle, engine=engine, site=asked.profile(site))
    decoded = [DecodedImage(image_id=path.name, image_HW=image.grey_HW) for path, image in read]
    answers = []
    for (path, image), prediction in zip(read, predictor.stream(decoded, explain), strict=True):
        answer = _answer(path, image, prediction, predictor.site)
        if overlay_dir is not None:
            file = overlay_dir / overlay_name(path, image.frame, image.frame_count)
            write_overlay(file, image.grey_HW, prediction.cam_HW, prediction.localisation.boxes_xyxy_px)
            answer["overlay"] = str(file)
        answers.append(answer)
    return answers


def overlay(image_HW: GreyHW, cam_HW: NDArray[np.float32], boxes_xyxy_px: Sequence[BoxXyxyPx]) -> Image.Image:
    """The image with its map (in [0, 1]) in colour where it looked, and the box of the largest focus, the first."""
    from matplotlib import colormaps

    heat_HW3 = colormaps["inferno"](cam_HW)[..., :3] * 255
    share_HW1 = 0.55 * cam_HW[..., None]
    blended_HW3 = (1 - share_HW1) * image_HW[..., None] + share_HW1 * heat_HW3
    picture = Image.fromarray(np.round(blended_HW3).astype(np.uint8))
    if boxes_xyxy_px:
        x0, y0, x1, y1 = boxes_xyxy_px[0]
        ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), outline=(80, 220, 255), width=2)
    return picture


def overlay_name(image: Path, frame: int, frame_count: int) -> str:
    """`<image>-cam.png`; of a file with several frames `<image>-<frame>-cam.png`."""
    return f"{image.stem}-{frame}-cam.png" if frame_count > 1 else f"{image.stem}-cam.png"


def write_overlay(path: Path, image_HW: GreyHW, cam_HW: NDArray[np.float32], boxes_xyxy_px: Sequence[BoxXyxyPx]) -> None:
    """Write `overlay` as a PNG file, in a folder that is made where it is missing. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        overlay(image_HW, cam_HW, boxes_xyxy_px).save(path)
    except OSError as error:
        raise StoreError(f"{path}: the overlay cannot be written ({error.strerror or error})") from error


def _answer(path: Path, image: GreyImage, prediction: Prediction, site: SiteProfile | None) -> dict[str, Any]:
    boxes = prediction.localisation.boxes_xyxy_px
    answer: dict[str, Any] = {
        "image": str(path),
        "pom": prediction.pom,
        "label": CLASS_NAMES[prediction.label],
        "operating_point": prediction.operating_point,
        "explained_class": CLASS_NAMES[prediction.explained_class],
        "boxes_xyxy_px": [list(box) for box in boxes],
        "sizes_mm": _sizes_mm(boxes, image.spacing_mm_yx),
        "area_fraction": prediction.localisation.area_fraction,
        "constant_map": prediction.localisation.constant_map,
        "model": prediction.model_id,
        "pom_means": NOT_CALIBRATED if site is None else site.sentence,
        "ood_score": prediction.ood_score,
        "ood_threshold": prediction.ood_threshold,
        "warnings": [*image.warnings, *([UNLIKE_TRAINING] if prediction.unlike_training else [])],
    }
    if site is not None:
        answer |= {"site": site.site, "model_pom": prediction.model_pom, "not_sure": prediction.not_sure}
    if image.frame_count > 1:
        answer |= {"frame": image.frame, "frames": image.frame_count}
    if image.grey_HW.shape != image.source_hw:
        answer["region_xyxy_px"] = list(image.crop_xyxy_px)
    return answer


def _sizes_mm(boxes: Sequence[BoxXyxyPx], spacing_mm_yx: tuple[float, float] | None) -> list[list[float]] | None:
    if spacing_mm_yx is None:
        return None
    down, across = spacing_mm_yx
    return [[round((x1 - x0) * across, 2), round((y1 - y0) * down, 2)] for x0, y0, x1, y1 in boxes]
