"""Tell a file's format by its first bytes. Names and content types are the sender's claim and are not asked."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "DICOM")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_DICOM = b"DICM"  # after a preamble of 128 bytes that may be anything, even the header of another format
_FIRST_GROUPS = tuple(struct.pack("<H", group) for group in (0x0008, 0x0010, 0x0018, 0x0020, 0x0028))
_VRS = tuple(b"AE AS AT CS DA DS DT FD FL IS LO LT OB OF OW PN SH SL SQ SS ST TM UI UL UN US UT".split())
_LONGEST_FIRST = 1024
BareDicom = Literal["header", "explicit", "implicit", "big endian"]
_OTHERS = (
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftyp", "a video or a HEIF/AVIF image"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 codestream"),
    (0, b"II+\0", "a BigTIFF image"),
    (0, b"MM\0+", "a BigTIFF image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
)


def sniff(content: bytes) -> str | None:
    """One of `FORMATS`, or None."""
    if content[128:132] == _DICOM:
        return "DICOM"
    known = next((name for magic, name in _MAGIC if content.startswith(magic)), None)
    return known or ("DICOM" if dicom_without_preamble(content) else None)


def dicom_without_preamble(content: bytes) -> BareDicom | None:
    """Which part of a DICOM file the content begins with, where its preamble is missing; None where it is no such file.

    Old archives and network tools write data sets without the preamble, or without the whole file header. Two elements in
    a row that the standard could have are asked for, in groups that images begin with.
    """
    if content.startswith(_DICOM) or (content[:2] == b"\x02\0" and content[4:6] in (b"UL", b"OB", b"UI")):
        return "header"
    if content[:2] in _FIRST_GROUPS:
        if content[4:6] in _VRS:
            return "explicit"
        length = struct.unpack_from("<L", content, 4)[0] if len(content) >= 8 else 0
        follows = content[8 + length : 12 + length]
        if length <= _LONGEST_FIRST and len(follows) == 4 and struct.unpack("<HH", follows) > struct.unpack_from("<HH", content):
            return "implicit" if follows[:2] in _FIRST_GROUPS else None
    if content[1::-1] in _FIRST_GROUPS and content[4:6] in _VRS:
        return "big endian"
    return None


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM file does, whatever its name; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return sniff(file.read(2048)) == "DICOM"
    except OSError:
        return False


def describe_other(content: bytes) -> str:
    """What a file of no accepted format seems to be, in words; an empty string where that cannot be said."""
    for offset, magic, words in _OTHERS:
        if content[offset : offset + len(magic)] == magic:
            return words
    start = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML or SVG document"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    return ""
