"""The routes, over any backend that predicts. No Ray here."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from serve_app.answering import Answering, Asking, Source, Wish
from serve_app.backend import Backend
from serve_app.callers import PROTECTED, Callers
from serve_app.exchange import CamForm
from serve_app.metrics import Metrics
from serve_app.objects import ObjectReader
from serve_app.open_inference import add_open_inference
from serve_app.problems import ProblemError, as_problem, not_ready, problem_document, problem_documents, problem_response
from serve_app.protect import Protect, route_name
from serve_app.responses import model_summary
from serve_app.schemas import (
    BatchEnd,
    BatchItem,
    BatchResponse,
    Health,
    ModelList,
    PredictionResponse,
    Problem,
    Readiness,
)
from serve_app.settings import ServeSettings
from serve_app.tokens import TokenBook
from wsus.disclaimer import DISCLAIMER
from wsus.types import Explain

STATIC = Path(__file__).parent / "static"
_log = logging.getLogger(__name__)
_DESCRIPTION = f"""Probability of malignancy (POM) of breast-ultrasound images, and where the network looked.

{DISCLAIMER} Nothing that is sent is stored."""

CamQuery = Annotated[CamForm, Query(description="The class activation map, in which form.")]
ClassQuery = Annotated[Explain, Query(alias="class", description="Whose map: the predicted class or always malignant.")]
ThresholdQuery = Annotated[
    float | None, Query(gt=0, lt=1, description="Where the map, scaled to [0, 1], is cut; default: the model's.")
]
FrameQuery = Annotated[int, Query(ge=0, le=100_000, description="Frame of a multi-frame DICOM file, from 0.")]
RegionQuery = Annotated[
    int | None,
    Query(
        ge=0,
        le=255,
        description="B-mode region of a DICOM file that names several, from 0, read as a page is; default: the largest.",
    ),
]
SiteQuery = Annotated[
    str | None,
    Query(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Scale and cut the POM by this site's profile; see /v1/models."),
]
ImagesForm = Annotated[list[UploadFile] | None, File(description="Images.")]
AddressesForm = Annotated[list[str] | None, Form(description="s3:// addresses below an allowed prefix.")]
ImageQuery = Annotated[Literal["none", "png"], Query(description="The decoded image, as the model saw it.")]


def create_app(settings: ServeSettings, backend: Backend, metrics: Metrics) -> FastAPI:
    """The application.

    Raises:
        ConfigError: the token file cannot be used.
    """
    tokens = TokenBook(Path(settings.tokens_file)) if settings.tokens_file is not None else None
    server = Answering(settings, backend, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        server.close()  # a server that is started again opens its pool again

    app = FastAPI(
        title="wsus",
        version=version("wsus"),
        description=_DESCRIPTION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Protect, limits=settings.limits, callers=Callers(tokens, settings.limits), metrics=metrics)
    _add_errors(app, metrics)
    _add_predictions(app, server)
    _add_models(app, server)
    _add_health(app, server)
    add_open_inference(app, server)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _add_predictions(app: FastAPI, server: Answering) -> None:
    @app.post(
        "/v1/predictions",
        response_model=PredictionResponse,
        responses=problem_documents(400, 401, 403, 408, 413, 415, 422, 429, 503),
        tags=["predictions"],
    )
    async def predict_one(
        request: Request,
        image: Annotated[UploadFile, File(description="PNG, JPEG, BMP, TIFF or DICOM, detected from the content, not the name.")],
        cam: CamQuery = "none",
        explain: ClassQuery = "predicted",
        cam_threshold: ThresholdQuery = None,
        frame: FrameQuery = 0,
        region: RegionQuery = None,
        site: SiteQuery = None,
        picture: Annotated[ImageQuery, Query(alias="image")] = "none",
    ) -> Response:
        """Predict one image."""
        wish = Wish(cam=cam, explain=explain, cam_threshold=cam_threshold, picture=picture == "png", site=site)
        return _json(await server.one(asking(request, server, wish), await image.read(), frame, region))

    @app.post(
        "/v1/predictions:batch",
        response_model=BatchResponse,
        responses=problem_documents(400, 401, 403, 408, 413, 415, 422, 429, 503),
        tags=["predictions"],
    )
    async def predict_batch(
        request: Request,
        images: ImagesForm = None,
        addresses: AddressesForm = None,
        cam: CamQuery = "none",
        explain: ClassQuery = "predicted",
        cam_threshold: ThresholdQuery = None,
        frames: Annotated[
            Literal["first", "all"], Query(description="Of files with several frames; each frame is an item with its index.")
        ] = "first",
        site: SiteQuery = None,
    ) -> Response:
        """Predict several images; an item that cannot be answered carries its own problem."""
        wish = Wish(cam=cam, explain=explain, cam_threshold=cam_threshold, site=site)
        sources = _sources(server, images, addresses)
        items = await server.batch(asking(request, server, wish), sources, all_frames=frames == "all")
        return _json(BatchResponse(items=items, **_counted(items)))

    @app.post(
        "/v1/predictions:stream",
        response_class=NdjsonResponse,
        responses=problem_documents(400, 401, 403, 408, 413, 415, 422, 429, 503),
        tags=["predictions"],
    )
    async def predict_stream(
        request: Request,
        images: ImagesForm = None,
        addresses: AddressesForm = None,
        cam: CamQuery = "none",
        explain: ClassQuery = "predicted",
        cam_threshold: ThresholdQuery = None,
        site: SiteQuery = None,
    ) -> Response:
        """All frames of long clips: one line of JSON for each (a `BatchItem`), as soon as it is answered, and at the end one with
        `succeeded` and `failed`. Whoever hangs up cancels what is not answered yet."""
        wish = Wish(cam=cam, explain=explain, cam_threshold=cam_threshold, site=site)
        found = server.stream(asking(request, server, wish), _sources(server, images, addresses))
        first = await anext(found)  # here, so that a refusal has its status

        async def lines() -> AsyncIterator[str]:
            counts, item = Counter[bool](), first
            try:
                while not await request.is_disconnected():
                    counts[item.prediction is not None] += 1
                    yield item.model_dump_json() + "\n"
                    item = await anext(found)
            except StopAsyncIteration:
                yield BatchEnd(succeeded=counts[True], failed=counts[False]).model_dump_json() + "\n"
            finally:
                await found.aclose()

        return NdjsonResponse(lines())


class NdjsonResponse(StreamingResponse):
    """JSON documents, one on each line."""

    media_type = "application/x-ndjson"


def asking(request: Request, server: Answering, wish: Wish) -> Asking:
    """The request, as what stands before the routes has marked it."""
    scope = request.scope
    most = server.settings.limits.max_array_pixels
    return Asking(caller=scope["wsus.caller"], what=route_name(scope), begun=scope["wsus.begun"], wish=wish, array_pixels=most)


def _sources(server: Answering, images: list[UploadFile] | None, addresses: list[str] | None) -> list[Source]:
    uploads, named = images or [], addresses or []
    count, most = len(uploads) + len(named), server.settings.limits.max_items
    if count == 0:
        raise ProblemError(422, "invalid_request", "send at least one file as `images` or one address as `addresses`")
    if count > most:
        raise ProblemError(413, "too_many_items", f"{count} items; at most {most} are answered together")
    reads: list[tuple[str, Callable[[], Awaitable[bytes]]]] = [("upload", upload.read) for upload in uploads]
    reads += [(address, _reading(server.objects, address)) for address in named]
    return [Source(index=index, name=name, read=read) for index, (name, read) in enumerate(reads)]


def _counted(items: Sequence[BatchItem]) -> dict[str, int]:
    good = sum(item.prediction is not None for item in items)
    return {"succeeded": good, "failed": len(items) - good}


def _reading(objects: ObjectReader, address: str) -> Callable[[], Awaitable[bytes]]:
    async def read() -> bytes:
        return await asyncio.to_thread(objects.read, address)

    return read


def _add_models(app: FastAPI, server: Answering) -> None:
    @app.get("/v1/models", responses=problem_documents(401, 403, 503), tags=["models"])
    async def list_served() -> ModelList:
        """The versions that are loaded, what each one does, and its site profiles with calibration before and after."""
        status = await server.status()
        return ModelList(models=[model_summary(model, status.sites.get(model.version, ())) for model in status.models])

    @app.get("/v1/models/{name}/card", responses=problem_documents(401, 403, 404, 422, 503), tags=["models"])
    async def card(name: str, version: Annotated[int | None, Query(ge=1, le=2**31)] = None) -> dict[str, Any]:
        """The model card: training, figures with their intervals, intended use and limits, site profiles."""
        status = await server.status()
        wanted = version if version is not None or status.primary is None else status.primary.version
        cards = await server.cards()
        if name not in {model.name for model in status.models} or wanted not in cards:
            raise ProblemError(404, "no_such_model", "this model or version is not served here; see /v1/models")
        return cards[wanted]

    @app.post("/v1/admin/refresh", status_code=200, responses=problem_documents(401, 403, 503), tags=["admin"])
    async def refresh(request: Request) -> Readiness:
        """Look now where the alias points, instead of at the next poll. One replica answers; the others follow by themselves."""
        wish = Wish(cam="none", explain="predicted", cam_threshold=None)
        await server.refresh(asking(request, server, wish))
        return await _readiness(server)


def _add_health(app: FastAPI, server: Answering) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> Health:
        """The process is alive."""
        return Health()

    @app.get("/readyz", responses={503: problem_document("No model is loaded, or nobody answers.")}, tags=["health"])
    async def readyz() -> Readiness:
        """A model is loaded and has passed its self-test."""
        return await _readiness(server)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")


async def _readiness(server: Answering) -> Readiness:
    status = await server.status()
    if status.primary is None:
        raise not_ready("no model is loaded yet", server.settings.retry_after_s)
    return Readiness(ready=True, model=status.primary.name, version=status.primary.version, refused=list(status.refused))


def _add_errors(app: FastAPI, metrics: Metrics) -> None:
    def answered(request: Request, error: ProblemError) -> Response:
        metrics.count("wsus_rejections", reason=error.reason)
        return problem_response(error, request.url.path)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        return answered(request, error if isinstance(error, ProblemError) else as_problem(error))

    @app.exception_handler(RequestValidationError)
    async def of_validation(request: Request, error: RequestValidationError) -> Response:
        return answered(request, _validation_problem(request, error))


def _validation_problem(request: Request, error: RequestValidationError) -> ProblemError:
    """Names each parameter and what was expected, and never repeats what was sent."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    wrong_body = any(item["loc"][0] == "body" for item in error.errors())
    if wrong_body and request.method == "POST" and kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return ProblemError(415, "unsupported_body", "expected a body of the type multipart/form-data, with the field `image`")
    said = "; ".join(f"{'.'.join(map(str, item['loc'][1:])) or item['loc'][0]}: {item['msg']}" for item in error.errors()[:5])
    return ProblemError(422, "invalid_request", said)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the token's scheme and the schema of problems, which no route returns by itself."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        document["components"].setdefault("securitySchemes", {})["token"] = {"type": "http", "scheme": "bearer"}
        for path, operations in document["paths"].items():
            for operation in operations.values():
                if path.startswith(PROTECTED):
                    operation["security"] = [{"token": []}]
                content = operation["responses"].get("422", {}).get("content", {})
                if "application/json" in content:  # FastAPI's own form of validation errors, which is never sent
                    del operation["responses"]["422"]
        app.openapi_schema = document
    return app.openapi_schema


def _json(document: PredictionResponse | BatchResponse) -> Response:
    return Response(document.model_dump_json(), media_type="application/json")
