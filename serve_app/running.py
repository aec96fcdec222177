"""The application on a Ray that this process is connected to, from its start to its end. Needs Ray."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import ray
from ray import serve
from ray.exceptions import RayActorError
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException

from serve_app.app import build
from serve_app.settings import APP_NAME, ServeSettings
from wsus.errors import ConfigError

FINISH_S = 30.0  # for requests that are under way when the server is told to end
_LOCAL = ("127.0.0.1", "localhost", "::1")
_log = logging.getLogger(__name__)


@contextmanager
def running(
    settings: ServeSettings, *, host: str = "127.0.0.1", port: int = 8000, shared: bool = False, replace: bool = False
) -> Iterator[str]:
    """The application, ready; yields the address that listens; ended afterwards, when what was under way is answered.

    Args:
        shared: the Ray is a cluster that others use, too: what is theirs is left alone, and of ours the application alone ends.
            Where its Serve runs already, it listens where it was told to then, whatever `host` and `port` say.
        replace: take the place of an application of the same name that runs there.
    Raises:
        ConfigError: insecure on an address that others can reach; an application of this name or at this path runs already.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    _refuse_open(settings, host)
    options = {"host": host, "port": port, "request_timeout_s": settings.limits.proxy_timeout_s}
    if not _serve_runs():
        serve.start(proxy_location="HeadOnly", http_options=options)
    listens = _get_global_client().http_config
    _refuse_open(settings, listens.host)
    if (listens.host, listens.port) != (host, port):
        _log.warning("Serve runs already and listens on %s:%s; --host and --port are its own", listens.host, listens.port)
    _refuse_taken(replace)
    try:
        serve.run(build(settings.model_dump()), name=APP_NAME, route_prefix="/")
        yield f"http://{'[' + listens.host + ']' if ':' in listens.host else listens.host}:{listens.port}"
    finally:
        if shared:
            serve.delete(APP_NAME)  # its replicas answer what they have; Serve and all else go on
        else:
            _finish_requests()
            _end_serve()


def _refuse_open(settings: ServeSettings, host: str) -> None:
    if settings.insecure and host not in _LOCAL:
        raise ConfigError(f"insecure serves this machine alone, and others can reach {host}; make tokens with `wsus tokens add`")


def _serve_runs() -> bool:
    try:
        _get_global_client()
    except RayServeException:
        return False
    return True


def _refuse_taken(replace: bool) -> None:
    """Nobody's application is pushed aside unasked; at `/` of a cluster there is room for one."""
    applications = _get_global_client().get_serve_details().get("applications", {})
    for name, path in {name: details.get("route_prefix") for name, details in applications.items()}.items():
        if name == APP_NAME and not replace:
            raise ConfigError(
                f"an application {APP_NAME!r} runs on this cluster already; --replace puts this one in its place, "
                f"`serve shutdown` or the other's Ctrl-C ends it"
            )
        if name != APP_NAME and path == "/":
            raise ConfigError(
                f"the application {name!r} of this cluster answers at '/', where this one would; end it, or serve elsewhere"
            )


def _finish_requests() -> None:
    """HAProxy takes no new connection and ends with its last request; without HAProxy the replicas alone finish theirs."""
    proxies = [process for process in psutil.Process().children(recursive=True) if _is_haproxy(process)]
    for process in proxies:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGUSR1)
    begun = time.monotonic()
    _, left = psutil.wait_procs(proxies, timeout=FINISH_S)
    if left:
        _log.warning("requests were still under way after %.0f s and are cut off", time.monotonic() - begun)


def _end_serve() -> None:
    """As `serve.shutdown`, which alone would wait for a call that Serve's controller never answers, since it ends itself: Ray
    prints a line on that, at each end of a server.
    """
    with suppress(RayServeException, RayActorError):
        ray.get(_get_global_client()._controller.graceful_shutdown.remote(wait=False))
    deadline = time.monotonic() + FINISH_S
    with suppress(ValueError):  # Ray no longer knows the controller
        while time.monotonic() < deadline:
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
            time.sleep(0.1)
    serve.shutdown()


def _is_haproxy(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.name() == "haproxy"
    return False
