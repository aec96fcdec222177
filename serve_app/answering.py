"""From an upload's bytes to the document that is sent, apart from HTTP: decode, ask a predictor, put together."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from serve_app.audit import AuditLog, Entry
from serve_app.backend import Backend
from serve_app.callers import Caller
from serve_app.decoding import DecodePool, Plain, Timed
from serve_app.exchange import CamForm, Question, Refusal, ShelfStatus, Unseen
from serve_app.metrics import Metrics
from serve_app.objects import ObjectReader
from serve_app.places import Batch, Places
from serve_app.problems import ProblemError, not_ready
from serve_app.reading import Decoded, decode_all_frames, decode_upload, most_bytes, problem_of, read_frames
from serve_app.responses import prediction_response
from serve_app.schemas import BatchItem, PredictionResponse, TimingMs
from serve_app.settings import ServeSettings
from serve_app.tracing import step_span, trace_id
from wsus.data.images import DecodeLimits
from wsus.data.roi import CropConfig
from wsus.errors import ImageError
from wsus.types import Explain

T = TypeVar("T")
_SOON_S = 5.0  # for what a predictor only has to look up
IMAGE_ID_DIGITS = 16
_TOO_LATE = "too_late"
_ROUNDS = 3  # in which an image is decoded anew, where versions that see it differently are being swapped


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """How a client wants its images explained."""

    cam: CamForm
    explain: Explain
    cam_threshold: float | None
    picture: bool = False
    site: str | None = None


@dataclass(kw_only=True, slots=True)
class Asking:
    """One request.

    begun: `time.perf_counter` at its first byte.  what: its route.  array_pixels: of maps as numbers that it may still have.
    """

    caller: Caller
    what: str
    begun: float
    wish: Wish
    array_pixels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One upload or address of a batch. name: `upload`, or the address."""

    index: int
    name: str
    read: Callable[[], Awaitable[bytes]]


@dataclass(slots=True)
class _Looked:
    """What is known of an image so far, for the audit log."""

    image: str | None = None
    model: str | None = None
    frames: int = 0


