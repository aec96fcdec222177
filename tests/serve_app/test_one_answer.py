"""A model here and a server say the same of the same file: held over images, sizes, scales, frames and regions."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
from dicom_files import dicom, region, speckle
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from PIL import Image
from published_models import png

from serve_app.client import as_answer
from wsus.inference.files import predict_files
from wsus.storage import Store


@st.composite
def uploads(draw: st.DrawFn) -> tuple[bytes, int | None]:
    """The bytes of a file, and which frame of it is asked for."""
    seed = draw(st.integers(0, 10_000))
    kind = draw(st.sampled_from(["png", "colour", "dicom", "clip"]))
    if kind == "png":
        return png(seed, (draw(st.integers(55, 130)), draw(st.integers(85, 150)))), None
    if kind == "colour":
        pixels = np.random.default_rng(seed).integers(0, 255, (70, 90, 3)).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG")
        return stream.getvalue(), None
    regions = [region((10, 5, 70, 50))] if draw(st.booleans()) else []
    facts = {"SequenceOfUltrasoundRegions": regions} if regions else {"PixelSpacing": [draw(st.floats(0.03, 0.3)), 0.1]}
    if kind == "dicom":
        return dicom(speckle(seed=seed), **facts), None
    return dicom(np.stack([speckle(seed=seed), speckle(seed=seed + 1)]), **facts), draw(st.integers(0, 1))


@given(upload=uploads(), explain=st.sampled_from(["predicted", "malignant"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_here_and_there_are_equal(client: TestClient, store: Store, upload: tuple[bytes, int | None], explain: Any) -> None:
    content, frame = upload
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan"
        path.write_bytes(content)
        (here,) = predict_files([path], store.address, explain=explain, frame=frame)
        response = client.post(
            "/v1/predictions", files={"image": ("scan", content)}, params={"class": explain, "frame": frame or 0}
        )
    assert response.status_code == 200, response.text
    there = as_answer(path, response.json())
    assert list(there) == list(here)
    for key in ("pom", "ood_score"):
        if here[key] is not None:  # the network runs alone here, with one thread per core there
            assert abs(there.pop(key) - here.pop(key)) < 1e-6
    assert there == here
