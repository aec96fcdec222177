"""Decoders that misbehave, at a module's top level so that a process can find them."""

import os
import time

import numpy as np


def sleeps(content: bytes, frame: int) -> int:
    time.sleep(60)
    return frame


def eats_memory(content: bytes, frame: int) -> int:
    return int(np.ones(3_000_000_000, dtype=np.uint8).sum())


def dies(content: bytes, frame: int) -> int:
    os._exit(9)


def answers(content: bytes, frame: int) -> int:
    return len(content) + frame


def fails(content: bytes, frame: int) -> int:
    return 1 // frame


def waits(content: bytes, frame: int) -> int:
    time.sleep(0.3)
    return frame


def draws(content: bytes, frame: int) -> np.ndarray:
    return np.arange(frame, dtype=np.uint8).reshape(-1, 2)[:, ::-1]


class MakesFolder:
    """What a decoder that was taken over could send: whoever unpickles it makes a folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._path,)


def attacks(content: bytes, frame: int) -> MakesFolder:
    return MakesFolder(content.decode())
