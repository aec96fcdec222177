"""Transfer syntax x photometric interpretation x bits: held against pydicom and numpy, and against dcm2pnm of Debian's dcmtk."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dicom_files import coloured, compressed, dicom, speckle
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread, uid
from pydicom.pixels import apply_color_lut, convert_color_space

from wsus.data.images import decode_image

NATIVE = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
CODED = [
    uid.RLELossless,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
]
LOSSY = {uid.JPEGBaseline8Bit: 8, uid.JPEGExtended12Bit: 8, uid.JPEGLSNearLossless: 2}
EIGHT_BITS_ALONE = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
NOT_OF_DCMTK = (uid.JPEG2000Lossless,)  # its Debian build has no JPEG 2000
LINEAR = {"WindowCenter": 2000, "WindowWidth": 3000}


def grey(bits: int, *, signed: bool = False) -> NDArray[np.generic]:
    values = speckle().astype(np.int64) << max(0, bits - 8)
    values = values >> max(0, 8 - bits)
    if signed:
        values -= 1 << (bits - 1)
    return values.astype(("i" if signed else "u") + ("1" if bits <= 8 else "2"))


def palette() -> dict[str, object]:
    made: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for k, colour in enumerate(("Red", "Green", "Blue")):
        made[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        entries = ((np.arange(256) * (k + 3)) % 256 * 257).astype("<u2")
        made[f"{colour}PaletteColorLookupTableData"] = entries.tobytes()
    return made


def cases() -> Iterator[tuple[str, uid.UID, NDArray[np.generic], dict[str, object]]]:
    """Name, transfer syntax, stored values, attributes. Depths above 8 bits have a window, so that all decoders agree on them."""
    for syntax in (*NATIVE, *CODED):
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            for bits, signed in ((8, False), (8, True), (10, False), (12, False), (16, False), (12, True), (16, True)):
                if syntax in EIGHT_BITS_ALONE and (bits > 8 or signed):
                    continue
                if signed and syntax in (uid.JPEG2000Lossless, uid.JPEGLSNearLossless, uid.JPEGLSLossless):
                    continue  # neither encoder here writes signed samples
                if bits in (10, 12) and syntax == uid.JPEG2000Lossless:
                    continue  # Pillow writes 16 bits for them
                attributes: dict[str, object] = {
                    "PhotometricInterpretation": photometric,
                    "BitsStored": bits,
                    "HighBit": bits - 1,
                }
                if bits > 8 or signed:
                    half = 1 << (bits - 1)
                    attributes |= {"WindowCenter": 0 if signed else half, "WindowWidth": 2 * half}
                name = f"{syntax.keyword}-{photometric}-{bits}{'s' if signed else 'u'}"
                yield name, syntax, grey(bits, signed=signed), attributes
        yield (
            f"{syntax.keyword}-RGB",
            syntax,
            coloured(),
            {} if syntax not in EIGHT_BITS_ALONE else {"PhotometricInterpretation": "YBR_FULL_422"},
        )
        if syntax in NATIVE:
            ybr = np.asarray(Image.fromarray(coloured()).convert("YCbCr"))
            yield f"{syntax.keyword}-YBR_FULL", syntax, ybr, {"PhotometricInterpretation": "YBR_FULL"}
        if syntax in (*NATIVE, uid.RLELossless):
            yield f"{syntax.keyword}-PALETTE", syntax, speckle(), palette()


CASES = {name: rest for name, *rest in cases()}


def content_of(name: str) -> bytes:
    syntax, stored, attributes = CASES[name]
    return (compressed if syntax.is_encapsulated else dicom)(stored, syntax, **attributes)


def by_numpy(dataset: Dataset, stored: NDArray[np.generic]) -> NDArray[np.float64]:
    """Grey in [0, 255] as the standard says, from what went in, by numpy and pydicom's own tables."""
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        return (apply_color_lut(stored, dataset) / 257) @ [0.299, 0.587, 0.114]
    if stored.ndim == 3:
        rgb = convert_color_space(stored, "YBR_FULL", "RGB") if photometric == "YBR_FULL" else stored
        return rgb @ np.array([0.299, 0.587, 0.114])
    levels = stored.astype(np.float64)
    if "WindowWidth" in dataset:
        levels = ((levels - (dataset.WindowCenter - 0.5)) / (dataset.WindowWidth - 1) + 0.5).clip(0, 1) * 255
    return 255 - levels if photometric == "MONOCHROME1" else levels


@pytest.mark.parametrize("name", CASES)
def test_matrix_against_numpy_and_pydicom(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(content_of(name))
    syntax, stored, _ = CASES[name]
    expected = by_numpy(dcmread(tmp_path / "a.dcm"), stored)
    decoded = decode_image((tmp_path / "a.dcm").read_bytes(), name="x").grey_HW
    assert np.abs(decoded - expected).max() <= 1 + LOSSY.get(syntax, 0)


@pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="dcm2pnm of Debian's package dcmtk is not installed")
@pytest.mark.parametrize("name", [name for name, (syntax, *_) in CASES.items() if syntax not in NOT_OF_DCMTK])
def test_matrix_against_dcm2pnm(name: str, tmp_path: Path) -> None:
    """The outside decoder: which one depends on the compression, all are of one package."""
    syntax, _, attributes = CASES[name]
    source, target = tmp_path / "a.dcm", tmp_path / "a.png"
    source.write_bytes(content_of(name))
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        subprocess.run(["dcmdjpls", source, source], check=True, capture_output=True)
    program = "dcmj2pnm" if syntax in EIGHT_BITS_ALONE else "dcm2pnm"
    window = ["+Wi", "1"] if "WindowWidth" in attributes else []
    subprocess.run([program, *window, "--write-png", source, target], check=True, capture_output=True)

    theirs = np.asarray(Image.open(target).convert("L")).astype(int)
    ours = decode_image(content_of(name), name="x").grey_HW
    assert theirs.shape == ours.shape
    assert np.abs(ours - theirs).max() <= 2


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="dcmcjpeg of Debian's package dcmtk is not installed")
@pytest.mark.parametrize("option", ["+e1", "+el", "+eb", "+ee"])  # lossless SV1, lossless, baseline, extended
@pytest.mark.parametrize("picture", ["grey", "colour"])
@pytest.mark.parametrize("frames", [1, 3])
def test_files_that_dcmtk_compresses(option: str, picture: str, frames: int, tmp_path: Path) -> None:
    one = coloured() if picture == "colour" else speckle()
    stored = one if frames == 1 else np.stack([np.roll(one, 5 * k, axis=0) for k in range(frames)])
    plain, coded = tmp_path / "plain.dcm", tmp_path / "coded.dcm"
    plain.write_bytes(dicom(stored))
    subprocess.run(["dcmcjpeg", option, plain, coded], check=True, capture_output=True)
    for k in range(frames):
        ours, original = (decode_image(file.read_bytes(), name="x", frame=k).grey_HW.astype(int) for file in (coded, plain))
        if option in ("+e1", "+el"):
            assert (ours == original).all()
        else:  # before it codes with loss, dcmtk stretches grey levels, so the comparison is with what it shows
            subprocess.run(
                ["dcmj2pnm", "+F", str(k + 1), "--write-png", coded, tmp_path / "a.png"], check=True, capture_output=True
            )
            assert np.abs(ours - np.asarray(Image.open(tmp_path / "a.png").convert("L")).astype(int)).max() <= 3
