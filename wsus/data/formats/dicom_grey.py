"""From stored values to grey levels: DICOM's greyscale pipeline as one table over all values that a pixel can have.

Modality LUT or rescale, then VOI LUT or window, then the presentation's inversion (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2,
C.11.6). A table of at most 65,536 entries costs the same for a thumbnail and for a bomb.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from wsus.data.formats.dicom_file import PYDICOM_ERRORS, invalid, numbers, text, value_of
from wsus.data.formats.image_warning import ImageWarning
from wsus.errors import ImageError, ImageReason
from wsus.types import GreyHW

Levels = NDArray[np.float64]
_NEARLY_ALL = 0.995  # of the pixels
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as for every colour image of this project


@dataclass(frozen=True, kw_only=True, slots=True)
class GreyTable:
    """Grey levels by stored value (the pixel's lower `bits` bits, read as unsigned).

    levels: in [0, 255] where `fixed`; otherwise in the file's own unit, to be scaled by the frame's maximum.
    plain: the same without the file's window or VOI LUT, for frames in which that shows nothing; None where there is none.
    """

    levels: Levels
    bits: int
    fixed: bool
    inverted: bool
    plain: GreyTable | None = None
    warnings: tuple[ImageWarning, ...] = ()

    def shown(self, stored_HW: NDArray[np.integer]) -> tuple[GreyHW, tuple[ImageWarning, ...]]:
        """Grey uint8 (H, W) of stored values of any 8- or 16-bit type, and what a reader should know of how they came about."""
        native_HW = stored_HW.astype(stored_HW.dtype.newbyteorder("="), copy=False)  # big-endian files come as they lie
        index_HW = native_HW.view(f"u{native_HW.dtype.itemsize}") & ((1 << self.bits) - 1)
        counts = np.bincount(index_HW.ravel(), minlength=self.levels.size)
        present = counts > 0
        chosen, warnings = self, self.warnings
        if self.plain is not None and _shows_nothing(self._greys(present), self.plain._greys(present), counts):
            chosen = self.plain
            sentence = "the window shows nothing of the picture; it was left aside, as if none were given"
            warnings = (*warnings, ImageWarning("window", sentence))
        if not chosen.fixed:
            sentence = "no window is given; grey levels were scaled linearly, the brightest becoming 255"
            warnings = (*warnings, ImageWarning("depth", sentence))
        return chosen._greys(present)[index_HW], warnings

    def _greys(self, present: NDArray[np.bool_]) -> GreyHW:
        levels = self.levels
        if not self.fixed:
            low, high = min(0.0, float(levels[present].min())), float(levels[present].max())
            levels = (levels - low) * (255 / (high - low)) if high > low else np.zeros_like(levels)
        grey = np.clip(np.round(levels), 0, 255).astype(np.uint8)
        return 255 - grey if self.inverted else grey


def _shows_nothing(windowed: GreyHW, plain: GreyHW, counts: NDArray[np.integer]) -> bool:
    """Whether the window leaves nearly all pixels at one grey level that differ without it: it belongs to other pixels."""
    return _one_level(windowed, counts) and not _one_level(plain, counts)


def _one_level(greys: GreyHW, counts: NDArray[np.integer]) -> bool:
    pixels_by_grey = np.bincount(greys, weights=counts, minlength=256)
    return bool(pixels_by_grey.max() > _NEARLY_ALL * pixels_by_grey.sum())


def grey_table(attributes: Dataset, *, bits: int, signed: bool, photometric: str, name: str) -> GreyTable:
    """The table of a MONOCHROME1, MONOCHROME2 or PALETTE COLOR image. Raises ImageError."""
    values = np.arange(1 << bits, dtype=np.float64)
    if signed:
        values[values >= 1 << (bits - 1)] -= 1 << bits
    if photometric == "PALETTE COLOR":
        return GreyTable(levels=_palette(attributes, values, name), bits=bits, fixed=True, inverted=False)

    inverted = photometric == "MONOCHROME1" or text(attributes, "PresentationLUTShape", name) == "INVERSE"
    levels, odd_rescale = _modality(attributes, values, name)
    windowed, odd_window = _values_of_interest(attributes, levels, signed, name)
    warnings = (*odd_rescale, *odd_window)

    plain = GreyTable(levels=levels, bits=bits, fixed=False, inverted=inverted, warnings=warnings)
    if bits <= 8 and not signed and np.array_equal(levels, values):
        plain = replace(plain, levels=levels * (255 / ((1 << bits) - 1)), fixed=True)
    return plain if windowed is None else replace(plain, levels=windowed, fixed=True, plain=plain)


def window(values: Levels, center: float, width: float, function: str) -> Levels:
    """Values through a window to [0, 255].

    Args:
        function: LINEAR (PS3.3 C.11.2.1.2.1), SIGMOID (C.11.2.1.3.1) or LINEAR_EXACT (C.11.2.1.3.2).
    """
    if function == "SIGMOID":
        return 255 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return np.where(values > center, 255.0, 0.0)
    return np.clip((values - center) / width + 0.5, 0, 1) * 255


def _modality(attributes: Dataset, values: Levels, name: str) -> tuple[Levels, tuple[ImageWarning, ...]]:
    item = _first_item(attributes, "ModalityLUTSequence", name)
    if item is not None:
        entries, first, _ = _lut(item, "ModalityLUTSequence", bool(values.min() < 0), name)
        return _looked_up(values, entries, first), ()
    slope, intercept = (numbers(attributes, f"Rescale{part}", name) for part in ("Slope", "Intercept"))
    if not slope or not intercept:
        return values, ()
    levels = values * slope[0] + intercept[0]
    if slope[0] == 0 or not np.isfinite(levels).all():
        sentence = "RescaleSlope is 0, or it or RescaleIntercept no finite number: the rescale was left aside"
        return values, (ImageWarning("window", sentence),)
    return levels, ()


def _values_of_interest(
    attributes: Dataset, levels: Levels, signed: bool, name: str
) -> tuple[Levels | None, tuple[ImageWarning, ...]]:
    """Levels in [0, 255] through the VOI LUT or the first window; None where there is none that can be used."""
    item = _first_item(attributes, "VOILUTSequence", name)
    if item is not None:
        entries, first, lut_bits = _lut(item, "VOILUTSequence", signed, name)
        return _looked_up(levels, entries, first) * (255 / ((1 << lut_bits) - 1)), ()
    center, width = (numbers(attributes, f"Window{part}", name) for part in ("Center", "Width"))
    if not center or not width:
        return None, ()
    function = text(attributes, "VOILUTFunction", name) or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise invalid(name, "VOILUTFunction", "is none of LINEAR, LINEAR_EXACT, SIGMOID")
    if not (np.isfinite(center[0]) and np.isfinite(width[0])) or width[0] < (1 if function == "LINEAR" else 1e-9):
        sentence = "WindowWidth or WindowCenter is not a number that makes a window: it was left aside"
        return None, (ImageWarning("window", sentence),)
    return window(levels, center[0], width[0], function), ()


def _first_item(attributes: Dataset, keyword: str, name: str) -> Dataset | None:
    sequence = value_of(attributes, keyword, name)
    if sequence is None or (hasattr(sequence, "__len__") and len(sequence) == 0):
        return None
    try:
        item = sequence[0]  # type: ignore[index]
    except PYDICOM_ERRORS:
        item = None
    if not isinstance(item, Dataset):
        raise invalid(name, keyword, "is not a sequence")
    return item


def _lut(item: Dataset, keyword: str, signed: bool, name: str) -> tuple[Levels, int, int]:
    """Entries, the first value mapped, and bits per entry of a LUT item (PS3.3 C.11.1.1)."""
    descriptor = numbers(item, "LUTDescriptor", name)
    if len(descriptor) != 3 or not all(value.is_integer() for value in descriptor):
        raise invalid(name, keyword, "has no descriptor of three numbers")
    count, first, bits = (int(value) for value in descriptor)
    count = count or 1 << 16
    if not (1 <= count <= 1 << 16 and 8 <= bits <= 16):
        raise invalid(name, keyword, "describes a table that cannot be")
    data = value_of(item, "LUTData", name)
    if isinstance(data, bytes):
        little = item.original_encoding[1]
        entries = np.frombuffer(
            data, "u1" if len(data) in (count, count + 1) and bits == 8 else f"{'<' if little else '>'}u2", -1
        )
    else:
        entries = np.array(numbers(item, "LUTData", name))
    if entries.size < count:
        raise invalid(name, keyword, f"holds {entries.size} entries; its descriptor says {count}")
    return entries[:count].astype(np.float64), first - (1 << 16 if signed and first >= 1 << 15 else 0), bits


def _looked_up(values: Levels, entries: Levels, first: int) -> Levels:
    """Values below the table take its first entry, values above its last."""
    return entries[np.clip(np.round(values) - first, 0, entries.size - 1).astype(np.int64)]


def _palette(attributes: Dataset, values: Levels, name: str) -> Levels:
    _check_segments(attributes, name)
    try:
        colours = apply_color_lut(values.astype(np.int32), attributes)[:, :3]
    except PYDICOM_ERRORS:
        colours = None
    if colours is None:
        raise invalid(name, "RedPaletteColorLookupTableData", "and its companions are no palette")
    if colours.dtype.itemsize == 1 and values.size > 256:
        raise ImageError(f"{name}: a palette of 8 bits for pixels of more", ImageReason.UNSUPPORTED_PIXELS)
    deep = colours.dtype.itemsize == 2 and colours.max() > 255
    return (colours / (257 if deep else 1)) @ _LUMA


def _check_segments(attributes: Dataset, name: str) -> None:
    """Segmented palettes (PS3.3 C.7.9.2) expand: a few bytes may ask for 65,535 entries, again and again."""
    for colour in ("Red", "Green", "Blue"):
        data = value_of(attributes, f"Segmented{colour}PaletteColorLookupTableData", name)
        if data is None:
            continue
        descriptor = numbers(attributes, f"{colour}PaletteColorLookupTableDescriptor", name)
        if not isinstance(data, bytes) or len(descriptor) != 3 or descriptor[2] not in (8, 16):
            raise invalid(name, f"{colour}PaletteColorLookupTableDescriptor", "does not describe a palette")
        little = bool(attributes.original_encoding[1])
        dtype = "u1" if descriptor[2] == 8 else ("<u2" if little else ">u2")
        words = np.frombuffer(data[: len(data) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize], dtype).tolist()
        if _expanded_length(words) > 1 << 16:
            raise invalid(name, f"Segmented{colour}PaletteColorLookupTableData", "expands to more than 65,536 entries")


def _expanded_length(words: list[int]) -> int:
    """Entries that segments expand to, indirect ones at their most; counted no further than the limit."""
    total, at, longest = 0, 0, 0
    while at + 1 < len(words) and total <= 1 << 16:
        opcode, length = words[at], words[at + 1]
        at += 2 + {0: length, 1: 1}.get(opcode, 4 if max(words) < 256 else 2)
        longest = max(longest, length)
        total += length if opcode < 2 else length * longest
    return total
