"""Kinds of JPEG and TIFF that Pillow cannot read, or reads wrongly without a word, refused by their names."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from wsus.data.formats.codestream import jpeg_header
from wsus.errors import ImageError, ImageReason

_SOF_JPEG_LS, _SOF_HIERARCHICAL = 0xF7, (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
_BITS, _COMPRESSION, _SAMPLE_FORMAT = 258, 259, 339
_SIGNED, _COMPLEX = 2, (5, 6)
_COMPRESSIONS = {
    6: "old-style JPEG", 9: "JBIG", 10: "JBIG", 32809: "ThunderScan", 34661: "JBIG", 34676: "SGI log", 34677: "SGI log",
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000",
    34718: "JPEG-LS", 34887: "LERC", 34892: "lossy JPEG",
    34933: "PNG", 34934: "JPEG XR", 22610: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_SIZES = {1: "B", 3: "H", 4: "L"}  # BYTE, SHORT, LONG
_MAX_TAGS = 4096


def refuse_unsupported(content: bytes, kind: str, name: str) -> None:
    """Raises ImageError for a JPEG-LS, hierarchical or deep JPEG, and for a TIFF whose compression or numbers are not read."""
    if kind == "JPEG":
        _check_jpeg(content, name)
    elif kind == "TIFF":
        _check_tiff(content, name)


def _check_jpeg(content: bytes, name: str) -> None:
    header = jpeg_header(content)
    if header is None:
        return
    if header.marker == _SOF_JPEG_LS:
        raise _refused(name, "a JPEG-LS image", ImageReason.UNSUPPORTED_FORMAT)
    if header.marker in _SOF_HIERARCHICAL:
        raise _refused(name, "hierarchical JPEG", ImageReason.UNSUPPORTED_FORMAT)
    if header.bits != 8:
        raise _refused(name, f"JPEG of {header.bits} bits; expected 8", ImageReason.UNSUPPORTED_PIXELS)


def _check_tiff(content: bytes, name: str) -> None:
    tags = dict(_first_directory(content))
    compression = tags.get(_COMPRESSION, 1)
    if compression in _COMPRESSIONS:
        raise _refused(name, f"{_COMPRESSIONS[compression]} in TIFF", ImageReason.UNSUPPORTED_FORMAT)
    if tags.get(_SAMPLE_FORMAT) == _SIGNED and tags.get(_BITS, 1) <= 16:  # Pillow reads 8 bits of them as if they were unsigned
        raise _refused(name, "signed integers, of which nobody says which one is black", ImageReason.UNSUPPORTED_PIXELS)
    if tags.get(_SAMPLE_FORMAT) in _COMPLEX:
        raise _refused(name, "complex numbers", ImageReason.UNSUPPORTED_PIXELS)


def _first_directory(content: bytes) -> Iterator[tuple[int, int]]:
    """Tag and first number of each entry of a TIFF file's first directory that holds whole numbers."""
    order = "<" if content.startswith(b"II") else ">"
    try:
        start = struct.unpack_from(f"{order}L", content, 4)[0]
        count = min(_MAX_TAGS, struct.unpack_from(f"{order}H", content, start)[0])
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, numbers, many = struct.unpack_from(f"{order}HHL", content, at)
            if numbers not in _SIZES or many == 0:
                continue
            size = struct.calcsize(order + _SIZES[numbers])
            place = at + 8 if many * size <= 4 else struct.unpack_from(f"{order}L", content, at + 8)[0]
            yield tag, struct.unpack_from(order + _SIZES[numbers], content, place)[0]
    except struct.error:  # a broken directory; what is wrong with it is the decoder's to say
        return


def _refused(name: str, what: str, reason: ImageReason) -> ImageError:
    return ImageError(f"{name}: {what}, which is not supported; convert it to PNG, of 8-bit greyscale or RGB", reason)
