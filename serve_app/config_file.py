"""The config file of Ray Serve, for `serve deploy` and a RayService: made from the settings, never written by hand."""

from __future__ import annotations

from typing import Any

from serve_app.settings import APP_NAME, ServeSettings

IMPORT_PATH = "serve_app.app:build"
HEADER = "# Made by `make serve-config` from serve_app/settings.py; a test compares. WSUS_STORE names the store.\n"


def serve_config(settings: ServeSettings, *, host: str = "0.0.0.0", port: int = 8000, store: bool = True) -> dict[str, Any]:
    """The document that `ray.serve.schema.ServeDeploySchema` reads; settings at their default are left out.

    Args:
        host, port: where each node's proxy listens.
        store: False leaves the store to the cluster's own WSUS_STORE, so that it stands in one place.
    """
    args = settings.model_dump(mode="json", exclude_defaults=True, exclude=None if store else {"store"})
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": host, "port": port, "request_timeout_s": settings.limits.proxy_timeout_s},
        "logging_config": {"encoding": "JSON"},
        "applications": [{"name": APP_NAME, "route_prefix": "/", "import_path": IMPORT_PATH, "args": args}],
    }


def serve_config_yaml(config: dict[str, Any]) -> str:
    """A config document as YAML, in the order in which people read it."""
    import yaml

    return HEADER + yaml.safe_dump(config, sort_keys=False)
