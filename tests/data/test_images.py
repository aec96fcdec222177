"""Every bad image of a study or an upload is refused in words; good ones come out as grey pixels."""

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from wsus.data.images import DecodeLimits, decode_frames, decode_image, read_grey, read_mask, read_union_mask
from wsus.errors import ImageError, ImageReason, MaskError
from wsus.types import GreyImage


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
    assert (decode_image(encoded(Image.fromarray(pixels_HW), kind), name="x").grey_HW == pixels_HW).all()


def test_jpeg_comes_out_close() -> None:
    pixels_HW = gradient()
    decoded = decode_image(encoded(Image.fromarray(pixels_HW), "JPEG", quality=95), name="x").grey_HW
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - pixels_HW.astype(int)).max() <= 8


def test_colours_become_itu_r_601_luma() -> None:
    pixels_HW3 = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels_HW3[:, 10:] = (100, 150, 200)  # 0.299 * 100 + 0.587 * 150 + 0.114 * 200 = 140.75

    grey_HW = decode_image(encoded(Image.fromarray(pixels_HW3)), name="x").grey_HW

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
        decode_image(bytes(content), name="x")


def test_text_is_no_image() -> None:
    with pytest.raises(ImageError, match="notes: not an image that can be read; expected PNG, JPEG, BMP, TIFF, DICOM"):
        decode_image(b"Dear colleague, enclosed please find", name="notes")


def test_all_black_image_is_refused() -> None:
    with pytest.raises(ImageError, match="the image is all black"):
        decode_image(encoded(Image.new("L", (40, 40), 0)), name="x")


def test_image_of_one_colour_is_refused() -> None:
    with pytest.raises(ImageError, match=r"of one colour \(grey level 77 everywhere\)"):
        decode_image(encoded(Image.new("L", (40, 40), 77)), name="x")


def test_one_pixel_is_refused() -> None:
    with pytest.raises(ImageError, match=r"1 x 1 px; both sides must have at least 16 px"):
        decode_image(encoded(Image.new("L", (1, 1), 77)), name="x")


@pytest.mark.parametrize("side", [20_000, 10_000])
def test_huge_image_is_refused_off_its_header(side: int) -> None:
    with pytest.raises(ImageError, match=r"40,000,000 pixels( are accepted)?; reduce the image"):
        decode_image(png(side, side), name="x")


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
        ("1", "PNG", "1-bit"),
        ("I", "TIFF", "32-bit integers"),
        ("F", "TIFF", "32-bit floating point"),
    ],
)
def test_colours_and_depths_that_need_a_choice_are_refused_by_name(mode: str, kind: str, words: str) -> None:
    if mode in ("I", "F"):
        image = Image.fromarray(gradient().astype({"I": np.int32, "F": np.float32}[mode]) * 100)
    else:
        image = Image.fromarray(gradient()).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    assert image.mode == mode
    with pytest.raises(ImageError, match=f"x: pixels are .*{words}.*expected 8-bit greyscale or RGB; convert") as refused:
        decode_image(encoded(image, kind), name="x")
    assert refused.value.reason is ImageReason.UNSUPPORTED_PIXELS


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_screenshots_are_read(mode: str) -> None:
    """An opaque alpha channel and a palette change nothing: the grey levels are those of the picture without them."""
    image = Image.fromarray(gradient())
    decoded = decode_image(encoded(image.convert(mode)), name="x")
    assert (decoded.grey_HW == gradient()).all()
    assert decoded.warnings == (() if mode == "P" else ("an opaque alpha channel was dropped",))


