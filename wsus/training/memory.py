"""What the C library does with the memory that a training step frees: kept for the next step, given back between trainings.

glibc takes each large block from the system and gives it back when it is freed, so that every step pays for zeroed pages
anew: over half of a step of EfficientNet-Lite0 at batch 32. Its limit cannot be raised far enough by MALLOC_MMAP_THRESHOLD_
in a process that runs already; forbidding the separate mappings (`mallopt(3)`: M_MMAP_MAX) can be done at any time.
"""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees. Returns False where the C library is not glibc, and nothing changes."""
    libc = _glibc()
    return libc is not None and bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER))


def give_back_memory() -> None:
    """Give the system what this process has freed and kept: after a training run, for what comes next on this machine."""
    gc.collect()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    program = ctypes.CDLL(None)
    return program if hasattr(program, "gnu_get_libc_version") else None
