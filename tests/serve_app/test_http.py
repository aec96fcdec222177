"""The routes: what they answer, and each status that they can answer with."""

import base64
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import dicom, speckle
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image
from published_models import add_site, made_image, png

from serve_app.exchange import ShelfStatus
from serve_app.http import create_app
from serve_app.local import LocalBackend
from serve_app.metrics import MemoryMetrics
from serve_app.settings import ServeSettings
from serve_app.shelf import ModelShelf, loader
from serve_app.tokens import add_token
from wsus.errors import ConfigError
from wsus.inference.localise import localise
from wsus.inference.predict import DecodedImage, Predictor
from wsus.models.bundle import read_bundle
from wsus.models.registry import bundle_folder
from wsus.storage import Store


def post(client: TestClient, content: bytes | None = None, path: str = "/v1/predictions", **query: Any) -> Response:
    files = {"image": ("a.png", png() if content is None else content)}
    return client.post(path, files=files, params=query)


def problem(response: Response, status: int, reason: str) -> dict[str, Any]:
    """The problem document, once it is known to be one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert (document["status"], document["reason"]) == (status, reason)
    assert document["detail"]
    return document


@pytest.fixture(scope="module")
def predictor(store: Store) -> Predictor:
    with bundle_folder(store.address) as folder:
        return Predictor(read_bundle(folder))


def test_an_answer_is_what_the_inference_path_says(client: TestClient, predictor: Predictor) -> None:
    answer = post(client, cam="array", cam_threshold=0.6, image="png").json()
    (expected,) = predictor.predict([DecodedImage(image_id="x", image_HW=made_image())])
    found = localise(expected.cam_HW, 0.6)

    assert answer["pom"] == pytest.approx(expected.pom, abs=1e-6)
    assert answer["label"] == ("benign", "malignant")[expected.label]
    assert answer["localisation"]["boxes_xyxy_px"] == [list(box) for box in found.boxes_xyxy_px]
    assert answer["localisation"]["threshold"] == 0.6
    cam = answer["cam"]["array"]
    cam_HW = np.frombuffer(base64.b64decode(cam["base64"]), cam["dtype"]).reshape(cam["shape"])
    np.testing.assert_allclose(cam_HW, expected.cam_HW, atol=1e-5)
    shown = Image.open(io.BytesIO(base64.b64decode(answer["image"]["png"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(shown), made_image())
    assert (answer["model"]["name"], answer["model"]["version"], answer["model"]["role"]) == ("tiny", 1, "primary")
    assert set(answer["timing_ms"]) == {"decode", "queue", "infer", "total"}
    assert "not a medical device" in answer["disclaimer"]


def test_the_map_as_png_and_of_the_malignant_class(client: TestClient, predictor: Predictor) -> None:
    answer = post(client, cam="png", **{"class": "malignant"}).json()
    (expected,) = predictor.predict([DecodedImage(image_id="x", image_HW=made_image())], "malignant")
    assert answer["localisation"]["explained_class"] == "malignant"
    cam_HW = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["cam"]["png"].partition(",")[2]))))
    assert cam_HW.max() == 200
    for threshold in np.arange(1, 200) / 200:
        np.testing.assert_array_equal(cam_HW >= round(200 * threshold), localise(expected.cam_HW, threshold).focus_HW)
    assert post(client).json()["cam"] is None


def test_the_operating_point_comes_with_its_measured_figures(client: TestClient) -> None:
    point = post(client).json()["operating_point"]
    assert point["threshold"] == 0.5
    assert (point["split"], point["sensitivity"], point["sensitivity_ci"]) == ("internal", 0.9, [0.8, 0.95])


def test_a_site_s_profile_speaks_and_the_list_of_models_says_how_well_it_holds(store: Store, client: TestClient) -> None:
    own = post(client).json()
    assert own["pom_means"].startswith("a score between 0 and 1")
    assert (own["site"], own["model_pom"], own["not_sure"]) == (None, None, None)
    said = problem(post(client, site="no-hospital"), 422, "no_such_site")["detail"]
    assert "tiny 1 has no profile of this name" in said

    profile = add_site(store, "our-hospital")
    client.post("/v1/admin/refresh")
    answer = post(client, site="our-hospital").json()
    assert answer["pom"] == pytest.approx(float(profile.scaling.apply(own["pom"])))
    assert (answer["site"], answer["pom_means"]) == ("our-hospital", profile.sentence)
    assert (answer["model_pom"], answer["threshold"]) == (pytest.approx(own["pom"]), 0.25)
    point = answer["operating_point"]
    assert (point["threshold"], point["split"], point["sensitivity"]) == (0.25, "our-hospital, cross-fitted", 0.95)

    (model,) = client.get("/v1/models").json()["models"]
    (site,) = model["sites"]
    assert (site["site"], site["before"]["slope"], site["after"]["slope"]) == ("our-hospital", 0.6, 0.98)
    assert client.get(model["card_url"]).json()["sites"] == [json.loads(json.dumps(profile.to_json()))]
    files = [("images", ("a.png", png()))]
    (item,) = client.post("/v1/predictions:batch", files=files, params={"site": "our-hospital"}).json()["items"]
    assert item["prediction"]["pom"] == pytest.approx(answer["pom"])


def test_the_upload_is_named_by_its_content_not_by_its_file_name(client: TestClient) -> None:
    response = client.post("/v1/predictions", files={"image": ("DOE^JANE.png", png())})
    assert "DOE" not in response.text
    assert response.json()["image_id"] == post(client).json()["image_id"]
    assert len(response.json()["image_id"]) == 16


def test_batch_answers_each_item_and_an_error_stays_with_its_own(client: TestClient) -> None:
    files = [("images", ("a.png", png(1))), ("images", ("b.png", b"not an image")), ("images", ("c.png", png(2)))]
    answer = client.post("/v1/predictions:batch", files=files, data={"addresses": "s3://bucket/key.png"}).json()
    assert (answer["succeeded"], answer["failed"]) == (2, 2)
    assert [item["index"] for item in answer["items"]] == [0, 1, 2, 3]
    assert [item["prediction"] is not None for item in answer["items"]] == [True, False, True, False]
    assert answer["items"][0]["prediction"]["pom"] == pytest.approx(post(client, png(1)).json()["pom"], abs=1e-6)
    assert answer["items"][1]["problem"]["status"] == 415
    assert answer["items"][3]["problem"]["status"] == 403
    assert answer["items"][3]["source"] == "s3://bucket/key.png"


def test_batch_has_bounds(client: TestClient) -> None:
    problem(client.post("/v1/predictions:batch", files={"nothing": b"x"}), 422, "invalid_request")
    files = [("images", (f"{i}.png", png())) for i in range(17)]
    problem(client.post("/v1/predictions:batch", files=files), 413, "too_many_items")


def test_models_card_and_health(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    card = client.get(model["card_url"]).json()
    assert (model["role"], model["mode"], card["name"]) == ("primary", "weak", "tiny")
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"ready": True, "model": "tiny", "version": 1, "refused": []}
    problem(client.get("/v1/models/other/card"), 404, "no_such_model")
    problem(client.get("/v1/models/tiny/card", params={"version": 7}), 404, "no_such_model")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"cam": "jpeg"}, "cam"),
        ({"class": "other"}, "class"),
        ({"cam_threshold": 1.5}, "cam_threshold"),
        ({"cam_threshold": "nan"}, "cam_threshold"),
        ({"frame": -1}, "frame"),
        ({"site": "../../etc"}, "site"),
    ],
)
def test_422_names_the_parameter(query: dict[str, Any], named: str, client: TestClient) -> None:
    assert named in problem(post(client, **query), 422, "invalid_request")["detail"]


def test_400_for_a_body_that_cannot_be_parsed(client: TestClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(client.post("/v1/predictions", content=b"--y\r\nnonsense", headers=headers), 400, "malformed")


def test_415_for_another_kind_of_body_or_image(client: TestClient) -> None:
    problem(client.post("/v1/predictions", json={"image": "x"}), 415, "unsupported_body")
    problem(post(client, b"plain text"), 415, "unsupported_format")


def test_404_and_405_are_problems_too(client: TestClient) -> None:
    problem(client.get("/nowhere"), 404, "not_found")
    problem(client.get("/v1/predictions"), 405, "method_not_allowed")


def test_413_for_too_many_bytes(serve: Any, metrics: MemoryMetrics) -> None:
    client = serve(limits={"max_bytes": 20_000, "max_body_bytes": 40_000})
    problem(post(client, b"x" * 30_000), 413, "too_large")
    problem(post(client, b"x" * 50_000), 413, "too_large")

    def chunks() -> Any:
        for _ in range(100):
            yield b"x" * 1000

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(client.post("/v1/predictions", content=chunks(), headers=headers), 413, "too_large")
    assert sum(metrics.of("wsus_rejections", reason="too_large")) == 3


def test_429_with_retry_after_where_the_queue_is_full_before_anything_is_decoded(serve: Any, metrics: MemoryMetrics) -> None:
    response = post(serve(max_queue=0))
    problem(response, 429, "busy")
    assert response.headers["Retry-After"] == "2"
    assert metrics.of("wsus_decode_seconds", format="PNG") == []


def test_a_batch_of_more_images_than_the_queue_holds_waits_for_its_places(serve: Any) -> None:
    client = serve(max_queue=2)
    files = [("images", ("x.png", png(seed), "image/png")) for seed in range(5)]
    answer = client.post("/v1/predictions:batch", files=files).json()
    assert (answer["succeeded"], answer["failed"]) == (5, 0)
    assert post(client).status_code == 200


def test_batches_that_come_together_are_all_answered_and_one_too_many_is_refused_as_a_whole(serve: Any) -> None:
    """Sixteen times `busy` inside a 200 was the second one's answer."""
    client = serve(limits={"max_batches": 3})
    files = [("images", ("x.png", png(seed), "image/png")) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: client.post("/v1/predictions:batch", files=files), range(4)))
    statuses = sorted(response.status_code for response in found)
    assert statuses in ([200, 200, 200, 429], [200] * 4)  # 4 where one had ended when the last came
    assert all(response.json()["succeeded"] == 8 for response in found if response.status_code == 200)
    problem(post(serve(max_queue=0), path="/v1/predictions:batch"), 422, "invalid_request")
    problem(serve(max_queue=0).post("/v1/predictions:batch", files=files), 429, "busy")


