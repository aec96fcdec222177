"""Whole studies on a real local Ray: complete, resumed after a killed driver, with a failing trial, refused."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import requests
from fastapi.testclient import TestClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tiny_study import TINY_DATA, TRAIN, tiny

from cluster.session import ray_session
from serve_app.http import create_app
from serve_app.local import LocalBackend
from serve_app.metrics import MemoryMetrics
from serve_app.settings import ServeSettings
from serve_app.shelf import ModelShelf, loader
from tune_jobs.against import studies_against
from tune_jobs.compare import compare_study, load_inputs, publish_best_weak
from tune_jobs.mlflow_export import export_study
from tune_jobs.run import run_study
from tune_jobs.run_log import read_runs
from tune_jobs.study import Choice, Range, Resources, StudyConfig
from wsus.errors import StudyConflictError, UnknownNameError
from wsus.inference.files import predict_files
from wsus.models.bundle import read_card
from wsus.models.registry import promote_model
from wsus.storage import Store, open_store
from wsus.types import Mode

pytestmark = [pytest.mark.ray, pytest.mark.slow]


DRIVER = """
import sys
from dataclasses import replace

sys.path.insert(0, {folder!r})
from tiny_study import TRAIN, tiny

from cluster.session import ray_session
from tune_jobs.run import run_study
from wsus.types import Mode

config = tiny("killed", backbones=("resnet34", "googlenet"), modes=(Mode.WEAK,), train=replace(TRAIN, epochs=8))
with ray_session(num_cpus=1):
    outcome = run_study(config, sys.argv[1])
sys.exit(bool(outcome.failures))
"""


def whole(**changes: object) -> StudyConfig:
    """All three modes, and as many images as a guard needs."""
    data = replace(
        TINY_DATA,
        internal=replace(TINY_DATA.internal, patients_per_class=22),
        splits=replace(TINY_DATA.splits, train_per_class=17),
    )
    return tiny("whole", modes=tuple(Mode), data=data, **changes)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with ray_session(num_cpus=2):
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished study of all three modes."""
    store = tmp_path_factory.mktemp("store")
    outcome = run_study(whole(), str(store))
    assert outcome.failures == ()
    assert set(outcome.new) == {"resnet34-weak", "resnet34-manual_roi", "resnet34-auto_roi"}
    assert set(outcome.by_part) == {"trials", "U-Nets", "scoring"}
    assert all(part.cpu_hours > 0 and part.peak_memory_mb > 50 for part in outcome.by_part.values())
    assert outcome.compute.gpu_hours == 0
    return store


def test_order_cell_leaves_its_contract(finished: Path) -> None:
    for mode in Mode:
        cell = finished / "studies/whole/cells" / f"resnet34-{mode.value}"
        table = pd.read_parquet(cell / "predictions.parquet")
        counts = table.groupby("split").size()
        assert counts["internal"] == counts["external"] == 10
        assert table["pom"].between(0, 1).all()
        assert (cell / "bundle" / "segmenter.safetensors").exists() == (mode is Mode.AUTO_ROI)
        assert len(pd.read_csv(cell / "history.csv")) == 2


def test_a_finished_study_is_not_trained_again(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("predictions.parquet")}

    again = run_study(whole(), str(finished))

    assert again.new == ()
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("predictions.parquet")} == before


def test_another_configuration_under_the_name_is_refused_with_a_diff(finished: Path) -> None:
    changed = whole(train=replace(TRAIN, epochs=3))

    with pytest.raises(StudyConflictError, match=r"train\.epochs: 2 -> 3"):
        run_study(changed, str(finished))


def test_a_study_may_go_on_with_other_resources(finished: Path) -> None:
    elsewhere = whole(resources=Resources(cpus_per_trial=1, max_concurrent_trials=1))

    assert run_study(elsewhere, str(finished)).new == ()


