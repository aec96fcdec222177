"""From an upload's bytes to the document that is sent, apart from HTTP: decode, ask a predictor, put together."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from serve_app.backend import Backend
from serve_app.decoding import DecodePool, Timed
from serve_app.exchange import Answer, CamForm, Question, Refusal, Unseen
from serve_app.metrics import Metrics
from serve_app.objects import ObjectReader
from serve_app.problems import ProblemError, busy, not_ready
from serve_app.reading import RESULTS, Decoded, decode_all_frames, decode_upload, problem_of
from serve_app.responses import prediction_response
from serve_app.schemas import BatchItem, PredictionResponse, TimingMs
from serve_app.settings import ServeSettings
from wsus.data.images import DecodeLimits
from wsus.data.roi import CropConfig
from wsus.errors import ImageError
from wsus.types import Explain

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """How a client wants its images explained."""

    cam: CamForm
    explain: Explain
    cam_threshold: float | None
    picture: bool = False


class Answering:
    """What the routes do, apart from HTTP."""

    def __init__(self, settings: ServeSettings, backend: Backend, metrics: Metrics) -> None:
        self.settings, self.backend, self.metrics = settings, backend, metrics
        self.objects = ObjectReader(settings.s3_prefixes, settings.limits.max_bytes, retry_after_s=settings.retry_after_s)
        self._pool = DecodePool(settings.limits, workers=settings.decode_workers, preload="serve_app.reading", results=RESULTS)
        self._inside = 0
        self._crops: tuple[CropConfig, ...] = ()
        limits = settings.limits
        self._limits = DecodeLimits(max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, max_frames=limits.max_frames)

    async def predict(self, content: bytes, begun: float, wish: Wish, frame: int) -> PredictionResponse:
        """One image, from bytes to document. Raises ProblemError."""
        with self._admitted():
            crops = await self._known_crops()
            while True:
                timed, digest = await self._decode(decode_upload, content, crops, frame, wish.picture)
                answer = await self._answered(digest, timed.value, timed.seconds, begun, wish)
                if not isinstance(answer, Unseen):
                    return answer
                crops = self._learned(answer, crops)

    async def item(self, index: int, source: str, content: Callable[[], Awaitable[bytes]], wish: Wish) -> BatchItem:
        """One item of a batch; its error is its own."""
        begun = time.perf_counter()
        try:
            return BatchItem(index=index, source=source, prediction=await self.predict(await content(), begun, wish, 0))
        except ProblemError as error:
            return self._failed(index, source, error)

    async def frames(self, index: int, source: str, content: Callable[[], Awaitable[bytes]], wish: Wish) -> list[BatchItem]:
        """All frames of one item of a batch, one after the other, so that a clip does not fill the queue."""
        begun, items = time.perf_counter(), list[BatchItem]()
        try:
            read = await content()
            with self._admitted():
                crops = await self._known_crops()
                timed, digest = await self._decode(decode_all_frames, read, crops)
                while len(items) < len(timed.value):
                    decoded, decode_s = timed.value[len(items)], timed.seconds / len(timed.value)
                    try:
                        answer = await self._answered(digest, decoded, decode_s, begun, wish)
                    except ProblemError as error:
                        items.append(self._failed(index, source, error))
                    else:
                        if isinstance(answer, Unseen):
                            crops = self._learned(answer, crops)
                            timed, _ = await self._decode(decode_all_frames, read, crops)
                            continue
                        items.append(BatchItem(index=index, source=source, prediction=answer))
                    begun = time.perf_counter()
        except ProblemError as error:
            return [self._failed(index, source, error)]
        return items

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """One of the images that are decoded or wait for an answer; who comes beyond `max_queue` costs no work. Raises 429."""
        if self._inside >= self.settings.queue:
            raise busy(self.settings.retry_after_s)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def _known_crops(self) -> tuple[CropConfig, ...]:
        """What the loaded versions see of an image, as the last answer said."""
        if not self._crops:
            self._crops = (await self.backend.status()).crops
        return self._crops

    def _learned(self, unseen: Unseen, tried: tuple[CropConfig, ...]) -> tuple[CropConfig, ...]:
        """The crops to try next: more each time, so that predictors that are not yet of one mind both find theirs."""
        self._crops = unseen.crops
        return tuple(dict.fromkeys((*tried, *unseen.crops)))

    async def _answered(
        self, digest: bytes, decoded: Decoded, decode_s: float, begun: float, wish: Wish
    ) -> PredictionResponse | Unseen:
        question = Question(
            image_id=digest.hex()[:16],
            views=decoded.views,
            share=int.from_bytes(digest[:8], "big") / 2**64,
            explain=wish.explain,
            cam_threshold=wish.cam_threshold,
            cam=wish.cam,
        )
        asked = time.perf_counter()
        try:
            answer = await self._ask(question)
        finally:
            self.metrics.observe("wsus_decode_seconds", decode_s, format=decoded.format)
        if isinstance(answer, Refusal):
            raise ProblemError(422, answer.reason, answer.detail)
        if isinstance(answer, Unseen):
            return answer
        ended = time.perf_counter()
        timing = TimingMs(
            decode=1000 * decode_s,
            queue=max(0.0, 1000 * (ended - asked) - answer.infer_ms),
            infer=answer.infer_ms,
            total=1000 * (ended - begun),
        )
        warnings = list(decoded.warnings)
        return prediction_response(answer, decoded.facts(), image_id=question.image_id, warnings=warnings, timing=timing)

    async def _decode(self, decode: Callable[..., T], content: bytes, *arguments: object) -> tuple[Timed[T], bytes]:
        """What `decode` says of an upload, and the upload's SHA-256, computed while a decoder is at work."""
        decoding = asyncio.ensure_future(self._pool.run(decode, content, self._limits, *arguments))
        try:
            await asyncio.sleep(0)
            digest = hashlib.sha256(content).digest()
            timed = await decoding
        except ImageError as error:
            raise problem_of(error) from None
        finally:
            decoding.cancel()
        return timed, digest

    def _failed(self, index: int, source: str, error: ProblemError) -> BatchItem:
        self.metrics.count("wsus_rejections", reason=error.reason)
        return BatchItem(index=index, source=source, problem=error.problem)

    async def _ask(self, question: Question) -> Answer | Refusal | Unseen:
        limit_s = self.settings.limits.request_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self.backend.ask(question)
        except TimeoutError:
            raise not_ready(f"no predictor answered within {limit_s:g} s", self.settings.retry_after_s) from None

    def close(self) -> None:
        self._pool.close()