@pytest.mark.parametrize(("coloured_rows", "warned"), [(0, False), (1, False), (12, True)])
def test_colours_are_warned_of_where_they_are_more_than_a_mark(coloured_rows: int, warned: bool) -> None:
    """A Doppler box in an RGB picture is; a grey picture stored as RGB, or one thin coloured line, is not."""
    colours_HW3 = np.repeat(np.tile(np.arange(1, 121, dtype=np.uint8), (120, 1))[..., None], 3, axis=2)
    colours_HW3[1 : 1 + coloured_rows, :60] = (230, 60, 20)
    (told,) = decode_image(encoded(Image.fromarray(colours_HW3)), name="x").warnings or ("",)
    assert told.startswith("5 % of the image is coloured") == warned


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_laid_on_black_and_said(mode: str) -> None:
    """Public sets cut names out of the picture in that way; half-transparent pixels are darkened by half."""
    image = Image.fromarray(gradient()).convert(mode)
    alpha_HW = np.full(gradient().shape, 255, np.uint8)
    quarter = gradient().shape[0] // 4
    alpha_HW[:quarter] = 0
    alpha_HW[quarter : 2 * quarter] = 128
    image.putalpha(Image.fromarray(alpha_HW))

    decoded = decode_image(encoded(image), name="x")

    assert decoded.warnings == ("50 % of the image is transparent and was laid on black",)
    assert (decoded.grey_HW[:quarter] == 0).all()
    half = slice(quarter, 2 * quarter)
    assert np.abs(decoded.grey_HW[half] - gradient()[half] * (128 / 255)).max() <= 1
    assert (decoded.grey_HW[2 * quarter :] == gradient()[2 * quarter :]).all()


def test_a_transparent_grey_level_is_laid_on_black() -> None:
    image = Image.fromarray(gradient())
    decoded = decode_image(encoded(image, transparency=7), name="x")
    assert (decoded.grey_HW == np.where(gradient() == 7, 0, gradient())).all()
    assert "transparent and was laid on black" in decoded.warnings[0]
    assert (decode_image(encoded(image, transparency=255), name="x").grey_HW == gradient()).all()


def test_an_image_that_is_wholly_transparent_is_refused() -> None:
    image = Image.fromarray(gradient()).convert("RGBA")
    image.putalpha(0)
    with pytest.raises(ImageError, match="x: all of it is transparent; save it without transparency") as refused:
        decode_image(encoded(image), name="x")
    assert refused.value.reason is ImageReason.TRANSPARENT


def test_jpegs_that_are_not_read_are_refused_by_name() -> None:
    """The marker and the depth of a JPEG's frame header, in an otherwise sound file."""
    sound = encoded(Image.fromarray(gradient()), "JPEG")
    at = sound.index(b"\xff\xc0")
    for marker, bits, reason, words in (
        (0xF7, 8, ImageReason.UNSUPPORTED_FORMAT, "a JPEG-LS image"),
        (0xC5, 8, ImageReason.UNSUPPORTED_FORMAT, "hierarchical JPEG"),
        (0xC1, 12, ImageReason.UNSUPPORTED_PIXELS, "JPEG of 12 bits; expected 8"),
        (0xC3, 16, ImageReason.UNSUPPORTED_PIXELS, "JPEG of 16 bits; expected 8"),
    ):
        other = sound[: at + 1] + bytes([marker]) + sound[at + 2 : at + 4] + bytes([bits]) + sound[at + 5 :]
        with pytest.raises(ImageError, match=f"x: {words}.*convert it to PNG") as refused:
            decode_image(other, name="x")
        assert refused.value.reason is reason


@pytest.mark.parametrize("compression", [33003, 34712, 34718, 34892, 50002])
@pytest.mark.parametrize("order", ["<", ">"])
def test_compressions_of_tiff_that_are_not_read_are_refused_by_name(compression: int, order: str) -> None:
    names = {33003: "JPEG 2000", 34712: "JPEG 2000", 34718: "JPEG-LS", 34892: "lossy JPEG", 50002: "JPEG XL"}
    with pytest.raises(ImageError, match=f"x: {names[compression]} in TIFF, which is not supported; convert") as refused:
        decode_image(tiff({259: compression}, order), name="x")
    assert refused.value.reason is ImageReason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_tiff_is_refused_and_not_read_as_if_unsigned(bits: int, order: str) -> None:
    with pytest.raises(ImageError, match=r"x: signed integers.*convert it to PNG") as refused:
        decode_image(tiff({258: bits, 339: 2}, order), name="x")
    assert refused.value.reason is ImageReason.UNSUPPORTED_PIXELS
    assert decode_image(tiff({258: bits, 339: 1}, order), name="x").source_hw == (32, 32)


