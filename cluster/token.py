"""Ray's own token: who has it may run code on the cluster, so that every node and client is asked for it."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from wsus.errors import ConfigError

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


def asks_for_token(address: str) -> bool:
    """Whether the head at HOST:PORT refuses a call without a token; asked with one small call that needs none otherwise."""
    import grpc

    direct = [("grpc.enable_http_proxy", 0)]  # as Ray's own calls: a cluster is not behind the proxy of the web
    with grpc.insecure_channel(address, options=direct) as channel:
        alive = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            alive(b"", timeout=10)
        except grpc.RpcError as error:
            return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
    return False


def use_token() -> None:
    """Show the token to the cluster that this process connects to, where RAY_AUTH_MODE does not say otherwise.

    Only for a cluster that asks for it: one that does not takes a driver with a token for dead.

    Raises:
        ConfigError: there is no token on this machine.
    """
    if os.environ.get(MODE) is not None:
        return
    if not has_token():
        raise ConfigError(
            "the cluster asks for a token and there is none here: copy the head's ~/.ray/auth_token here, or set RAY_AUTH_TOKEN"
        )
    os.environ[MODE] = "token"
    if "ray" in sys.modules:
        from ray._raylet import Config  # type: ignore[attr-defined]

        Config.initialize("")  # Ray read the mode when it was imported
