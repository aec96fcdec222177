"""DICOM files made in code, of every photometric interpretation and transfer syntax that tests need."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from typing import Any

import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, FileDataset, FileMetaDataset, dcmwrite, uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder

SECRET = "SECRET^PATIENT"
IDENTIFIERS = {
    "PatientName": SECRET,
    "PatientID": "SECRET^PATIENT-4711",
    "PatientComments": SECRET,
    "InstitutionName": SECRET,
    "ReferringPhysicianName": SECRET,
    "StudyDescription": SECRET,
    "AccessionNumber": "SECRET^PATIENT",
}


def speckle(height: int = 60, width: int = 80, *, seed: int = 0) -> NDArray[np.uint8]:
    """Grey noise on a gradient (H, W): every level differs from its neighbours, none is lost unseen."""
    ramp = np.linspace(20, 180, width)[None, :] + np.linspace(0, 40, height)[:, None]
    return np.clip(ramp + np.random.default_rng(seed).normal(0, 8, (height, width)), 0, 255).astype(np.uint8)


def coloured(height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """A smooth picture (H, W, 3) in colours, so that a lossy codec stays close."""
    down, across = np.mgrid[0:height, 0:width]
    return np.stack([40 + 2 * across, 30 + 3 * down, 200 - across - down], axis=-1).clip(0, 255).astype(np.uint8)


def dataset(frames: NDArray[Any], **attributes: Any) -> Dataset:
    """An ultrasound image's attributes, identifiers among them, for frames (H, W), (F, H, W), (H, W, 3) or (F, H, W, 3)."""
    colour = frames.shape[-1] == 3 and frames.ndim > 2
    many = frames.ndim == (4 if colour else 3)
    height, width = frames.shape[many : many + 2]
    made = Dataset()
    made.SOPClassUID = uid.UltrasoundMultiFrameImageStorage if many else uid.UltrasoundImageStorage
    made.SOPInstanceUID = uid.generate_uid(entropy_srcs=["wsus"])
    made.Modality = "US"
    for keyword, value in IDENTIFIERS.items():
        setattr(made, keyword, value)
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    if many:
        made.NumberOfFrames = frames.shape[0]
    made.Rows, made.Columns = height, width
    made.BitsAllocated = made.BitsStored = 8 * frames.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(frames.dtype.kind == "i")
    for keyword, value in attributes.items():
        if value is None:
            del made[keyword]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                setattr(made, keyword, value)
    return made


def dicom(
    frames: NDArray[Any], syntax: uid.UID = uid.ExplicitVRLittleEndian, *, pixels: bytes | None = None, **attributes: Any
) -> bytes:
    """A whole file. pixels: the value of Pixel Data instead of the frames' own; attributes: set, or removed where None."""
    made = dataset(frames, **attributes)
    data = pixels if pixels is not None else native(frames, syntax)
    return write(made, syntax, data)


def compressed(frames: NDArray[Any], syntax: uid.UID, *, fragments: int = 1, table: bool = True, **attributes: Any) -> bytes:
    """A whole file of compressed frames."""
    made = dataset(frames, **attributes)
    single = frames.ndim == (3 if made.SamplesPerPixel == 3 else 2)
    encoded = [encode(frame, syntax) for frame in (frames[None] if single else frames)]
    return write(made, syntax, encapsulate(encoded, fragments_per_frame=fragments, has_bot=table))


def write(made: Dataset, syntax: uid.UID, pixels: bytes | None) -> bytes:
    """A data set as a file of this transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.UltrasoundImageStorage  # what the data set says of itself is what decoders read
    meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    meta.TransferSyntaxUID = syntax
    if pixels is not None:
        made.PixelData = pixels + b"\0" * (len(pixels) % 2)
        made["PixelData"].VR = "OB" if syntax.is_encapsulated or made.get("BitsAllocated", 8) == 8 else "OW"
        made["PixelData"].is_undefined_length = syntax.is_encapsulated
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what tests write breaks the standard now and then
        dcmwrite(buffer, FileDataset(buffer, dict(made), preamble=b"\0" * 128, file_meta=meta), enforce_file_format=True)
    return buffer.getvalue()


def pixel_element(value: bytes, *, length: int | None = None) -> bytes:
    """Pixel Data in explicit little endian as pydicom would not write it. length: that of the value where None."""
    return b"\xe0\x7f\x10\0OB\0\0" + struct.pack("<I", len(value) if length is None else length) + value


def native(frames: NDArray[Any], syntax: uid.UID) -> bytes:
    """Uncompressed pixels in the byte order of the syntax."""
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    return np.ascontiguousarray(frames).astype(frames.dtype.newbyteorder(order)).tobytes()


def encode(frame: NDArray[Any], syntax: uid.UID) -> bytes:
    """One compressed frame, by Pillow, CharLS or pydicom."""
    buffer = io.BytesIO()
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        Image.fromarray(frame).save(buffer, "JPEG", quality=95)
    elif syntax == uid.JPEG2000Lossless:
        Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, irreversible=False, mct=1)
    elif syntax == uid.JPEG2000:
        Image.fromarray(frame).save(
            buffer, "JPEG2000", no_jp2=True, irreversible=True, mct=1, quality_mode="rates", quality_layers=[4]
        )
    elif syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        return bytes(
            jpeg_ls.encode_array(
                frame, lossy_error=2 * (syntax == uid.JPEGLSNearLossless), interleave_mode=2 if frame.ndim == 3 else 0
            )
        )
    elif syntax == uid.RLELossless:
        made = dataset(frame)
        options = {
            "rows": made.Rows, "columns": made.Columns, "samples_per_pixel": made.SamplesPerPixel, "number_of_frames": 1,
            "photometric_interpretation": made.PhotometricInterpretation, "bits_allocated": made.BitsAllocated,
            "bits_stored": made.BitsStored, "pixel_representation": made.PixelRepresentation, "planar_configuration": 0,
        }  # fmt: skip
        return get_encoder(syntax).encode(frame, **options)
    return buffer.getvalue()


def region(
    box: Sequence[int], *, kind: int = 1, space: int = 1, units: int = 3, delta_cm: tuple[float, float] = (0.01, 0.02)
) -> Dataset:
    """One item of Sequence of Ultrasound Regions. box: half-open x0, y0, x1, y1; delta_cm: across, down."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = space, kind, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[0], box[1]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2] - 1, box[3] - 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = delta_cm
    return item
