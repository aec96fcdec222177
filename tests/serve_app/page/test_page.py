"""Reading one image: the figures, the two views, the sliders, the class, the export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from driving import OpenPage, boxes_on_page, pixels, set_slider, settle, zoom_percent
from matplotlib import colormaps
from PIL import Image
from playwright.sync_api import Page, expect
from published_models import add_site
from scipy import ndimage

from serve_app.examples import FOLDER
from wsus.inference.answer import NO_LESION
from wsus.inference.localise import localise
from wsus.storage import Store

pytestmark = pytest.mark.browser

Asked = Callable[..., dict[str, Any]]


def test_what_is_shown_is_what_the_server_says(reading: Page, asked: Asked) -> None:
    answer = asked()
    expect(reading.locator("#pom")).to_have_text(f"{answer['pom']:.3f}")
    expect(reading.locator("#label")).to_have_text(f"called {answer['label']}")
    expect(reading.get_by_role("meter")).to_have_attribute("aria-valuenow", f"{answer['pom']:.3f}")
    expect(reading.locator(".rates")).to_contain_text("0.90 (0.80 to 0.95)")
    expect(reading.locator("#verdict")).to_contain_text("internal validation set")
    expect(reading.locator(".caveat")).to_have_text(f"{NO_LESION[0].upper()}{NO_LESION[1:]}.")
    expect(reading.locator("#facts")).to_contain_text(answer["image_id"])
    assert boxes_on_page(reading) == answer["localisation"]["boxes_xyxy_px"]
    expect(reading.locator("#label-of-source")).to_contain_text("made, not a patient")


def test_a_chosen_file(page: Page, asked: Asked) -> None:
    page.locator("#file").set_input_files(FOLDER / "malignant-a.png")
    expect(page.locator("#pom")).to_have_text(f"{asked()['pom']:.3f}")
    expect(page.locator("#label-of-source")).to_have_text("malignant-a.png")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_dropped_or_pasted_file_and_the_first_of_several(event: str, page: Page, asked: Asked) -> None:
    page.evaluate(
        """async ([kind, count]) => {
            const content = await (await fetch("static/examples/malignant-a.png")).blob();
            const data = new DataTransfer();
            for (let i = 0; i < count; i += 1) data.items.add(new File([content], `view-${i}.png`, { type: "image/png" }));
            document.dispatchEvent(kind === "drop"
                ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        [event, 3],
    )
    expect(page.locator("#pom")).to_have_text(f"{asked()['pom']:.3f}")
    expect(page.locator("#label-of-source")).to_have_text("view-0.png")
    expect(page.locator("#notice")).to_contain_text("3 files came at once")


def test_the_name_of_a_file_is_never_sent(page: Page) -> None:
    page.evaluate(
        """() => {
            const send = window.fetch;
            window.fetch = (address, options) => {
                if (options?.body) window.sent = [...options.body].map(([field, file]) => [field, file.name]);
                return send(address, options);
            };
        }"""
    )
    content = (FOLDER / "benign-a.png").read_bytes()
    page.locator("#file").set_input_files({"name": "DOE^JANE.png", "mimeType": "image/png", "buffer": content})
    page.locator("#pom").wait_for()
    assert page.evaluate("window.sent") == [["image", "image"]]


def test_boxes_follow_the_threshold_and_equal_the_servers(reading: Page, asked: Asked) -> None:
    seen = set()
    for threshold in (0.05, 0.17, 0.3, 0.5, 0.61, 0.8, 0.95):
        set_slider(reading, "threshold", threshold)
        expected = asked(cam_threshold=threshold)["localisation"]
        assert boxes_on_page(reading) == expected["boxes_xyxy_px"]
        expect(reading.locator("#focus-text")).to_contain_text(f"{100 * expected['area_fraction']:.1f} % of the image")
        seen.add(str(expected["boxes_xyxy_px"]))
    assert len(seen) > 2
    reading.get_by_role("button", name="model card: 0.3").click()
    assert boxes_on_page(reading) == asked()["localisation"]["boxes_xyxy_px"]


def test_the_cut_in_the_browser_is_that_of_the_inference_path(page: Page) -> None:
    rng = np.random.default_rng(3)
    for size_px, softness in ((40, 0.0), (60, 1.0), (60, 3.0)):
        map_HW = ndimage.gaussian_filter(rng.random((size_px, size_px + 7)), softness)
        map_HW = (map_HW - map_HW.min()) / (map_HW.max() - map_HW.min())
        levels_HW = np.floor(200 * map_HW).astype(np.uint8)
        for threshold in (0.005, 0.3, 0.545, 0.72, 0.995):
            found = page.evaluate(
                """async ([height, width, values, threshold]) => {
                    const { localise } = await import("./static/focus.js");
                    const { boxes, areaFraction } = localise({ height, width, values: Uint8Array.from(values) }, threshold);
                    return { boxes, areaFraction };
                }""",
                [*levels_HW.shape, levels_HW.ravel().tolist(), threshold],
            )
            expected = localise((levels_HW / np.float32(200)).astype(np.float32), threshold)
            assert found["boxes"] == [list(box) for box in expected.boxes_xyxy_px]
            assert found["areaFraction"] == pytest.approx(expected.area_fraction)


def test_the_colours_are_inferno(page: Page) -> None:
    found = page.evaluate("async () => (await import('./static/colour.js')).INFERNO")
    np.testing.assert_array_equal(found, np.round(255 * colormaps["inferno"](np.arange(256))[:, :3]))


def test_the_grey_view_is_never_touched_and_the_map_is_opaque_as_asked(reading: Page) -> None:
    grey, overlay = reading.locator("#grey"), reading.locator("#overlay")
    reading.get_by_role("button", name="Outline").click()
    set_slider(reading, "opacity", 0)
    untouched = pixels(grey)
    np.testing.assert_array_equal(pixels(overlay), untouched)
    assert (untouched[..., 0] == untouched[..., 1]).all()
    assert (untouched[..., 1] == untouched[..., 2]).all()
    differences = []
    for percent in (30, 60, 100):
        set_slider(reading, "opacity", percent)
        np.testing.assert_array_equal(pixels(grey), untouched)
        differences.append(np.abs(pixels(overlay).astype(int) - untouched).mean())
    assert differences[0] < differences[1] < differences[2]


def test_the_grey_image_is_one_key_away(reading: Page) -> None:
    grey, overlay = reading.locator("#grey"), reading.locator("#overlay")
    assert (pixels(grey) != pixels(overlay)).any()
    reading.keyboard.press("g")
    np.testing.assert_array_equal(pixels(grey), pixels(overlay))
    expect(reading.get_by_role("button", name="Grey only")).to_have_attribute("aria-pressed", "true")
    reading.keyboard.press("G")
    assert (pixels(grey) != pixels(overlay)).any()
    reading.keyboard.down("g")
    reading.wait_for_timeout(400)
    np.testing.assert_array_equal(pixels(grey), pixels(overlay))
    reading.keyboard.up("g")  # held, not pressed: the map comes back
    assert (pixels(grey) != pixels(overlay)).any()


def test_both_views_zoom_and_move_in_step(reading: Page) -> None:
    grey, overlay = reading.locator("#grey"), reading.locator("#overlay")
    reading.keyboard.press("g")
    reading.mouse.move(0, 0)
    fitted, at_fit = pixels(grey), zoom_percent(reading)
    box = overlay.bounding_box()
    assert box is not None
    reading.mouse.move(box["x"] + 100, box["y"] + 120)
    reading.mouse.wheel(0, -600)
    settle(reading)
    assert zoom_percent(reading) > 2 * at_fit
    zoomed = pixels(grey)
    np.testing.assert_array_equal(zoomed, pixels(overlay))
    reading.mouse.down()
    reading.mouse.move(box["x"] + 180, box["y"] + 150, steps=4)
    reading.mouse.up()
    assert (pixels(grey) != zoomed).any()
    np.testing.assert_array_equal(pixels(grey), pixels(overlay))
    reading.mouse.move(0, 0)
    reading.keyboard.press("0")
    np.testing.assert_array_equal(pixels(grey), fitted)
    reading.keyboard.press("+")
    assert zoom_percent(reading) == pytest.approx(1.25 * at_fit, abs=2)
    reading.locator("#stage").focus()
    before = pixels(grey)
    reading.keyboard.press("ArrowRight")
    assert (pixels(grey) != before).any()
    np.testing.assert_array_equal(pixels(grey), pixels(overlay))
    reading.keyboard.press("-")
    reading.keyboard.press("-")
    np.testing.assert_array_equal(pixels(grey), fitted)


def test_the_class_of_the_map(reading: Page, asked: Asked) -> None:
    assert asked()["label"] == "benign"
    with reading.expect_request("**/v1/predictions?class=malignant**"):
        reading.get_by_role("radio", name="Malignant", exact=True).check()
    expect(reading.locator("#overlay-caption")).to_have_text("Map of the class malignant")
    assert boxes_on_page(reading) == asked(**{"class": "malignant"})["localisation"]["boxes_xyxy_px"]
    reading.keyboard.press("c")
    expect(reading.locator("#overlay-caption")).to_have_text("Map of the class benign")
    assert boxes_on_page(reading) == asked()["localisation"]["boxes_xyxy_px"]


def test_the_model_card(reading: Page) -> None:
    reading.get_by_role("button", name="Model card", exact=True).click()
    card = reading.get_by_role("dialog", name="Model card: tiny")
    expect(card).to_contain_text("Not a medical device")
    expect(card).to_contain_text("an image without one still gets a probability")
    expect(card.get_by_role("row", name="internal")).to_contain_text("0.90 (0.80–0.95)")
    reading.keyboard.press("Escape")
    expect(card).to_be_hidden()


def test_by_a_site_s_profile_where_the_address_names_one(store: Store, address: str, open_page: OpenPage, asked: Asked) -> None:
    profile = add_site(store, "our-hospital")
    httpx.post(f"{address}v1/admin/refresh", timeout=60).raise_for_status()
    page = open_page(f"{address}?site=our-hospital")
    page.get_by_role("button", name="Malignant, institution A").first.click()
    answer = asked(site="our-hospital")
    expect(page.locator("#pom")).to_have_text(f"{answer['pom']:.3f}")
    expect(page.locator("#verdict")).to_contain_text(profile.sentence)
    expect(page.locator("#verdict")).to_contain_text(f"The model itself says {asked()['pom']:.3f}")
    expect(page.locator(".rates")).to_contain_text("0.95 (0.80 to 0.95)")
    page.get_by_role("button", name="Model card", exact=True).click()
    sites = page.get_by_role("region", name="Calibration for our-hospital")
    expect(sites.get_by_role("row", name="Calibration slope")).to_contain_text("0.60")
    expect(sites.get_by_role("row", name="Calibration slope")).to_contain_text("0.98")


def test_export_of_the_overlay(reading: Page, tmp_path: Path, asked: Asked) -> None:
    with reading.expect_download() as started:
        reading.get_by_role("button", name="Overlay (PNG)").click()
    assert started.value.suggested_filename == f"{asked()['image_id']}-overlay.png"
    started.value.save_as(tmp_path / "overlay.png")
    picture_HW3 = np.asarray(Image.open(tmp_path / "overlay.png").convert("RGB")).astype(int)
    height, width = picture_HW3.shape[:2]
    source_HW = np.asarray(Image.open(FOLDER / "malignant-a.png"))
    assert width == 2 * 520 + 3 * 24
    assert height == round(source_HW.shape[0] * 520 / source_HW.shape[1]) + 88 + 24 + 118
    marked = (np.abs(picture_HW3 - (0x50, 0xDC, 0xFF)).sum(axis=2) < 30).sum(axis=0)
    assert marked[: width // 2].sum() == 0  # the grey image is untouched here too
    assert marked[width // 2 :].sum() > 300
    written = (np.abs(picture_HW3[-40:] - (0xFF, 0xCF, 0x5C)).sum(axis=2) < 60).sum()
    assert written > 300  # the disclaimer


def test_export_of_the_answer_is_the_servers_own_for_what_is_shown(reading: Page, asked: Asked) -> None:
    for threshold in (None, 0.62):
        if threshold:
            set_slider(reading, "threshold", threshold)
        with reading.expect_download() as started:
            reading.get_by_role("button", name="Answer (JSON)").click()
        found = json.loads(Path(started.value.path()).read_text())
        expected = asked(cam_threshold=threshold) if threshold else asked()
        for document in (found, expected):
            document.pop("timing_ms")
            document["image"].pop("png", None)
        assert found == expected


def test_nothing_is_stored(reading: Page) -> None:
    assert reading.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert reading.evaluate("() => location.pathname + location.search + location.hash") == "/"
    assert reading.context.cookies() == []
    assert reading.evaluate("async () => (await indexedDB.databases()).length") == 0


def test_large_maps_are_cut_while_a_slider_moves(page: Page) -> None:
    """One megapixel in a few frames; the limit is generous, since the machine may be busy."""
    took_ms = page.evaluate(
        """async () => {
            const { localise } = await import("./static/focus.js");
            const side = 1000;
            const values = Uint8Array.from({ length: side * side }, (_, i) =>
                100 + 99 * Math.sin((i % side) / 60) * Math.sin(Math.floor(i / side) / 60));
            localise({ width: side, height: side, values }, 0.5);
            const begun = performance.now();
            localise({ width: side, height: side, values }, 0.6);
            return performance.now() - begun;
        }"""
    )
    assert took_ms < 500
