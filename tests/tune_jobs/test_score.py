"""Very many images on a real local Ray: a worker and a driver are killed, and what was whole stays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from dicom_files import speckle
from PIL import Image

from cluster.session import ray_session
from tune_jobs.score import ScoreConfig, part_key, score_images
from wsus.data.roi import CropConfig
from wsus.errors import ConfigError
from wsus.inference.bulk import find_images
from wsus.inference.files import predict_files
from wsus.models.bundle import ModelCard, write_bundle
from wsus.nets.cam_net import CamNet, NetConfig
from wsus.types import Mode

pytestmark = [pytest.mark.ray, pytest.mark.slow]
CONFIG = ScoreConfig(shard=8, batch_size=2, decode_cpus=0.5)
FILES = 40


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = NetConfig(backbone="vgg16", width=0.125)
    folder = tmp_path_factory.mktemp("score") / "bundle"
    write_bundle(folder, ModelCard(name="tiny", net=net, mode=Mode.WEAK, crop=CropConfig(size_px=32)), CamNet(net).eval())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(FILES):
        Image.fromarray(speckle(seed=number)).save(folder / f"{number:03}.png")
    (folder / "017.png").write_bytes(b"broken")
    return folder


@pytest.fixture
def _ray() -> Iterator[None]:
    with ray_session(num_cpus=2):
        yield


def kill_the_network_after(part: Path, killed: list[int]) -> None:
    """SIGKILL to the process that holds the network, once a shard is whole."""
    while not part.exists():
        time.sleep(0.01)
    below = psutil.Process().children(recursive=True)
    holds = [one for one in below if "_Answer" in " ".join(one.cmdline())]
    for process in holds:
        process.kill()
        killed.append(process.pid)


@pytest.mark.usefixtures("_ray")
def test_a_killed_worker_costs_nothing_and_the_rows_are_predicts(bundle: Path, folder: Path, tmp_path: Path) -> None:
    out, said, killed = tmp_path / "scores", list[str](), list[int]()
    killer = threading.Thread(target=kill_the_network_after, args=(out / part_key(0), killed))
    killer.start()
    scored = score_images(str(bundle), find_images(str(folder)), str(out), CONFIG, say=said.append)
    killer.join()

    assert len(killed) == 1
    assert (scored.files, scored.kept, scored.images, scored.bad) == (FILES, 0, FILES - 1, 1)
    table = pd.read_parquet(out)
    assert table["image"].tolist() == sorted(path.name for path in folder.iterdir())
    assert table.loc[table["pom"].isna(), "reason"].tolist() == ["unsupported_format"]
    good = [folder / name for name in table.loc[table["pom"].notna(), "image"]]
    expected = [answer["pom"] for answer in predict_files(good, str(bundle))]
    assert table["pom"].dropna().tolist() == pytest.approx(expected, abs=1e-6)

    again = score_images(str(bundle), find_images(str(folder)), str(out), CONFIG, say=said.append)
    assert (again.files, again.kept) == (0, FILES)
    assert "5 of 5 shards are there already" in said
    with pytest.raises(ConfigError, match=r"holds another scoring .*shard 8, now 4.*; choose another --out"):
        score_images(str(bundle), find_images(str(folder)), str(out), ScoreConfig(shard=4), say=said.append)


def test_a_killed_driver_loses_a_shard_at_most_and_the_same_line_goes_on(bundle: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    line = [sys.executable, "-m", "wsus", "score", "--model", str(bundle), "--images", str(folder), "--out", str(out)]
    line += ["--shard", "8", "--batch-size", "2", "--decode-cpus", "0.5", "--cpus", "2"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    with (tmp_path / "driver.log").open("w") as log:
        driver = subprocess.Popen(line, env=environment, stdout=log, stderr=log)
    end = time.monotonic() + 400
    while not (out / part_key(1)).exists() and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert len(kept) >= 2, (tmp_path / "driver.log").read_text()

    ended = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert ended.returncode == 0, ended.stderr
    assert f"{len(kept)} of 5 shards are there already" in ended.stderr
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    assert len(pd.read_parquet(out)) == len(pd.read_csv(tmp_path / "scores.csv")) == FILES
