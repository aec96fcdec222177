"""Decoders that misbehave, at a module's top level so that a process can find them."""

import time

import numpy as np


def sleeps(content: bytes, frame: int) -> int:
    time.sleep(60)
    return frame


def eats_memory(content: bytes, frame: int) -> int:
    return int(np.ones(3_000_000_000, dtype=np.uint8).sum())


def dies(content: bytes, frame: int) -> int:
    import os

    os._exit(9)


def answers(content: bytes, frame: int) -> int:
    return len(content) + frame
