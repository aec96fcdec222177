"""Decode uploads in processes of their own, with a limit of time and memory: a hostile file ends its decoder, nothing else.

Each process has a socket, which the event loop itself writes and reads: a small image would spend more time in a pool's usual
threads and queues than on its way. What a process sends back is JSON and bytes, of a bounded length, for the caller to
check: whoever takes a decoder over can answer nonsense, and cannot have code run here.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
import multiprocessing
import pickle
import resource
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from multiprocessing.context import ForkServerContext
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from serve_app.problems import ProblemError, not_ready
from serve_app.settings import Limits
from wsus.errors import ImageError, ImageReason

T = TypeVar("T")
Plain = tuple[Any, Sequence[bytes]]  # what a decoder returns: a value that JSON holds, and pieces of bytes
_JOB = struct.Struct("<qq")  # bytes of the pickled decoder and its arguments, bytes of the upload
_REPLY = struct.Struct("<qq")  # bytes of the JSON, bytes of all pieces
_MOST_JSON_BYTES = 4 * 1024 * 1024
_BUFFER_BYTES = 1024 * 1024  # a usual image passes without its sender having to wait for its reader
_START_S = 60.0
_READY = b"\x01"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed(Generic[T]):
    """A result and the seconds that it took, waiting for a free process included."""

    value: T
    seconds: float


class DecodePool:
    """A few processes that run decoders, started clean of this process's threads and memory. Belongs to one event loop.

    How many images wait for one is the caller's to bound, who also counts those that wait for their answer.

    Args:
        preload: the module that holds the decoders.
    """

    def __init__(self, limits: Limits, *, workers: int, preload: str, retry_after_s: int = 2) -> None:
        self._limits, self._workers, self._retry_after_s = limits, workers, retry_after_s
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preload])
        self._idle: list[_Decoder] = []
        self._busy: set[_Decoder] = set()
        self._free = asyncio.Semaphore(workers)
        self._shares: WeakKeyDictionary[object, asyncio.Semaphore] = WeakKeyDictionary()

    async def run(
        self,
        decode: Callable[..., Plain],
        content: bytes,
        *arguments: object,
        read: Callable[[Any, tuple[bytes, ...]], T],
        most_bytes: int,
        share_of: object = None,
    ) -> Timed[T]:
        """Run a decoder, a function at a module's top level, which is called with the upload's content and the arguments.

        Args:
            read: makes the result of what came back; a ValueError says that no decoder sends this.
            most_bytes: of all pieces that may come back.
            share_of: whoever asks, to whom all processes but one are lent at once; None for all.
        Raises:
            ProblemError: 422 where the time or the memory did not suffice, 503 where no process can be started.
            ImageError: whatever `decode` raises.
        """
        start = time.perf_counter()
        async with self._share(share_of), self._free:
            decoder = await self._decoder()
            self._busy.add(decoder)
            try:
                async with asyncio.timeout(self._limits.decode_timeout_s):
                    outcome, value, pieces = await decoder.ask(pickle.dumps((decode, arguments)), content, most_bytes=most_bytes)
                if outcome == "value":
                    result = read(value, pieces)
            except TimeoutError:
                decoder.end()
                detail = f"the image was not decoded within {self._limits.decode_timeout_s:g} s; export it as a plain PNG"
                raise ProblemError(422, "decode_timeout", detail) from None
            except (EOFError, OSError, ValueError) as error:
                _log.warning("a decoder was ended: %s", type(error).__name__)  # no word of what it sent
                decoder.end()
                raise _failed() from None
            except BaseException:  # whoever asked has gone, so that its answer would be taken for the next one's
                decoder.end()
                raise
            finally:
                ended_by_close = decoder not in self._busy
                self._busy.discard(decoder)
            if ended_by_close:
                decoder.end()
            else:
                self._idle.append(decoder)
        if outcome != "value":
            raise _error(outcome, value)
        return Timed(value=result, seconds=time.perf_counter() - start)

    def close(self) -> None:
        """End the processes, those at work too; the next image would start new ones."""
        for decoder in self._busy:
            decoder.kill()  # whoever waits for it is told, and closes its socket
        while self._idle:
            self._idle.pop().end()
        self._busy = set()
        self._free = asyncio.Semaphore(self._workers)
        self._shares.clear()

    def _share(self, of: object) -> AbstractAsyncContextManager[None]:
        if of is None or self._workers == 1:
            return nullcontext()
        return self._shares.setdefault(of, asyncio.Semaphore(self._workers - 1))

    async def _decoder(self) -> _Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.idle_and_alive:
                return decoder
            decoder.end()
        try:
            return await asyncio.to_thread(_Decoder, self._context, self._limits)
        except (OSError, EOFError) as error:
            _log.error("no process for decoding can be started: %r", error)
            raise not_ready("no process for decoding can be started now", self._retry_after_s) from None


class _Decoder:
    """One process and the socket to it; it ends when its socket does."""

    def __init__(self, context: ForkServerContext, limits: Limits) -> None:
        """Raises OSError or EOFError where the process cannot be started."""
        self._socket, theirs = socket.socketpair()
        for end in (self._socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        seconds = math.ceil(limits.decode_timeout_s) + 1
        arguments = (theirs, limits.decode_memory_bytes, seconds)
        self._process = context.Process(target=_work, args=arguments, name="decoder", daemon=True)
        try:
            with theirs:
                self._process.start()
            self._socket.settimeout(_START_S)
            if self._socket.recv(1) != _READY:
                raise EOFError("the process ended while it started")
        except BaseException:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    @property
    def idle_and_alive(self) -> bool:
        """Whether nothing lies in the socket, and its other end is open."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def ask(self, job: bytes, content: bytes, *, most_bytes: int) -> tuple[str, Any, tuple[bytes, ...]]:
        """Have a pickled decoder and its arguments run on an upload: the outcome, its value and its pieces.

        Raises:
            EOFError, OSError: the process ended.  ValueError: it sent what no decoder sends.
        """
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, _JOB.pack(len(job), len(content)) + job)
        await loop.sock_sendall(self._socket, content)
        json_bytes, piece_bytes = _REPLY.unpack(await self._received(_REPLY.size))
        if not (0 <= json_bytes <= _MOST_JSON_BYTES and 0 <= piece_bytes <= most_bytes):
            raise ValueError(f"{json_bytes} and {piece_bytes} bytes; at most {_MOST_JSON_BYTES} and {most_bytes}")
        reply = await self._received(json_bytes + piece_bytes)
        try:
            outcome, value, sizes = json.loads(reply[:json_bytes])
            ends = [json_bytes]
            for size in sizes:
                ends.append(ends[-1] + size)
            if ends[-1] != len(reply) or sorted(ends) != ends or not isinstance(outcome, str):
                raise ValueError(f"pieces of {sizes}")
            return outcome, value, tuple(bytes(reply[begin:end]) for begin, end in pairwise(ends))
        except (TypeError, RecursionError) as error:
            raise ValueError(repr(error)) from error

    def kill(self) -> None:
        if self._process.is_alive():
            self._process.kill()

    def end(self) -> None:
        self._socket.close()
        self.kill()

    async def _received(self, length: int) -> bytearray:
        content = bytearray(length)
        rest, loop = memoryview(content), asyncio.get_running_loop()
        while rest:
            count = await loop.sock_recv_into(self._socket, rest)
            if count == 0:
                raise EOFError("its process ended")
            rest = rest[count:]
        return content


