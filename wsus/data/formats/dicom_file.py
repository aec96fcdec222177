"""Read the few attributes of a DICOM file that its picture needs, and where its pixels lie. Nothing else is kept.

pydicom parses; what it does not bound is bounded here (deflated data, elements and items without number), and what it
says is not passed on: its warnings and exceptions quote values, and a value may name a patient.
"""

from __future__ import annotations

import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)

from wsus.data.formats.image_warning import ImageWarning
from wsus.data.formats.limits import DecodeLimits
from wsus.data.formats.sniff import dicom_without_preamble
from wsus.errors import ImageError, ImageReason

# fmt: off
KEPT = (
    "SOPClassUID", "Modality", "BurnedInAnnotation", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "UltrasoundColorDataPresent",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RepresentativeFrameNumber", "PixelSpacing", "ImagerPixelSpacing", "SequenceOfUltrasoundRegions",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "VOILUTSequence", "PresentationLUTShape", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    *(f"{kind}{colour}PaletteColorLookupTableData" for kind in ("", "Segmented") for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
)
# fmt: on
_KEPT_TAGS = [tag for tag in map(tag_for_keyword, KEPT) if tag is not None]
_PIXEL_DATA, _FLOAT_PIXEL_DATA = 0x7FE00010, (0x7FE00008, 0x7FE00009)
_META_START = 132
_SYNTAX_OF_BARE = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "big endian": ExplicitVRBigEndian}
_UNDEFINED = 0xFFFFFFFF
_MAX_READS = 50_000  # one or more per element; headers of ultrasound files hold some hundreds
_MAX_VALUE_BYTES = 512 * 2**10  # of a kept element; the longest honest ones are tables of 128 KiB
_MAX_TEXT = 64

PYDICOM_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
    BytesLengthException,
    InvalidDicomError,
)
"""What pydicom raises for files that break the standard."""

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it logs what it warns of, with values
_parsing = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomFile:
    """The kept attributes of one file, and the place of its pixels.

    content: the file, unpacked where it was deflated.  pixels: the element that holds them, None where there is none.
    """

    attributes: Dataset
    transfer_syntax: UID
    content: bytes = field(repr=False)
    pixels: PixelElement | None
    warnings: tuple[ImageWarning, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelElement:
    """Where the value of Pixel Data (or of its floating-point kin) begins, and its length; None: in items to the end."""

    tag: int
    vr: str
    start: int
    length: int | None


@contextmanager
def pydicom_kept_quiet() -> Iterator[None]:
    """No warning of pydicom leaves this block. One thread at a time, since Python's filters are the process's."""
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_dicom(content: bytes, name: str, limits: DecodeLimits) -> DicomFile:
    """Read a DICOM file's kept attributes; call it inside `pydicom_kept_quiet`.

    Raises:
        ImageError: it cannot be parsed, or is made to cost memory or time.
    """
    fp = _BoundedReader(content)
    warnings: tuple[ImageWarning, ...] = ()
    bare = None if content[_META_START - 4 : _META_START] == b"DICM" else dicom_without_preamble(content)
    if bare is None or bare == "header":
        fp.seek(_META_START if bare is None else 4 if content.startswith(b"DICM") else 0)
        meta = _parse(fp, name, stop_when=lambda tag, vr, length: tag >> 16 != 2, tags=[0x00020010])
        syntax = _transfer_syntax(meta, name)
    else:
        syntax = _SYNTAX_OF_BARE[bare]
        sentence = f"a data set without the header of a file; it was read as {syntax.name}"
        warnings = (ImageWarning("no_header", sentence),)
    if syntax == DeflatedExplicitVRLittleEndian:
        content = _inflate(content[fp.tell() :], name, limits)
        fp = _BoundedReader(content)
    found: list[PixelElement] = []

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        known_length = None if length == _UNDEFINED else length
        if tag in _KEPT_TAGS and (known_length or 0) > _MAX_VALUE_BYTES:
            raise ImageError(f"{name}: a DICOM attribute of {length:,} bytes where a small one belongs", ImageReason.TOO_COMPLEX)
        if tag == _PIXEL_DATA or tag in _FLOAT_PIXEL_DATA:
            found.append(PixelElement(tag=tag, vr=vr or "OW", start=fp.tell(), length=known_length))
        return bool(found)

    attributes = _parse(
        fp,
        name,
        implicit=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        stop_when=at_pixels,
        tags=_KEPT_TAGS,
    )
    return DicomFile(
        attributes=attributes,
        transfer_syntax=syntax,
        content=content,
        pixels=found[0] if found else None,
        warnings=warnings,
    )


def read_pixels(file: DicomFile, name: str) -> tuple[bytes, str]:
    """The value of Pixel Data as it lies in the file, and its VR. Raises ImageError: there is none, or not all of it."""
    element = file.pixels
    if element is None or element.length == 0:
        raise ImageError(f"{name}: a DICOM file without pixels; export the image itself", ImageReason.NO_PIXEL_DATA)
    if element.tag != _PIXEL_DATA:
        raise ImageError(f"{name}: floating-point pixels; expected 8 or 16 bits", ImageReason.UNSUPPORTED_PIXELS)
    if element.length is None and file.warnings:
        raise invalid(name, "TransferSyntaxUID", "is missing, and the pixels are compressed")
    if (element.length is None) != file.transfer_syntax.is_encapsulated:
        raise damaged(name, "its pixels are not stored as its transfer syntax says")
    end = None if element.length is None else element.start + element.length
    pixels = file.content[element.start : end]
    if element.length is not None and len(pixels) < element.length:
        raise damaged(name, f"{len(pixels):,} bytes of pixels; its header says {element.length:,}")
    return pixels, element.vr


def text(attributes: Dataset, keyword: str, name: str) -> str:
    """A short code as a string, empty where the attribute is missing. Raises ImageError where it is something else."""
    value = value_of(attributes, keyword, name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise invalid(name, keyword, "is not a code")
    return str(value).strip()


def integer(attributes: Dataset, keyword: str, name: str, *, low: int, high: int, default: int | None = None) -> int:
    """A whole number within bounds. Raises ImageError where it is missing without a default, or another thing."""
    value = value_of(attributes, keyword, name)
    if value is None:
        if default is None:
            raise invalid(name, keyword, "is missing")
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(name, keyword, "is not one whole number")
    if not low <= value <= high:
        raise invalid(name, keyword, f"is {int(value)}; expected {low} to {high}")
    return int(value)


def numbers(attributes: Dataset, keyword: str, name: str) -> tuple[float, ...]:
    """The numbers of an attribute; none where it is missing. Raises ImageError where they are none."""
    value = value_of(attributes, keyword, name)
    if value is None or value == "":
        return ()
    with suppress(*PYDICOM_ERRORS):
        return tuple(float(one) for one in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]))
    raise invalid(name, keyword, "is not a number")


