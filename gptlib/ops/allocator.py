"""Keeping the memory that large tensors leave behind, so that the next ones need not ask the system for it again.

A training step makes and drops the same large tensors each time. The C library of Linux gives tensors above 32 MB back
to the system at once, and at the next step gets them anew, one page of 4 KB after another, each filled with zeros:
for GPT-2 124M on a CPU that can be a quarter of a step.

glibc tells nobody its settings, so what was there before can't be read and put back. What is put back is what the
environment has set (MALLOC_MMAP_MAX_ and the like, GLIBC_TUNABLES), else the values that glibc's own settings reach in
a process that has freed a tensor of 32 MB. One thing stays: from the first call of mallopt on, glibc no longer adapts
its thresholds to what is freed, and nothing turns that on again. It would move them to no other values than these.
"""

import ctypes
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SLACK = 1.25
"""How many times as much as after one step the process may hold."""

_OPTIONS = {
    # Its number in mallopt (glibc, malloc.h); its value outside of a run, the thresholds at the most that they grow to.
    "mmap_max": (-4, 65536),
    "mmap_threshold": (-3, 32 * 2**20),
    "trim_threshold": (-1, 64 * 2**20),
}
_RETAIN = {"mmap_max": 0, "trim_threshold": 2**31 - 1}

_lock = threading.Lock()
_users = 0  # blocks of `retain_freed_memory` that are open, in all threads; the settings are the whole process's


@contextmanager
def retain_freed_memory() -> Iterator[Callable[[], None]]:
    """Within it, freed memory stays with the process; if the C library is not glibc, nothing is different.

    Yields a function to call after each step. If batches differ in length, their tensors seldom fit in the place of
    others, and the process would hold several times what it needs: when it holds more than `SLACK` times as much as
    after one step, the function gives back all that is free. At the end all is given back, and the settings are put
    back as far as glibc allows it (see above). Blocks may be nested, or open in several threads: the last one does it.
    """
    libc = _glibc()
    if libc is None:
        yield lambda: None
        return
    needed, only_one_step = 0, True

    def trim() -> None:
        nonlocal needed, only_one_step
        held = _resident()
        if only_one_step:
            needed, only_one_step = max(needed, held), False
        elif held > SLACK * needed:
            libc.malloc_trim(0)
            only_one_step = True

    _enter(libc)
    try:
        yield trim
    finally:
        _leave(libc)


def _enter(libc: ctypes.CDLL) -> None:
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _set(libc, _RETAIN)


def _leave(libc: ctypes.CDLL) -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            _set(libc, settings_outside(os.environ))
            libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, values: Mapping[str, int]) -> None:
    for name, value in values.items():
        libc.mallopt(_OPTIONS[name][0], value)


def settings_outside(environment: Mapping[str, str]) -> dict[str, int]:
    """The values of glibc's settings that a process with this environment has without a run."""
    tunables = dict(re.findall(r"(?:^|:)glibc\.malloc\.(\w+)=(\d+)(?=:|$)", environment.get("GLIBC_TUNABLES", "")))
    settings = {}
    for name, (_, usual) in _OPTIONS.items():
        given = tunables.get(name) or environment.get(f"MALLOC_{name.upper()}_", "")
        settings[name] = min(int(given), 2**31 - 1) if given.isdecimal() else usual  # mallopt takes an int
    return settings


def _resident() -> int:
    """Pages of the process that are in memory (proc(5), statm); 0 if the system doesn't tell."""
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
