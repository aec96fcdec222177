"""Tell a file's format by its first bytes. Names and content types are the sender's claim and are not asked."""

from __future__ import annotations

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "DICOM")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_DICOM = b"DICM"  # after a preamble of 128 bytes that may be anything, even the header of another format
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
    return next((name for magic, name in _MAGIC if content.startswith(magic)), None)


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
