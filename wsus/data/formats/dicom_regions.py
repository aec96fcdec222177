"""Where the B-mode picture lies in an ultrasound frame, and how large a pixel is.

Scanners burn their interface into the frame and say in Sequence of Ultrasound Regions which rectangle is what
(DICOM PS3.3 C.8.5.5). Outside it lie the maker's mark, grey bars, body marks and often the patient's name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydicom import Dataset

from wsus.data.formats.dicom_file import integer, invalid, numbers, value_of
from wsus.data.formats.image_warning import ImageWarning
from wsus.data.formats.limits import DecodeLimits
from wsus.errors import ImageError, ImageReason
from wsus.types import BoxXyxyPx

_2D, _TISSUE = 1, 1  # Region Spatial Format, Region Data Type
_DOPPLER_KINDS = {2: "colour flow", 3: "pulsed-wave Doppler", 4: "continuous-wave Doppler", 5: "Doppler", 6: "Doppler"}
_CENTIMETRES = 3  # Physical Units X Direction
_PLAUSIBLE_MM = (0.001, 5.0)  # of one pixel of an ultrasound picture
_MAX_REGIONS = 256
_SAME_SCALE = 0.05  # of the region's; scanners round
_MOST_NAMED = 8
_NO_SCALE = ImageWarning("no_scale", "no pixel spacing is given, so sizes in mm are not known")
_OFF_BY_PX = 1  # scanners write the corner outside, or one further


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """The rectangle to be diagnosed, its pixel spacing (down, across), and what a reader should know."""

    box_xyxy_px: BoxXyxyPx
    spacing_mm_yx: tuple[float, float] | None
    warnings: tuple[ImageWarning, ...]


def bmode_region(
    attributes: Dataset, image_hw: tuple[int, int], name: str, limits: DecodeLimits, index: int | None = None
) -> Region:
    """One two-dimensional tissue region of a frame of `image_hw`; the whole frame where none is described.

    Args:
        index: which of the regions that fit, from 0, read as a page is; None: the largest, of equal ones the first.
    Raises:
        ImageError: regions that lie outside the frame or cannot be read; there is none of this index.
    """
    items = _items(attributes, name)
    tissue = [item for item in items if _is_tissue(item, name)]
    warnings = _doppler_warnings(attributes, items, name)
    boxes: dict[BoxXyxyPx, Dataset] = {}
    for item in tissue:
        box = _box(item, image_hw, name, limits)
        if box is not None:
            boxes.setdefault(box, item)
    if index is not None and not 0 <= index < max(1, len(boxes)):
        there = f"its {len(boxes)} regions are 0 to {len(boxes) - 1}" if len(boxes) > 1 else "it has one picture, region 0"
        raise ImageError(f"{name}: there is no region {index}; {there}", ImageReason.REGION_OUT_OF_RANGE)

    spacing: tuple[float, float] | None
    more: tuple[ImageWarning, ...]
    if not boxes:
        why = "it does not say where the B-mode region lies"
        if items:
            why = "its B-mode region does not fit the frame" if tissue else "it names no B-mode region"
        spacing, more = _frame_spacing(attributes, name) if not tissue else (None, (_NO_SCALE,))
        whole = (0, 0, image_hw[1], image_hw[0])
        used = ImageWarning("whole_frame", f"the whole frame was used: {why}")
        return Region(box_xyxy_px=whole, spacing_mm_yx=spacing, warnings=(used, *warnings, *more))

    in_order = sorted(boxes, key=lambda box: (box[1], box[0]))
    chosen = in_order[index] if index is not None else max(in_order, key=_area)
    if len(boxes) > 1:
        warnings += (_several(in_order, chosen, asked=index is not None),)
    spacing, more = _region_spacing(boxes[chosen], name)
    more += _disagreement(spacing, attributes, name)
    return Region(box_xyxy_px=chosen, spacing_mm_yx=spacing, warnings=(*warnings, *more))


def _several(boxes: list[BoxXyxyPx], chosen: BoxXyxyPx, *, asked: bool) -> ImageWarning:
    """Two B-mode pictures side by side may be two lesions: which one counts must be seen, and can be chosen."""
    alike = [box for box in boxes if _area(box) == _area(chosen)]
    why = "as asked" if asked else "the largest" if len(alike) == 1 else f"the first of {len(alike)} of equal size"
    places = "; ".join(f"{number}: {x0},{y0} to {x1},{y1} px" for number, (x0, y0, x1, y1) in enumerate(boxes[:_MOST_NAMED]))
    sentence = f"{len(boxes)} B-mode regions ({places}); region {boxes.index(chosen)} was used, {why}"
    return ImageWarning("several_regions", sentence)


def _items(attributes: Dataset, name: str) -> list[Dataset]:
    sequence = value_of(attributes, "SequenceOfUltrasoundRegions", name)
    if sequence is None:
        return []
    if not isinstance(sequence, list) and not hasattr(sequence, "__len__"):
        raise invalid(name, "SequenceOfUltrasoundRegions", "is not a sequence")
    items = list(sequence)  # type: ignore[call-overload]
    if len(items) > _MAX_REGIONS or not all(isinstance(item, Dataset) for item in items):
        raise invalid(name, "SequenceOfUltrasoundRegions", f"holds more than {_MAX_REGIONS} regions or other things")
    return items


def _is_tissue(item: Dataset, name: str) -> bool:
    return _code(item, "RegionSpatialFormat", name) == _2D and _code(item, "RegionDataType", name) == _TISSUE


def _doppler_warnings(attributes: Dataset, items: list[Dataset], name: str) -> tuple[ImageWarning, ...]:
    codes = {_code(item, "RegionDataType", name) for item in items}
    kinds = sorted({_DOPPLER_KINDS[code] for code in codes if code in _DOPPLER_KINDS})
    if not kinds and _code(attributes, "UltrasoundColorDataPresent", name) == 1:
        kinds = ["colours"]
    return tuple(
        ImageWarning("doppler_region", f"a region of {kind} lies in the frame; the model knows B-mode alone") for kind in kinds
    )


def _code(item: Dataset, keyword: str, name: str) -> int:
    return integer(item, keyword, name, low=0, high=65535, default=0)


def _box(item: Dataset, image_hw: tuple[int, int], name: str, limits: DecodeLimits) -> BoxXyxyPx | None:
    """None where the region does not fit: archives shrink frames and leave the regions as they were."""
    corners = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    x0, y0, x1, y1 = (integer(item, f"RegionLocation{corner}", name, low=0, high=2**32 - 1) for corner in corners)
    height, width = image_hw
    if x1 > width + _OFF_BY_PX or y1 > height + _OFF_BY_PX:
        return None
    box = (x0, y0, min(x1 + 1, width), min(y1 + 1, height))  # the standard's lower right corner lies inside
    return box if min(box[2] - box[0], box[3] - box[1]) >= limits.min_side_px else None


def _area(box: BoxXyxyPx) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _region_spacing(item: Dataset, name: str) -> tuple[tuple[float, float] | None, tuple[ImageWarning, ...]]:
    units = {_code(item, f"PhysicalUnits{axis}Direction", name) for axis in "XY"}
    if units != {_CENTIMETRES}:
        sentence = "the region's scale is not given in centimetres, so sizes in mm are not known"
        return None, (ImageWarning("no_scale", sentence),)
    deltas = [_numbers_or_none(item, f"PhysicalDelta{axis}", name) for axis in "YX"]
    return _plausible([abs(value[0]) * 10 for value in deltas if len(value) == 1])  # an increment may point against the axis


def _disagreement(spacing: tuple[float, float] | None, attributes: Dataset, name: str) -> tuple[ImageWarning, ...]:
    """Sizes are measured by the region's scale; another one in the file means that one of the two is wrong."""
    of_frame, _ = _frame_spacing(attributes, name)
    if spacing is None or of_frame is None:
        return ()
    if all(abs(one - other) <= _SAME_SCALE * one for one, other in zip(spacing, of_frame, strict=True)):
        return ()
    region, frame = (f"{down:.4g} x {across:.4g} mm" for down, across in (spacing, of_frame))
    sentence = f"a pixel is {region} by its region and {frame} by PixelSpacing; the region's was used"
    return (ImageWarning("scales_disagree", sentence),)


def _frame_spacing(attributes: Dataset, name: str) -> tuple[tuple[float, float] | None, tuple[ImageWarning, ...]]:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = _numbers_or_none(attributes, keyword, name)
        if values:
            return _plausible(list(values))
    return None, (_NO_SCALE,)


def _numbers_or_none(attributes: Dataset, keyword: str, name: str) -> tuple[float, ...]:
    """A scale that cannot be read is no reason to refuse the picture: it is left unknown."""
    try:
        return numbers(attributes, keyword, name)
    except ImageError:
        return (math.nan,)


def _plausible(spacing: list[float]) -> tuple[tuple[float, float] | None, tuple[ImageWarning, ...]]:
    low, high = _PLAUSIBLE_MM
    if len(spacing) == 2 and all(low <= value <= high for value in spacing):  # false for NaN
        return (spacing[0], spacing[1]), ()
    sentence = f"the pixel spacing is missing or not between {low} and {high} mm, so sizes in mm are not known"
    return None, (ImageWarning("no_scale", sentence),)
