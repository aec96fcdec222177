"""The manifests' own commands, environment and rayStartParams, run here: a study that is killed and goes on, then serving."""

import io
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
import yaml
from manifests import K8S, one
from pods import BIN, TOKEN, USER, Machine, confined, wait_until
from s3_server import BUCKET, WRITER, S3Server
from typer.testing import CliRunner

from cluster.manifests.rules import clusters
from serve_app.tokens import add_token
from wsus.cli import app
from wsus.data.sources.phantom import PhantomConfig
from wsus.data.sources.phantom_set import make_phantom_set
from wsus.storage import Store, open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.s3, pytest.mark.timeout(900)]
Rendered = Mapping[str, list[dict[str, Any]]]
STORE = f"s3://{BUCKET}/k8s/store"
TINY = {
    "weights": "none", "width": "0.125", "crop.size_px": "32", "backbones": "resnet34", "modes": "weak", "bootstrap": "50",
    "train.epochs": "6", "train.batch_size": "8", "data.splits.train_per_class": "12", "data.splits.internal_per_class": "5",
    "data.splits.external_per_class": "5", "data.splits.development_fraction": "0.3", "per_backbone": "{}",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path, since Ray's sockets lie below it, and one that every user may reach."""
    made = Path(tempfile.mkdtemp(prefix="wsus-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def machine(folder: Path, s3: S3Server) -> Machine:
    secrets = {
        "WSUS_STORE": STORE,
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": WRITER[0],
        "AWS_SECRET_ACCESS_KEY": WRITER[1],
    }
    made = Machine(folder=folder, secrets=secrets)
    for institution, patients in (("A", 18), ("B", 6)):
        config = PhantomConfig(patients_per_class=patients, institution=institution)  # type: ignore[arg-type]
        make_phantom_set(folder / "data" / institution, [config])
    return made


@pytest.fixture(scope="module")
def store(machine: Machine) -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in machine.secrets.items():
            patch.setenv(name, value)
        yield open_store(STORE)


@pytest.fixture(scope="module")
def study() -> dict[str, Any]:
    """The study's RayJob, rendered as a person renders it: a tiny one on phantoms, on workers that scale from zero."""
    data = ["--data", "manifest=/data/A/manifest.csv", "--data", "external=/data/B/manifest.csv"]
    settings = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    line = ["--recipe", "paper", "--name", "open", "--gpus", "2", "--overlay", "gpu-autoscale", "--store", STORE]
    result = CliRunner().invoke(app, ["k8s", "render", "study", "--manifests", str(K8S), *line, *data, *settings])
    assert result.exception is None, result.exception
    document: dict[str, Any] = yaml.safe_load(result.stdout)
    return document


@pytest.fixture(scope="module")
def trained(machine: Machine, store: Store, study: dict[str, Any], rendered: Rendered) -> set[str]:
    """The drill; the series that Ray exported meanwhile."""
    (cluster,) = clusters(study)
    (workers,) = cluster["workerGroupSpecs"]
    submitter = study["spec"]["submitterPodTemplate"]["spec"]["containers"][0]
    first, second = machine.folder / "first.log", machine.folder / "second.log"

    with machine.pod(cluster["headGroupSpec"], head=True):
        job = machine.submit(study["spec"]["entrypoint"], submitter, first)
        wait_until(lambda: "2 at a time" in first.read_text(), "a study that waits for workers", alive=job, log=first)
        time.sleep(3)
        assert not checkpoints(store), "nothing can train yet: the head has no CPUs and there are no workers"
        with machine.pod(workers, head=False):
            wait_until(lambda: len(checkpoints(store)) >= 2, "checkpoints in the store", alive=job, log=first)
    job.wait(60)
    assert job.returncode != 0
    assert not store.is_published("studies/open/cells/resnet34-weak"), "the kill came too late for the drill"

    seen: set[str] = set()
    with machine.pod(cluster["headGroupSpec"], head=True), machine.pod(workers, head=False):
        job = machine.submit(study["spec"]["entrypoint"], submitter, second)
        while job.poll() is None:
            seen |= machine.series()
            time.sleep(1)
        assert job.returncode == 0, second.read_text()
    (container,) = one(rendered["gpu/jobs"], "Job", "wsus-compare")["spec"]["template"]["spec"]["containers"]
    compared = machine.run(container, machine.folder / "compare.log")
    assert compared == 0, (machine.folder / "compare.log").read_text()
    assert "trials that ended are kept, the others go on from their last checkpoint" in second.read_text()
    assert '"levelname": "INFO"' in second.read_text()
    assert re.findall(r"^(?:INFO|WARNING) \w.*", second.read_text(), re.MULTILINE) == [], (
        "logs are JSON, and each line is there once"
    )
    return seen


def checkpoints(store: Store) -> set[str]:
    return {key.split("/")[-2] for key in store.keys("studies/open/tune") if re.search(r"/checkpoint_\d+/trial.json", key)}


def test_pods_are_confined_as_in_the_cluster(folder: Path) -> None:
    prefix = confined(folder)
    if not prefix:
        pytest.skip("no user or mount namespace can be made here: the tests below run as this user, with all its rights")

    def tried(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*prefix, "bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)

    assert tried("id -u").stdout == f"{USER}\n"
    assert set(re.findall(r"^Cap\w+:\t(\w+)$", tried("cat /proc/self/status").stdout, re.MULTILINE)) == {"0" * 16}
    assert tried(f"touch {folder}/own").returncode == 0
    for place in ("/", "/tmp", "/etc", str(K8S), str(BIN), "/root"):
        refused = tried(f"touch {place}/wsus-probe")
        assert refused.returncode != 0
        assert "Read-only" in refused.stderr or "denied" in refused.stderr
    assert tried(f"{BIN}/wsus --help").returncode == 0


def test_a_study_begins_without_workers_is_killed_and_goes_on(trained: set[str], store: Store) -> None:
    history = pd.read_csv(io.BytesIO(store.read_bytes("studies/open/cells/resnet34-weak/history.csv")))
    assert sorted(history["epoch"]) == list(range(1, 7)), "each epoch counts once"
    assert store.is_published("studies/open/comparison")
    assert "ray_wsus_study_epochs_total" in trained


def test_the_published_model_answers_through_the_rayservice(
    trained: set[str], store: Store, machine: Machine, rendered: Rendered
) -> None:
    environment = {**machine.environment({}), "HOME": str(machine.folder / "tmp")}
    publish = [*confined(machine.folder), str(BIN / "wsus"), "publish", "--study", "open"]
    said = subprocess.run(publish, env=environment, check=True, timeout=300, capture_output=True, text=True).stdout
    if "production" not in said.splitlines()[0]:  # so small a study may not pass the gate: then a person decides
        promote = [*confined(machine.folder), str(BIN / "wsus"), "models", "promote", "open", "1"]
        subprocess.run(promote, env=environment, check=True, timeout=120, capture_output=True)
    token = add_token(machine.folder / "etc/wsus/tokens/tokens.json", "test", ("predict",))
    service = one(rendered["cpu"], "RayService")
    (cluster,) = clusters(service)
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    config["http_options"] |= {"host": "127.0.0.1", "port": config["http_options"]["port"] + machine.offset}
    arguments = config["applications"][0]["args"]
    arguments["tokens_file"] = machine.here(arguments["tokens_file"])
    assert arguments["tokens_file"].startswith(str(machine.folder)), "the token file lies where the pod mounts its Secret"

    with machine.pod(cluster["headGroupSpec"], head=True) as head:
        api = f"{machine.url(8265)}/api/serve/applications/"
        operator = {"Authorization": f"Bearer {TOKEN}"}
        assert requests.get(api, timeout=30).status_code in (401, 403), "the dashboard asks for Ray's token"
        answer = requests.put(api, json=config, headers=operator, timeout=120)
        assert answer.status_code == 200, answer.text[-4000:]

        def status() -> str:
            found: str = requests.get(api, headers=operator, timeout=60).json()["applications"]["wsus"]["status"]
            assert found not in ("DEPLOY_FAILED", "UNHEALTHY"), requests.get(api, headers=operator, timeout=60).text[:2000]
            return found

        wait_until(lambda: status() == "RUNNING", "the application runs", alive=head, log=machine.folder / "head.log")
        image = next((machine.folder / "data/A").rglob("*.png"))
        address = f"{machine.url(8000)}/v1/predictions"
        assert requests.post(address, files={"image": image.read_bytes()}, timeout=60).status_code == 401
        answers = [
            requests.post(address, files={"image": image.read_bytes()}, headers={"Authorization": f"Bearer {token}"}, timeout=60)
            for _ in range(3)
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert answers[0].json()["model"]["name"] == "open"
        logs = list((machine.folder / "ray/session_latest/logs/serve").glob("replica_*.log"))
        lines = [line for log in logs for line in log.read_text().rpartition("\n")[0].splitlines()]
        assert {"INFO"} <= {json.loads(line)["levelname"] for line in lines}, "logs are JSON, each line of them"
        wanted = monitored(rendered) - {"ray_wsus_model_refused", "ray_wsus_rejections_total"}  # ours, and not on a good day
        seen = set(trained)
        deadline = time.monotonic() + 60
        while not wanted <= seen and time.monotonic() < deadline:
            seen |= machine.series()
            time.sleep(2)
        assert wanted - seen == set(), "alerts or the dashboard name series that nothing exports"


def monitored(rendered: Rendered) -> set[str]:
    """The families of all series that alerts and dashboard name."""
    rules = yaml.safe_dump(one(rendered["full"], "PrometheusRule")["spec"])
    dashboard = one(rendered["full"], "ConfigMap", "wsus-dashboard")["data"]["dashboard.json"]
    named = set(re.findall(r"\bray_(?!io_)[a-z_]+", rules + dashboard))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
