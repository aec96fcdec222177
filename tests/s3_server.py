"""A real S3 server (`weed`) on this machine, and a proxy before it that fails as networks and servers fail."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from serve_app.proxy import free_ports

READER = ("reader", "reader-secret")
BUCKET = "tests"
WRITER = ("writer", "writer-secret")
GUEST = ("guest", "guest-secret")
_IDENTITIES = {
    "identities": [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret}],
            "actions": actions,
        }
        for (name, secret), actions in (
            (("owner", "owner-secret"), ["Admin", "Read", "Write", "List", "Tagging"]),
            (WRITER, ["Read", "Write", "List"]),
            (READER, ["Read", "List"]),
            (GUEST, ["Read:another-bucket", "List:another-bucket"]),
        )
    ]
}


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """endpoint: its address.  pid: of its process.  BUCKET is there."""

    endpoint: str
    pid: int

    def owner(self) -> Any:
        """A client that may do everything."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="owner",
            aws_secret_access_key="owner-secret",
            config=Config(s3={"addressing_style": "path"}),
        )


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Start `weed` in a folder, and end it by its own process id."""
    weed = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        pytest.skip("the S3 server `weed` is not installed (it comes with the extra 'dev')")
    roles = ("s3", "master", "volume", "filer")
    ports = dict(zip((f"{role}.port{protocol}" for protocol in ("", ".grpc") for role in roles), free_ports(8), strict=True))
    identities = folder / "identities.json"
    identities.write_text(json.dumps(_IDENTITIES))
    (folder / "data").mkdir()
    places = [f"-dir={folder / 'data'}", f"-s3.config={identities}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    more = [
        "-volume.max=300",
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    listening = [f"-{name}={port}" for name, port in ports.items()]
    environment = {**os.environ, "WEED_S3_SSE_KEY": "a key for these tests alone"}
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [weed, "-logtostderr=true", "server", "-s3", *places, *listening, *more],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
        )
        try:
            server = S3Server(endpoint=f"http://127.0.0.1:{ports['s3.port']}", pid=process.pid)
            _wait_until_it_writes(server, process, folder / "weed.log")
            yield server
        finally:
            process.kill()  # asked politely, it waits for its clients
            process.wait(30)


def _wait_until_it_writes(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            server.owner().create_bucket(Bucket=BUCKET)
            server.owner().put_object(Bucket=BUCKET, Key="x", Body=b"x")
        except (BotoCoreError, ClientError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"weed does not answer ({error}):\n{log.read_text()[-2000:]}") from error
            time.sleep(0.3)
        else:
            return


class Faults:
    """What the proxy does to requests; may be changed while it runs. seen: how often what was done."""

    def __init__(self) -> None:
        self.error_share = 0.0  # answered 500 or 503
        self.delay_s = 0.0  # before every answer
        self.cut_uploads = 0  # so many of the next PUTs over 1 kB are reset in their middle
        self.cut_downloads = 0  # so many of the next GETs over 1 kB are reset in their middle
        self.spoilt_downloads = 0  # so many of the next GETs over 1 kB bring another byte in their middle
        self.down = False  # connections are closed without an answer
        self.cut_where: Callable[[str, str, int], bool] = lambda method, path, client_port: False  # reset before it is read
        self.lose_answers = 0  # so many of the next PUTs are done, but their answer is lost
        self.seen: Counter[str] = Counter()
        self.random = random.Random(0)
        self.lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Use up one of the next faults of a kind."""
        with self.lock:
            left = getattr(self, name)
            if left > 0:
                setattr(self, name, left - 1)
                self.seen[name] += 1
            return bool(left > 0)


@contextmanager
def faulty_proxy(endpoint: str) -> Iterator[tuple[str, Faults]]:
    """A proxy on this machine before an S3 server: its address, and the faults that it makes."""
    faults = Faults()
    upstream = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            faults.seen["requests"] += 1
            faults.seen["listings" if "list-type=2" in self.path else self.command] += 1
            length = int(self.headers.get("Content-Length") or 0)
            if faults.down:
                faults.seen["down"] += 1
                return self._reset()
            if faults.cut_where(self.command, self.path, self.client_address[1]):
                return self._reset()
            if self.command == "PUT" and length > 1000 and faults.take("cut_uploads"):
                self.rfile.read(length // 2)
                return self._reset()
            if self.headers.get("Expect", "").lower() == "100-continue":
                pass  # http.server has answered it already
            body = self.rfile.read(length) if length else b""
            time.sleep(faults.delay_s)
            if faults.random.random() < faults.error_share:
                return self._refuse(faults.random.choice((500, 503)))
            connection = HTTPConnection(upstream, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("expect", "connection")}
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            if self.command == "PUT" and faults.take("lose_answers"):
                return self._reset()
            if self.command == "GET" and len(content) > 1000 and faults.take("spoilt_downloads"):
                middle = len(content) // 2
                content = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            said = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            if answer.status != 204 and said is not None:
                self.send_header("Content-Length", said)
            self.end_headers()
            if self.command == "GET" and len(content) > 1000 and faults.take("cut_downloads"):
                self.wfile.write(content[: len(content) // 2])
                return self._reset()
            self.wfile.write(content)
            connection.close()
            return None

        def _reset(self) -> None:
            """Close with RST, as a peer that is gone."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            self.close_connection = True
            self.connection.close()

        def _refuse(self, status: int) -> None:
            faults.seen[str(status)] += 1
            code = {500: "InternalError", 503: "SlowDown"}[status]
            content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made up</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            return  # a client that hung up

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