def _error(outcome: str, value: Any) -> Exception:
    if outcome == "unusable":
        with suppress(TypeError, ValueError):
            message, reason = value
            return ImageError(str(message), ImageReason(reason))
    if outcome == "defect":
        return RuntimeError(f"a decoder failed:\n{value}")
    return _failed()


def _failed() -> ProblemError:
    return ProblemError(422, "decode_failed", "the image needs too much memory to decode; export it as a plain PNG")


def _work(link: socket.socket, most_bytes: int, most_seconds: int) -> None:
    """A decoder's process: answers one job after the other, until the socket ends. A job that takes too long ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for whoever started the server, which ends its decoders
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    job_of = lru_cache(maxsize=64)(pickle.loads)  # most uploads are to be decoded in the same way
    with link, suppress(EOFError, BrokenPipeError, ConnectionResetError), link.makefile("rb") as jobs:
        link.sendall(_READY)
        while True:
            job_bytes, content_bytes = _JOB.unpack(_exactly(jobs, _JOB.size))
            decode, arguments = job_of(_exactly(jobs, job_bytes))
            content = _exactly(jobs, content_bytes)
            signal.alarm(most_seconds)  # a server that was killed can end nobody
            outcome, value, pieces = _outcome(decode, content, arguments)
            signal.alarm(0)
            head = json.dumps([outcome, value, [len(piece) for piece in pieces]]).encode()
            link.sendall(b"".join((_REPLY.pack(len(head), sum(map(len, pieces))), head, *pieces)))


def _outcome(decode: Callable[..., Plain], content: bytes, arguments: tuple[object, ...]) -> tuple[str, object, Sequence[bytes]]:
    try:
        return "value", *decode(content, *arguments)
    except ImageError as error:
        return "unusable", (str(error), error.reason.value), ()
    except MemoryError:
        return "memory", None, ()
    except Exception:  # noqa: BLE001  a defect is sent to the server, which raises it (`_error`)
        return "defect", traceback.format_exc(), ()


def _exactly(stream: io.BufferedReader, length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
