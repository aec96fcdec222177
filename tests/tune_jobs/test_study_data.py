"""A study's images lie where each machine's own cache is, and are the same there."""

from pathlib import Path

import pytest

from tune_jobs.data import load_data
from tune_jobs.study import DataConfig, SourceConfig
from wsus.data.splits import SplitConfig


def test_phantoms_are_made_on_the_other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = SplitConfig(train_per_class=2, internal_per_class=1, external_per_class=None, development_fraction=0.5, folds=2)
    here = load_data(DataConfig(internal=SourceConfig(kind="phantom", patients_per_class=3), splits=splits))
    monkeypatch.setenv("WSUS_CACHE_DIR", str(tmp_path / "other"))

    there = here.here()

    assert all(path.is_relative_to(tmp_path / "other") for r in there.manifest.records for path in (r.path, *r.mask_paths))
    assert there.manifest.digest() == here.digest
