"""Image files through the inference path: what `wsus predict` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsus.data.images import read_frames, read_image
from wsus.errors import ImageError, StoreError
from wsus.inference.answer import answer_of, one_of_several
from wsus.inference.engines.engine import EngineChoice
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.asked import asked_model
from wsus.models.registry import PRODUCTION
from wsus.types import BoxXyxyPx, Explain, GreyHW, GreyImage

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom")  # left out of an overlay's name


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
    region: int | None = None,
    skip_bad: bool = False,
    site: str | None = None,
) -> list[dict[str, Any]]:
    """Predict image files, all of them or none.

    Args:
        model: a bundle's folder, or a store with a published model.  overlay_dir: where to write `overlay_names`.
        engine: see `wsus.inference.engines.choose.make_engine`.
        site: whose profile the probabilities are scaled and cut by (`wsus calibrate`).
        frame: the index, from 0, of the frame to be read of files that hold several.  all_frames: each that shows something.
        region: the index, from 0, of the B-mode region of DICOM files that name several.
        skip_bad: a file that cannot be used gets an answer of its own, image, error and reason, and does not stop the others.
    Returns:
        per image or frame: see `wsus.inference.answer.answer_json`; overlay where asked.
    Raises:
        ImageError: a file cannot be used.  BundleError: the model cannot.  ConfigError: the engine cannot run it.
    """
    read, answers = list[tuple[Path, GreyImage]](), list[dict[str, Any]]()
    for path in paths:
        try:
            images = read_frames(path, region=region) if all_frames else (_one_frame(path, frame, region),)
        except ImageError as error:
            if not skip_bad:
                raise
            answers.append({"image": str(path), "error": str(error), "reason": error.reason.value})
        else:
            read += [(path, image) for image in images]
    if not read:
        return answers

    with asked_model(model, name=name, alias=alias) as asked:
        predictor = Predictor(asked.bundle, engine=engine, site=asked.profile(site))
    decoded = [DecodedImage(image_id=path.name, image_HW=image.grey_HW) for path, image in read]
    names = overlay_names([(path, image.frame, image.frame_count) for path, image in read])
    for (path, image), name_of_overlay, prediction in zip(read, names, predictor.stream(decoded, explain), strict=True):
        answer = answer_of(str(path), image, prediction, predictor.site)
        if overlay_dir is not None:
            file = overlay_dir / name_of_overlay
            write_overlay(file, image.grey_HW, prediction.cam_HW, prediction.localisation.boxes_xyxy_px)
            answer["overlay"] = str(file)
        answers.append(answer)
    return answers


def _one_frame(path: Path, frame: int | None, region: int | None) -> GreyImage:
    image = read_image(path, frame=frame, region=region)
    return replace(image, warnings=(*image.warnings, *one_of_several(image)))


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


def overlay_names(images: Sequence[tuple[Path, int, int]]) -> list[str]:
    """A file name for each overlay, no two alike whatever the case of their letters.

    `<image>-cam.png`; of a file with several frames `<image>-<frame>-cam.png`. Images of one name get what tells them apart
    before it: their suffix, the folders above, a number.

    Args:
        images: path, frame and number of frames of each.
    """
    levels = [_overlay_candidates(*one) for one in images]
    names = [candidates[0] for candidates in levels]
    for level in range(1, max(map(len, levels), default=0)):
        seen = Counter(name.casefold() for name in names)
        names = [
            candidates[min(level, len(candidates) - 1)] if seen[name.casefold()] > 1 else name
            for name, candidates in zip(names, levels, strict=True)
        ]
    used: set[str] = set()
    for place, name in enumerate(names):
        number = 2
        while name.casefold() in used:  # one file twice
            name = f"{names[place].removesuffix('-cam.png')}-{number}-cam.png"
            number += 1
        used.add(name.casefold())
        names[place] = name
    return names


def _overlay_candidates(path: Path, frame: int, frame_count: int) -> list[str]:
    """From the shortest name to the one with all folders."""
    stem = path.stem if path.suffix.lower() in _IMAGE_SUFFIXES else path.name
    parts = [part.strip("/\\") for part in path.parts]
    of_frame = f"-{frame}" if frame_count > 1 else ""
    longer = ["-".join(filter(None, parts[-count:])) for count in range(1, len(parts) + 1)]
    return [f"{base}{of_frame}-cam.png" for base in (stem, *longer)]


def write_overlay(path: Path, image_HW: GreyHW, cam_HW: NDArray[np.float32], boxes_xyxy_px: Sequence[BoxXyxyPx]) -> None:
    """Write `overlay` as a PNG file, in a folder that is made where it is missing. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        overlay(image_HW, cam_HW, boxes_xyxy_px).save(path)
    except OSError as error:
        raise StoreError(f"{path}: the overlay cannot be written ({error.strerror or error})") from error
