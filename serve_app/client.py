"""A small client of the HTTP interface.

>>> client = Client("http://127.0.0.1:8000", token="wsus_...")          # doctest: +SKIP
>>> answer = client.predict(Path("image.png"), cam="array")            # doctest: +SKIP
>>> answer["pom"], cam_array(answer).shape                             # doctest: +SKIP
(0.87, (471, 562))
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image

from serve_app.exchange import CamForm
from wsus.errors import WsusError
from wsus.inference.answer import answer_json
from wsus.types import Explain, GreyHW, model_id

_LONGEST_WAIT_S = 30.0
_LATER = (408, 429, 503)  # of a batch's item; 408 of a whole request says that what was sent took too long


class ServerError(WsusError):
    """What the server answered instead of a prediction.

    status: HTTP status, 0 where no server answered.  reason: the problem document's slug.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "unreachable") -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Client:
    """A server and how to reach it.

    Args:
        url: the server's address, as http://127.0.0.1:8000.  token: a bearer token, where it asks for one.
        timeout_s: for one answer.  patience_s: how long a busy server (429, 503) is asked again, as it says itself.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 90.0, patience_s: float = 60.0) -> None:
        self.url, self._timeout_s, self._patience_s = url.rstrip("/"), timeout_s, patience_s
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def predict(
        self,
        image: Path | bytes,
        *,
        cam: CamForm = "none",
        explain: Explain = "predicted",
        cam_threshold: float | None = None,
        frame: int = 0,
        region: int | None = None,
        site: str | None = None,
        picture: bool = False,
    ) -> dict[str, Any]:
        """Predict one image: the answer of `POST /v1/predictions` (docs/serving.md).

        Args:
            site: whose profile the POM is scaled and cut by; `models` says which there are.
            picture: the decoded image comes back too.

        Raises:
            ServerError: the server refused the image, stayed busy, or did not answer.  OSError: the file cannot be read.
        """
        query: dict[str, Any] = {"cam": cam, "class": explain, "frame": frame, "image": "png" if picture else "none"}
        if cam_threshold is not None:
            query["cam_threshold"] = cam_threshold
        if region is not None:
            query["region"] = region
        if site is not None:
            query["site"] = site
        return self._request("POST", "/v1/predictions", query, [("image", ("image", _content(image)))])

    def predict_batch(
        self,
        images: Sequence[Path | bytes] = (),
        addresses: Sequence[str] = (),
        *,
        explain: Explain = "predicted",
        site: str | None = None,
    ) -> list[dict[str, Any]]:
        """Predict several images and s3:// addresses; each item has `prediction` or `problem`. Raises as `predict`.

        Items that the server had no hands or time for are asked for again, they alone, as long as that helps and patience lasts.
        """
        parts: list[tuple[str, Any]] = [("images", ("image", _content(image))) for image in images]
        parts += [("addresses", (None, address)) for address in addresses]
        query = {"class": explain, **({} if site is None else {"site": site})}
        deadline = time.monotonic() + self._patience_s
        items, missing = list[dict[str, Any]](), list(range(len(parts)))
        while True:
            asked = [parts[place] for place in missing]
            found: list[dict[str, Any]] = self._request("POST", "/v1/predictions:batch", query, asked)["items"]
            for place, item in zip(missing, found, strict=True):
                items[place : place + 1] = [{**item, "index": place}]
            missing = [item["index"] for item in items if item["problem"] and item["problem"]["status"] in _LATER]
            wait_s = max((items[place]["problem"]["retry_after_s"] or 1 for place in missing), default=0)
            if not missing or time.monotonic() + wait_s > deadline:
                return items
            time.sleep(wait_s)

    def predict_frames(
        self, clip: Path | bytes, *, explain: Explain = "predicted", site: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Predict all frames of a clip: items as of `predict_batch`, each once it is answered. Who stops reading cancels it.

        Raises:
            ServerError: as `predict`, or the stream was cut.
        """
        path, parts = "/v1/predictions:stream", [("images", ("image", _content(clip)))]
        query = {"class": explain, **({} if site is None else {"site": site})}
        with self._answered("POST", path, query, parts, stream=True) as response:
            try:
                for line in response.iter_lines():
                    item = json.loads(line)
                    if "succeeded" in item:
                        return
                    yield item
            except requests.RequestException as error:
                raise ServerError(f"{self.url}: the stream was cut ({type(error).__name__})") from error
        raise ServerError(f"{self.url}: the stream ended before its last line")

    def models(self) -> list[dict[str, Any]]:
        """The versions that are served. Raises as `predict`."""
        found: list[dict[str, Any]] = self._request("GET", "/v1/models")["models"]
        return found

    def card(self, name: str) -> dict[str, Any]:
        """The card of the served version of a model. Raises as `predict`."""
        return self._request("GET", f"/v1/models/{requests.utils.quote(name, safe='')}/card")

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(
        self, method: str, path: str, query: dict[str, Any] | None = None, parts: list[tuple[str, Any]] | None = None
    ) -> dict[str, Any]:
        answer: dict[str, Any] = self._answered(method, path, query, parts).json()
        return answer

    def _answered(self, method: str, path: str, query: Any, parts: Any, *, stream: bool = False) -> requests.Response:
        deadline = time.monotonic() + self._patience_s
        while True:
            response = self._once(method, path, query, parts, stream)
            if response.ok:
                return response
            wait_s = min(float(response.headers.get("Retry-After", 1)), _LONGEST_WAIT_S)
            if response.status_code not in _LATER[1:] or time.monotonic() + wait_s > deadline:
                raise _error(self.url, response)
            time.sleep(wait_s)

    def _once(self, method: str, path: str, query: Any, parts: Any, stream: bool) -> requests.Response:
        options: dict[str, Any] = {"params": query, "files": parts, "timeout": self._timeout_s, "stream": stream}
        try:
            return self._session.request(method, self.url + path, **options)
        except requests.RequestException as error:
            raise ServerError(f"{self.url}: no answer ({type(error).__name__}); check the address and that it runs") from error


