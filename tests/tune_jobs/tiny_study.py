"""A whole study of a few dozen phantoms and networks of an eighth of their width: seconds per trial."""

from tune_jobs.study import DataConfig, SourceConfig, StudyConfig
from wsus.data.roi import CropConfig
from wsus.data.splits import SplitConfig
from wsus.nets.config import UNetConfig
from wsus.training.config import NO_AUGMENTATION, SegmenterConfig, TrainConfig
from wsus.types import Mode

TRAIN = TrainConfig(epochs=2, batch_size=8, augment=NO_AUGMENTATION)
TINY_DATA = DataConfig(
    internal=SourceConfig(kind="phantom", patients_per_class=16),
    external=SourceConfig(kind="phantom", patients_per_class=5, institution="B"),
    splits=SplitConfig(train_per_class=12, internal_per_class=5, external_per_class=5, development_fraction=0.3, folds=2),
)


def tiny(name: str, **changes: object) -> StudyConfig:
    settings: dict[str, object] = {
        "data": TINY_DATA,
        "backbones": ("resnet34",),
        "modes": (Mode.WEAK, Mode.MANUAL_ROI),
        "width": 0.125,
        "crop": CropConfig(size_px=32),
        "train": TRAIN,
        "segmenter": SegmenterConfig(net=UNetConfig(base_channels=4, depth=2), crop=CropConfig(size_px=32), epochs=2),
        "bootstrap": 50,
        "max_failures": 0,
    }
    return StudyConfig(name=name, recipe="test", **(settings | changes))  # type: ignore[arg-type]
