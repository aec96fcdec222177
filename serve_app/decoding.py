"""Decode uploads in processes of their own, with a limit of time and memory: a hostile file ends its decoder, nothing else.

Each process has a socket, which the event loop itself writes and reads: a pool's usual threads and queues cost a small image
half of its way (benchmarks/serving.py). What a process sends back is read as data: whoever takes a decoder over cannot have
code run here.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import pickle
import resource
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from typing import Any, Generic, TypeVar

import numpy as np

from serve_app.problems import ProblemError
from serve_app.settings import Limits
from wsus.errors import ImageError, ImageReason

T = TypeVar("T")
_LENGTH = struct.Struct("<q")
_BUFFER_BYTES = 1024 * 1024  # a usual image passes without its sender having to wait for its reader
_ARRAY: Any = np.zeros(1)
_MAKE_ARRAYS = (np.dtype, np.ndarray, _ARRAY.__reduce__()[0], _ARRAY.__reduce_ex__(pickle.HIGHEST_PROTOCOL)[0])


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
        results: the classes that decoders return, beside plain values and numpy's arrays.
    """

    def __init__(self, limits: Limits, *, workers: int, preload: str, results: tuple[type, ...] = ()) -> None:
        self._limits, self._workers = limits, workers
        self._readable = {(kind.__module__, kind.__qualname__): kind for kind in (*_MAKE_ARRAYS, *results)}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preload])
        self._idle: list[_Decoder] = []
        self._free = asyncio.Semaphore(workers)

    async def run(self, decode: Callable[..., T], *arguments: object) -> Timed[T]:
        """Run a decoder, a function at a module's top level.

        Raises:
            ProblemError: 422 where the time or the memory did not suffice.
            ImageError: whatever `decode` raises.
        """
        start = time.perf_counter()
        job = pickle.dumps((decode, arguments), pickle.HIGHEST_PROTOCOL)
        async with self._free:
            decoder = await self._decoder()
            try:
                async with asyncio.timeout(self._limits.decode_timeout_s):
                    reply = await decoder.ask(job, most_bytes=self._limits.decode_memory_bytes)
                outcome, value = _DataUnpickler(reply, self._readable).load()
            except TimeoutError:
                decoder.end()
                detail = f"the image was not decoded within {self._limits.decode_timeout_s:g} s; export it as a plain PNG"
                raise ProblemError(422, "decode_timeout", detail) from None
            except (EOFError, OSError):
                decoder.end()
                raise _too_much_memory() from None
            except BaseException:  # it may still answer whoever has gone, or it sent what no decoder sends
                decoder.end()
                raise
            self._idle.append(decoder)
        return Timed(value=_result(outcome, value), seconds=time.perf_counter() - start)

    def close(self) -> None:
        """End the processes; the next image would start them again."""
        while self._idle:
            self._idle.pop().end()
        self._free = asyncio.Semaphore(self._workers)

    async def _decoder(self) -> _Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.alive:
                return decoder
            decoder.end()
        return await asyncio.to_thread(_Decoder, self._context, self._limits.decode_memory_bytes)


class _Decoder:
    """One process and the socket to it; it ends when its socket does."""

    def __init__(self, context: ForkServerContext, most_bytes: int) -> None:
        self._socket, theirs = socket.socketpair()
        for end in (self._socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._socket.setblocking(False)
        self._process = context.Process(target=_work, args=(theirs, most_bytes), name="decoder", daemon=True)
        with theirs:
            self._process.start()

    @property
    def alive(self) -> bool:
        """Whether an idle process has not ended: then its end of the socket is closed."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def ask(self, job: bytes, *, most_bytes: int) -> bytearray:
        """Raises EOFError or OSError where the process ended."""
        await asyncio.get_running_loop().sock_sendall(self._socket, _LENGTH.pack(len(job)) + job)
        (length,) = _LENGTH.unpack(await self._received(_LENGTH.size))
        if not 0 <= length <= most_bytes:
            raise EOFError(f"a decoder announced {length} bytes")
        return await self._received(length)

    def end(self) -> None:
        self._socket.close()
        self._process.kill()

    async def _received(self, length: int) -> bytearray:
        content = bytearray(length)
        rest, loop = memoryview(content), asyncio.get_running_loop()
        while rest:
            count = await loop.sock_recv_into(self._socket, rest)
            if count == 0:
                raise EOFError("a decoder ended")
            rest = rest[count:]
        return content


class _DataUnpickler(pickle.Unpickler):
    """Reads plain values, numpy's arrays and the classes that it is given, and calls nothing else."""

    def __init__(self, content: bytearray, readable: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(io.BytesIO(content))
        self._readable = readable

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._readable:
            raise pickle.UnpicklingError(f"a decoder sent {module}.{name}, which is no result")
        return self._readable[module, name]


def _result(outcome: str, value: Any) -> Any:
    if outcome == "unusable":
        raise ImageError(value[0], ImageReason(value[1]))
    if outcome == "memory":
        raise _too_much_memory()
    if outcome == "defect":
        raise RuntimeError(f"a decoder failed:\n{value}")
    return value


def _too_much_memory() -> ProblemError:
    return ProblemError(422, "decode_failed", "the image needs too much memory to decode; export it as a plain PNG")


def _work(link: socket.socket, most_bytes: int) -> None:
    """A decoder's process: answers one job after the other, until the socket ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for whoever started the server, which ends its decoders
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with link, suppress(EOFError, BrokenPipeError, ConnectionResetError), link.makefile("rb") as jobs:
        while True:
            decode, arguments = pickle.loads(_exactly(jobs, *_LENGTH.unpack(_exactly(jobs, _LENGTH.size))))
            reply = pickle.dumps(_outcome(decode, arguments), pickle.HIGHEST_PROTOCOL)
            link.sendall(_LENGTH.pack(len(reply)) + reply)


def _outcome(decode: Callable[..., object], arguments: tuple[object, ...]) -> tuple[str, object]:
    try:
        return "value", decode(*arguments)
    except ImageError as error:
        return "unusable", (str(error), error.reason.value)
    except MemoryError:
        return "memory", None
    except Exception:  # noqa: BLE001  raised again where its log is kept
        return "defect", traceback.format_exc()


def _exactly(stream: io.BufferedReader, length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
