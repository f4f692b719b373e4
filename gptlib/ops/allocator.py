"""Keeping the memory that large tensors leave behind, so that the next ones need not ask the system for it again.

A training step makes and drops the same large tensors each time. The C library of Linux gives tensors above 32 MB back
to the system at once, and at the next step gets them anew, one page of 4 KB after another, each filled with zeros:
for GPT-2 124M on a CPU that can be a quarter of a step.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SLACK = 1.25
"""How many times as much as with one step behind it the process may hold."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # the parameters of mallopt (glibc, malloc.h)


@contextmanager
def freed_memory_kept() -> Iterator[Callable[[], None]]:
    """Within it, freed memory stays with the process; where the C library is not glibc, nothing is different.

    Yields a function to call after each step. Where batches differ in length, their tensors seldom fit where others
    were, and the process would hold several times what it needs: when it holds more than `SLACK` times as much as after
    one step, the function gives back all that is free. At the end all is given back.
    """
    libc = _glibc()
    if libc is None:
        yield lambda: None
        return
    needed, only_one_step = 0, True

    def tidy() -> None:
        nonlocal needed, only_one_step
        held = _resident()
        if only_one_step:
            needed, only_one_step = max(needed, held), False
        elif held > SLACK * needed:
            libc.malloc_trim(0)
            only_one_step = True

    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield tidy
    finally:
        libc.mallopt(_MMAP_MAX, 65536)  # glibc's own settings, the threshold at what it grows to by itself
        libc.mallopt(_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(_TRIM_THRESHOLD, 64 * 2**20)
        libc.malloc_trim(0)


def _resident() -> int:
    """Pages of the process that are in memory (proc(5), statm); 0 where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0


def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):  # Windows has no such thing
        return None
