"""Keeping the memory that large tensors leave behind, so that the next ones need not ask the system for it again.

A training step makes and drops the same large tensors each time. The C library of Linux gives tensors above 32 MB back
to the system at once, and at the next step gets them anew, one page of 4 KB after another, each filled with zeros:
for GPT-2 124M on a CPU that can be a quarter of a step.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # the parameters of mallopt (glibc, malloc.h)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within it, freed memory stays with the process; where the C library is not glibc, nothing is different.

    The process then holds what it needed at its peak, and gives it back at the end.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, 65536)  # glibc's own settings, the threshold at what it grows to by itself
        libc.mallopt(_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(_TRIM_THRESHOLD, 64 * 2**20)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):  # Windows has no such thing
        return None
