"""Which bytes of Pixel Data are which frame, and whether there are as many as the header says.

Offset tables are optional and often wrong (all zeros, of another version of the file), and Number of Frames is now and
then missing. Compressed frames begin with a marker of their own, so the items themselves tell.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise

from pydicom import uid

from wsus.data.formats.dicom_file import damaged
from wsus.data.formats.dicom_layout import PixelLayout
from wsus.data.formats.image_warning import ImageWarning
from wsus.errors import ImageError, ImageReason

_MAX_FRAGMENTS, _MAX_FRAGMENTS_PER_FRAME = 10_000, 64
_ITEM, _SEQUENCE_END = 0xE000, 0xE0DD
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # JPEG and JPEG-LS, JPEG 2000, JPEG 2000 in its boxes

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFrames:
    """Where each frame lies in the value of Pixel Data, as half-open spans of its bytes; those of one frame belong together."""

    spans: tuple[tuple[Span, ...], ...] = field(repr=False)
    warnings: tuple[ImageWarning, ...] = ()

    def value(self, pixels: bytes, frame: int) -> bytes:
        """The bytes of one frame, by its index from 0."""
        return b"".join(pixels[start:end] for start, end in self.spans[frame])


def stored_frames(pixels: bytes, layout: PixelLayout, name: str) -> StoredFrames:
    """The frames that the header promises, with a warning where the file holds more.

    Raises:
        ImageError: it holds fewer; or its items are broken, or made to cost time.
    """
    spans = _compressed(pixels, layout, name) if layout.transfer_syntax.is_encapsulated else _native(pixels, layout)
    promised = layout.frame_count
    if len(spans) < promised:
        frames = f"{promised:,} frame(s) of {layout.columns} x {layout.rows} px"
        raise ImageError(
            f"{name}: the header says {frames}, and the file holds {len(spans):,} whole one(s) in {len(pixels):,} bytes; "
            "it is damaged or truncated, copy it again from its source",
            ImageReason.DAMAGED,
        )
    warnings: tuple[ImageWarning, ...] = ()
    if len(spans) > promised:
        which = "only the first is used" if promised == 1 else f"only the first {promised:,} are used"
        sentence = f"the header says {promised:,} frame(s) and the file holds {len(spans):,}: {which}"
        warnings = (ImageWarning("frames_disagree", sentence),)
    return StoredFrames(spans=tuple(spans[:promised]), warnings=warnings)


def _native(pixels: bytes, layout: PixelLayout) -> list[tuple[Span, ...]]:
    size = layout.frame_bytes(len(pixels))
    return [((start, start + size),) for start in range(0, len(pixels) // size * size, size)]


def _compressed(pixels: bytes, layout: PixelLayout, name: str) -> list[tuple[Span, ...]]:
    table, items = _items(pixels, layout, name)
    promised = layout.frame_count
    if len(items) == promised:  # what an offset table says is not needed then
        return [(item,) for item in items]
    by_table = _by_table(_offsets(pixels, table, layout), items, promised)
    if by_table is not None:
        return by_table
    begins = [index for index, item in enumerate(items) if _begins_a_frame(pixels, item, layout.transfer_syntax)]
    if not begins or begins[0] != 0:
        return [tuple(items)] if promised == 1 and items else []
    return [tuple(items[first:last]) for first, last in pairwise([*begins, len(items)])]


def _items(pixels: bytes, layout: PixelLayout, name: str) -> tuple[Span, list[Span]]:
    """The offset table's value and the fragments, walked no further than an honest file goes."""
    left = 2 + max(_MAX_FRAGMENTS, _MAX_FRAGMENTS_PER_FRAME * layout.frame_count)
    items: list[Span] = []
    at = 0
    while at + 8 <= len(pixels):
        group, element, length = struct.unpack_from("<HHL", pixels, at)
        if group != 0xFFFE or element not in (_ITEM, _SEQUENCE_END):
            raise damaged(name, "its compressed frames are not in items")
        if element == _SEQUENCE_END:
            return (items[0] if items else (0, 0)), items[1:]
        left -= 1
        if left < 0:
            raise ImageError(f"{name}: more fragments than its frames need", ImageReason.TOO_COMPLEX)
        items.append((at + 8, at + 8 + length))
        at += 8 + length
    raise damaged(name, "its compressed frames end early")


def _offsets(pixels: bytes, table: Span, layout: PixelLayout) -> tuple[int, ...]:
    """What the extended or the basic offset table says: where each frame's first item begins, after the table."""
    value, width = (pixels[table[0] : table[1]], 4) if layout.extended_offsets is None else (layout.extended_offsets[0], 8)
    count = len(value) // width
    return struct.unpack_from(f"<{count}{'L' if width == 4 else 'Q'}", value) if count <= layout.frame_count else ()


def _by_table(offsets: tuple[int, ...], items: list[Span], promised: int) -> list[tuple[Span, ...]] | None:
    """Frames by an offset table; None where it does not name the beginnings of as many items as there are frames."""
    if len(offsets) != promised or not items:
        return None
    index_at = {start - items[0][0]: index for index, (start, _) in enumerate(items)}
    first = [index_at.get(offset, -1) for offset in offsets]
    if first[0] != 0 or any(later <= earlier for earlier, later in pairwise(first)):
        return None
    return [tuple(items[begin:end]) for begin, end in pairwise([*first, len(items)])]


def _begins_a_frame(pixels: bytes, item: Span, syntax: uid.UID) -> bool:
    start, end = item
    if syntax == uid.RLELossless:  # its header: the number of segments, and where the first begins, which is behind the header
        return end - start >= 64 and 1 <= struct.unpack_from("<L", pixels, start)[0] <= 15 and pixels[start + 4] == 64
    return pixels[start : start + 8].startswith(_STARTS)
