"""The config files of Ray Serve: accepted by Ray's own schema, nothing in them unknown, and as the settings make them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from serve_app.app import build
from serve_app.config_file import serve_config, serve_config_yaml
from serve_app.settings import ServeSettings, settings_from
from wsus.cli import app
from wsus.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TOKENS = "/etc/wsus/tokens/tokens.json"
FILES = {
    "serve_app/config.yaml": {"min_replicas": 2, "max_replicas": 4, "ingress_replicas": 2},
    "k8s/base/serve-config.yaml": {"min_replicas": 2, "max_replicas": 4, "ingress_replicas": 2},
    "k8s/components/gpu/serve-config.yaml": {"min_replicas": 2, "max_replicas": 4, "ingress_replicas": 2, "num_gpus": 1.0},
}


def assert_known(given: Any, read: Any, path: str = "") -> None:
    """Each key of a document stands in what the schema made of it: Ray ignores those that it does not know."""
    if isinstance(given, dict) and isinstance(read, dict) and not path.endswith(".args"):
        for key, value in given.items():
            assert key in read, f"Ray Serve knows no {path}.{key}"
            assert_known(value, read[key], f"{path}.{key}")
    if isinstance(given, list):
        for position, value in enumerate(given):
            assert_known(value, read[position], path)


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_what_the_settings_make(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSUS_STORE", "s3://bucket/prefix")
    settings = ServeSettings(tokens_file=TOKENS, **FILES[file])
    text = (ROOT / file).read_text()
    assert text == serve_config_yaml(serve_config(settings, store=False)), "run `make serve-config`"
    given = yaml.safe_load(text)
    assert_known(given, ServeDeploySchema.model_validate(given).model_dump())
    assert settings_from(given["applications"][0]["args"]) == settings
    assert build(given["applications"][0]["args"])


def test_an_unknown_key_would_be_seen() -> None:
    given = {"applications": [], "http_option": {}}
    with pytest.raises(AssertionError, match=r"knows no \.http_option"):
        assert_known(given, ServeDeploySchema.model_validate(given).model_dump())


def test_without_a_store_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSUS_STORE", "s3://bucket/prefix")
    assert settings_from({"insecure": True}).store == "s3://bucket/prefix"
    assert settings_from({"insecure": True, "store": "mine"}).store == "mine"
    monkeypatch.delenv("WSUS_STORE")
    with pytest.raises(ConfigError, match="store: Field required"):
        settings_from({"insecure": True})


def test_the_command_prints_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WSUS_STORE", raising=False)
    line = f"serve --print-config --host 0.0.0.0 --tokens {TOKENS} --min-replicas 2 --replicas 4 --ingresses 2"
    result = CliRunner().invoke(app, line.split())
    assert result.stdout == (ROOT / "serve_app/config.yaml").read_text()
    result = CliRunner().invoke(app, [*line.split(), "--store", "s3://bucket/prefix"])
    assert yaml.safe_load(result.stdout)["applications"][0]["args"]["store"] == "s3://bucket/prefix"