def test_a_batch_without_time_says_so_of_each_image(serve: Any) -> None:
    client = serve(limits={"request_timeout_s": 0.001})
    files = [("images", ("x.png", png(seed), "image/png")) for seed in range(2)]
    answer = client.post("/v1/predictions:batch", files=files)
    assert [item["problem"]["reason"] for item in answer.json()["items"]] == ["too_late"] * 2
    assert answer.status_code == 200


def test_maps_as_numbers_are_bounded_in_one_answer(serve: Any) -> None:
    client = serve(limits={"max_array_pixels": 15_000})
    assert post(client, cam="array").status_code == 200  # 120 x 90 px
    problem(post(client, dicom(speckle(200, 100)), cam="array"), 413, "map_too_large")
    files = [("images", ("x.png", png(seed))) for seed in range(2)]
    items = client.post("/v1/predictions:batch", files=files, params={"cam": "array"}).json()["items"]
    assert sorted(item["problem"]["reason"] for item in items if item["problem"]) == ["map_too_large"]
    assert post(client, dicom(speckle(200, 100)), cam="png").status_code == 200


@pytest.mark.parametrize(
    ("asked", "queue"),
    [({}, 16), ({"max_replicas": 4, "ingress_replicas": 2}, 32), ({"max_batch_size": 1}, 16), ({"max_queue": 7}, 7)],
)
def test_the_queue_follows_from_the_predictors_unless_it_is_given(asked: dict[str, int], queue: int) -> None:
    assert ServeSettings(store="s", insecure=True, **asked).queue == queue


