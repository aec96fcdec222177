"""The Open Inference Protocol (version 2, HTTP), so that clients and benchmarks of KServe and Triton can ask this server.

Input `image`: BYTES [n], one encoded file each, as `POST /v1/predictions` takes it; in JSON as base64, else by the binary
extension (`Inference-Header-Content-Length`). Outputs: `pom` FP64 [n], `label` BYTES [n], `answer` BYTES [n], the document of
`POST /v1/predictions`. The protocol has no error of one item: the first fails the request.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from serve_app.answering import Answering, Asking, Source, Wish
from serve_app.exchange import ServedModel
from serve_app.problems import ProblemError, not_ready, problem_documents
from serve_app.protect import route_name
from serve_app.schemas import PredictionResponse

_HEADER_LENGTH = "Inference-Header-Content-Length"
_OUTPUTS = {"pom": "FP64", "label": "BYTES", "answer": "BYTES"}
_MOST_VALUES = 10_000  # each becomes an object of many times its bytes
_REFUSALS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 503)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Tensor(_Part):
    """Of a request or an answer."""

    name: str = Field(max_length=64)
    datatype: Literal["BYTES", "FP64"]
    shape: list[Annotated[int, Field(ge=-1)]] = Field(min_length=1, max_length=2)
    data: list[JsonValue] | None = None
    parameters: dict[str, JsonValue] = {}


class WantedOutput(_Part):
    name: Literal["pom", "label", "answer"]
    parameters: dict[str, JsonValue] = {}


class InferParameters(_Part):
    """class, cam_threshold, site: as the queries of `POST /v1/predictions`."""

    explain: Literal["predicted", "malignant"] = Field("predicted", alias="class")
    cam_threshold: float | None = Field(None, gt=0, lt=1)
    site: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    binary_data_output: bool = False


class InferRequest(_Part):
    id: str | None = Field(None, max_length=200)
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[WantedOutput] = Field([], max_length=8)
    parameters: InferParameters = InferParameters.model_validate({})


class ServerMetadata(BaseModel):
    name: str = "wsus"
    version: str
    extensions: list[str] = ["binary_tensor_data"]


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[Tensor]


def add_open_inference(app: FastAPI, server: Answering) -> None:
    """The protocol's routes."""
    tags: list[Any] = ["open inference protocol"]

    @app.get("/v2", tags=tags)
    async def server_metadata() -> ServerMetadata:
        """What this server is."""
        return ServerMetadata(version=app.version)

    @app.get("/v2/health/live", tags=tags)
    async def live() -> dict[str, bool]:
        """The process is alive."""
        return {"live": True}

    @app.get("/v2/health/ready", tags=tags, responses=problem_documents(503))
    async def ready() -> dict[str, bool]:
        """A model is loaded and has passed its self-test."""
        await _primary(server)
        return {"ready": True}

    @app.get("/v2/models/{name}", tags=tags, responses=problem_documents(401, 403, 404, 503))
    @app.get("/v2/models/{name}/versions/{version}", tags=tags, responses=problem_documents(401, 403, 404, 503))
    async def model_metadata(name: str, version: str | None = None) -> ModelMetadata:
        """The tensors of the served model."""
        model = await _served(server, name, version)
        outputs = [TensorMetadata(name=output, datatype=kind, shape=[-1]) for output, kind in _OUTPUTS.items()]
        image = TensorMetadata(name="image", datatype="BYTES", shape=[-1])
        platform = f"wsus_{model.engine}"
        return ModelMetadata(name=name, versions=[str(model.version)], platform=platform, inputs=[image], outputs=outputs)

    @app.get("/v2/models/{name}/ready", tags=tags, responses=problem_documents(401, 403, 404, 503))
    @app.get("/v2/models/{name}/versions/{version}/ready", tags=tags, responses=problem_documents(401, 403, 404, 503))
    async def model_ready(name: str, version: str | None = None) -> dict[str, bool]:
        """This version is loaded and has passed its self-test."""
        await _served(server, name, version)
        return {"ready": True}

    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": InferRequest.model_json_schema()}}}}

    @app.post(
        "/v2/models/{name}/infer",
        tags=tags,
        response_model=InferResponse,
        responses=problem_documents(*_REFUSALS),
        openapi_extra=body,
    )
    @app.post(
        "/v2/models/{name}/versions/{version}/infer",
        tags=tags,
        response_model=InferResponse,
        responses=problem_documents(*_REFUSALS),
        openapi_extra=body,
    )
    async def infer(
        request: Request,
        name: str,
        version: str | None = None,
        header_bytes: Annotated[int | None, Header(alias=_HEADER_LENGTH, ge=0)] = None,
    ) -> Response:
        """Predict images."""
        model = await _served(server, name, version)
        content = await request.body()
        asked, images = read_request(content, header_bytes, most=server.settings.limits.max_items)
        found = await _predicted(request, server, asked, images)
        return written(asked, model, found)


async def _primary(server: Answering) -> ServedModel:
    primary = (await server.status()).primary
    if primary is None:
        raise not_ready("no model is loaded yet", server.settings.retry_after_s)
    return primary


