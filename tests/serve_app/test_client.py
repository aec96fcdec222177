"""The Python client, `wsus predict --server` and the example, against the real application on a real socket."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from dicom_files import dicom, speckle
from PIL import Image
from published_models import add_site, png

from serve_app.client import Client, ServerError, as_answer, cam_array, decoded_image
from wsus.cli.serving import ask_server
from wsus.data.images import read_image
from wsus.inference.files import predict_files
from wsus.storage import Store

EXAMPLE = Path(__file__).parents[2] / "examples" / "ask_server.py"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    path.write_bytes(png(7))
    return path


def test_it_gives_what_the_command_line_gives_here(port: int, image: Path, store: Store) -> None:
    (here,) = predict_files([image], store.address)
    with Client(f"http://127.0.0.1:{port}/") as client:
        there = client.predict(image, cam="array", cam_threshold=0.5)
        items = client.predict_batch([image, b"text"], ["s3://bucket/key"])
        assert client.models()[0]["name"] == client.card("tiny")["name"] == "tiny"
    assert there["pom"] == pytest.approx(here["pom"], abs=1e-6)
    assert there["localisation"]["threshold"] == 0.5
    cam_HW = cam_array(there)
    assert (cam_HW.shape, cam_HW.dtype, float(cam_HW.max())) == ((90, 120), np.float32, 1.0)
    assert items[0]["prediction"]["pom"] == pytest.approx(here["pom"], abs=1e-6)
    assert [item["problem"]["status"] for item in items[1:]] == [415, 403]


def test_by_a_site_s_profile_the_server_says_what_the_command_line_says_here(port: int, image: Path, store: Store) -> None:
    add_site(store, "our-hospital")
    requests.post(f"http://127.0.0.1:{port}/v1/admin/refresh", timeout=10).raise_for_status()
    (here,) = predict_files([image], store.address, site="our-hospital")
    with Client(f"http://127.0.0.1:{port}") as client:
        there = as_answer(image, client.predict(image, site="our-hospital"))
        (item,) = client.predict_batch([image], site="our-hospital")
    assert there.pop("pom") == pytest.approx(here.pop("pom"))
    assert there.pop("model_pom") == pytest.approx(here.pop("model_pom"))
    assert there == here
    assert item["prediction"]["site"] == "our-hospital"
    (asked,) = ask_server([image], f"http://127.0.0.1:{port}", None, "predicted", site="our-hospital")
    assert asked["site"] == "our-hospital"


def test_a_refusal_says_status_reason_and_what_to_do(port: int) -> None:
    with Client(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ServerError, match=r"415, .*expected PNG") as caught:
            client.predict(b"text")
        assert (caught.value.status, caught.value.reason) == (415, "unsupported_format")
        with pytest.raises(ServerError, match="404"):
            client.card("../../etc")
        with pytest.raises(ValueError, match='cam="array"'):
            cam_array(client.predict(png()))
        with pytest.raises(ValueError, match="picture=True"):
            decoded_image(client.predict(png()))


def test_map_and_image_as_pictures_are_what_they_are_as_numbers(port: int, image: Path) -> None:
    with Client(f"http://127.0.0.1:{port}") as client:
        exact, drawn = client.predict(image, cam="array"), client.predict(image, cam="png", picture=True)
    np.testing.assert_allclose(cam_array(drawn), cam_array(exact), atol=1 / 200 + 1e-6)
    np.testing.assert_array_equal(decoded_image(drawn), read_image(image).grey_HW)


def test_no_server_is_said_in_one_line() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServerError, match="no answer") as caught:
        client.models()
    assert caught.value.reason == "unreachable"


def test_a_busy_server_is_asked_again_as_it_says(monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    busy, asked = serve(max_queue=0), []

    def send(_: requests.Session, method: str, url: str, *, params: Any, files: Any, **__: Any) -> requests.Response:
        """The application's own answer, without a socket."""
        found = busy.request(method, url.removeprefix("http://busy"), params=params, files=files)
        response = requests.Response()
        response.status_code, response._content = found.status_code, found.content
        response.headers.update(found.headers)
        asked.append(time.monotonic())
        return response

    monkeypatch.setattr(requests.Session, "request", send)
    with Client("http://busy", patience_s=3.5) as client, pytest.raises(ServerError, match="429") as caught:
        client.predict(png())
    assert caught.value.reason == "busy"
    first, second = asked
    assert second - first >= 2.0  # as Retry-After says


def test_a_clip_s_frames_come_as_they_are_answered(port: int) -> None:
    clip = dicom(np.stack([speckle(seed=seed) for seed in range(3)]))
    with Client(f"http://127.0.0.1:{port}") as client:
        items = list(client.predict_frames(clip))
        assert [item["prediction"]["image"]["frame"] for item in items] == [0, 1, 2]
        assert [item["problem"]["status"] for item in client.predict_frames(b"text")] == [415]
        for _ in client.predict_frames(clip):
            break  # whoever stops reading
        assert client.predict(png())["pom"] > 0


def test_of_a_batch_the_items_that_had_no_time_are_asked_again_alone(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    send, asked = Client._request, []

    def sent(self: Client, method: str, path: str, query: Any = None, parts: Any = None) -> dict[str, Any]:
        asked.append(len(parts))
        answer = send(self, method, path, query, parts)
        for item in answer["items"][1:] if len(asked) < 3 else ():
            item |= {"prediction": None, "problem": {"status": 429, "reason": "busy", "retry_after_s": 1, "detail": "busy"}}
        return answer

    monkeypatch.setattr(Client, "_request", sent)
    with Client(f"http://127.0.0.1:{port}") as client:
        items = client.predict_batch([png(1), b"text", png(3)], ["s3://bucket/key"])
    assert asked == [4, 3, 2]
    assert [item["index"] for item in items] == [0, 1, 2, 3]
    assert [item["problem"] and item["problem"]["status"] for item in items] == [None, 415, None, 403]


@pytest.mark.slow
def test_the_command_and_the_example_ask_a_server(port: int, image: Path, store: Store) -> None:
    address = f"http://127.0.0.1:{port}"
    command = [Path(sys.executable).with_name("wsus"), "predict", image, "--server", address]
    told = run(command)
    assert told.returncode == 0, told.stderr
    assert "POM 0." in told.stdout
    assert "not a medical device" in told.stderr
    asked = run([*command, "--overlay", image.parent / "there"])
    assert asked.returncode == 0, asked.stderr
    predict_files([image], store.address, overlay_dir=image.parent / "here")
    there, here = (np.asarray(Image.open(image.parent / where / "scan-cam.png"), dtype=int) for where in ("there", "here"))
    assert np.abs(there - here).max() <= 6  # of 255: the map comes in steps of 1/200, and up to two of the 256 colours later
    missing = run([*command[:2], "nowhere.png", "--server", address])
    assert (missing.returncode, "no such file" in missing.stderr) == (2, True)
    example = run([sys.executable, EXAMPLE, address, image])
    assert example.stdout.startswith("scan.png: POM 0."), example.stderr
    refused = run([sys.executable, EXAMPLE, address, EXAMPLE])
    assert (refused.returncode, "415" in refused.stderr) == (2, True)


def run(command: list[Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
