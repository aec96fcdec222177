"""From an upload's bytes to the document that is sent, apart from HTTP: decode, ask a predictor, put together."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from serve_app.backend import Backend
from serve_app.decoding import DecodePool, Plain, Timed
from serve_app.exchange import CamForm, Question, Refusal, ShelfStatus, Unseen
from serve_app.metrics import Metrics
from serve_app.objects import ObjectReader
from serve_app.problems import ProblemError, busy, not_ready
from serve_app.reading import Decoded, decode_all_frames, decode_upload, most_bytes, problem_of, read_frames
from serve_app.responses import prediction_response
from serve_app.schemas import BatchItem, PredictionResponse, TimingMs
from serve_app.settings import ServeSettings
from wsus.data.images import DecodeLimits
from wsus.data.roi import CropConfig
from wsus.errors import ImageError
from wsus.types import Explain

T = TypeVar("T")
_SOON_S = 5.0  # for what a predictor only has to look up
_ROUNDS = 3  # in which an image is decoded anew, where versions that see it differently are being swapped


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """How a client wants its images explained."""

    cam: CamForm
    explain: Explain
    cam_threshold: float | None
    picture: bool = False
    site: str | None = None


class Answering:
    """What the routes do, apart from HTTP."""

    def __init__(self, settings: ServeSettings, backend: Backend, metrics: Metrics) -> None:
        self.settings, self.backend, self.metrics = settings, backend, metrics
        self.objects = ObjectReader(settings.s3_prefixes, settings.limits.max_bytes, retry_after_s=settings.retry_after_s)
        self._pool = DecodePool(
            settings.limits,
            workers=settings.decode_workers,
            preload="serve_app.reading",
            retry_after_s=settings.retry_after_s,
        )
        self._inside = 0
        self._crops: tuple[CropConfig, ...] = ()
        limits = settings.limits
        self._limits = DecodeLimits(max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, max_frames=limits.max_frames)

    async def predict(
        self, content: bytes, begun: float, wish: Wish, frame: int, region: int | None = None
    ) -> PredictionResponse:
        """One image, from bytes to document. Raises ProblemError."""
        with self._admitted():
            crops = await self._known_crops()
            for _ in range(_ROUNDS):
                timed, digest = await self._decode(decode_upload, content, crops, 1, wish.picture, frame, region)
                answer = await self._answered(digest, timed.value[0], timed.seconds, begun, wish)
                if not isinstance(answer, Unseen):
                    return answer
                crops = self._learned(answer, crops)
            raise self._swapping()

    async def item(self, index: int, source: str, content: Callable[[], Awaitable[bytes]], wish: Wish) -> BatchItem:
        """One item of a batch; its error is its own."""
        begun = time.perf_counter()
        try:
            return BatchItem(index=index, source=source, prediction=await self.predict(await content(), begun, wish, 0))
        except ProblemError as error:
            return self._failed(index, source, error)

    async def frames(self, index: int, source: str, content: Callable[[], Awaitable[bytes]], wish: Wish) -> list[BatchItem]:
        """All frames of one item of a batch, one after the other, so that a clip does not fill the queue."""
        begun, items, rounds = time.perf_counter(), list[BatchItem](), 1
        try:
            read = await content()
            with self._admitted():
                crops = await self._known_crops()
                timed, digest = await self._decode(decode_all_frames, read, crops, self._limits.max_frames)
                while len(items) < len(timed.value):
                    decoded, decode_s = timed.value[len(items)], timed.seconds / len(timed.value)
                    try:
                        answer = await self._answered(digest, decoded, decode_s, begun, wish)
                    except ProblemError as error:
                        items.append(self._failed(index, source, error))
                    else:
                        if isinstance(answer, Unseen):
                            if (rounds := rounds + 1) > _ROUNDS:
                                raise self._swapping()
                            crops = self._learned(answer, crops)
                            timed, _ = await self._decode(decode_all_frames, read, crops, self._limits.max_frames)
                            continue
                        items.append(BatchItem(index=index, source=source, prediction=answer))
                    begun = time.perf_counter()
        except ProblemError as error:
            items.append(self._failed(index, source, error))
        return items

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """One of the images that are decoded or wait for an answer; one beyond `max_queue` costs no work. Raises 429."""
        if self._inside >= self.settings.queue:
            raise busy(self.settings.retry_after_s)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def status(self) -> ShelfStatus:
        """What a predictor has loaded. Raises 503 where none says so in time."""
        status = await self._in_time(self.backend.status(), min(_SOON_S, self.settings.limits.request_timeout_s))
        self._crops = status.crops
        return status

    async def cards(self) -> dict[int, dict[str, Any]]:
        """The cards of the loaded versions. Raises 503 where no predictor says them in time."""
        return await self._in_time(self.backend.cards(), min(_SOON_S, self.settings.limits.request_timeout_s))

    async def refresh(self) -> None:
        """Have a predictor look where the alias points. Raises 503 where it is at that for too long; it goes on then."""
        await self._in_time(self.backend.refresh(), self.settings.limits.request_timeout_s)

    async def _known_crops(self) -> tuple[CropConfig, ...]:
        """What the loaded versions see of an image, as far as it is known here."""
        return self._crops or (await self.status()).crops

    def _learned(self, unseen: Unseen, tried: tuple[CropConfig, ...]) -> tuple[CropConfig, ...]:
        """The crops to try next: more each time, so that predictors that are not yet of one mind both find theirs."""
        self._crops = unseen.crops
        return tuple(dict.fromkeys((*tried, *unseen.crops)))

    def _swapping(self) -> ProblemError:
        return not_ready("versions that see an image differently take turns; try again", self.settings.retry_after_s)

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
            site=wish.site,
        )
        asked = time.perf_counter()
        try:
            answer = await self._in_time(self.backend.ask(question), self.settings.limits.request_timeout_s)
        finally:
            self.metrics.observe("wsus_decode_seconds", decode_s, format=decoded.facts.format)
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
        warnings = list(decoded.facts.warnings)
        return prediction_response(answer, decoded.image_facts(), image_id=question.image_id, warnings=warnings, timing=timing)

    async def _decode(
        self,
        decode: Callable[..., Plain],
        content: bytes,
        crops: tuple[CropConfig, ...],
        most: int,
        with_png: bool = False,
        *arguments: object,
    ) -> tuple[Timed[tuple[Decoded, ...]], bytes]:
        """The frames of an upload, and its SHA-256, computed while a decoder is at work where its size is usual."""
        asked = self._limits, crops, with_png
        read = partial(read_frames, limits=self._limits, crops=crops, with_png=with_png, most=most)
        bound = most_bytes(self._limits, crops, most, with_png)
        decoding = asyncio.ensure_future(self._pool.run(decode, content, *asked, *arguments, read=read, most_bytes=bound))
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

    async def _in_time(self, asking: Awaitable[T], limit_s: float) -> T:
        try:
            async with asyncio.timeout(limit_s):
                return await asking
        except TimeoutError:
            raise not_ready(f"no predictor answered within {limit_s:g} s", self.settings.retry_after_s) from None

    def close(self) -> None:
        self._pool.close()
