"""The application on Ray Serve: an ingress that decodes, predictors that answer in batches. Here and in `running` alone is Ray.

`build` is what `serve deploy` and a RayService name in their config (`serve_app.app:build`); `running.running` is `wsus serve`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError
from ray.serve import metrics as ray_metrics
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from serve_app.batching import Batcher
from serve_app.exchange import Answer, Question, Refusal, ShelfStatus, Unseen
from serve_app.metrics import SERIES
from serve_app.problems import busy, not_ready
from serve_app.settings import ServeSettings, settings_from
from wsus.storage import open_store

_LOST = (RayActorError, ReplicaUnavailableError, DeploymentUnavailableError)
_ATTEMPTS = 4
HEAVY_PIXELS = 4_000_000  # no ultrasound frame has so many, and the map of each costs time and memory
_log = logging.getLogger(__name__)


def build(args: dict[str, Any]) -> serve.Application:
    """The application for Ray Serve, from the `args` of its config file (see `ServeSettings`).

    Raises:
        ConfigError: a setting is unknown, missing or out of its range.
    """
    settings = settings_from(args)
    predictor = serve.deployment(ModelReplica, name="Predictor").options(
        max_ongoing_requests=3 * settings.max_batch_size,  # batches at work and one that fills
        max_queued_requests=max(1, settings.queue),
        ray_actor_options={"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus},
        autoscaling_config={
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.max_batch_size,
        },
    )
    ingress = serve.deployment(serve.ingress()(Ingress)).options(
        num_replicas=settings.ingress_replicas,
        max_ongoing_requests=settings.queue + 256,  # beyond `max_queue` images they are answered 429 by the ingress itself
        max_queued_requests=settings.queue + 256,
        backpressure_config={"status_code": 503, "retry_after_s": settings.retry_after_s},
        ray_actor_options={"num_cpus": 0},
    )
    plain = settings.model_dump()
    return ingress.bind(plain, predictor.bind(plain))


class RayMetrics:
    """Our metrics through Ray's own, which its Prometheus endpoints export with the prefix `ray_`."""

    def __init__(self) -> None:
        self._series: dict[str, Any] = {}
        for name, series in SERIES.items():
            kind = {"counter": ray_metrics.Counter, "gauge": ray_metrics.Gauge, "histogram": ray_metrics.Histogram}[series.kind]
            more = {"boundaries": list(series.boundaries)} if series.kind == "histogram" else {}
            self._series[name] = kind(name, description=series.help, tag_keys=series.tags, **more)

    def count(self, name: str, **tags: str) -> None:
        self._series[name].inc(1, tags=tags)

    def observe(self, name: str, value: float, **tags: str) -> None:
        self._series[name].observe(value, tags=tags)

    def gauge(self, name: str, value: float, **tags: str) -> None:
        self._series[name].set(value, tags=tags)


class ModelReplica:
    """A replica of the deployment `Predictor`: one shelf of models.

    Batches form while those before are at work, so that nobody waits for company.
    """

    def __init__(self, args: dict[str, Any]) -> None:
        from serve_app.shelf import ModelShelf, loader

        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # a line per question would repeat the ingress's per request
        settings = settings_from(args)
        self._shelf = ModelShelf(
            open_store(settings.store),
            settings.model,
            RayMetrics(),
            load=loader(settings),
            alias=settings.alias,
            signers=settings.require_signature,
        )
        self._batcher = Batcher(
            self._shelf.answer,
            max_batch_size=settings.max_batch_size,
            lanes=self._shelf.callers,
            heavy=lambda question: question.pixels > HEAVY_PIXELS,
            then=self._shelf.record,
        )
        self._ending = threading.Event()
        threading.Thread(target=self._poll, args=(settings.poll_s,), name="poll", daemon=True).start()

    async def ask(self, question: Question) -> Answer | Refusal | Unseen:
        return await self._batcher.ask(question)

    async def status(self) -> ShelfStatus:
        return self._shelf.status()

    async def cards(self) -> dict[int, dict[str, Any]]:
        return self._shelf.cards()

    async def refresh(self) -> None:
        await asyncio.to_thread(self._shelf.refresh)

    def _poll(self, every_s: float) -> None:
        while not self._ending.wait(every_s):
            try:
                self._shelf.refresh()
            except Exception:  # noqa: BLE001  a defect is for the log; the looking goes on
                _log.exception("the alias could not be followed; the versions stay as they are")

    def __del__(self) -> None:
        self._ending.set()


class RayBackend:
    """Asks the predictors. A question has no effect, so that one whose predictor died is asked again of another."""

    def __init__(self, predictors: DeploymentHandle, settings: ServeSettings) -> None:
        self._predictors = predictors.options(request_serialization="pickle", response_serialization="pickle")
        self._methods: dict[str, DeploymentHandle] = {}
        self._settings = settings

    async def ask(self, question: Question) -> Answer | Refusal | Unseen:
        return await self._call("ask", question)

    async def status(self) -> ShelfStatus:
        return await self._call("status")

    async def cards(self) -> dict[int, dict[str, Any]]:
        return await self._call("cards")

    async def refresh(self) -> None:
        await self._call("refresh")

    async def _call(self, method: str, *arguments: Any) -> Any:
        if method not in self._methods:
            self._methods[method] = getattr(self._predictors, method)
        for attempt in range(_ATTEMPTS):
            try:
                return await self._methods[method].remote(*arguments)
            except BackPressureError:
                raise busy(self._settings.retry_after_s) from None
            except _LOST as error:
                _log.warning("a predictor was lost (%s); attempt %d of %d", type(error).__name__, attempt + 1, _ATTEMPTS)
                await asyncio.sleep(0.1 * 2**attempt)
        raise not_ready("the predictor was lost and is being replaced", self._settings.retry_after_s)


class Ingress:
    """HTTP: tokens, limits, decoding; the predictors' answers as documents."""

    def __init__(self, args: dict[str, Any], predictors: DeploymentHandle) -> None:
        self._settings, self._predictors = settings_from(args), predictors

    def __serve_build_asgi_app__(self) -> FastAPI:
        from serve_app.http import create_app

        return create_app(self._settings, RayBackend(self._predictors, self._settings), RayMetrics())
