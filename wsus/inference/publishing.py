"""From a trained bundle to one that can be served: a graph for ONNX Runtime and images for a self-test are added.

Needs torch, onnx and onnxscript.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from wsus.data import roi
from wsus.errors import BundleError
from wsus.inference.expected import dump_expected
from wsus.inference.onnx_export import CannotExportError, export_onnx
from wsus.inference.predict import Predictor
from wsus.inference.self_test import ask, every_engine, made_images
from wsus.models.bundle import ONNX, SELF_TEST, Bundle, extend_bundle, read_bundle
from wsus.models.card import ModelCard, OnnxNote
from wsus.types import Mode

_log = logging.getLogger(__name__)


def write_servable(trained: Bundle, folder: Path, card: ModelCard) -> Bundle:
    """Copy a weak model's bundle into a new folder, with all that serving wants, and test it there with every engine.

    A network that torch cannot export is published without a graph and served by torch; the log says so.

    Args:
        card: instead of the trained bundle's; what is added here is noted on it.
    Raises:
        BundleError: the model is not weak, its graph does not give torch's numbers, or its self-test fails.
    """
    if card.mode is not Mode.WEAK:
        raise BundleError(
            f"{trained.folder}: only weak models are served, since no upload has a region; this is {card.mode.value}"
        )
    images = made_images()
    inputs_BHW = np.stack([roi.extract(image_HW, roi.whole_image(image_HW.shape, card.crop)) for image_HW in images])
    files = {SELF_TEST: dump_expected(ask(Predictor(trained, engine="torch"), images))}
    try:
        graph = export_onnx(trained.net, inputs_BHW)
    except CannotExportError as error:
        _log.warning("%s: published without %s, so it is served by torch: %s", card.name, ONNX, error)
        note = None
    else:
        files[ONNX] = graph.content
        note = OnnxNote(
            opset=graph.opset,
            torch=torch.__version__,
            onnxruntime=onnxruntime.__version__,
            max_difference=graph.max_difference,
        )
    extend_bundle(trained, folder, replace(card, onnx=note, self_test_images=len(images)), files)
    written = read_bundle(folder)
    every_engine(written)
    return written
