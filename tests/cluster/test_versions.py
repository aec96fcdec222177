"""Versions that differ are refused with a line each."""

import json

import pytest

from cluster.check import own_environment
from cluster.session import ray_session
from cluster.versions import EXPECTED, refuse_version_skew, version_differences
from wsus.errors import ConfigError
from wsus.versions import own_versions


def test_differences_are_lines() -> None:
    assert version_differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == [
        "b 2 here, 3 there",
        "c missing here, 4 there",
    ]


def test_equal_versions_pass() -> None:
    refuse_version_skew({"node": own_versions()})


def test_skew_with_a_node_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"node: ray .* here, 1\.0 there\ninstall the same on both"):
        refuse_version_skew({"node": {**own_versions(), "ray": "1.0"}})


def test_skew_with_the_client_of_a_job_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXPECTED, json.dumps({**own_versions(), "wsus": "9"}))
    with pytest.raises(ConfigError, match=r"the client that submitted this: wsus .* here, 9 there"):
        refuse_version_skew({})


def test_address_without_a_cluster_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="nobody listens there: Connection refused"), ray_session("127.0.0.1:9"):
        pass


def test_settings_travel_and_secrets_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WSUS_CACHE_DIR", "WSUS_TOKEN"):
        monkeypatch.setenv(name, "x")
    assert {"AWS_REGION", "WSUS_CACHE_DIR"} <= set(own_environment())
    assert not {"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WSUS_TOKEN"} & set(own_environment())
