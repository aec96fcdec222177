"""Versions whose networks see an image differently: an upload is decoded again where what was sent of it does not suffice."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import dicom, speckle
from fastapi.testclient import TestClient
from published_models import CROP, made_image, png, publish

from serve_app.exchange import Answer, Question, Refusal, ShelfStatus, Unseen
from serve_app.http import create_app
from serve_app.local import LocalBackend
from serve_app.metrics import MemoryMetrics
from serve_app.settings import Limits, ServeSettings
from serve_app.shelf import ModelShelf, loader
from wsus.data.roi import CropConfig
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import read_bundle
from wsus.models.registry import promote_model, set_canary
from wsus.storage import Store

OTHER = CropConfig(size_px=96, fit="stretch")


class Counting(LocalBackend):
    """Says how often it was asked, and does something before one of the questions."""

    def __init__(self, shelf: ModelShelf) -> None:
        super().__init__(shelf)
        self.shelf, self.questions = shelf, list[Question]()
        self.before: dict[int, Any] = {}

    async def ask(self, question: Question) -> Answer | Refusal | Unseen:
        self.questions.append(question)
        self.before.get(len(self.questions), lambda: None)()
        return await super().ask(question)


@pytest.fixture
def two(tmp_path: Path) -> Store:
    """Version 1 answers; version 2 sees images in another way."""
    publish(tmp_path, seed=1)
    store = publish(tmp_path, seed=2, crop=OTHER)
    promote_model(store, "tiny", 1)
    return store


@pytest.fixture
def backend(two: Store) -> Iterator[Counting]:
    settings = ServeSettings(store=two.address, insecure=True)
    shelf = ModelShelf(two, None, MemoryMetrics(), load=loader(settings))
    yield Counting(shelf)
    shelf.close()


@pytest.fixture
def served(tmp_path: Path, two: Store, backend: Counting) -> Iterator[TestClient]:
    settings = ServeSettings(store=two.address, insecure=True, decode_workers=1)
    with TestClient(create_app(settings, backend, MemoryMetrics()), base_url="http://127.0.0.1") as client:
        yield client


def expected(folder: Path, version: int, image_HW: np.ndarray) -> float:
    predictor = Predictor(read_bundle(folder / "bundles" / f"tiny-{version}"))
    (prediction,) = predictor.predict([DecodedImage(image_id="x", image_HW=image_HW)])
    return prediction.pom


def pom(served: TestClient, version: int) -> float:
    answer = served.post("/v1/predictions", files={"image": png()}).json()
    assert answer["model"]["version"] == version
    return float(answer["pom"])


def test_a_promoted_version_gets_its_own_view_and_the_next_image_at_once(
    tmp_path: Path, two: Store, backend: Counting, served: TestClient
) -> None:
    assert pom(served, 1) == pytest.approx(expected(tmp_path, 1, made_image()), abs=1e-5)
    promote_model(two, "tiny", 2)
    backend.shelf.refresh()
    assert pom(served, 2) == pytest.approx(expected(tmp_path, 2, made_image()), abs=1e-5)
    assert pom(served, 2) == pytest.approx(expected(tmp_path, 2, made_image()), abs=1e-5)
    views = [tuple(view.crop for view in question.views) for question in backend.questions]
    assert views == [(CROP,), (CROP,), (CROP, OTHER), (OTHER,)]


def test_a_canary_that_sees_differently_answers_its_share(
    tmp_path: Path, two: Store, backend: Counting, served: TestClient
) -> None:
    set_canary(two, "tiny", 2, share=0.999)
    backend.shelf.refresh()
    assert pom(served, 2) == pytest.approx(expected(tmp_path, 2, made_image()), abs=1e-5)
    assert {view.crop for view in backend.questions[-1].views} == {CROP, OTHER}


def test_a_version_promoted_in_the_middle_of_a_clip_answers_the_frames_that_are_left(
    tmp_path: Path, two: Store, backend: Counting, served: TestClient
) -> None:
    frames = np.stack([speckle(seed=seed) for seed in range(3)])

    def swap() -> None:
        promote_model(two, "tiny", 2)
        backend.shelf.refresh()

    backend.before[2] = swap
    answer = served.post("/v1/predictions:batch", files={"images": dicom(frames)}, params={"frames": "all"}).json()
    answered = [item["prediction"] for item in answer["items"]]
    assert [one["image"]["frame"] for one in answered] == [0, 1, 2]
    assert [one["model"]["version"] for one in answered] == [1, 2, 2]
    for one, version, frame_HW in zip(answered, (1, 2, 2), frames, strict=True):
        assert one["pom"] == pytest.approx(expected(tmp_path, version, frame_HW), abs=1e-5)


def test_predictors_that_never_agree_are_answered_503(backend: Counting, two: Store) -> None:
    class Contrary(Counting):
        async def ask(self, question: Question) -> Answer | Refusal | Unseen:
            self.questions.append(question)
            return Unseen(crops=(CropConfig(size_px=64 + len(self.questions)),))

    contrary = Contrary(backend.shelf)
    settings = ServeSettings(store=two.address, insecure=True, decode_workers=1)
    with TestClient(create_app(settings, contrary, MemoryMetrics()), base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/predictions", files={"image": png()})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert len(contrary.questions) == 3
        frames = dicom(np.stack([speckle(seed=seed) for seed in range(2)]))
        items = client.post("/v1/predictions:batch", files={"images": frames}, params={"frames": "all"}).json()["items"]
        assert [item["problem"]["status"] for item in items] == [503]


def test_a_predictor_that_says_nothing_is_answered_503(backend: Counting, two: Store) -> None:
    class Silent(Counting):
        async def status(self) -> ShelfStatus:
            await asyncio.sleep(60)
            raise AssertionError

    class Deaf(Counting):
        async def cards(self) -> dict[int, dict[str, Any]]:
            await asyncio.sleep(60)
            raise AssertionError

        async def refresh(self) -> None:
            await asyncio.sleep(60)

    limits = Limits(request_timeout_s=0.2)
    settings = ServeSettings(store=two.address, insecure=True, decode_workers=1, limits=limits)
    with TestClient(create_app(settings, Silent(backend.shelf), MemoryMetrics()), base_url="http://127.0.0.1") as client:
        assert client.post("/v1/predictions", files={"image": png()}).status_code == 503
        assert client.get("/readyz").status_code == 503
    with TestClient(create_app(settings, Deaf(backend.shelf), MemoryMetrics()), base_url="http://127.0.0.1") as client:
        assert client.get("/v1/models/tiny/card").status_code == 503
        assert client.post("/v1/admin/refresh").status_code == 503