def value_of(attributes: Dataset, keyword: str, name: str) -> object:
    """An attribute's value, None where it is missing or empty. Raises ImageError, without the value, where it cannot be read."""
    with suppress(*PYDICOM_ERRORS):
        return attributes.get(keyword)
    raise invalid(name, keyword, "cannot be read")


def invalid(name: str, keyword: str, what: str) -> ImageError:
    """The error for an attribute that is not as the standard says."""
    return ImageError(f"{name}: the DICOM attribute {keyword} {what}; export the image again", ImageReason.INVALID_ATTRIBUTES)


def damaged(name: str, what: str) -> ImageError:
    """The error for a file whose structure is broken."""
    return ImageError(
        f"{name}: the DICOM file is damaged or truncated ({what}); copy it again from its source", ImageReason.DAMAGED
    )


class _BoundedReader(io.BytesIO):
    """pydicom makes an object of each element and item it reads; a file of a million empty ones ends here."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._size, self.reads_left = len(content), _MAX_READS
        self.cut = False  # the file ended within an element

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise EOFError
        beyond = self.tell() > self._size  # pydicom passes over an element by seeking, wherever that leads
        value = super().read(size)
        self.cut |= beyond or (size is not None and 0 < len(value) < size)
        return value


def _parse(
    fp: _BoundedReader,
    name: str,
    *,
    stop_when: Callable[[BaseTag, str | None, int], bool],
    tags: Sequence[int],
    implicit: bool = False,
    little_endian: bool = True,
) -> Dataset:
    attributes = None
    with suppress(*PYDICOM_ERRORS):  # what is raised below is not chained to pydicom's message
        attributes = read_dataset(fp, implicit, little_endian, stop_when=stop_when, specific_tags=list(tags))
    if fp.reads_left < 0:
        raise ImageError(f"{name}: more DICOM elements than an image's header holds", ImageReason.TOO_COMPLEX)
    if attributes is None or fp.cut:
        raise damaged(name, "its elements cannot be read")
    return attributes


def _transfer_syntax(meta: Dataset, name: str) -> UID:
    syntax = text(meta, "TransferSyntaxUID", name)
    if not syntax:
        raise invalid(name, "TransferSyntaxUID", "is missing")
    if UID_dictionary.get(syntax, ("", ""))[1] != "Transfer Syntax":
        raise ImageError(f"{name}: an unknown DICOM transfer syntax", ImageReason.UNSUPPORTED_TRANSFER_SYNTAX)
    return UID(syntax)


def _inflate(deflated: bytes, name: str, limits: DecodeLimits) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(deflated, limits.max_bytes)
    except zlib.error:
        raise damaged(name, "its deflated part cannot be unpacked") from None
    if inflater.unconsumed_tail:
        raise ImageError(f"{name}: unpacks to more than {limits.max_bytes:,} bytes", ImageReason.TOO_LARGE)
    if not inflater.eof:
        raise damaged(name, "its deflated part ends early")
    return inflated