def test_the_report_and_the_published_model_agree_with_the_study(finished: Path) -> None:
    store = open_store(finished)
    compared = compare_study(store, "whole")
    assert "Table 2" in compared.summary
    assert Path(compared.report).read_text().startswith("<!")

    inputs = load_inputs(store, "whole")
    content = store.read_json("studies/whole/comparison/comparison.json")
    assert inputs.hard_pictures
    assert [(one.split, one.image_id) for one in inputs.hard_pictures] == [
        (case["split"], case["image_id"]) for case in content["hard_cases"]
    ]
    assert all(set(one.cam_of) == {"resnet34"} and one.mask_HW is not None for one in inputs.hard_pictures)

    with pytest.MonkeyPatch.context() as patch:  # the comparison stands, so nothing is computed again
        patch.setattr("tune_jobs.compare.compare", None)
        published = publish_best_weak(store, "whole")
        assert published.aliases == ()  # a dozen development images choose no operating point
        card = read_card(finished / f"models/whole/{published.version}")
        assert card.gate is not None
        assert "development images: 12, at least 20 wanted" in card.gate.why_not
        promote_model(store, "whole", published.version)
    card = read_card(finished / f"models/{published.name}/{published.version}")
    (cell,) = (cell for cell in content["cells"] if (cell["mode"], cell["split"]) == ("weak", "internal"))
    assert card.figures["internal"]["auc"]["value"] == cell["auc"]["value"]

    table = pd.read_parquet(finished / "studies/whole/cells/resnet34-weak/predictions.parquet").set_index("image_id")
    cache = Path(os.environ["WSUS_CACHE_DIR"])
    image = next(path for path in cache.glob("phantoms/A-*/images/*.png") if path.stem in table.index)
    (answer,) = predict_files([image], str(finished), name=published.name)
    assert answer["pom"] == pytest.approx(table.loc[image.stem, "pom"], abs=1e-4)
    assert served_pom(store, published.name, image) == pytest.approx(table.loc[image.stem, "pom"], abs=1e-4)
    assert answer["ood_score"] == pytest.approx(table.loc[image.stem, "ood_score"], abs=1e-3)
    assert answer["ood_threshold"] == card.guard.threshold  # type: ignore[union-attr]


