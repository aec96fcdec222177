"""A DICOM file is predicted as the picture in its B-mode region is: by `wsus predict` and as a manifest's row alike."""

from pathlib import Path

import numpy as np
import pytest
import torch
from dicom_files import dicom, region, speckle
from PIL import Image

from wsus.data.cache import open_cache
from wsus.data.images import read_image, read_mask
from wsus.data.manifest import read_manifest
from wsus.data.roi import CropConfig
from wsus.errors import ImageError, MaskError
from wsus.inference.files import predict_files
from wsus.inference.predict import Predictor
from wsus.inference.scoring import score_records
from wsus.models.bundle import ModelCard, read_bundle, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import Mode

BOX = (10, 5, 70, 50)
NET = NetConfig(backbone="vgg16", width=0.125)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = CamNet(NET).eval()
    torch.nn.init.normal_(net.linear.weight)
    folder = tmp_path_factory.mktemp("dicom") / "bundle"
    write_bundle(folder, ModelCard(name="tiny", net=NET, mode=Mode.WEAK, crop=CropConfig(size_px=64)), net)
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A manifest of one DICOM file with a mask of its whole frame, and of the same region as PNG."""
    (tmp_path / "scan.dcm").write_bytes(dicom(speckle(), SequenceOfUltrasoundRegions=[region(BOX, delta_cm=(0.01, 0.02))]))
    x0, y0, x1, y1 = BOX
    Image.fromarray(speckle()[y0:y1, x0:x1]).save(tmp_path / "scan.png")
    mask_HW = np.zeros((60, 80), np.uint8)
    mask_HW[20:30, 30:50] = 255
    Image.fromarray(mask_HW).save(tmp_path / "mask.png")
    Image.fromarray(mask_HW[y0:y1, x0:x1]).save(tmp_path / "mask-cut.png")
    csv = tmp_path / "manifest.csv"
    rows = ("a,p1,scan.dcm,1,internal,mask.png", "b,p2,scan.png,1,internal,mask-cut.png")
    csv.write_text("\n".join(("image_id,patient_id,path,label,split,mask_path", *rows)))
    return csv


def test_a_manifest_may_name_dicom_files(study: Path, bundle: Path, tmp_path: Path) -> None:
    records = read_manifest(study).records
    (dicom_row, _), (png_row, _) = score_records(Predictor(read_bundle(bundle)), records)
    assert dicom_row["pom"] == png_row["pom"]
    assert dicom_row["iou"] == png_row["iou"]

    cached = open_cache(records, CropConfig(size_px=32), Mode.MANUAL_ROI, digest="d", cache_dir=tmp_path / "cache")
    assert (cached.images_NHW[0] == cached.images_NHW[1]).all()


def test_a_mask_of_the_frame_is_cut_to_the_region(study: Path) -> None:
    image = read_image(study.parent / "scan.dcm")
    mask_HW = read_mask(study.parent / "mask.png", image=image)
    assert mask_HW.shape == image.grey_HW.shape == (45, 60)
    assert np.argwhere(mask_HW).min(axis=0).tolist() == [15, 20]
    with pytest.raises(MaskError, match=r"mask-cut\.png: 60 x 45 px, but its image has 80 x 60 px"):
        read_mask(study.parent / "mask-cut.png", image=image)


def test_predicting_a_dicom_file_gives_millimetres_and_its_region(study: Path, bundle: Path) -> None:
    of_dicom, of_png = predict_files([study.parent / "scan.dcm", study.parent / "scan.png"], str(bundle))
    assert of_dicom["pom"] == of_png["pom"]
    assert of_dicom["boxes_xyxy_px"] == of_png["boxes_xyxy_px"]
    x0, y0, x1, y1 = of_dicom["boxes_xyxy_px"][0]
    assert of_dicom["sizes_mm"][0] == pytest.approx([(x1 - x0) * 0.1, (y1 - y0) * 0.2])
    assert of_dicom["region_xyxy_px"] == list(BOX)
    assert of_png["sizes_mm"] is None
    assert "region_xyxy_px" not in of_png


def test_one_frame_or_all_of_a_cine(tmp_path: Path, bundle: Path) -> None:
    frames = np.stack([speckle(seed=1), np.zeros((60, 80), np.uint8), speckle(seed=2)])
    path = tmp_path / "cine.dcm"
    path.write_bytes(dicom(frames))

    every = predict_files([path], str(bundle), all_frames=True, overlay_dir=tmp_path)
    assert [(answer["frame"], answer["frames"]) for answer in every] == [(0, 3), (2, 3)]
    assert [Path(answer["overlay"]).name for answer in every] == ["cine-0-cam.png", "cine-2-cam.png"]
    (last,) = predict_files([path], str(bundle), frame=2)
    assert last["pom"] == pytest.approx(every[1]["pom"], abs=1e-6)
    with pytest.raises(ImageError, match=r"cine\.dcm: 3 frames; say which one is to be read, 0 to 2"):
        predict_files([path], str(bundle))
