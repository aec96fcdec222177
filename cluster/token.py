"""Ray's own token: who has it may run code on the cluster, so that every node and client is asked for it."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

MODE = "RAY_AUTH_MODE"


def token_file() -> Path:
    """Where Ray looks for its token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def has_token() -> bool:
    """Whether this user has a token on this machine."""
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or token_file().is_file()


def make_token() -> None:
    """As `ray get-auth-token --generate` does, where there is none yet; readable by this user alone."""
    if has_token():
        return
    file = token_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secrets.token_hex(32))


def use_token() -> None:
    """Show the token to the clusters that this process connects to, where it has one and RAY_AUTH_MODE does not say otherwise."""
    if os.environ.get(MODE) is not None or not has_token():
        return
    os.environ[MODE] = "token"
    if "ray" in sys.modules:
        from ray._raylet import Config  # type: ignore[attr-defined]

        Config.initialize("")  # Ray read the mode when it was imported