@pytest.mark.parametrize("content", [b"II*\0" + bytes(60), b"\xff\xd8\xff" + bytes(60), b"MM\0*" + b"\xff" * 60], ids=repr)
def test_no_address_in_memory_stands_in_a_message(content: bytes) -> None:
    with pytest.raises(ImageError, match="x: ") as refused:
        decode_image(content, name="x")
    assert "0x" not in str(refused.value)
    assert "BytesIO" not in str(refused.value)


def tiff(tags: dict[int, int], order: str) -> bytes:
    """A TIFF of 32 x 32 px of noise, in one strip, of these tags."""
    bits = tags.get(258, 8)
    entries = {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 32, 279: 32 * 32 * bits // 8} | tags
    pixels = np.random.default_rng(0).integers(0, 256, entries[279], np.uint8).tobytes()
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8 + len(pixels))
    rows = [struct.pack(f"{order}HHL", tag, 4, 1) + struct.pack(f"{order}L", value) for tag, value in sorted(entries.items())]
    return head + pixels + struct.pack(f"{order}H", len(rows)) + b"".join(rows) + bytes(4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_by_its_maximum(kind: str) -> None:
    """A scanner's 12 bits in 16 keep their levels; 4000 * 255 / 4095 = 249.08."""
    values_HW = np.full((20, 20), 4000, dtype=np.uint16)
    values_HW[0, :2] = (0, 4095)

    decoded = decode_image(encoded(Image.fromarray(values_HW), kind), name="x")

    assert np.unique(decoded.grey_HW).tolist() == [0, 249, 255]
    assert decoded.warnings == ("16-bit grey levels were scaled linearly to 8 bits, 4095 becoming 255",)


def test_sixteen_bit_tiff_whose_zero_is_white_is_inverted() -> None:
    """Pillow minds the tag for 8 bits alone."""
    values_HW = gradient().astype(np.uint16) << 8
    decoded = decode_image(encoded(Image.fromarray(values_HW), "TIFF", tiffinfo={262: 0}), name="x")
    assert (decoded.grey_HW == np.round((65535 - values_HW.astype(float)) * 255 / 65535)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_followed(kind: str) -> None:
    """Orientation 6: viewers turn the picture clockwise, so boxes are read on the turned one."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    options = {"quality": 100} if kind == "JPEG" else {}
    decoded = decode_image(encoded(Image.fromarray(gradient(40, 60)), kind, exif=exif, **options), name="x")
    assert decoded.grey_HW.shape == decoded.source_hw == (60, 40)
    assert np.abs(decoded.grey_HW.astype(int) - np.rot90(gradient(40, 60), -1)).max() <= 2


def test_sixteen_bit_colours_are_refused_too() -> None:
    """Pillow calls them RGB and drops the lower eight bits without a word."""
    rows = b"".join(b"\0" + np.arange(3 * 32, dtype=">u2").tobytes() for _ in range(32))
    with pytest.raises(ImageError, match="x: pixels are 16-bit colours; expected 8-bit"):
        decode_image(png(32, 32, bits=16, colour=2, rows=rows), name="x")


def test_animated_png_is_refused() -> None:
    frames = [Image.fromarray(gradient() + shift) for shift in (0, 9, 20)]
    with pytest.raises(ImageError, match="an animation of 3 frames; expected a still image") as refused:
        decode_image(encoded(frames[0], save_all=True, append_images=frames[1:]), name="x")
    assert refused.value.reason is ImageReason.ANIMATED


def test_pages_of_a_tiff_are_named_by_number() -> None:
    pages = [gradient(40, 60), gradient(30, 50) + 9, gradient(20, 20) + 20]
    content = encoded(Image.fromarray(pages[0]), "TIFF", save_all=True, append_images=[Image.fromarray(p) for p in pages[1:]])

    second = decode_image(content, name="x", frame=1)
    assert (second.grey_HW == pages[1]).all()
    assert (second.frame, second.frame_count) == (1, 3)
    assert [image.grey_HW.shape for image in decode_frames(content, name="x")] == [(40, 60), (30, 50), (20, 20)]
    for frame, reason in ((None, "frame_needed"), (-1, "frame_out_of_range"), (3, "frame_out_of_range")):
        with pytest.raises(ImageError, match=r"x: (3 frames; say which|there is no frame)") as refused:
            decode_image(content, name="x", frame=frame)
        assert refused.value.reason == reason


def test_pages_of_any_size_count_against_the_limit() -> None:
    """The first page is small; what would be decoded at once is the sum."""
    pages = [Image.fromarray(gradient(20, 20)), Image.fromarray(gradient(400, 400)), Image.fromarray(gradient(400, 400))]
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="x: 3 pages; name the page that is wanted") as refused:
        decode_frames(content, name="x", limits=DecodeLimits(max_total_pixels=200_000))
    assert refused.value.reason is ImageReason.TOO_MANY_FRAMES


def test_blank_pages_are_left_out() -> None:
    pages = [Image.new("L", (20, 20), 0), Image.fromarray(gradient(20, 20))]
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [image.frame for image in decode_frames(content, name="x")] == [1]


def test_a_still_image_has_one_frame() -> None:
    content = encoded(Image.fromarray(gradient()))
    assert decode_image(content, name="x", frame=0).frame_count == 1
    assert len(decode_frames(content, name="x")) == 1
    with pytest.raises(ImageError, match="x: there is no frame 1; it has one, frame 0"):
        decode_image(content, name="x", frame=1)


def test_of_a_phone_s_several_pictures_the_first_is_read() -> None:
    """MPO: the picture that viewers show, then depth or gain maps."""
    first, second = Image.fromarray(gradient()), Image.fromarray(np.rot90(gradient()).copy())
    content = encoded(first, "MPO", save_all=True, append_images=[second], quality=100)
    decoded = decode_image(content, name="x")
    assert (decoded.format, decoded.frame_count) == ("JPEG", 1)
    assert np.abs(decoded.grey_HW.astype(int) - gradient()).max() <= 2


def test_other_formats_are_named() -> None:
    frames = [Image.fromarray(gradient() + shift) for shift in (0, 9)]
    with pytest.raises(ImageError, match="x: this is a GIF image; expected PNG, JPEG, BMP, TIFF, DICOM") as refused:
        decode_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), name="x")
    assert refused.value.reason is ImageReason.UNSUPPORTED_FORMAT


def test_results_and_errors_can_be_sent_between_processes() -> None:
    decoded = pickle.loads(pickle.dumps(decode_image(encoded(Image.fromarray(gradient())), name="x")))
    assert (decoded.grey_HW == gradient()).all()
    with pytest.raises(ImageError, match="empty") as refused:
        decode_image(b"", name="x")
    sent = pickle.loads(pickle.dumps(refused.value))
    assert (str(sent), sent.reason) == (str(refused.value), ImageReason.EMPTY)


def picture(height: int, width: int) -> GreyImage:
    return decode_image(encoded(Image.fromarray(gradient(height, width))), name="x")


def write_mask(path: Path, mask_HW: NDArray[np.bool_], value: int = 255) -> Path:
    Image.fromarray((mask_HW * value).astype(np.uint8)).save(path)
    return path


def test_mask_is_what_is_not_zero(tmp_path: Path) -> None:
    mask_HW = np.zeros((40, 60), dtype=bool)
    mask_HW[3:9, 20:30] = True
    assert (read_mask(write_mask(tmp_path / "m.png", mask_HW, value=1), image=picture(40, 60)) == mask_HW).all()


def test_one_bit_mask_is_read(tmp_path: Path) -> None:
    mask_HW = gradient() > 60
    Image.fromarray(mask_HW).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == mask_HW).all()


def test_mask_of_another_size_names_both(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "m.png", np.ones((40, 60), dtype=bool))
    with pytest.raises(MaskError, match=r"m\.png: 60 x 40 px, but its image has 64 x 48 px"):
        read_mask(path, image=picture(48, 64))


def test_damaged_mask_is_a_mask_error(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"\x89PNG but not really")
    with pytest.raises(MaskError, match=r"mask .*m\.png: not an image"):
        read_mask(tmp_path / "m.png")


def test_union_of_masks(tmp_path: Path) -> None:
    first, second = np.zeros((2, 20, 20), dtype=bool)
    first[2:5, 2:5] = second[4:9, 4:9] = True
    paths = (write_mask(tmp_path / "a.png", first), write_mask(tmp_path / "b.png", second))
    assert (read_union_mask(paths, image=picture(20, 20)) == (first | second)).all()
    assert not read_union_mask((), image=picture(20, 20)).any()