def served_pom(store: Store, model: str, image: Path) -> float:
    """What the HTTP interface says of an image."""
    settings = ServeSettings(store=store.address, model=model, insecure=True, decode_workers=1)
    shelf = ModelShelf(store, model, MemoryMetrics(), load=loader(settings))
    app = create_app(settings, LocalBackend(shelf), MemoryMetrics())
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/predictions", files={"image": image.read_bytes()}).json()
    shelf.close()
    return float(answer["pom"])


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server on loopback: the `mlflow` of an installation of its own, since it needs other versions of packages."""
    pytest.importorskip("mlflow", reason="pip install 'wsus[mlflow]'")
    command = os.environ.get("WSUS_TEST_MLFLOW")
    if command is None:
        pytest.skip("WSUS_TEST_MLFLOW names no `mlflow` command with a server (pip install mlflow, in a venv of its own)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [command, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    line += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "artefacts")]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RAY_ADDRESS")}
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(line, stdout=log, stderr=log, env=environment, cwd=tmp_path, start_new_session=True)
    end = time.monotonic() + 240
    while time.monotonic() < end:
        with suppress(requests.RequestException):
            if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                break
        time.sleep(0.5)
    yield f"http://127.0.0.1:{port}"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait()


def test_a_study_is_copied_to_an_mlflow_server_once(finished: Path, mlflow_server: str) -> None:
    from mlflow import MlflowClient

    store = open_store(finished)
    compare_study(store, "whole")
    publish_best_weak(store, "whole")
    first = export_study(store, "whole", mlflow_server)
    assert (first.new, first.kept) == (5, 0)  # three trials, the comparison, the published version
    again = export_study(store, "whole", mlflow_server)
    assert (again.new, again.kept, again.model) == (0, 5, first.model)

    client = MlflowClient(tracking_uri=mlflow_server, registry_uri=mlflow_server)
    experiment = client.get_experiment_by_name("whole")
    runs = {run.data.tags["wsus.trial"]: run for run in client.search_runs([experiment.experiment_id])}
    weak = runs["resnet34-weak-seed0-sample0"]
    assert (weak.data.params["lr"], weak.data.params["augment.gamma"]) == (str(TRAIN.lr), "0")
    history = client.get_metric_history(weak.info.run_id, "train_loss")
    kept = pd.read_csv(finished / "studies/whole/cells/resnet34-weak/history.csv")
    assert [(one.step, one.value) for one in history] == pytest.approx(list(zip(kept["epoch"], kept["train_loss"], strict=True)))
    assert 0 <= weak.data.metrics["external_auc"] <= 1
    (version,) = client.search_model_versions("name='whole'")
    assert {one.path for one in client.list_artifacts(version.run_id, "bundle")} >= {
        "bundle/card.json",
        "bundle/model.safetensors",
    }


def test_a_failing_trial_is_named_and_does_not_take_the_others_along(tmp_path: Path) -> None:
    config = tiny(
        "broken",
        backbones=("resnet34", "googlenet"),
        modes=(Mode.WEAK,),
        per_backbone={"googlenet": {"lr": 1e30, "weight_decay": 0}},
    )

    outcome = run_study(config, str(tmp_path))

    assert outcome.cells == ("resnet34-weak",)
    (failure,) = outcome.failures
    assert failure["trial"] == "googlenet-weak-seed0-sample0"
    assert "lower the learning rate" in failure["error"]
    assert "googlenet" in compare_study(open_store(tmp_path), "broken").summary.lower()


def test_samples_are_searched_within_a_cell_the_default_first(tmp_path: Path) -> None:
    """At random and by Optuna, whose journal is kept; then the two studies are compared on the images that both scored."""
    space = {
        "lr": Range(low=1e-4, high=1e-2, log=True),
        "batch_size": Range(low=4, high=12),
        "augment.flip": Choice(options=(0.0, 0.5)),
    }
    for search in ("random", "optuna"):
        config = tiny(search, modes=(Mode.WEAK,), samples=3, search=search, search_space=space, scheduler="asha")  # type: ignore[arg-type]

        outcome = run_study(config, str(tmp_path))

        assert outcome.failures == ()
        history = pd.read_csv(tmp_path / f"studies/{search}/cells/resnet34-weak/history.csv")
        assert sorted(history["sample"].unique()) == [0, 1, 2]

    storage = JournalStorage(JournalFileBackend(str(tmp_path / "studies/optuna/optuna.journal")))
    (study,) = optuna.get_all_study_summaries(storage)
    drawn = optuna.load_study(study_name=study.study_name, storage=storage).trials
    assert study.study_name == "optuna resnet34-weak-seed0"
    assert len(drawn) == 3
    assert drawn[0].params == {"lr": TRAIN.lr, "batch_size": TRAIN.batch_size, "augment.flip": 0.0}
    assert all(isinstance(trial.params["batch_size"], int) and trial.value is not None for trial in drawn)

    table = studies_against(open_store(tmp_path), "random", "optuna")
    internal, external = table.rows
    assert internal[:3] == ("resnet34-weak", "Internal", "10")
    assert all(word not in (None, "") for row in (internal, external) for word in row)
    assert studies_against(open_store(tmp_path), "random", "random").rows[0][6] == "1.00"
    with pytest.raises(UnknownNameError, match=r"unknown study 'rndom'\. Did you mean 'random'"):
        studies_against(open_store(tmp_path), "rndom", "optuna")


def test_a_killed_driver_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """SIGKILL in the middle: at most two epochs are made again, and the predictions are those of a run without the kill."""
    config = tiny("killed", backbones=("resnet34", "googlenet"), modes=(Mode.WEAK,), train=replace(TRAIN, epochs=8))
    assert run_study(config, str(tmp_path / "whole")).failures == ()

    script, log = tmp_path / "drive.py", tmp_path / "resumed.log"
    script.write_text(DRIVER.format(folder=str(Path(__file__).parent)))
    interrupted = _drive(script, tmp_path / "resumed")
    _wait_for(log, r"trained \(8 epochs", seconds=240)
    os.kill(interrupted.pid, signal.SIGKILL)
    interrupted.wait(timeout=60)
    tune = tmp_path / "resumed/studies/killed/tune"
    cut_off = tune / "experiment_state-2999-01-01_00-00-00.json"  # as if it had been written when the driver was killed
    cut_off.write_bytes(next(tune.glob("experiment_state-*")).read_bytes()[:1000])
    ended = set(re.findall(r"(\S+-sample0)  trained", log.read_text()))
    log.write_text("")
    assert _drive(script, tmp_path / "resumed").wait(timeout=300) == 0

    text = log.read_text()
    assert "half-written when a driver ended" in text
    assert not cut_off.exists()
    assert "go on from their last checkpoint" in text
    assert ended
    for name in ended:  # Tune's state is at most two checkpoints old: it is saved whenever one goes that it may name
        assert {int(epoch) for epoch in re.findall(rf"{name}  epoch (\d+)", text)} <= {7, 8}, text
    first, second = read_runs(open_store(tmp_path / "resumed"), "killed")
    outcome = open_store(tmp_path / "resumed").read_json("studies/killed/outcome.json")
    assert (first["ended"], second["ended"]) == (False, True)
    assert first["wall_s"] > 1
    assert outcome["wall_s"] == pytest.approx(first["wall_s"] + second["wall_s"])
    paths = sorted((tmp_path / "whole").rglob("predictions.parquet"))
    assert len(paths) == len(config.cells())
    for path in paths:
        other = tmp_path / "resumed" / path.relative_to(tmp_path / "whole")
        expected, found = pd.read_parquet(path), pd.read_parquet(other)
        np.testing.assert_array_equal(found["pom"], expected["pom"])


def _drive(script: Path, store: Path) -> subprocess.Popen[bytes]:
    log = store.with_suffix(".log").open("a")
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.Popen([sys.executable, str(script), str(store)], stdout=log, stderr=subprocess.STDOUT, env=environment)


def _wait_for(log: Path, pattern: str, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if log.exists() and re.search(pattern, log.read_text()):
            return
        time.sleep(0.2)
    raise AssertionError(f"{pattern!r} did not appear within {seconds} s; the log says:\n{log.read_text()}")
