"""How the pixels of a DICOM file are stored, by its header."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom import uid


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelLayout:
    """How the pixels of a file lie, checked: what a decoder is told, and nothing of whom they show."""

    transfer_syntax: uid.UID
    rows: int
    columns: int
    frame_count: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int
    pixel_vr: str
    extended_offsets: tuple[bytes, bytes] | None = field(default=None, repr=False)

    def frame_bytes(self, stored_bytes: int = 0) -> int:
        """Length of one uncompressed frame, where `stored_bytes` are there in all."""
        if self.photometric == "YBR_FULL_422" and not self.transfer_syntax.is_encapsulated:
            pairs_per_row = -(-self.columns // 2)
            padded = self.rows * pairs_per_row * 4
            return padded if stored_bytes >= padded * self.frame_count else self.rows * self.columns * 2
        return self.rows * self.columns * self.samples * (self.bits_allocated // 8)
