"""DICOM files that a stranger may send; `hostile_inputs` names them among the others."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
from dicom_files import dataset, dicom, encode, pixel_element, region, speckle, write
from PIL import Image
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate

from wsus.errors import ImageReason as R

EXPLICIT, DEFLATED, RLE = uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.RLELossless
JPEG, J2K = uid.JPEGBaseline8Bit, uid.JPEG2000Lossless
MIB = 2**20
UNDEFINED = 0xFFFFFFFF
Made = Iterator[tuple[str, bytes, R | None]]


def hostile_dicom() -> Made:
    """Name, content and expected reason of each."""
    yield from _kinds()
    yield from _syntaxes()
    yield from _lies()
    yield from _lying_frames()
    yield from _costly()
    yield from _wrong_attributes()
    yield from _odd_values()


def with_elements(elements: bytes) -> bytes:
    """A sound file whose data set begins with these bytes, before its SOP class."""
    content = dicom(speckle())
    at = content.index(b"\x08\0\x16\0UI")
    return content[:at] + elements + content[at:]


def _kinds() -> Made:
    grey = speckle()
    kinds = {
        "CT": ("CT", uid.CTImageStorage, R.WRONG_MODALITY),
        "MR": ("MR", uid.MRImageStorage, R.WRONG_MODALITY),
        "mammography": ("MG", uid.DigitalMammographyXRayImageStorageForPresentation, R.WRONG_MODALITY),
        "a screen copy of CT": ("CT", uid.SecondaryCaptureImageStorage, R.WRONG_MODALITY),
        "ultrasound class but modality CT": ("CT", uid.UltrasoundImageStorage, R.WRONG_MODALITY),
        "structured report": ("SR", uid.ComprehensiveSRStorage, R.NOT_AN_IMAGE),
        "encapsulated PDF": ("DOC", uid.EncapsulatedPDFStorage, R.NOT_AN_IMAGE),
        "presentation state": ("PR", uid.GrayscaleSoftcopyPresentationStateStorage, R.NOT_AN_IMAGE),
        "ultrasound volume": ("US", uid.EnhancedUSVolumeStorage, R.NOT_AN_IMAGE),
        "unknown class": ("US", "1.2.3.4.5", R.NOT_AN_IMAGE),
    }
    for name, (modality, sop_class, reason) in kinds.items():
        yield name, dicom(grey, Modality=modality, SOPClassUID=sop_class), reason
    report = dataset(grey, Modality="SR", SOPClassUID=uid.ComprehensiveSRStorage)
    yield "structured report without pixels", write(report, EXPLICIT, None), R.NOT_AN_IMAGE
    yield "without pixels", write(dataset(grey), EXPLICIT, None), R.NO_PIXEL_DATA
    yield "with empty pixel data", write(dataset(grey), EXPLICIT, b""), R.NO_PIXEL_DATA
    floats = dataset(grey, BitsAllocated=32)
    floats.FloatPixelData = np.ones(4800, "<f4").tobytes()
    yield "of floating point", write(floats, EXPLICIT, None), R.UNSUPPORTED_PIXELS
    colour = np.stack([grey.astype(np.uint16)] * 3, axis=-1)
    yield "of 16-bit colours", dicom(colour), R.UNSUPPORTED_PIXELS


def _syntaxes() -> Made:
    for name, syntax in (("MPEG-4 video", uid.MPEG4HP41), ("HTJ2K", uid.HTJ2KLossless), ("JPIP", "1.2.840.10008.1.2.4.94")):
        content = write(dataset(speckle()), uid.UID(syntax), None) + pixel_element(bytes(4800))
        yield name, content, R.UNSUPPORTED_TRANSFER_SYNTAX
    sound, own = dicom(speckle()), b"1.2.840.10008.1.2.1\0"
    for name, claimed in (
        ("of an unknown transfer syntax", b"1.2.840.99999.1.2.1\0"),
        ("whose transfer syntax is a class", b"1.2.840.10008.1.1\0\0\0"),
    ):
        yield name, sound.replace(own, claimed, 1), R.UNSUPPORTED_TRANSFER_SYNTAX
    yield "without transfer syntax", sound.replace(b"\x02\0\x10\0UI", b"\x02\0\x11\0UI", 1), R.INVALID_ATTRIBUTES
    yield "without file meta information", bytes(128) + b"DICM" + sound[sound.index(b"\x08\0\x16\0UI") :], R.INVALID_ATTRIBUTES
    deflated = write(dataset(speckle()), DEFLATED, speckle().tobytes())
    yield "deflated and cut", deflated[:-300], R.DAMAGED
    start = deflated.index(b"1.2.840.10008.1.2.1.99") + 60
    yield "deflated and broken", deflated[:start] + bytes(60) + deflated[start + 60 :], R.DAMAGED


def _lies() -> Made:
    grey = speckle()
    header = write(dataset(grey), EXPLICIT, None)
    yield "of 65,535 x 65,535 px by its header", dicom(grey, Rows=65535, Columns=65535), R.TOO_MANY_PIXELS
    yield "of 2^31 - 1 frames", dicom(grey, NumberOfFrames=2**31 - 1), R.DAMAGED
    yield "of more frames than its data", dicom(grey, NumberOfFrames=3), R.DAMAGED
    yield "of more rows than its data", dicom(grey, Rows=61), R.DAMAGED
    yield "of no rows", dicom(grey, Rows=0), R.INVALID_ATTRIBUTES
    yield "of -1 frames", dicom(grey, NumberOfFrames=-1), R.INVALID_ATTRIBUTES
    yield "of 8 rows", dicom(grey[:8]), R.TOO_SMALL
    yield "of uncompressed pixels of undefined length", header + pixel_element(grey.tobytes(), length=UNDEFINED), R.DAMAGED
    yield "whose pixels claim 2 GiB", header + pixel_element(grey.tobytes(), length=2**31), R.DAMAGED
    yield "whose comment claims 4 GiB", with_elements(b"\x08\0\x08\0UN\0\0" + struct.pack("<I", UNDEFINED - 1)), R.DAMAGED
    yield "of an element cut short", header[:-3], R.DAMAGED
    yield "of noise after its preamble", header[:300] + np.random.default_rng(0).bytes(3000), R.DAMAGED


def _lying_frames() -> Made:
    grey = speckle()
    jpeg, j2k = encode(grey, JPEG), encode(grey, J2K)
    size = jpeg.index(b"\xff\xc0") + 5
    frames = {
        "whose jpeg is larger than its header says": (encode(speckle(200, 200), JPEG), JPEG),
        "whose jpeg claims 65,500 px a side": (jpeg[:size] + b"\xff\xdc\xff\xdc" + jpeg[size + 4 :], JPEG),
        "whose jpeg 2000 claims 60,000 px a side": (j2k[:8] + struct.pack(">LL", 60_000, 60_000) + j2k[16:], J2K),
        "whose jpeg is a png": (b"\x89PNG\r\n\x1a\n" + bytes(90), JPEG),
        "whose jpeg is cut": (jpeg[: len(jpeg) // 2], JPEG),
        "whose jpeg 2000 is cut after its header": (j2k[:120], J2K),
        "whose jpeg 2000 is jpeg": (jpeg, J2K),
        "whose run lengths have no header": (b"\x01\0\0\0" * 4, RLE),
        "whose run lengths end early": (struct.pack("<16I", 1, 64, *[0] * 14) + b"\x05\0\0", RLE),
        "whose jpeg-ls is jpeg": (jpeg, uid.JPEGLSLossless),
        "whose lossless jpeg is noise": (jpeg[:200] + bytes(range(256)) * 4, uid.JPEGLosslessSV1),
    }
    for name, (frame, syntax) in frames.items():
        yield name, write(dataset(grey), syntax, encapsulate([frame])), R.DAMAGED
    header = write(dataset(grey), JPEG, None)
    yield "of frames that are not there", write(dataset(grey, NumberOfFrames=9), JPEG, encapsulate([jpeg])), R.DAMAGED
    plain = write(dataset(grey), EXPLICIT, None)
    yield "uncompressed by its header, of items", plain + pixel_element(encapsulate([jpeg]), length=UNDEFINED), R.DAMAGED
    yield "of compressed pixels without items", header + pixel_element(jpeg, length=UNDEFINED), R.DAMAGED
    yield "of compressed pixels of a length", header + pixel_element(encapsulate([jpeg])), R.DAMAGED
    lying = b"\xfe\xff\0\xe0" + struct.pack("<II", 4, 2**31) + encapsulate([jpeg])[12:]
    yield "whose offset table points far away", header + pixel_element(lying, length=UNDEFINED), R.DAMAGED
    claims = b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0" + struct.pack("<I", 2**31) + jpeg
    yield "whose fragment claims 2 GiB", header + pixel_element(claims, length=UNDEFINED), R.DAMAGED


def _costly() -> Made:
    grey = speckle()
    header = write(dataset(grey), JPEG, None)
    yield "that inflates to 80 MiB", write(dataset(grey, Rows=8000, Columns=5000), DEFLATED, bytes(80 * MIB)), R.TOO_LARGE
    rle = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * (7 * MIB // 2)
    yield "of run lengths of 448 MiB for 4,800 px", write(dataset(grey), RLE, encapsulate([rle])), R.BLANK
    sequence, item = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\0\xe0"
    yield "of 2,000 nested sequences", with_elements((sequence + item + b"\xff\xff\xff\xff") * 2000), R.DAMAGED
    items = sequence + (item + bytes(4)) * 300_000 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    yield "of 300,000 empty items", with_elements(items), R.TOO_COMPLEX
    elements = b"".join(struct.pack("<HH2sH", 7, number & 0xFFFF, b"LO", 0) for number in range(200_000))
    yield "of 200,000 private elements", with_elements(elements), R.TOO_COMPLEX
    fragments = (item + bytes(4)) * 500_000 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    yield "of 500,000 empty fragments", header + pixel_element(fragments, length=UNDEFINED), R.TOO_COMPLEX
    yield "of 9,000 regions", dicom(grey, SequenceOfUltrasoundRegions=[region((0, 0, 70, 50))] * 9000), R.TOO_COMPLEX
    yield "of 300 regions", dicom(grey, SequenceOfUltrasoundRegions=[region((0, 0, 70, 50))] * 300), R.INVALID_ATTRIBUTES
    yield from _costly_jpeg_2000()
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", progressive=True)
    jpeg = buffer.getvalue()
    scans = jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * 500 + b"\xff\xd9"
    yield "jpeg of 500 scans", write(dataset(grey), JPEG, encapsulate([scans])), R.TOO_COMPLEX
    palette: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        palette[f"Segmented{colour}PaletteColorLookupTableData"] = b"\0\0\x01\0\0\0" + b"\x01\0\xff\xff\x05\0" * 20_000
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
    yield "of a palette that expands to 10^9 entries", dicom(grey, **palette), R.INVALID_ATTRIBUTES


def _costly_jpeg_2000() -> Made:
    """Little on the wire; OpenJPEG keeps hundreds of bytes for each tile, precinct and code-block."""
    grey = speckle(1000, 1000)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG2000", no_jp2=True, precinct_size=(64, 64), codeblock_size=(16, 16))
    sound = buffer.getvalue()
    style = sound.index(b"\xff\x52") + 4  # Scod, progression, layers, transform, levels, block size, ..., precincts
    levels, precincts = sound[style + 5], style + 10
    changes = {
        "of 10^6 tiles": (24, struct.pack(">LL", 1, 1)),
        "of precincts of 2 x 2 px": (precincts, b"\x11" * (levels + 1)),
        "of precincts of 4 x 4 px": (precincts, b"\x22" * (levels + 1)),
        "of 65,535 layers": (style + 2, b"\xff\xff"),
        "of 200 resolutions": (style + 5, b"\xc8"),
    }
    for name, (at, value) in changes.items():
        frame = sound[:at] + value + sound[at + len(value) :]
        yield f"jpeg 2000 {name}", write(dataset(grey), J2K, encapsulate([frame])), R.TOO_COMPLEX
    part = sound.index(b"\xff\x90")
    own = sound[style - 4 : style + 11 + levels]
    longer = struct.pack(">L", struct.unpack_from(">L", sound, part + 6)[0] + len(own))
    frame = sound[: part + 6] + longer + sound[part + 10 : part + 12] + own + sound[part + 12 :]
    yield "jpeg 2000 of a tile's own coding style", write(dataset(grey), J2K, encapsulate([frame])), R.TOO_COMPLEX
    yield (
        "jpeg 2000 without a coding style",
        write(dataset(grey), J2K, encapsulate([sound[: style - 4] + sound[part:]])),
        R.DAMAGED,
    )


def _wrong_attributes() -> Made:
    short = Dataset()
    short.LUTDescriptor = [4096, 0, 16]
    short.add_new(0x00283006, "US", list(range(10)))
    wrong: dict[str, dict[str, object]] = {
        "without rows": {"Rows": None},
        "without bits allocated": {"BitsAllocated": None},
        "of more bits stored than allocated": {"BitsStored": 12},
        "of a high bit elsewhere": {"HighBit": 3},
        "of a table shorter than it says": {"VOILUTSequence": [short]},
        "of an empty table": {"VOILUTSequence": [Dataset()]},
        "of a palette that is not there": {"PhotometricInterpretation": "PALETTE COLOR"},
        "of a window function of its own": {"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "CUBIC"},
    }
    for name, attributes in wrong.items():
        yield name, dicom(speckle(), **attributes), R.INVALID_ATTRIBUTES
    for name, attributes in {
        "without photometric interpretation": {"PhotometricInterpretation": None},
        "of an unknown photometric interpretation": {"PhotometricInterpretation": "SEPIA"},
        "of 12 bits allocated": {"BitsAllocated": 12},
    }.items():
        yield name, dicom(speckle(), **attributes), R.UNSUPPORTED_PIXELS
    wide = dicom(speckle(), WindowCenter="100", WindowWidth="50.5")
    yield "of a window NaN wide", wide.replace(b"50.5", b"NaN ", 1), None
    yield "of a window text wide", wide.replace(b"50.5", b"wide", 1), R.INVALID_ATTRIBUTES
    many = dicom(np.stack([speckle()] * 4))
    yield "of x frames", many.replace(b"IS\x02\x004 ", b"IS\x02\0x ", 1), R.INVALID_ATTRIBUTES
    yield "whose rows are a name", dicom(speckle()).replace(b"\x28\0\x10\0US", b"\x28\0\x10\0PN", 1), R.INVALID_ATTRIBUTES


def _odd_values() -> Made:
    grey = speckle()
    yield "that is all black", dicom(np.zeros((60, 80), np.uint8)), R.BLANK
    left_aside: dict[str, dict[str, object]] = {
        "whose window makes it black": {"WindowCenter": 65000, "WindowWidth": 2},
        "of a window of width zero": {"WindowCenter": 100, "WindowWidth": 0},
        "of a window of negative width": {"WindowCenter": 100, "WindowWidth": -50},
        "of slope zero": {"RescaleSlope": 0, "RescaleIntercept": 1},
        "of an infinite slope": {"RescaleSlope": "1e308", "RescaleIntercept": "1e308"},
    }
    for name, attributes in left_aside.items():
        yield name, dicom(grey.astype(np.uint16) * 200, **attributes), None
    yield "without its preamble", dicom(grey)[132:], None
    yield "of no frames", dicom(grey, NumberOfFrames=0), None
    yield "of more frames than it says", dicom(np.stack([grey, grey]), NumberOfFrames=1), None
    yield "of fewer frames than it says", dicom(np.stack([grey, grey]), NumberOfFrames=3), R.DAMAGED
    yield "of several frames, none named", dicom(np.stack([grey, grey])), R.FRAME_NEEDED
    inside_out, beyond = region((0, 0, 70, 50)), region((0, 0, 70, 50))
    inside_out.RegionLocationMinX0, inside_out.RegionLocationMaxX1 = 70, 10
    beyond.RegionLocationMaxX1 = 2**32 - 1
    for name, item in (("inside out", inside_out), ("beyond its frame", beyond), ("without attributes", Dataset())):
        yield f"of a region {name}", dicom(grey, SequenceOfUltrasoundRegions=[item]), None
    for name, value in (("negative", [-0.1, -0.1]), ("zero", [0, 0]), ("huge", [1e6, 1e6]), ("single", [0.1])):
        yield f"of {name} pixel spacing", dicom(grey, PixelSpacing=value), None
    private = b"\x07\0\x10\0LO\x06\0SECRET" + b"\x07\0\x01\x10UN\0\0" + struct.pack("<I", 3 * MIB) + bytes(3 * MIB)
    yield "with 3 MiB of private data", with_elements(private), None
    yield "with a Windows program's preamble", b"MZ" + bytes(126) + dicom(grey)[128:], None
    yield "with a TIFF preamble", b"II*\0" + bytes(124) + dicom(grey)[128:], None
    yield "in big endian", dicom(grey, uid.ExplicitVRBigEndian), None
    yield "with trailing bytes", dicom(grey) + bytes(999), None
