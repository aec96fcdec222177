"""`wsus models sign` and `verify`, by keys that openssl made, on a published model with a graph and a self-test."""

import subprocess
from pathlib import Path

import pytest
from published_models import publish
from typer.testing import CliRunner, Result

from wsus.cli import app
from wsus.errors import BundleError
from wsus.inference.publishing import write_servable
from wsus.models.bundle import read_bundle
from wsus.models.registry import bundle_key, publish_model
from wsus.storage import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Version 1 as it was trained, version 2 with all that publishing adds."""
    store = publish(tmp_path)
    with store.fetched(bundle_key("tiny", 1)) as folder:
        bundle = read_bundle(folder)
        write_servable(bundle, tmp_path / "servable", bundle.card)
    publish_model(store, "tiny", tmp_path / "servable")
    return store


def wsus(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def test_a_version_is_tested_signed_and_verified(store: Store, tmp_path: Path) -> None:
    key, keys = tmp_path / "key.pem", tmp_path / "keys.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, timeout=60)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", keys], check=True, timeout=60)
    where = ("tiny", 2, "--out", store.address)

    unsigned = wsus("verify", *where, "--keys", keys)
    assert isinstance(unsigned.exception, BundleError)
    assert "tiny 2: not signed" in str(unsigned.exception)
    signed = wsus("sign", *where, "--key", key)
    assert signed.exit_code == 0, signed.output
    assert [line.split(":")[0] for line in signed.output.splitlines()[:2]] == ["torch", "onnx"]
    verified = wsus("verify", *where, "--keys", keys)
    assert verified.output.splitlines()[-1].rpartition(" ")[2] == signed.output.splitlines()[-1].rpartition(" ")[2]
    assert "signed by: not asked" in wsus("verify", *where).output