class Answering:
    """What the routes do, apart from HTTP.

    Raises:
        ConfigError: the audit log cannot be written.
    """

    def __init__(self, settings: ServeSettings, backend: Backend, metrics: Metrics) -> None:
        self.settings, self.backend, self.metrics = settings, backend, metrics
        self.objects = ObjectReader(settings.s3_prefixes, settings.limits.max_bytes, retry_after_s=settings.retry_after_s)
        self._audit = AuditLog(settings.audit_log)
        self._pool = DecodePool(
            settings.limits,
            workers=settings.decode_workers,
            preload="serve_app.reading",
            retry_after_s=settings.retry_after_s,
        )
        self._places = Places(settings.queue, most_batches=settings.limits.max_batches, retry_after_s=settings.retry_after_s)
        self._crops: tuple[CropConfig, ...] = ()
        limits = settings.limits
        self._limits = DecodeLimits(max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, max_frames=limits.max_frames)

    async def one(self, asking: Asking, content: bytes, frame: int, region: int | None = None) -> PredictionResponse:
        """One image, from bytes to document. Raises ProblemError."""
        with self._audited(asking) as looked:
            asking.caller.charge()
            with self._places.one():
                return await self._predict(asking, looked, content, asking.begun, frame, region)

    async def batch(self, asking: Asking, sources: Sequence[Source], *, all_frames: bool = False) -> list[BatchItem]:
        """Several images; the error of one is its own. What is not answered in time has a problem in its place.

        Raises:
            ProblemError: 429 for the whole: too many batches are inside, or the caller has had its share.
        """
        deadline = asking.begun + self.settings.limits.request_timeout_s
        with self._entered(asking, sources) as batch:
            answer = self._all_frames if all_frames else self._first_frame
            several = await asyncio.gather(*(_listed(answer(asking, batch, source, deadline)) for source in sources))
        return [item for found in several for item in found]

    async def stream(self, asking: Asking, sources: Sequence[Source]) -> AsyncGenerator[BatchItem, None]:
        """All frames of several files, one by one, each as soon as it is answered. Raises as `batch`, before the first."""
        deadline = asking.begun + self.settings.limits.stream_timeout_s
        with self._entered(asking, sources) as batch:
            for source in sources:
                async for item in self._all_frames(asking, batch, source, deadline):
                    yield item

    @contextmanager
    def _entered(self, asking: Asking, sources: Sequence[Source]) -> Iterator[Batch]:
        asking.caller.charge(len(sources))
        with self._places.batch() as batch:
            yield batch

    async def _first_frame(self, asking: Asking, batch: Batch, source: Source, deadline: float) -> AsyncIterator[BatchItem]:
        begun = time.perf_counter()
        try:
            with self._audited(asking) as looked:
                async with self._until(deadline), batch.place():
                    found = await self._predict(asking, looked, await source.read(), begun, 0)
            yield BatchItem(index=source.index, source=source.name, prediction=found)
        except ProblemError as error:
            yield self._failed(source, error)

    async def _all_frames(self, asking: Asking, batch: Batch, source: Source, deadline: float) -> AsyncIterator[BatchItem]:
        """Of one file, one after the other, so that a clip does not fill the queue: each waits for its batch's turn."""
        done, rounds, most = 0, 1, self._limits.max_frames
        try:
            with self._audited(asking) as looked:
                async with self._until(deadline), batch.place():
                    content = await source.read()
                    crops = await self._known_crops()
                    timed, digest = await self._decode(asking, looked, decode_all_frames, content, crops, most)
                asking.caller.charge(len(timed.value) - 1, owed=True)
                while done < len(timed.value):
                    begun, decoded, decode_s = time.perf_counter(), timed.value[done], timed.seconds / len(timed.value)
                    try:
                        async with self._until(deadline), batch.place():
                            answer = await self._answered(asking, looked, digest, decoded, decode_s, begun)
                    except ProblemError as error:
                        if error.reason == _TOO_LATE:
                            raise
                        yield self._failed(source, error)
                    else:
                        if isinstance(answer, Unseen):
                            if (rounds := rounds + 1) > _ROUNDS:
                                raise self._swapping()
                            crops = self._learned(answer, crops)
                            timed, _ = await self._decode(asking, looked, decode_all_frames, content, crops, most)
                            continue
                        yield BatchItem(index=source.index, source=source.name, prediction=answer)
                    done += 1
        except ProblemError as error:
            yield self._failed(source, error)

    async def _predict(
        self, asking: Asking, looked: _Looked, content: bytes, begun: float, frame: int, region: int | None = None
    ) -> PredictionResponse:
        crops = await self._known_crops()
        for _ in range(_ROUNDS):
            picture = asking.wish.picture
            timed, digest = await self._decode(asking, looked, decode_upload, content, crops, 1, picture, frame, region)
            answer = await self._answered(asking, looked, digest, timed.value[0], timed.seconds, begun)
            if not isinstance(answer, Unseen):
                return answer
            crops = self._learned(answer, crops)
        raise self._swapping()

    @contextmanager
    def _audited(self, asking: Asking) -> Iterator[_Looked]:
        """Writes what became of one image, before anybody is told."""
        looked, outcome = _Looked(), "cancelled"
        try:
            yield looked
            outcome = "answered"
        except ProblemError as error:
            outcome = error.reason
            raise
        finally:
            self._audit.write(
                Entry(
                    who=asking.caller.name,
                    what=asking.what,
                    image=looked.image,
                    frames=looked.frames,
                    model=looked.model,
                    outcome=outcome,
                    trace_id=trace_id(),
                )
            )

    @asynccontextmanager
    async def _until(self, deadline: float) -> AsyncIterator[None]:
        """Raises ProblemError (408) when a batch's time is over."""
        try:
            async with asyncio.timeout(max(0.0, deadline - time.perf_counter())):
                yield
        except TimeoutError:
            detail = "the time of this request is over; ask for this image again, or for clips as a stream"
            raise ProblemError(408, _TOO_LATE, detail) from None

    async def status(self) -> ShelfStatus:
        """What a predictor has loaded. Raises 503 where none says so in time."""
        status = await self._in_time(self.backend.status(), min(_SOON_S, self.settings.limits.request_timeout_s))
        self._crops = status.crops
        return status

    async def cards(self) -> dict[int, dict[str, Any]]:
        """The cards of the loaded versions. Raises 503 where no predictor says them in time."""
        return await self._in_time(self.backend.cards(), min(_SOON_S, self.settings.limits.request_timeout_s))

    async def refresh(self, asking: Asking) -> None:
        """Have a predictor look where the alias points. Raises 503 where it is at that for too long; it goes on then."""
        with self._audited(asking):
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
        self, asking: Asking, looked: _Looked, digest: bytes, decoded: Decoded, decode_s: float, begun: float
    ) -> PredictionResponse | Unseen:
        wish = asking.wish
        if wish.cam == "array":
            self._take_array(asking, decoded)
        question = Question(
            image_id=digest.hex()[:IMAGE_ID_DIGITS],
            views=decoded.views,
            share=int.from_bytes(digest[:8], "big") / 2**64,
            explain=wish.explain,
            cam_threshold=wish.cam_threshold,
            cam=wish.cam,
            site=wish.site,
        )
        asked = time.perf_counter()
        try:
            with step_span("predict"):
                answer = await self._in_time(self.backend.ask(question), self.settings.limits.request_timeout_s)
        finally:
            self.metrics.observe("wsus_decode_seconds", decode_s, format=decoded.facts.format)
        if isinstance(answer, Refusal):
            raise ProblemError(422, answer.reason, answer.detail)
        if isinstance(answer, Unseen):
            return answer
        looked.frames, looked.model = looked.frames + 1, f"{answer.model.name} {answer.model.version}"
        ended = time.perf_counter()
        timing = TimingMs(
            decode=1000 * decode_s,
            queue=max(0.0, 1000 * (ended - asked) - answer.infer_ms),
            infer=answer.infer_ms,
            total=1000 * (ended - begun),
        )
        warnings = list(decoded.facts.warnings)
        return prediction_response(answer, decoded.image_facts(), image_id=question.image_id, warnings=warnings, timing=timing)

    def _take_array(self, asking: Asking, decoded: Decoded) -> None:
        asking.array_pixels -= math.prod(decoded.facts.size_hw)
        if asking.array_pixels < 0:
            most = self.settings.limits.max_array_pixels
            detail = f"maps as numbers have at most {most:,} pixels in one answer; ask for cam=png"
            raise ProblemError(413, "map_too_large", detail)

    async def _decode(
        self,
        asking: Asking,
        looked: _Looked,
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
        share_of = asking.caller if asking.caller.name is not None else None
        running = self._pool.run(decode, content, *asked, *arguments, read=read, most_bytes=bound, share_of=share_of)
        decoding = asyncio.ensure_future(running)
        try:
            await asyncio.sleep(0)
            digest = hashlib.sha256(content).digest()
            looked.image = digest.hex()[:IMAGE_ID_DIGITS]
            with step_span("decode"):
                timed = await decoding
        except ImageError as error:
            raise problem_of(error) from None
        finally:
            decoding.cancel()
        return timed, digest

    def _failed(self, source: Source, error: ProblemError) -> BatchItem:
        self.metrics.count("wsus_rejections", reason=error.reason)
        return BatchItem(index=source.index, source=source.name, problem=error.problem)

    async def _in_time(self, asking: Awaitable[T], limit_s: float) -> T:
        try:
            async with asyncio.timeout(limit_s):
                return await asking
        except TimeoutError:
            raise not_ready(f"no predictor answered within {limit_s:g} s", self.settings.retry_after_s) from None

    def close(self) -> None:
        self._pool.close()


async def _listed(items: AsyncIterator[BatchItem]) -> list[BatchItem]:
    return [item async for item in items]
