"""U-Nets of a study: cross-fitted, published once, and not asked for again."""

import io
from pathlib import Path

import pytest
import ray
import torch
from tiny_study import tiny

from tune_jobs.compute import Meter
from tune_jobs.data import StudyData, load_data
from tune_jobs.placement import Placement
from tune_jobs.progress import Progress
from tune_jobs.rois import ALL, RoiTask, read_boxes, roi_tasks, run_roi_task, unpublished, with_whole_images
from tune_jobs.tasks import StudyRun, find_rois
from wsus.data.roi import CropConfig
from wsus.nets.config import UNetConfig
from wsus.storage import Store, open_store
from wsus.training.config import SegmenterConfig
from wsus.types import Mode, Split

CPU = torch.device("cpu")
SEGMENTER = SegmenterConfig(net=UNetConfig(base_channels=4, depth=2), crop=CropConfig(size_px=32), epochs=20, lr=2e-2)
CONFIG = tiny("rois", modes=(Mode.AUTO_ROI,), segmenter=SEGMENTER)


@pytest.fixture(scope="module")
def data() -> StudyData:
    return load_data(CONFIG.data)


@pytest.fixture(scope="module")
def tasks(data: StudyData) -> list[RoiTask]:
    return roi_tasks(CONFIG, data)


@pytest.fixture(scope="module")
def published(data: StudyData, tasks: list[RoiTask], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with all U-Nets of the study; read it, do not change it."""
    store = open_store(str(tmp_path_factory.mktemp("store")))
    for task in tasks:
        run_roi_task(CONFIG, data, task, store, device=CPU, meter=Meter(CPU, cpus=1, gpus=0))
    return store


def test_no_unet_saw_the_patients_whose_boxes_it_gives(data: StudyData, tasks: list[RoiTask]) -> None:
    for task in tasks:
        assert {record.patient_id for record in task.train}.isdisjoint(record.patient_id for record in task.find)
    found = [record.image_id for task in tasks for record in task.find]
    scored = [record.image_id for split in Split if split is not Split.UNUSED for record in data.split(split)]
    assert sorted(found) == sorted(scored)
    assert tasks[-1].name == ALL


def test_each_image_has_its_box_or_none(published: Store, tasks: list[RoiTask]) -> None:
    boxes = read_boxes(published, CONFIG, tasks)
    assert set(boxes) == {record.image_id for task in tasks for record in task.find}
    assert any(box is not None for box in boxes.values())


def test_what_is_missing_is_what_is_not_published(data: StudyData, tasks: list[RoiTask], tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert unpublished(store, CONFIG, tasks) == tasks

    run_roi_task(CONFIG, data, tasks[0], store, device=CPU, meter=Meter(CPU, cpus=1, gpus=0))

    assert unpublished(store, CONFIG, tasks) == tasks[1:]


def test_published_unets_are_read_without_a_worker(data: StudyData, tasks: list[RoiTask], published: Store) -> None:
    """Ray would start itself at the first task, or at the first object put into its store."""
    assert not ray.is_initialized()
    said = io.StringIO()

    placement = Placement(worker={"CPU": 1.0}, workers=1, slots=1)
    progress = Progress([], 1, 1, stream=said)

    boxes = find_rois(
        StudyRun(config=CONFIG, data=data, store=published, placement=placement, progress=progress), tasks, "float32"
    )

    assert not ray.is_initialized()
    found = read_boxes(published, CONFIG, tasks)
    share, seed = CONFIG.segmenter.whole_image_share, CONFIG.data.splits.seed
    assert boxes == with_whole_images(found, data.split(Split.TRAIN), share, seed)
    assert f"{len(tasks)} U-Nets, cross-fitted, {len(tasks)} of them published already" in said.getvalue()


def test_a_share_of_each_classs_training_images_is_seen_whole(data: StudyData) -> None:
    training = data.split(Split.TRAIN)
    boxes = {record.image_id: (1, 2, 3, 4) for record in data.manifest.records}

    changed = with_whole_images(boxes, training, 0.25, seed=3)

    whole = {image_id for image_id, box in changed.items() if box is None}
    for label in (0, 1):
        ids = {record.image_id for record in training if record.label == label}
        assert len(whole & ids) == round(0.25 * len(ids)) > 0
    assert whole <= {record.image_id for record in training}  # none that is scored
    assert changed == with_whole_images(boxes, training, 0.25, seed=3) != with_whole_images(boxes, training, 0.25, seed=4)
    assert with_whole_images(boxes, training, 0.0, seed=3) == boxes