def test_401_and_403(serve: Any, tmp_tokens: Path) -> None:
    token = add_token(tmp_tokens, "reader", ("predict",))
    client = serve(tokens_file=str(tmp_tokens))
    response = post(client)
    problem(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    problem(client.get("/v1/models", headers={"Authorization": "Bearer wsus_wrong"}), 401, "unauthorized")
    problem(client.get("/v1/models", headers={"Authorization": f"Basic {token}"}), 401, "unauthorized")
    good = {"Authorization": f"Bearer {token}"}
    assert client.get("/v1/models", headers=good).status_code == 200
    assert client.post("/v1/predictions", files={"image": png()}, headers=good).status_code == 200
    problem(client.post("/v1/admin/refresh", headers=good), 403, "forbidden")
    assert client.get("/readyz").status_code == client.get("/healthz").status_code == 200


def test_admin_may_refresh(serve: Any, tmp_tokens: Path) -> None:
    token = add_token(tmp_tokens, "operator", ("admin",))
    client = serve(tokens_file=str(tmp_tokens))
    headers = {"Authorization": f"Bearer {token}"}
    assert client.post("/v1/admin/refresh", headers=headers).json()["ready"] is True
    problem(client.post("/v1/predictions", files={"image": png()}, headers=headers), 403, "forbidden")


def test_headers_of_security_on_every_answer(client: TestClient) -> None:
    for response in (client.get("/healthz"), client.get("/nowhere"), post(client), client.post("/v1/predictions", json=1)):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert post(client).headers["Cache-Control"] == "no-store"
    assert client.get("/static/app.js").headers["Cache-Control"] == "no-cache"  # asked for anew, or a page mixes two versions


def test_what_is_counted(serve: Any, metrics: MemoryMetrics) -> None:
    client = serve()
    post(client)
    post(client, b"text")
    client.get("/made/up/by/a/client")
    assert metrics.of("wsus_requests", route="/v1/predictions", status="200") == [1]
    assert metrics.of("wsus_requests", route="/v1/predictions", status="415") == [1]
    assert metrics.of("wsus_requests", route="none", status="404") == [1]
    assert metrics.of("wsus_rejections", reason="unsupported_format") == [1]
    assert len(metrics.of("wsus_pom", version="1", role="primary")) == 1
    assert metrics.of("wsus_batch_images") == [1]


def test_openapi_describes_every_problem_and_nothing_that_is_never_sent(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    responses = document["paths"]["/v1/predictions"]["post"]["responses"]
    assert set(responses) == {"200", "400", "401", "403", "408", "413", "415", "422", "429", "503"}
    assert all("application/problem+json" in responses[status]["content"] for status in responses if status != "200")
    assert "HTTPValidationError" not in str(document["paths"])


def test_dicom_is_measured_in_mm_and_names_nobody(client: TestClient) -> None:
    answer = post(client, dicom(speckle(), PixelSpacing=[0.2, 0.1])).json()
    assert answer["image"]["format"] == "DICOM"
    rows_mm, columns_mm = answer["image"]["spacing_mm"]
    x0, y0, x1, y1 = answer["localisation"]["boxes_xyxy_px"][0]
    size = answer["localisation"]["sizes_mm"][0]
    assert (size["width"], size["height"]) == pytest.approx(((x1 - x0) * columns_mm, (y1 - y0) * rows_mm))
    assert "SECRET" not in str(answer)


def test_one_frame_or_all_of_a_clip(client: TestClient) -> None:
    clip = dicom(np.stack([speckle(seed=seed) for seed in range(3)]))
    second = post(client, clip, frame=1).json()
    assert (second["image"]["frame"], second["image"]["frames"]) == (1, 3)
    assert any("others were not looked at" in warning for warning in second["warnings"])
    problem(post(client, clip, frame=3), 422, "frame_out_of_range")
    items = client.post("/v1/predictions:batch", files={"images": clip}, params={"frames": "all"}).json()["items"]
    assert [(item["index"], item["prediction"]["image"]["frame"]) for item in items] == [(0, 0), (0, 1), (0, 2)]
    assert not any("others" in warning for item in items for warning in item["prediction"]["warnings"])
    assert items[1]["prediction"]["pom"] == pytest.approx(second["pom"], abs=1e-6)


def test_a_defect_is_told_as_500_and_counted(store: Store) -> None:
    class Defective(LocalBackend):
        async def status(self) -> ShelfStatus:
            raise RuntimeError("a detail for the log alone")

    measured = MemoryMetrics()
    settings = ServeSettings(store=store.address, insecure=True, decode_workers=1)
    shelf = ModelShelf(store, None, measured, load=loader(settings))
    with TestClient(
        create_app(settings, Defective(shelf), measured), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as client:
        answer = client.get("/v1/models")
    assert "detail" not in problem(answer, 500, "defect")["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert measured.of("wsus_requests", route="/v1/models", status="500") == [1.0]
    assert measured.of("wsus_rejections", reason="defect") == [1.0]


@pytest.mark.parametrize("charset", ["punycode", "utf-7", "idna", "utf-16", "rot13", "hex", "nosuch", '"punycode"', "UTF_7"])
def test_a_charset_other_than_utf_8_is_refused_before_the_body_is_read(client: TestClient, charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="addresses"\r\n\r\n' + b"a-" * 50_000 + b"\r\n--x--\r\n"
    for path in ("/v1/predictions", "/v1/predictions:batch"):
        for kind in (f"multipart/form-data; boundary=x; charset={charset}", f"Multipart/Form-Data;CHARSET={charset}; boundary=x"):
            begun = time.perf_counter()
            problem(client.post(path, content=body, headers={"Content-Type": kind}), 415, "unsupported_body")
            assert time.perf_counter() - begun < 5  # punycode alone would take longer


def test_utf_8_may_be_said(client: TestClient) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + png() + b"\r\n--x--\r\n"
    for charset in ("utf-8", "UTF-8", '"utf-8"'):
        kind = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
        assert client.post("/v1/predictions", content=body, headers=kind).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
def test_an_encoded_body_is_refused(client: TestClient, encoding: str) -> None:
    response = client.post("/v1/predictions", content=b"x", headers={"Content-Encoding": encoding})
    assert "Content-Encoding" in problem(response, 415, "unsupported_body")["detail"]


def test_head_answers_as_get_without_a_body(client: TestClient) -> None:
    for path in ("/", "/v1/models", "/healthz", "/static/app.js"):
        got, headed = client.get(path), client.head(path)
        assert (headed.status_code, headed.content) == (got.status_code, b"")


def test_a_trailing_slash_does_not_matter(client: TestClient) -> None:
    assert client.get("/v1/models/", follow_redirects=False).json() == client.get("/v1/models").json()
    assert client.post("/v1/predictions/", files={"image": ("a.png", png())}, follow_redirects=False).status_code == 200


def test_a_strip_is_refused_by_its_sides(client: TestClient) -> None:
    """A PNG of a few hundred bytes, for the map of which a square of 177 million pixels was filled."""
    for size, status, reason in (((13_300, 16), 413, "too_many_pixels"), ((16, 9_000), 422, "too_narrow")):
        content = io.BytesIO()
        Image.new("L", size, 9).save(content, "PNG")
        problem(post(client, content.getvalue()), status, reason)


def test_a_stream_answers_each_frame_as_a_line_and_says_its_end(client: TestClient) -> None:
    clip = dicom(np.stack([speckle(seed=seed) for seed in range(3)]))
    files = [("images", clip), ("images", b"text")]
    with client.stream("POST", "/v1/predictions:stream", files=files, params={"class": "malignant"}) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        *items, end = [json.loads(line) for line in response.iter_lines()]
    assert [item["prediction"]["image"]["frame"] for item in items[:3]] == [0, 1, 2]
    assert (items[3]["index"], items[3]["problem"]["status"]) == (1, 415)
    assert end == {"succeeded": 3, "failed": 1}
    batch = client.post("/v1/predictions:batch", files=files, params={"frames": "all", "class": "malignant"}).json()
    assert [item["prediction"] and item["prediction"]["pom"] for item in batch["items"]] == [
        item["prediction"] and item["prediction"]["pom"] for item in items
    ]
    problem(client.post("/v1/predictions:stream", files={"nothing": b"x"}), 422, "invalid_request")


def test_without_tokens_no_page_of_elsewhere_is_answered(client: TestClient) -> None:
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::2]:80"):
        problem(client.get("/v1/models", headers={"Host": host}), 403, "foreign_host")
        assert client.get("/", headers={"Host": host}).status_code == 403
    for host in ("127.0.0.1", "127.0.0.1:8000", "LOCALHOST:8000", "[::1]:8000", "[::1]"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999"):
        problem(client.post("/v1/predictions", files={"image": png()}, headers={"Origin": origin}), 403, "foreign_origin")
    assert client.get("/v1/models", headers={"Origin": "http://127.0.0.1"}).status_code == 200


def test_a_token_has_its_share_of_images_and_of_requests(serve: Any, tmp_tokens: Path) -> None:
    token = add_token(tmp_tokens, "slow", ("predict",), per_minute=4)
    client, headers = serve(tokens_file=str(tmp_tokens)), {"Authorization": f"Bearer {token}"}
    clip = dicom(np.stack([speckle(seed=seed) for seed in range(6)]))
    files = [("images", png(1)), ("images", clip)]
    found = client.post("/v1/predictions:batch", files=files, params={"frames": "all"}, headers=headers).json()
    assert found["succeeded"] == 7  # 3 more than there were: they are owed
    refused = client.post("/v1/predictions", files={"image": png()}, headers=headers)
    assert problem(refused, 429, "rate_limited")["retry_after_s"] in range(50, 61)
    assert client.get("/v1/models", headers=headers).status_code == 200

    none = serve(tokens_file=str(tmp_tokens), limits={"token_requests": 1})
    with none.stream("POST", "/v1/predictions:stream", files=files, headers=headers):
        pass
    assert none.get("/healthz").status_code == 200


def test_an_emptied_token_file_revokes(serve: Any, tmp_tokens: Path) -> None:
    token = add_token(tmp_tokens, "reader", ("predict",))
    client, headers = serve(tokens_file=str(tmp_tokens)), {"Authorization": f"Bearer {token}"}
    assert client.get("/v1/models", headers=headers).status_code == 200
    tmp_tokens.write_bytes(b"")
    problem(client.get("/v1/models", headers=headers), 401, "unauthorized")
    again = add_token(tmp_tokens, "reader", ("predict",))
    assert client.get("/v1/models", headers={"Authorization": f"Bearer {again}"}).status_code == 200


def test_the_audit_log_says_who_asked_for_what_and_nothing_of_a_patient(serve: Any, tmp_tokens: Path, tmp_path: Path) -> None:
    token, log = add_token(tmp_tokens, "ward 3", ("predict", "admin")), tmp_path / "audit.jsonl"
    client, headers = serve(tokens_file=str(tmp_tokens), audit_log=str(log)), {"Authorization": f"Bearer {token}"}
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = headers | {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    clip = dicom(np.stack([speckle(seed=seed) for seed in range(3)]))
    first = client.post("/v1/predictions", files={"image": ("DOE^JANE.png", png())}, headers=traced).json()
    client.post("/v1/predictions", files={"image": b"text"}, headers=headers)
    client.post("/v1/predictions:batch", files={"images": clip}, params={"frames": "all"}, headers=headers)
    client.post("/v1/admin/refresh", headers=headers)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["what"].removeprefix("/v1/") for line in lines] == [
        "predictions",
        "predictions",
        "predictions:batch",
        "admin/refresh",
    ]
    assert [line["outcome"] for line in lines] == ["answered", "unsupported_format", "answered", "answered"]
    assert [line["frames"] for line in lines] == [1, 0, 3, 0]
    assert {line["who"] for line in lines} == {"ward 3"}
    assert (lines[0]["image"], lines[0]["model"], lines[0]["trace_id"]) == (first["image_id"], "tiny 1", trace)
    assert lines[1]["trace_id"] is None
    assert not any(word in log.read_text() for word in ("DOE", "SECRET", "pom"))
    assert log.stat().st_mode & 0o077 == 0


def test_nothing_is_answered_that_cannot_be_audited(serve: Any) -> None:
    problem(post(serve(audit_log="/dev/full")), 503, "no_audit")
    with pytest.raises(ConfigError, match="audit_log /proc/none: cannot be written"):
        serve(audit_log="/proc/none")
