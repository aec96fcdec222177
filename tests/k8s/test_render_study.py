"""`wsus k8s render study`: through the same base, checked, and refused with the reason."""

import shlex
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
import yaml
from manifests import K8S, strict
from typer.testing import CliRunner

from cluster.manifests.kuberay_rules import KUBERAY_RULES
from cluster.manifests.rules import RULES
from wsus.cli import app
from wsus.errors import WsusError

STORE = "--store s3://bucket/prefix"


def render(line: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["k8s", "render", "study", "--manifests", str(K8S), *shlex.split(line)])
    if result.exception is not None:
        raise result.exception
    document: dict[str, Any] = yaml.safe_load(result.stdout)
    return document


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"--recipe opn --gpus 4 {STORE}", "unknown recipe 'opn'. Did you mean 'open'"),
        (f"--gpus 0 --overlay gpu {STORE}", "trains on GPUs; name at least one"),
        (f"--gpus 2 --overlay cpu {STORE}", "has no GPUs"),
        (f"--gpus 2 --overlay gpus {STORE}", "expected one of airgapped, cpu, gpu"),
        ("--gpus 2 --store store", "--store is s3://bucket/prefix"),
        ("--gpus 2 --store https://bucket/prefix", "--store is s3://bucket/prefix"),
        ("--gpus 2 --store s3://me:password@bucket/prefix", "looks like a secret in clear"),
        (f"--gpus 2 {STORE} --job-name Study_1", "at most 47"),
        (f"--gpus 2 {STORE} --name {'a' * 45}", r"\(50 characters\)"),
        (f"--gpus 2 {STORE} --image wsus:latest", "never latest"),
        (f"--gpus 2 {STORE} --image wsus", "expected name:tag"),
        (f"--gpus 2 {STORE} --data bus-bra=/home/me --data busi=/data/busi", "name a path below it"),
        (f"--gpus 2 {STORE} --data bus-bra=/data/../etc --data busi=/data/busi", "name a path below it"),
        (f"--gpus 2 {STORE} --data bus-bra=https://bucket/bus-bra --data busi=/data/busi", "or s3://bucket/prefix"),
        (f"--gpus 2 {STORE} --data bus-bra=s3://me:password@bucket/a --data busi=/data/busi", "looks like a secret in clear"),
        (f"--gpus 2 {STORE} --set train.epocs=3", "Did you mean 'train.epochs'"),
        (f"--gpus 2 {STORE} --set train.epochs", "--set takes NAME=VALUE"),
        (f"--gpus 2 {STORE} --recipe paper", "needs --data manifest=CSV"),
        (f"--gpus 2 {STORE} --manifests {K8S}/base", "no overlays/"),
    ],
)
def test_refused_with_the_reason(line: str, said: str) -> None:
    with pytest.raises(WsusError, match=said) as caught:
        render(line)
    assert "password" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("overlay", ["gpu", "gpu-autoscale", "airgapped", "kueue"])
def test_a_study_fits_the_schema_and_the_rules(overlay: str, crds: Mapping[str, dict[str, Any]]) -> None:
    document = render(f"--recipe open --gpus 3 {STORE} --overlay {overlay} --name wide --set 'train.epochs=2'")
    closed = strict(crds["RayJob"])
    closed["properties"].update({key: {} for key in ("apiVersion", "kind", "metadata")})
    assert [error.message for error in jsonschema.Draft7Validator(closed).iter_errors(document)] == []
    assert [line for rule in {**RULES, **KUBERAY_RULES}.values() for line in rule(document)] == []
    (group,) = document["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["maxReplicas"] == 3
    assert group["minReplicas"] == group["replicas"] == (0 if overlay == "gpu-autoscale" else 3)
    words = shlex.split(document["spec"]["entrypoint"])
    assert words[:8] == ["wsus", "study", "--recipe", "open", "--name", "wide", "--out", "s3://bucket/prefix"]
    assert "train.epochs=2" in words
    assert ("resources.scaling=true" in words) == (overlay == "gpu-autoscale")
    assert ("weights_dir=/data/weights" in words) == (overlay == "airgapped")
    assert document["metadata"]["name"] == "wsus-wide"


def test_images_may_lie_in_a_bucket_and_phantoms_are_drawn_on_each_machine() -> None:
    line = f"--gpus 2 {STORE} --data bus-bra=s3://bucket/bus-bra --data busi=s3://bucket/busi"
    words = shlex.split(render(line)["spec"]["entrypoint"])
    assert [word for word in words if "=s3://" in word] == ["bus-bra=s3://bucket/bus-bra", "busi=s3://bucket/busi"]
    assert "--data" not in shlex.split(render(f"--gpus 2 --recipe quick {STORE}")["spec"]["entrypoint"])


def test_a_setting_with_a_space_stays_one_word() -> None:
    document = render(f'--recipe quick {STORE} --set \'backbones=["resnet34", "googlenet"]\'')
    assert 'backbones=["resnet34", "googlenet"]' in shlex.split(document["spec"]["entrypoint"])
    assert "workerGroupSpecs" not in document["spec"]["rayClusterSpec"]
