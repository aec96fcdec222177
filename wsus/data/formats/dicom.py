"""A DICOM ultrasound image, single or multi-frame, into grey frames.

Accepted: ultrasound images, and secondary captures of one. Everything else has its reason (`wsus.errors.ImageReason`).
No identifier of the file is read, so none can be in a result, a log line or an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, uid
from pydicom.uid import UID_dictionary

from wsus.data.formats import dicom_pixels
from wsus.data.formats.colour import colour_warning
from wsus.data.formats.dicom_file import DicomFile, integer, invalid, pydicom_kept_quiet, read_dicom, read_pixels, text, value_of
from wsus.data.formats.dicom_frames import StoredFrames, stored_frames
from wsus.data.formats.dicom_grey import GreyTable, grey_table
from wsus.data.formats.dicom_layout import PixelLayout
from wsus.data.formats.dicom_regions import Region, bmode_region
from wsus.data.formats.image_warning import ImageWarning
from wsus.data.formats.limits import DecodeLimits, check_size
from wsus.data.formats.raster import chosen_frame
from wsus.errors import ImageError, ImageReason
from wsus.types import GreyHW, GreyImage

_US_RETIRED = ("1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3")
_ULTRASOUND = (uid.UltrasoundImageStorage, uid.UltrasoundMultiFrameImageStorage, *_US_RETIRED)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MODALITIES = {
    "CT": "computed tomography", "MR": "magnetic resonance", "MG": "mammography", "CR": "computed radiography",
    "DX": "digital radiography", "NM": "nuclear medicine", "PT": "positron emission tomography", "XA": "X-ray angiography",
    "RF": "fluoroscopy", "SM": "slide microscopy", "ES": "endoscopy", "XC": "photography", "IVUS": "intravascular ultrasound",
}  # fmt: skip
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomImage:
    """A DICOM file that has been checked and not yet decoded."""

    layout: PixelLayout
    frames: StoredFrames
    table: GreyTable | None
    region: Region
    representative_frame: int | None
    warnings: tuple[str, ...]
    pixels: bytes = field(repr=False)


def decode_dicom(
    content: bytes, name: str, limits: DecodeLimits, frame: int | None = None, region: int | None = None
) -> GreyImage:
    """One frame. Without an index it is the only one, or the one that the file calls representative. Raises ImageError."""
    image = open_dicom(content, name, limits, region)
    count = image.layout.frame_count
    index = chosen_frame(frame if frame is not None else image.representative_frame, count, name)
    return _grey_image(image, index, dicom_pixels.decode_frame(image.pixels, image.layout, image.frames, index, name))


def decode_all_frames(content: bytes, name: str, limits: DecodeLimits, region: int | None = None) -> Iterator[GreyImage]:
    """Every frame in turn. Raises ImageError, where there are more than the limits allow before the first."""
    image = open_dicom(content, name, limits, region)
    layout = image.layout
    total = layout.rows * layout.columns * layout.frame_count
    if layout.frame_count > limits.max_frames or total > limits.max_total_pixels:
        raise ImageError(
            f"{name}: {layout.frame_count} frames of {layout.columns} x {layout.rows} px; at most {limits.max_frames} frames and "
            f"{limits.max_total_pixels:,} pixels are decoded at once; name the frame that is wanted",
            ImageReason.TOO_MANY_FRAMES,
        )
    for index, stored in enumerate(dicom_pixels.decode_frames(image.pixels, layout, image.frames, name)):
        yield _grey_image(image, index, stored)


def open_dicom(content: bytes, name: str, limits: DecodeLimits, region_index: int | None = None) -> DicomImage:
    """Read and check everything but the pixels themselves. Raises ImageError."""
    with pydicom_kept_quiet():
        file = read_dicom(content, name, limits)
        attributes = file.attributes
        warnings = (*file.warnings, *_check_kind(attributes, name))
        dicom_pixels.check_supported(file.transfer_syntax, name)
        pixels, pixel_vr = read_pixels(file, name)
        layout = _layout(file, pixel_vr, name)
        check_size(layout.columns, layout.rows, name, limits)
        frames = stored_frames(pixels, layout, name)
        table = None
        if layout.photometric in _MONOCHROME:
            table = grey_table(
                attributes, bits=layout.bits_stored, signed=layout.signed, photometric=layout.photometric, name=name
            )
        region = bmode_region(attributes, (layout.rows, layout.columns), name, limits, region_index)
        representative = integer(attributes, "RepresentativeFrameNumber", name, low=0, high=2**31, default=0)
    return DicomImage(
        layout=layout,
        frames=frames,
        table=table,
        region=region,
        representative_frame=representative - 1 if 1 <= representative <= layout.frame_count else None,  # DICOM counts from 1
        warnings=(*warnings, *frames.warnings, *region.warnings),
        pixels=pixels,
    )


def _grey_image(image: DicomImage, index: int, stored: NDArray[np.integer]) -> GreyImage:
    x0, y0, x1, y1 = image.region.box_xyxy_px
    cropped = np.ascontiguousarray(stored[y0:y1, x0:x1])
    if image.table is None:
        grey_HW, seen = _luma(cropped), colour_warning(cropped) if cropped.ndim == 3 else ()
    else:
        grey_HW, seen = image.table.shown(cropped)
    return GreyImage(
        grey_HW=grey_HW,
        format="DICOM",
        source_hw=(image.layout.rows, image.layout.columns),
        crop_xyxy_px=image.region.box_xyxy_px,
        frame=index,
        frame_count=image.layout.frame_count,
        spacing_mm_yx=image.region.spacing_mm_yx,
        warnings=(*image.warnings, *seen),
    )


def _luma(colours: NDArray[np.integer]) -> GreyHW:
    """Grey of RGB (H, W, 3), or of luminance (H, W), which it is."""
    return np.asarray(Image.fromarray(colours.astype(np.uint8)).convert("L"))


def _check_kind(attributes: Dataset, name: str) -> tuple[str, ...]:
    """Refuse what is no ultrasound picture; warn of what only may be one."""
    modality = text(attributes, "Modality", name)
    sop_class = text(attributes, "SOPClassUID", name)
    kind = UID_dictionary.get(sop_class, ("an unknown kind",))[0]  # never the value: a file may say anything here
    secondary = sop_class == _SECONDARY_CAPTURE or sop_class.startswith(f"{_SECONDARY_CAPTURE}.")
    if sop_class and sop_class not in _ULTRASOUND and not secondary:
        if "Image Storage" in kind and modality in _MODALITIES:
            raise _wrong_modality(modality, name)
        raise ImageError(f"{name}: this DICOM object is {kind!r}; expected an ultrasound image", ImageReason.NOT_AN_IMAGE)
    if modality not in (("US", "OT", "") if secondary else ("US",) if not sop_class else ("US", "")):
        raise _wrong_modality(modality, name)
    burned_in = text(attributes, "BurnedInAnnotation", name)
    warnings: tuple[str, ...] = ()
    if secondary:
        sentence = "a secondary capture: a copy of a screen, without the scanner's scale and regions"
        warnings += (ImageWarning("secondary_capture", sentence),)
    if burned_in == "YES" or (secondary and burned_in != "NO"):
        warnings += (ImageWarning("burned_in_text", "text may be burned into the pixels, the patient's name among it"),)
    return warnings


def _wrong_modality(modality: str, name: str) -> ImageError:
    what = f"{modality} ({_MODALITIES[modality]})" if modality in _MODALITIES else "not given, or another than ultrasound"
    return ImageError(f"{name}: the DICOM modality is {what}; expected US (ultrasound)", ImageReason.WRONG_MODALITY)


def _layout(file: DicomFile, pixel_vr: str, name: str) -> PixelLayout:
    attributes = file.attributes

    def whole(keyword: str, low: int, high: int, default: int | None = None) -> int:
        return integer(attributes, keyword, name, low=low, high=high, default=default)

    allocated = whole("BitsAllocated", 1, 64)
    samples = whole("SamplesPerPixel", 1, 4, 1)
    photometric = text(attributes, "PhotometricInterpretation", name)
    if photometric not in (_MONOCHROME if samples == 1 else _COLOUR) or allocated not in (8, 16):
        known = photometric if photometric in (*_MONOCHROME, *_COLOUR, "YBR_PARTIAL_420", "CMYK", "ARGB", "HSV") else "unknown"
        raise ImageError(
            f"{name}: DICOM pixels of {samples} samples, {allocated} bits, photometric interpretation {known}; "
            "expected 8 or 16 bits of MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB or YBR",
            ImageReason.UNSUPPORTED_PIXELS,
        )
    stored = whole("BitsStored", 1, allocated, allocated)
    if whole("HighBit", 0, 63, stored - 1) != stored - 1:
        raise invalid(name, "HighBit", "is not BitsStored - 1")
    if samples > 1 and (samples != 3 or stored != 8 or allocated != 8):
        raise ImageError(f"{name}: colours of {stored} bits; expected 8", ImageReason.UNSUPPORTED_PIXELS)
    return PixelLayout(
        transfer_syntax=file.transfer_syntax,
        rows=whole("Rows", 1, 65535),
        columns=whole("Columns", 1, 65535),
        frame_count=max(1, whole("NumberOfFrames", 0, 2**31 - 1, 1)),  # none at all is said by some that hold one
        samples=samples,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=bool(whole("PixelRepresentation", 0, 1, 0)),
        planar=whole("PlanarConfiguration", 0, 1, 0),
        pixel_vr=pixel_vr,
        extended_offsets=_extended_offsets(attributes, name),
    )


def _extended_offsets(attributes: Dataset, name: str) -> tuple[bytes, bytes] | None:
    offsets, lengths = (value_of(attributes, f"ExtendedOffsetTable{part}", name) for part in ("", "Lengths"))
    return (offsets, lengths) if isinstance(offsets, bytes) and isinstance(lengths, bytes) else None
