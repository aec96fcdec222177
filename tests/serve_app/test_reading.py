"""What a decoder's process sent is held against what was asked of it."""

from typing import Any

import numpy as np
import pytest
from dicom_files import dicom, region, speckle
from published_models import CROP, made_image, png, seen

from serve_app.reading import decode_upload, most_bytes, read_frames
from wsus.data.images import DecodeLimits
from wsus.data.roi import CropConfig
from wsus.errors import ImageError

LIMITS = DecodeLimits(max_bytes=10**6, max_pixels=20_000, max_frames=8)
CROPS = (CROP, CropConfig(size_px=96, fit="stretch"))


def sent() -> tuple[Any, list[bytes]]:
    value, pieces = decode_upload(png(), LIMITS, CROPS, True, 0)
    return value, list(pieces)


def read(value: Any, pieces: list[bytes], most: int = 1) -> Any:
    return read_frames(value, pieces, LIMITS, CROPS, True, most)


def test_a_reply_is_read_as_it_was_meant() -> None:
    value, pieces = sent()
    (decoded,) = read(value, pieces)
    assert decoded.facts.size_hw == (90, 120)
    for view, crop in zip(decoded.views, CROPS, strict=True):
        expected = seen(made_image(), crop)
        assert (view.crop, view.geometry) == (crop, expected.geometry)
        np.testing.assert_array_equal(view.pixels_HW, expected.pixels_HW)
    assert decoded.png == pieces[2]
    assert sum(map(len, pieces)) <= most_bytes(LIMITS, CROPS, 1, True)


@pytest.mark.parametrize(
    "changed",
    [
        {"size_hw": [200_000, 200_000]},
        {"size_hw": [0, 5]},
        {"size_hw": None},
        {"frame": "first"},
        {"warnings": 3},
        {"region_xyxy_px": [1, 2]},
    ],
)
def test_facts_that_cannot_be_are_refused(changed: dict[str, Any]) -> None:
    value, pieces = sent()
    with pytest.raises(ValueError, match=r".+"):
        read([value[0] | changed], pieces)


def test_pieces_that_do_not_belong_together_are_refused() -> None:
    value, pieces = sent()
    for wrong in (pieces[:2], [*pieces, b""], [pieces[1], pieces[0], pieces[2]], [pieces[0][:-1], *pieces[1:]]):
        with pytest.raises(ValueError, match=r".+"):
            read(value, wrong)
    for frames in ([], [value[0], value[0]]):
        with pytest.raises(ValueError, match=r"pieces for frames"):
            read(frames, pieces * len(frames))


def test_a_region_is_decoded_by_its_number() -> None:
    two = [region((0, 0, 40, 60)), region((40, 0, 80, 60))]
    content = dicom(speckle(), SequenceOfUltrasoundRegions=two)
    for asked, box in ((None, (0, 0, 40, 60)), (1, (40, 0, 80, 60))):
        value, _ = decode_upload(content, LIMITS, CROPS, False, 0, asked)
        assert tuple(value[0]["region_xyxy_px"]) == box
    with pytest.raises(ImageError, match="the upload: there is no region 2"):
        decode_upload(content, LIMITS, CROPS, False, 0, 2)