def as_answer(image: Path, found: dict[str, Any]) -> dict[str, Any]:
    """The document of `POST /v1/predictions` as `wsus predict` prints it of a model here."""
    located, model, facts = found["localisation"], found["model"], found["image"]
    sizes, by_site = located["sizes_mm"], {name: found[name] for name in ("site", "model_pom", "not_sure")}
    return answer_json(
        image=str(image),
        pom=found["pom"],
        label=found["label"],
        operating_point=found["threshold"],
        explained_class=located["explained_class"],
        boxes_xyxy_px=located["boxes_xyxy_px"],
        sizes_mm=sizes and [(size["width"], size["height"]) for size in sizes],
        area_fraction=located["area_fraction"],
        constant_map=located["constant_map"],
        model=model_id(model["name"], model["digest"]),
        pom_means=found["pom_means"],
        by_site=by_site if found["site"] is not None else None,
        ood_score=found["ood_score"],
        ood_threshold=found["ood_threshold"],
        warnings=found["warnings"],
        frame=facts["frame"],
        frames=facts["frames"],
        region_xyxy_px=facts["region_xyxy_px"],
    )


def cam_array(answer: dict[str, Any]) -> NDArray[np.float32]:
    """The class activation map of an answer, float32 in [0, 1], shape (H, W); of one to `cam="png"` in steps of 1/200.

    Raises:
        ValueError: the answer holds no map.
    """
    cam = answer.get("cam") or {}
    if cam.get("png"):
        return _pixels(cam["png"]).astype(np.float32) / np.float32(200)
    array = cam.get("array")
    if array is None:
        raise ValueError('the answer holds no map; ask with cam="array" or cam="png"')
    return np.frombuffer(base64.b64decode(array["base64"]), array["dtype"]).reshape(array["shape"])


def decoded_image(answer: dict[str, Any]) -> GreyHW:
    """The image of an answer with `picture`, as the model saw it: uint8, shape (H, W).

    Raises:
        ValueError: the answer holds none.
    """
    if not answer["image"]["png"]:
        raise ValueError("the answer holds no image; ask with picture=True")
    return _pixels(answer["image"]["png"])


def _pixels(address: str) -> NDArray[np.uint8]:
    """Of a data: address of a grey PNG."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))))


def _content(image: Path | bytes) -> bytes:
    return image if isinstance(image, bytes) else image.read_bytes()


def _error(url: str, response: requests.Response) -> ServerError:
    try:
        problem = response.json()
        detail, reason = problem["detail"], problem["reason"]
    except (ValueError, KeyError, TypeError):  # what stands between us and the server speaks its own way
        detail, reason = response.reason or "no detail", "unknown"
    return ServerError(f"{url}: {response.status_code}, {detail}", status=response.status_code, reason=reason)
