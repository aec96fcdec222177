"""Where did the network look? Probability, box and overlay of one image; with a mask, how well the map points at it.

python examples/localise.py scan.png --store store
python examples/localise.py scan.png --store bundle --mask mask.png --threshold 0.5 --overlay scan-cam.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wsus.data.images import read_image, read_mask
from wsus.errors import WsusError
from wsus.evaluation.localisation import score_localisation
from wsus.inference.files import overlay
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import read_bundle
from wsus.models.registry import bundle_folder
from wsus.types import CLASS_NAMES, GreyImage, Prediction


def main() -> int:
    """Predict, print, and draw where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument(
        "--store", "--model", dest="store", required=True, help="a bundle's folder, or a store with a published model"
    )
    parser.add_argument("--mask", type=Path, help="the lesion, non-zero inside, of the image's size")
    parser.add_argument("--threshold", type=float, help="share of the map's range; the model card's by default")
    parser.add_argument("--overlay", type=Path, help="where to write the picture")
    asked = parser.parse_args()
    try:
        image = read_image(asked.image)
        with bundle_folder(asked.store) as folder:
            predictor = Predictor(read_bundle(folder), cam_threshold=asked.threshold)
        (prediction,) = predictor.predict([DecodedImage(image_id=asked.image.name, image_HW=image.grey_HW)])
        describe(prediction)
        if asked.mask is not None:
            compare(prediction, image, asked.mask)
        if asked.overlay is not None:
            overlay(image.grey_HW, prediction.cam_HW, prediction.localisation.boxes_xyxy_px).save(asked.overlay)
    except WsusError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def describe(prediction: Prediction) -> None:
    """What the network says, and where it looked."""
    print(f"POM {prediction.pom:.3f}, {CLASS_NAMES[prediction.label]} ({prediction.model_id})")
    where = prediction.localisation
    if where.constant_map:
        print("the map is constant: it points nowhere")
        return
    print(f"box {where.boxes_xyxy_px[0]} px, peak {where.peak_xy_px}, focus on {where.area_fraction:.0%} of the image")


def compare(prediction: Prediction, image: GreyImage, mask: Path) -> None:
    """The map against a mask."""
    where = prediction.localisation
    mask_HW = read_mask(mask, image=image)
    largest = where.boxes_xyxy_px[0] if where.boxes_xyxy_px else None
    scores = score_localisation(prediction.cam_HW, where.focus_HW, largest, where.peak_xy_px, mask_HW)
    print(f"overlap {scores.localised}, IoU {scores.iou:.2f}, Dice {scores.dice:.2f}, peak inside {scores.pointing_hit}")


if __name__ == "__main__":
    raise SystemExit(main())
