"""Settings that cannot be are refused by name, before anything starts."""

from typing import Any

import pytest

from serve_app.running import running
from serve_app.settings import settings_from
from wsus.errors import ConfigError


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "tokens_file is missing"),
        ({"insecure": True, "tokens_file": "t.json"}, "exclude each other"),
        ({"insecure": True, "max_batch": 4}, "max_batch"),
        ({"insecure": True, "max_batch_size": 0}, "max_batch_size"),
        ({"insecure": True, "min_replicas": 3, "max_replicas": 2}, "smaller than min_replicas"),
        ({"insecure": True, "s3_prefixes": ("s3://bucket/folder",)}, "last slash"),
        ({"insecure": True, "s3_prefixes": ("/etc/",)}, "s3://bucket/folder/"),
        ({"insecure": True, "engine": "tensorrt"}, "engine"),
        ({"insecure": True, "limits": {"max_bytes": 10_000_000, "max_body_bytes": 1_000_000}}, "smaller than max_bytes"),
    ],
)
def test_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_from({"store": "store", **wrong})


def test_insecure_stays_on_this_machine() -> None:
    with (
        pytest.raises(ConfigError, match=r"others can reach 0\.0\.0\.0"),
        running(settings_from({"store": "store", "insecure": True}), host="0.0.0.0"),
    ):
        pass