async def _served(server: Answering, name: str, version: str | None) -> ServedModel:
    model = await _primary(server)
    if name != model.name or version not in (None, "", str(model.version)):
        raise ProblemError(404, "no_such_model", f"served is {model.name} {model.version}, and no other model or version")
    return model


async def _predicted(
    request: Request, server: Answering, asked: InferRequest, images: Sequence[bytes]
) -> list[PredictionResponse]:
    scope, chosen = request.scope, asked.parameters
    asking = Asking(
        caller=scope["wsus.caller"],
        what=route_name(scope),
        begun=scope["wsus.begun"],
        wish=Wish(cam="none", explain=chosen.explain, cam_threshold=chosen.cam_threshold, site=chosen.site),
        array_pixels=0,
    )
    if len(images) == 1:
        return [await server.one(asking, images[0], 0)]

    async def read(image: bytes) -> bytes:
        return image

    sources = [Source(index=index, name="upload", read=partial(read, image)) for index, image in enumerate(images)]
    found = []
    for item in await server.batch(asking, sources):
        if item.prediction is None:
            assert item.problem is not None
            detail, retry = f"image {item.index}: {item.problem.detail}", item.problem.retry_after_s
            raise ProblemError(item.problem.status, item.problem.reason, detail, retry_after_s=retry)
        found.append(item.prediction)
    return found


def read_request(content: bytes, header_bytes: int | None, *, most: int) -> tuple[InferRequest, list[bytes]]:
    """A request's header and its images.

    Args:
        header_bytes: of the JSON, behind which binary data follow; None where there are none.
    Raises:
        ProblemError: 400, 413 or 422, by what is wrong.
    """
    length = len(content) if header_bytes is None else header_bytes
    if length > len(content):
        raise ProblemError(400, "malformed", f"{_HEADER_LENGTH} is {length}, and the body has {len(content)} bytes")
    if sum(content.count(sign, 0, length) for sign in (b",", b"[", b"{")) > _MOST_VALUES:  # base64 has none of these
        raise ProblemError(413, "too_complex", f"the JSON holds more than {_MOST_VALUES:,} values; images are one text each")
    try:
        asked = InferRequest.model_validate_json(content[:length])
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors()[:5])
        raise ProblemError(422, "invalid_request", said) from None

    (tensor,) = asked.inputs
    count = tensor.shape[0] * (tensor.shape[1] if len(tensor.shape) == 2 else 1)
    if (tensor.name, tensor.datatype) != ("image", "BYTES") or min(tensor.shape) < 1:
        raise ProblemError(422, "invalid_request", "expected one input `image` of the datatype BYTES and the shape [n]")
    if count > most:
        raise ProblemError(413, "too_many_items", f"{count} items; at most {most} are answered together")
    size = tensor.parameters.get("binary_data_size")
    images = list(_packed(content[length:], size)) if size is not None else _from_base64(tensor.data or [])
    if len(images) != count:
        raise ProblemError(422, "invalid_request", f"the shape says {count} images, and there are {len(images)}")
    return asked, images


def _packed(content: bytes, size: JsonValue) -> Iterator[bytes]:
    """Elements of a BYTES tensor: four bytes of length, little-endian, before each."""
    if size != len(content):
        raise ProblemError(422, "invalid_request", f"binary_data_size is {size}, and {len(content)} bytes follow")
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<I", content, place) if place + 4 <= len(content) else (len(content),)
        if place + 4 + length > len(content):
            raise ProblemError(422, "invalid_request", "an element of `image` reaches beyond the body")
        yield content[place + 4 : place + 4 + length]
        place += 4 + length


def _from_base64(data: Sequence[JsonValue]) -> list[bytes]:
    flat = [item for row in data for item in (row if isinstance(row, list) else [row])]
    try:
        return [base64.b64decode(str(item), validate=True) for item in flat]
    except (binascii.Error, ValueError):
        raise ProblemError(422, "invalid_request", "an element of `image` is not base64; in JSON a file is sent so") from None


def written(asked: InferRequest, model: ServedModel, found: Sequence[PredictionResponse]) -> Response:
    """The answer, in JSON, or with tensors behind it where they were asked for as binary data."""
    values: Mapping[str, list[Any]] = {
        "pom": [one.pom for one in found],
        "label": [one.label for one in found],
        "answer": [one.model_dump_json() for one in found],
    }
    outputs, tail = [], []
    for wanted in asked.outputs or [WantedOutput(name="pom"), WantedOutput(name="label"), WantedOutput(name="answer")]:
        tensor: dict[str, Any] = {"name": wanted.name, "datatype": _OUTPUTS[wanted.name], "shape": [len(found)]}
        if wanted.parameters.get("binary_data", asked.parameters.binary_data_output):
            tail.append(_binary(values[wanted.name]))
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = values[wanted.name]
        outputs.append(tensor)
    document: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version), "outputs": outputs}
    document |= {} if asked.id is None else {"id": asked.id}
    if not tail:
        return JSONResponse(document)
    head = json.dumps(document).encode()
    return Response(b"".join((head, *tail)), media_type="application/octet-stream", headers={_HEADER_LENGTH: str(len(head))})


def _binary(values: Sequence[Any]) -> bytes:
    if isinstance(values[0], float):
        return struct.pack(f"<{len(values)}d", *values)
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)
