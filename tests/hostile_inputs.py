"""Files that a stranger may send: each with the reason for which the decoder refuses it, or none where it is harmless.

Made in code, small on the wire. Tests of the decoder and of the HTTP service share them.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from dicom_files import coloured, dicom, speckle
from hostile_dicom import hostile_dicom
from PIL import ExifTags, Image

from wsus.errors import ImageReason as R

PNG_START = b"\x89PNG\r\n\x1a\n"
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class HostileInput:
    """reason: None where the file is decoded, however it is made. filename, content_type: what the sender claims."""

    name: str
    content: bytes
    filename: str
    content_type: str
    reason: R | None


@cache
def hostile_inputs() -> tuple[HostileInput, ...]:
    """All of them, in a fixed order, with unique names."""
    made = [*_wrong_types(), *_cut(), *_png(), *_jpeg(), *_bmp_and_tiff(), *_blank_and_thin(), *_harmless()]
    made += [(f"dicom {name}", content, "a.dcm", reason) for name, content, reason in hostile_dicom()]
    return tuple(
        HostileInput(name=name, content=content, filename=filename, content_type=_content_type(filename), reason=reason)
        for name, content, filename, reason in made
    )


Made = Iterator[tuple[str, bytes, str, R | None]]


def _content_type(filename: str) -> str:
    types = {"png": "image/png", "jpg": "image/jpeg", "bmp": "image/bmp", "tif": "image/tiff", "dcm": "application/dicom"}
    return types.get(filename.rpartition(".")[2], "application/octet-stream")


def image_bytes(kind: str = "PNG", *, colour: bool = False, **options: object) -> bytes:
    """A sound picture in one of the formats."""
    buffer = io.BytesIO()
    Image.fromarray(coloured() if colour else speckle()).save(buffer, kind, **options)
    return buffer.getvalue()


def _transparent_png() -> bytes:
    buffer = io.BytesIO()
    clear = Image.new("L", (80, 60), 0)
    Image.merge("LA", (Image.fromarray(speckle()), clear)).save(buffer, "PNG")
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 0, rows: bytes | None = None) -> bytes:
    """A PNG of any claims. rows: filtered scanlines; noise of the claimed size where None."""
    if rows is None:
        rows = b"".join(b"\0" + bytes((x * 7 + y * 3) % 251 for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return PNG_START + b"".join(parts)


def _wrong_types() -> Made:
    gif = io.BytesIO()
    frames = [Image.fromarray(speckle(seed=seed)) for seed in range(2)]
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    webp = io.BytesIO()
    frames[0].save(webp, "WEBP", save_all=True, append_images=frames[1:])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("image.dcm", dicom(speckle()))
    entity = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg><text>&x;</text></svg>'
    laughs = b'<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "' + b"&a;" * 50 + b'">]><svg>&b;</svg>'
    j2k = io.BytesIO()
    frames[0].save(j2k, "JPEG2000")
    files = {
        "empty": (b"", "empty.png", R.EMPTY),
        "one byte": (b"\x89", "a.png", R.UNSUPPORTED_FORMAT),
        "zeros": (bytes(4096), "zeros.dcm", R.UNSUPPORTED_FORMAT),
        "plain text": (b"Dear colleague, enclosed please find", "letter.png", R.UNSUPPORTED_FORMAT),
        "HTML as PNG": (b"<!DOCTYPE html><script>alert(1)</script>", "page.png", R.UNSUPPORTED_FORMAT),
        "SVG with an external entity": (entity, "drawing.png", R.UNSUPPORTED_FORMAT),
        "SVG with nested entities": (laughs, "drawing.svg", R.UNSUPPORTED_FORMAT),
        "PDF": (b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript>>>>", "report.jpg", R.UNSUPPORTED_FORMAT),
        "zip with a DICOM file inside": (archive.getvalue(), "study.dcm", R.UNSUPPORTED_FORMAT),
        "gzip": (b"\x1f\x8b\x08" + bytes(40), "image.png", R.UNSUPPORTED_FORMAT),
        "Windows program": (b"MZ\x90\0" + bytes(200), "image.png", R.UNSUPPORTED_FORMAT),
        "Linux program": (b"\x7fELF" + bytes(200), "image.png", R.UNSUPPORTED_FORMAT),
        "mp4": (b"\0\0\0\x18ftypmp42" + bytes(100), "cine.png", R.UNSUPPORTED_FORMAT),
        "HEIF": (b"\0\0\0\x18ftypheic" + bytes(100), "photo.jpg", R.UNSUPPORTED_FORMAT),
        "animated GIF": (gif.getvalue(), "cine.gif", R.UNSUPPORTED_FORMAT),
        "GIF and JavaScript at once": (b"GIF89a/*" + gif.getvalue()[8:] + b"*/=1;alert(1)", "a.png", R.UNSUPPORTED_FORMAT),
        "animated WebP": (webp.getvalue(), "cine.webp", R.UNSUPPORTED_FORMAT),
        "JPEG 2000 outside DICOM": (j2k.getvalue(), "a.jp2", R.UNSUPPORTED_FORMAT),
        "BigTIFF": (b"II+\0\x08\0\0\0" + bytes(40), "a.tif", R.UNSUPPORTED_FORMAT),
        "pickle": (b"\x80\x04cposix\nsystem\n(S'id'\ntR.", "a.png", R.UNSUPPORTED_FORMAT),
    }
    yield from ((name, content, filename, reason) for name, (content, filename, reason) in files.items())


def _cut() -> Made:
    whole = {
        "png": image_bytes("PNG"),
        "jpg": image_bytes("JPEG"),
        "bmp": image_bytes("BMP"),
        "tif": image_bytes("TIFF"),
        "dcm": dicom(speckle()),
    }
    for suffix, content in whole.items():
        for percent in (50, 95):
            yield f"{suffix} cut at {percent} %", content[: len(content) * percent // 100], f"cut.{suffix}", R.DAMAGED
        yield f"{suffix} cut after its magic", content[: 134 if suffix == "dcm" else 8], f"cut.{suffix}", R.DAMAGED


def _png() -> Made:
    sound = image_bytes("PNG")
    body = sound.index(b"IDAT")
    wrong_crc = sound[: body + 20] + bytes([sound[body + 20] ^ 0xFF]) + sound[body + 21 :]
    deflated = zlib.compress(bytes(100 * MIB))
    animation = io.BytesIO()
    frames = [Image.fromarray(speckle(seed=seed)) for seed in range(3)]
    frames[0].save(animation, "PNG", save_all=True, append_images=frames[1:])
    yield "png with a wrong checksum", wrong_crc, "a.png", R.DAMAGED
    yield "png of 20,000 x 20,000 px by its header", png_file(20_000, 20_000, rows=b""), "bomb.png", R.TOO_MANY_PIXELS
    yield "png of 2^31 - 1 px a side", png_file(2**31 - 1, 2**31 - 1, rows=b""), "bomb.png", R.TOO_MANY_PIXELS
    yield (
        "png of 30,000 x 30,000 one-bit zeros",
        png_file(30_000, 30_000, bits=1, rows=bytes(3751 * 30_000)),
        "b.png",
        R.TOO_MANY_PIXELS,
    )
    yield "png of width zero", png_file(0, 60, rows=b""), "zero.png", R.DAMAGED
    yield "png with less data than its header says", png_file(200, 200, rows=bytes(100)), "a.png", R.DAMAGED
    yield "png of an impossible depth", png_file(60, 60, bits=3, rows=b""), "a.png", R.DAMAGED
    yield "png text that unpacks to 100 MiB", png_file(40, 40, png_chunk(b"zTXt", b"Comment\0\0" + deflated)), "a.png", R.DAMAGED
    yield "png profile that unpacks to 100 MiB", png_file(40, 40, png_chunk(b"iCCP", b"icc\0\0" + deflated)), "a.png", R.DAMAGED
    yield "png with a chunk of 2 GiB", PNG_START + struct.pack(">I", 2**31 - 1) + b"IHDR" + bytes(50), "a.png", R.DAMAGED
    yield "animated png", animation.getvalue(), "a.png", R.ANIMATED
    yield "png that is partly transparent", image_bytes("PNG", transparency=int(speckle()[0, 0])), "a.png", None
    yield "png that is wholly transparent", _transparent_png(), "a.png", R.TRANSPARENT
    sixteen = (b"\0" + np.arange(40, dtype=">u2").tobytes()) * 40
    level = png_file(40, 40, png_chunk(b"tRNS", b"\0\7"), bits=16, rows=sixteen)
    yield "png of 16 bits with a transparent level", level, "a.png", R.UNSUPPORTED_PIXELS
    colours = png_file(32, 32, bits=16, colour=2, rows=(b"\0" + bytes(range(192))) * 32)
    yield "png of 16-bit colours", colours, "a.png", R.UNSUPPORTED_PIXELS


def _jpeg() -> Made:
    sound = image_bytes("JPEG", quality=90)
    size = sound.index(b"\xff\xc0") + 5
    progressive = image_bytes("JPEG", progressive=True)
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    exif = b"\xff\xe1" + struct.pack(">H", 2 + 6 + 14) + b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(4)
    cmyk = io.BytesIO()
    Image.fromarray(coloured()).convert("CMYK").save(cmyk, "JPEG")
    yield (
        "jpeg of 65,500 x 65,500 px by its header",
        sound[:size] + b"\xff\xdc\xff\xdc" + sound[size + 4 :],
        "b.jpg",
        R.TOO_MANY_PIXELS,
    )
    yield "jpeg of height zero", sound[:size] + b"\0\0" + sound[size + 2 :], "a.jpg", R.DAMAGED
    yield "jpeg with a thousand scans", progressive[:-2] + last_scan * 1000 + b"\xff\xd9", "a.jpg", R.TOO_COMPLEX
    yield "jpeg in CMYK", cmyk.getvalue(), "a.jpg", R.UNSUPPORTED_PIXELS
    yield "jpeg with a broken EXIF directory", sound[:2] + exif + sound[2:], "a.jpg", None
    yield "jpeg without tables", sound[:2] + sound[sound.index(b"\xff\xc0") :], "a.jpg", R.DAMAGED


def _bmp_and_tiff() -> Made:
    bmp = bytearray(image_bytes("BMP"))
    struct.pack_into("<ii", bmp, 18, 60_000, 60_000)
    yield "bmp of 60,000 x 60,000 px by its header", bytes(bmp), "b.bmp", R.TOO_MANY_PIXELS
    struct.pack_into("<ii", bmp, 18, -60, -80)
    yield "bmp of negative size", bytes(bmp), "b.bmp", R.TOO_MANY_PIXELS
    yield "tiff of 2^31 px a side", tiff_file({256: 2**31 - 1, 257: 2**31 - 1}), "b.tif", R.TOO_MANY_PIXELS
    yield (
        "tiff with a tile of 30,000 x 30,000 px",
        tiff_file({322: 30_000, 323: 30_000, 324: 8, 325: 100}),
        "b.tif",
        R.TOO_MANY_PIXELS,
    )
    yield "tiff whose strip lies beyond its end", tiff_file({273: 2**31, 279: 3600}), "a.tif", R.DAMAGED
    yield "tiff whose directory follows itself", tiff_file({}, next_directory=8), "a.tif", None
    yield "tiff with 5,000 pages", _tiff_pages(5000), "a.tif", R.TOO_MANY_FRAMES
    yield "tiff with 2^32 - 1 values in a tag", tiff_file({}, counts={270: 2**32 - 1}), "a.tif", None
    yield "tiff of unknown compression", tiff_file({259: 60_000}), "a.tif", R.DAMAGED
    floats = io.BytesIO()
    Image.fromarray(speckle().astype(np.float32)).save(floats, "TIFF")
    yield "tiff of floating point", floats.getvalue(), "a.tif", R.UNSUPPORTED_PIXELS


def tiff_file(tags: dict[int, int], *, counts: dict[int, int] | None = None, next_directory: int = 0) -> bytes:
    """A grey TIFF of 60 x 60 px in one strip; tags: other values, counts: tags with that many values."""
    entries = {256: 60, 257: 60, 258: 8, 259: 1, 262: 1, 273: 1000, 277: 1, 278: 60, 279: 3600} | tags
    packed = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items()}
    packed |= {tag: struct.pack("<HHII", tag, 4, count, 8) for tag, count in (counts or {}).items()}
    directory = (
        struct.pack("<H", len(packed)) + b"".join(packed[tag] for tag in sorted(packed)) + struct.pack("<I", next_directory)
    )
    return (b"II*\0" + struct.pack("<I", 8) + directory).ljust(1000, b"\0") + speckle(60, 60).tobytes()


def _tiff_pages(count: int) -> bytes:
    """Directories one after the other, each a page over the same strip."""
    tags = {256: 60, 257: 60, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 60, 279: 3600}
    entries = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    first, step = 8 + 3600, len(entries) + 4
    pages = [entries + struct.pack("<I", first + step * (page + 1) if page + 1 < count else 0) for page in range(count)]
    return b"II*\0" + struct.pack("<I", first) + speckle(60, 60).tobytes() + b"".join(pages)


def _blank_and_thin() -> Made:
    for name, level in (("black", 0), ("white", 255), ("grey", 77)):
        yield f"all {name}", png_file(64, 64, rows=(b"\0" + bytes([level]) * 64) * 64), "blank.png", R.BLANK
    yield "one pixel", png_file(1, 1), "a.png", R.TOO_SMALL
    yield "a strip of 1 x 100,000 px", png_file(100_000, 1), "strip.png", R.TOO_SMALL
    yield "a strip of 13,300 x 16 px", png_file(13_300, 16), "strip.png", R.TOO_MANY_PIXELS
    yield "a strip of 16 x 9,000 px", png_file(16, 9_000), "strip.png", R.TOO_NARROW
    yield "all black at the limit of pixels", png_file(6320, 6320, rows=bytes(6321 * 6320)), "blank.png", R.BLANK


def _harmless() -> Made:
    """Strange, and still a picture."""
    yield "png and zip at once", image_bytes("PNG") + b"PK\x03\x04" + bytes(30), "a.png", None
    yield "jpeg and html at once", image_bytes("JPEG") + b"<script>alert(1)</script>", "a.html", None
    yield "dicom named as PNG", dicom(speckle()), "a.png", None
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 8
    yield "jpeg lying on its side", image_bytes("JPEG", exif=turned), "a.jpg", None
