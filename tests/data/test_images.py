"""Every bad image of a study or an upload is refused in words; good ones come out as grey pixels."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsus.data.images import DecodeLimits, decode_grey, read_grey, read_mask, read_union_mask
from wsus.errors import ImageError, MaskError


def gradient(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    return np.add.outer(np.arange(height), 2 * np.arange(width)).astype(np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    """A PNG put together by hand, so that its header may promise what Pillow would not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_every_grey_level(kind: str) -> None:
    pixels_HW = gradient()
    assert (decode_grey(encoded(Image.fromarray(pixels_HW), kind), name="x") == pixels_HW).all()


def test_jpeg_comes_out_close() -> None:
    pixels_HW = gradient()
    decoded = decode_grey(encoded(Image.fromarray(pixels_HW), "JPEG", quality=95), name="x")
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - pixels_HW.astype(int)).max() <= 8


def test_colours_become_itu_r_601_luma() -> None:
    pixels_HW3 = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels_HW3[:, 10:] = (100, 150, 200)  # 0.299 * 100 + 0.587 * 150 + 0.114 * 200 = 140.75

    grey_HW = decode_grey(encoded(Image.fromarray(pixels_HW3)), name="x")

    assert set(np.unique(grey_HW)) == {0, 141}


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: no such file; check the path"):
        read_grey(tmp_path / "gone.png")


def test_folder_instead_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        read_grey(tmp_path)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png: the file is empty \(0 bytes\)"):
        read_grey(tmp_path / "empty.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_truncated_file_is_refused(kind: str, tmp_path: Path) -> None:
    noise_HW = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    content = encoded(Image.fromarray(noise_HW), kind)
    path = tmp_path / "cut"
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(ImageError, match=r"cut: .*(damaged or truncated|not an image)"):
        read_grey(path)


def test_damaged_pixels_are_refused() -> None:
    content = bytearray(encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode_grey(bytes(content), name="x")


def test_text_is_no_image() -> None:
    with pytest.raises(ImageError, match="notes: not an image that can be read; expected PNG, JPEG, BMP, TIFF"):
        decode_grey(b"Dear colleague, enclosed please find", name="notes")


def test_all_black_image_is_refused() -> None:
    with pytest.raises(ImageError, match="the image is all black"):
        decode_grey(encoded(Image.new("L", (40, 40), 0)), name="x")


def test_image_of_one_colour_is_refused() -> None:
    with pytest.raises(ImageError, match=r"of one colour \(grey level 77 everywhere\)"):
        decode_grey(encoded(Image.new("L", (40, 40), 77)), name="x")


def test_one_pixel_is_refused() -> None:
    with pytest.raises(ImageError, match=r"1 x 1 px; both sides must have at least 16 px"):
        decode_grey(encoded(Image.new("L", (1, 1), 77)), name="x")


@pytest.mark.parametrize("side", [20_000, 10_000])
def test_huge_image_is_refused_off_its_header(side: int) -> None:
    with pytest.raises(ImageError, match=r"40,000,000 pixels( are accepted)?; reduce the image"):
        decode_grey(png(side, side), name="x")


def test_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.bmp"
    path.write_bytes(bytes(1001))
    with pytest.raises(ImageError, match="1,001 bytes; at most 1,000 are read"):
        read_grey(path, DecodeLimits(max_bytes=1000))


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("CMYK", "TIFF", "CMYK"),
        ("CMYK", "JPEG", "CMYK"),
        ("RGBA", "PNG", "RGBA"),
        ("LA", "PNG", "grey with transparency"),
        ("P", "PNG", "indexed by a palette"),
        ("1", "PNG", "1-bit"),
        ("I;16", "PNG", "16-bit"),
        ("I;16", "TIFF", "16-bit"),
        ("I", "TIFF", "integers"),
        ("F", "TIFF", "32-bit floating point"),
    ],
)
def test_other_colours_and_depths_are_refused_by_name(mode: str, kind: str, words: str) -> None:
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(gradient().astype(dtype) * 100)
    else:
        image = Image.fromarray(gradient()).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    assert image.mode == mode
    with pytest.raises(ImageError, match=f"x: pixels are .*{words}.*expected 8-bit greyscale or RGB; convert"):
        decode_grey(encoded(image, kind), name="x")


def test_sixteen_bit_colours_are_refused_too() -> None:
    """Pillow calls them RGB and drops the lower eight bits without a word."""
    rows = b"".join(b"\0" + np.arange(3 * 32, dtype=">u2").tobytes() for _ in range(32))
    with pytest.raises(ImageError, match="x: pixels are 16-bit colours; expected 8-bit"):
        decode_grey(png(32, 32, bits=16, colour=2, rows=rows), name="x")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_animations_and_pages_are_refused(kind: str) -> None:
    frames = [Image.fromarray(gradient() + shift) for shift in (0, 9, 20)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="3 frames; expected a still image"):
        decode_grey(content, name="x")


def test_animated_gif_is_refused() -> None:
    frames = [Image.fromarray(gradient() + shift) for shift in (0, 9)]
    with pytest.raises(ImageError, match="not an image that can be read; expected PNG"):
        decode_grey(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), name="x")


def write_mask(path: Path, mask_HW: NDArray[np.bool_], value: int = 255) -> Path:
    Image.fromarray((mask_HW * value).astype(np.uint8)).save(path)
    return path


def test_mask_is_what_is_not_zero(tmp_path: Path) -> None:
    mask_HW = np.zeros((40, 60), dtype=bool)
    mask_HW[3:9, 20:30] = True
    assert (read_mask(write_mask(tmp_path / "m.png", mask_HW, value=1), image_hw=(40, 60)) == mask_HW).all()


def test_one_bit_mask_is_read(tmp_path: Path) -> None:
    mask_HW = gradient() > 60
    Image.fromarray(mask_HW).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == mask_HW).all()


def test_mask_of_another_size_names_both(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "m.png", np.ones((40, 60), dtype=bool))
    with pytest.raises(MaskError, match=r"m\.png: 60 x 40 px, but its image has 64 x 48 px"):
        read_mask(path, image_hw=(48, 64))


def test_damaged_mask_is_a_mask_error(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"\x89PNG but not really")
    with pytest.raises(MaskError, match=r"mask .*m\.png: not an image"):
        read_mask(tmp_path / "m.png")


def test_union_of_masks(tmp_path: Path) -> None:
    first, second = np.zeros((2, 20, 20), dtype=bool)
    first[2:5, 2:5] = second[4:9, 4:9] = True
    paths = (write_mask(tmp_path / "a.png", first), write_mask(tmp_path / "b.png", second))
    assert (read_union_mask(paths, image_hw=(20, 20)) == (first | second)).all()
    assert not read_union_mask((), image_hw=(20, 20)).any()
