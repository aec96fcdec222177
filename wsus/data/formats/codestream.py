"""What a compressed frame says of itself, read before its decoder sees it: size, depth, and what decoding it would cost.

A JPEG 2000 stream of 2 MB may ask for precincts of 2 x 2 px, for which OpenJPEG takes 550 bytes of memory per pixel; a
progressive JPEG may come in thousands of scans, each of which walks the whole image.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_SOF, _NOT_SOF, _SOF_JPEG_LS = range(0xC0, 0xD0), (0xC4, 0xC8, 0xCC), 0xF7  # frame headers among JPEG's markers
_MAX_SCANS = 64  # encoders write about ten

_J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ
_JP2_BOX = b"\0\0\0\x0cjP  "
_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_MAX_TILES = 4096
_MAX_BLOCKS, _MAX_PACKETS = 1 << 18, 1 << 20  # a precinct holds one block or more, so blocks bound both
_WHOLE = 0xFF  # the exponents of a precinct of 32,768 x 32,768 px


class FrameHeader(NamedTuple):
    """Size in pixels, samples per pixel and bits per sample of one frame.

    costly: why it must not be decoded, or nothing.  marker: the second byte of JPEG's frame header, which tells its process.
    """

    width: int
    height: int
    components: int
    bits: int
    costly: str = ""
    marker: int = 0


def jpeg_header(stream: bytes) -> FrameHeader | None:
    """The frame header (SOF) of a JPEG or JPEG-LS stream, None where there is none."""
    if not stream.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker == _SOF_JPEG_LS or (marker in _SOF and marker not in _NOT_SOF):
            bits, height, width, components = struct.unpack_from(">BHHB", stream, at + 4)
            costly = "" if few_scans(stream) else f"more than {_MAX_SCANS} scans"
            return FrameHeader(width, height, components, bits, costly, marker)
        at += 2 + struct.unpack_from(">H", stream, at + 2)[0]
    return None


def few_scans(jpeg: bytes) -> bool:
    """Whether a JPEG stream has no more scans than encoders write. In coded data no marker occurs."""
    return jpeg.count(b"\xff\xda") <= _MAX_SCANS


def jpeg_2000_header(stream: bytes) -> FrameHeader | None:
    """The header of a JPEG 2000 codestream (ISO/IEC 15444-1 Annex A), bare or, against the DICOM standard, in its JP2 boxes."""
    start = stream.find(_J2K_START)
    if start < 0 or (start > 0 and not stream.startswith(_JP2_BOX)) or stream.count(_J2K_START) > 1:
        return None
    try:
        x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components, depth = struct.unpack_from(">8LHB", stream, start + 8)
        if not (x0 < x1 and y0 < y1 and tile_x and tile_y and tile_x0 <= x0 and tile_y0 <= y0):
            return None
        tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
        size = (x1 - x0, y1 - y0)
        costly = f"{tiles} tiles" if tiles > _MAX_TILES else _costly_coding(stream, start + 2, size, components)
    except (struct.error, IndexError):
        return None
    return FrameHeader(*size, components, (depth & 0x7F) + 1, costly)


def _costly_coding(stream: bytes, at: int, size: tuple[int, int], components: int) -> str:
    """Walk the main header and those of all tile-parts; name the first thing that would cost too much."""
    in_tile, tile_end = False, len(stream)
    while at + 2 <= len(stream):
        marker = struct.unpack_from(">H", stream, at)[0]
        if marker == _EOC:
            break
        if marker == _SOD:
            at, in_tile = tile_end, False
            continue
        length = struct.unpack_from(">H", stream, at + 2)[0]
        if marker == _SOT:
            part_bytes = struct.unpack_from(">L", stream, at + 6)[0]
            in_tile, tile_end = True, at + part_bytes if part_bytes >= 14 else len(stream)
        elif marker in (_COD, _COC):
            if in_tile:
                return "a coding style of its own per tile"
            style = at + 4 if marker == _COD else at + 4 + (1 if components < 257 else 2)
            layers = struct.unpack_from(">H", stream, style + 2)[0] if marker == _COD else 1
            costly = _costly_style(stream, style, 5 if marker == _COD else 1, layers, size, components)
            if costly:
                return costly
        at += 2 + length
    return ""


def _costly_style(stream: bytes, style: int, skip: int, layers: int, size: tuple[int, int], components: int) -> str:
    """Count the precincts, code-blocks and packets of a coding style (A.6.1): Scod, then levels, block size, precincts."""
    levels, block_x, block_y = stream[style + skip], stream[style + skip + 1] + 2, stream[style + skip + 2] + 2
    exponents = stream[style + skip + 5 : style + skip + 6 + levels] if stream[style] & 1 else bytes([_WHOLE]) * (levels + 1)
    if levels > 32 or len(exponents) < levels + 1:
        return f"{levels} resolutions"
    precincts = blocks = 0
    for resolution, exponent in enumerate(exponents):
        width, height = (-(-side >> (levels - resolution)) for side in size)  # rounded up
        across, down = exponent & 15, exponent >> 4
        precincts += _cells(width, across) * _cells(height, down)
        bands = 1 if resolution == 0 else 2  # a precinct holds half as much of each subband
        blocks += _cells(width, min(block_x, across - bands + 1)) * _cells(height, min(block_y, down - bands + 1))
    counts = {
        "code-blocks": (blocks * components, _MAX_BLOCKS),
        "packets": (precincts * components * layers, _MAX_PACKETS),
    }
    return next((f"{count} {what}" for what, (count, most) in counts.items() if count > most), "")


def _cells(side: int, exponent: int) -> int:
    return -(-side >> exponent) if exponent >= 0 else side
