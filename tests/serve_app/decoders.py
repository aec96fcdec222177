"""Decoders that misbehave, at a module's top level so that a process can find them."""

import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Plain = tuple[object, Sequence[bytes]]


def sleeps(content: bytes, frame: int) -> Plain:
    time.sleep(60)
    return frame, ()


def eats_memory(content: bytes, frame: int) -> Plain:
    return int(np.ones(3_000_000_000, dtype=np.uint8).sum()), ()


def dies(content: bytes, frame: int) -> Plain:
    os._exit(9)


def answers(content: bytes, frame: int) -> Plain:
    return len(content) + frame, ()


def fails(content: bytes, frame: int) -> Plain:
    return 1 // frame, ()


def waits(content: bytes, frame: int) -> Plain:
    time.sleep(0.3)
    return frame, ()


def pieces(content: bytes, frame: int) -> Plain:
    return {"frame": frame}, [content[:frame], content[frame:], b""]


def too_long(content: bytes, frame: int) -> Plain:
    return frame, [b"x" * 2000]


def notes_its_process(content: bytes, frame: int) -> Plain:
    Path(content.decode()).write_text(str(os.getpid()))
    while True:  # where no signal of the interpreter reaches it, a decoder in C looks like this
        sum(range(frame))


def _sends(raw: bytes) -> None:
    """What a decoder that was taken over could send: anything."""
    frame = sys._getframe()
    while "link" not in frame.f_locals:
        assert frame.f_back is not None
        frame = frame.f_back
    frame.f_locals["link"].sendall(raw)


def sends_nonsense(content: bytes, frame: int) -> Plain:
    replies = [
        struct.pack("<qq", 2**40, 0),
        struct.pack("<qq", 10, -1),
        struct.pack("<qq", 4, 0) + b"nope",
        struct.pack("<qq", 200_000, 0) + b"[" * 200_000,
        struct.pack("<qq", 18, 3) + b'["value",0,[5,-2]]abc',
        struct.pack("<qq", 14, 3) + b'["value",0,[]]abc',
        struct.pack("<qq", 13, 0) + b'[["a"],0,[]] ',
    ]
    _sends(replies[frame])
    return 0, ()
