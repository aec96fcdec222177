"""For every reader: the keyboard alone, a screen reader, low vision, a phone, a clip of several frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dicom_files import dicom, region, speckle
from driving import EXAMPLES, OpenPage, boxes_on_page, pixels, settle, zoom_percent
from playwright.sync_api import FileChooser, Page, expect

pytestmark = pytest.mark.browser

# WCAG 2.2, 1.4.3: every text node that is seen, against the nearest opaque ground behind it.
_CONTRASTS = """() => {
    const channels = (colour) => {
        const context = new OffscreenCanvas(1, 1).getContext("2d");
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([r, g, b]) => [r, g, b]
        .map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
    const groundOf = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const ground = channels(getComputedStyle(at).backgroundColor);
            if (ground[3] === 255) return ground;
        }
        return [255, 255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { parentElement: element, data } = walker.currentNode;
        const { width } = element.getBoundingClientRect();
        if (!data.trim() || !element.checkVisibility({ visibilityProperty: true }) || width < 2) continue;
        const style = getComputedStyle(element);
        const ink = luminance(channels(element.closest("svg") ? style.fill : style.color));
        const ground = luminance(groundOf(element));
        const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        if (ratio < (large ? 3 : 4.5)) found.push(`${data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
    }
    return found;
}"""
_NAMELESS = """() => {
    const textsOf = (element) => [
        element.getAttribute("aria-label"),
        ...(element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent),
        ...[...(element.labels ?? [])].map((label) => label.textContent),
        element.tagName === "BUTTON" ? element.textContent : "",
    ];
    const hidden = (element) => element.closest("dialog:not([open])");
    return [...document.querySelectorAll("button, input, canvas, [role=meter], [role=group], dialog")]
        .filter((element) => !hidden(element) && !textsOf(element).some((text) => text?.trim()))
        .map((element) => element.outerHTML.slice(0, 80));
}"""
_FOCUSED = """() => {
    const element = document.activeElement;
    return element.getAttribute("aria-label") ?? `${element.id} ${element.textContent}`;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_all_text_and_names_of_all_controls(scheme: Any, address: str, open_page: OpenPage) -> None:
    page = open_page(address, color_scheme=scheme)
    assert page.evaluate(_CONTRASTS) == []
    page.locator("#file").set_input_files(EXAMPLES / "malignant-a.png")
    page.locator("#pom").wait_for()
    page.get_by_text("Image, model and time").click()
    assert page.evaluate(_CONTRASTS) == []
    assert page.evaluate(_NAMELESS) == []
    page.keyboard.press("m")
    page.get_by_role("dialog", name="Model card: tiny").wait_for()
    assert page.evaluate(_CONTRASTS) == []
    assert page.evaluate(_NAMELESS) == []


def test_the_disclaimer_is_always_seen(reading: Page) -> None:
    disclaimer = reading.get_by_role("note").filter(has_text="Research software, not a medical device.")
    reading.set_viewport_size({"width": 800, "height": 500})
    for place in (0, 700, 10_000):
        reading.evaluate("(y) => window.scrollTo(0, y)", place)
        expect(disclaimer).to_be_in_viewport()


def test_from_start_to_export_by_keyboard_alone(page: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate(_FOCUSED)
            if name in focused:
                assert page.evaluate("() => document.activeElement.matches(':focus-visible')")
                return
        pytest.fail(f"Tab never reaches {name!r}")

    tab_to("Malignant, institution B")
    page.keyboard.press("Enter")
    page.locator("#pom").wait_for()
    expect(page.locator("#stage")).to_be_focused()
    before_zoom = zoom_percent(page)
    page.keyboard.press("+")
    assert zoom_percent(page) > before_zoom
    tab_to("opacity")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#opacity-value")).to_have_text("61 %")
    tab_to("threshold")
    before = page.locator("#threshold-value").inner_text()
    page.keyboard.press("ArrowRight")
    assert float(page.locator("#threshold-value").inner_text()) == pytest.approx(float(before) + 0.01)
    tab_to("Overlay (PNG)")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_single_keys_and_switching_them_off(reading: Page) -> None:
    choosers: list[FileChooser] = []
    reading.on("filechooser", lambda chooser: choosers.append(chooser))
    reading.keyboard.press("t")
    expect(reading.locator("#threshold-value")).to_have_text("0.31")
    reading.keyboard.press("Shift+T")
    reading.keyboard.press("Shift+T")
    expect(reading.locator("#threshold-value")).to_have_text("0.29")
    reading.keyboard.press("b")
    expect(reading.get_by_role("button", name="Outline")).to_have_attribute("aria-pressed", "false")
    reading.keyboard.press("o")
    reading.keyboard.press("?")
    keys = reading.get_by_role("dialog", name="Keys")
    expect(keys).to_be_visible()
    keys.get_by_role("checkbox").uncheck()
    reading.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    reading.keyboard.press("b")
    expect(reading.get_by_role("button", name="Outline")).to_have_attribute("aria-pressed", "false")
    assert len(choosers) == 1


def test_the_result_is_spoken_once_in_a_sentence(reading: Page) -> None:
    pom = reading.locator("#pom").inner_text()
    expect(reading.locator("#live")).to_contain_text(f"Probability of malignancy {pom}, called ")
    assert reading.locator("#live").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("width_px", [320, 390, 768, 1280, 1920])
def test_nothing_is_cut_off_sideways(width_px: int, address: str, open_page: OpenPage) -> None:
    page = open_page(address, viewport={"width": width_px, "height": 844})
    overhang = "() => document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(overhang) <= 0
    page.locator("#file").set_input_files(EXAMPLES / "malignant-a.png")
    page.locator("#pom").wait_for()
    assert page.evaluate(overhang) <= 0
    stacked = page.locator("#grey").bounding_box()["y"] < page.locator("#overlay").bounding_box()["y"]  # type: ignore[index]
    assert stacked == (width_px < 760)


def test_pinch_on_a_phone(address: str, open_page: OpenPage) -> None:
    page = open_page(address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.get_by_role("button", name="Malignant, institution A").first.tap()
    page.locator("#pom").wait_for()
    page.locator("#grey").scroll_into_view_if_needed()
    box, before = page.locator("#grey").bounding_box(), zoom_percent(page)
    assert box is not None
    session = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60), ("touchEnd", None)):
        points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    settle(page)
    assert zoom_percent(page) == pytest.approx(3 * before, rel=0.05)
    page.wait_for_timeout(500)  # a tap that follows at once is now and then lost
    page.get_by_role("button", name="Grey only").tap()
    expect(page.get_by_role("button", name="Grey only")).to_have_attribute("aria-pressed", "true")  # a click follows its touch
    np.testing.assert_array_equal(pixels(page.locator("#grey")), pixels(page.locator("#overlay")))


def test_motion_is_reduced_on_request(address: str, open_page: OpenPage) -> None:
    moving = "() => getComputedStyle(document.querySelector('button')).transitionDuration"
    assert open_page(address, reduced_motion="no-preference").evaluate(moving) != "0s"
    assert open_page(address, reduced_motion="reduce").evaluate(moving) == "0s"


def test_stepping_counts_from_the_frame_asked_for_and_does_not_upload_at_each_key(page: Page) -> None:
    clip, uploads = dicom(np.stack([speckle(seed=seed) for seed in range(40)])), []
    page.on("request", lambda request: uploads.append(request.url) if "/v1/predictions" in request.url else None)
    page.locator("#file").set_input_files({"name": "clip.dcm", "mimeType": "application/dicom", "buffer": clip})
    expect(page.locator("#pom")).to_be_visible()
    for _ in range(33):
        page.keyboard.press(".")
    for _ in range(3):
        page.keyboard.press(",")
    expect(page.locator("#frame-value")).to_have_text("31 of 40")
    expect(page.locator(".caveat").first).to_have_text("Frame 31 of 40: the others were not looked at.")
    assert len(uploads) < 20, "one for each key would be 37"
    for _ in range(60):
        page.keyboard.press(",")
    expect(page.locator(".caveat").first).to_have_text("Frame 1 of 40: the others were not looked at.")


def test_a_dicom_clip_by_frames_with_sizes_in_mm(page: Page, asked_of: Callable[..., dict[str, Any]]) -> None:
    frames = np.stack([speckle(seed=seed) for seed in range(3)])
    clip = dicom(frames, SequenceOfUltrasoundRegions=[region((10, 5, 70, 50), delta_cm=(0.02, 0.02))])
    page.locator("#file").set_input_files({"name": "clip.dcm", "mimeType": "application/dicom", "buffer": clip})
    expect(page.locator("#frame-value")).to_have_text("1 of 3")
    expect(page.locator(".caveat").first).to_have_text("Frame 1 of 3: the others were not looked at.")
    expect(page.locator(".warnings")).to_have_count(0)
    first = pixels(page.locator("#grey"))
    page.keyboard.press(".")
    expect(page.locator("#frame-value")).to_have_text("2 of 3")
    page.locator("#frame").focus()
    with page.expect_response("**/v1/predictions?*frame=2*"):
        page.keyboard.press("ArrowRight")
    answer = asked_of(clip, frame=2)
    expect(page.locator("#pom")).to_have_text(f"{answer['pom']:.3f}")
    expect(page.locator("#frame-value")).to_have_text("3 of 3")
    assert (pixels(page.locator("#grey")) != first).any()
    sizes = page.locator(".boxes tbody tr td:nth-child(3)").all_inner_texts()
    assert sizes == [f"{size['width']:.1f} × {size['height']:.1f}" for size in answer["localisation"]["sizes_mm"]]
    assert len(boxes_on_page(page)) == len(sizes) > 0
    page.get_by_text("Image, model and time").click()
    expect(page.locator("#facts")).to_contain_text("x 10 to 70, y 5 to 50 px of the stored image")
