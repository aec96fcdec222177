"""The Open Inference Protocol, asked by Triton's own client over a real socket, and by hand."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from published_models import png
from tritonclient.utils import InferenceServerException

PATH = "/v2/models/tiny/infer"


def tensor(images: list[bytes], *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput("image", [len(images)], "BYTES")
    content = images if binary else [base64.b64encode(image) for image in images]
    made.set_data_from_numpy(np.array(content, dtype=object), binary_data=binary)
    return made


@pytest.mark.parametrize("binary", [True, False])
def test_triton_s_client_gets_what_the_other_interface_answers(port: int, client: TestClient, binary: bool) -> None:
    asked = triton.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        assert asked.is_server_live()
        assert asked.is_server_ready()
        assert asked.is_model_ready("tiny")
        assert asked.is_model_ready("tiny", "1")
        assert not asked.is_model_ready("tiny", "2")
        assert asked.get_server_metadata()["name"] == "wsus"
        metadata = asked.get_model_metadata("tiny")
        outputs = [triton.InferRequestedOutput(output["name"], binary_data=binary) for output in metadata["outputs"]]
        images = [png(1), png(2)]
        found = asked.infer("tiny", [tensor(images, binary=binary)], outputs=outputs, request_id="7")
    finally:
        asked.close()
    expected = [client.post("/v1/predictions", files={"image": image}).json() for image in images]
    np.testing.assert_allclose(found.as_numpy("pom"), [one["pom"] for one in expected], atol=1e-6)
    labels = [label.decode() if isinstance(label, bytes) else label for label in found.as_numpy("label")]
    assert labels == [one["label"] for one in expected]
    first = json.loads(found.as_numpy("answer")[0])
    assert first["localisation"] == expected[0]["localisation"]
    assert found.get_response()["id"] == "7"
    assert found.get_response()["model_version"] == "1"


def test_triton_s_client_is_told_what_is_wrong(port: int) -> None:
    asked = triton.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        with pytest.raises(InferenceServerException, match="image 1: the upload: not an image"):
            asked.infer("tiny", [tensor([png(), b"text"])])
        with pytest.raises(InferenceServerException, match="served is tiny 1"):
            asked.infer("other", [tensor([png()])])
    finally:
        asked.close()


def request(**changes: Any) -> dict[str, Any]:
    image = base64.b64encode(png()).decode()
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [image]} | changes]}


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (request(), 200),
        (request() | {"parameters": {"class": "malignant", "cam_threshold": 0.5}}, 200),
        (request(shape=[1, 1]), 200),
        (request(shape=[2]), 422),
        (request(shape=[0]), 422),
        (request(shape=[-1]), 422),
        (request(shape=[10**30]), 413),
        (request(shape=[17]), 413),
        (request(name="pixels"), 422),
        (request(datatype="FP32"), 422),
        (request(data=["%%%"]), 422),
        (request(data=[None]), 415),
        (request(data=[[["x"]]]), 422),
        (request(data=["x" * 8] * 20_000), 413),
        (request(parameters={"binary_data_size": 7}), 422),
        (request() | {"parameters": {"cam_threshold": 2}}, 422),
        (request() | {"outputs": [{"name": "nothing"}]}, 422),
        ({"inputs": []}, 422),
        ([], 422),
    ],
)
def test_statuses(client: TestClient, document: Any, status: int) -> None:
    found = client.post(PATH, json=document)
    assert found.status_code == status, found.text
    if status != 200:
        assert found.json()["error"] == found.json()["detail"]


def test_a_body_that_is_cut_or_no_json(client: TestClient) -> None:
    head = json.dumps(request(data=None, parameters={"binary_data_size": 8}) | {}).encode()
    header = {"Inference-Header-Content-Length": str(len(head))}
    assert client.post(PATH, content=head + b"\xff\0\0\0abcd", headers=header).status_code == 422
    assert client.post(PATH, content=head + b"\4\0\0\0abcd", headers=header).status_code == 415
    assert client.post(PATH, content=head + b"\1\0", headers=header).status_code == 422
    assert client.post(PATH, content=head, headers={"Inference-Header-Content-Length": "99999"}).status_code == 400
    assert client.post(PATH, content=b"[" * 9000).status_code == 422
    assert client.post(PATH, content=b"[" * 2_000_000).status_code == 413
