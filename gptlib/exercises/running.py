"""Runs a learner's code so that whatever it does stays inside: errors, endless loops, prints, seeds.

The code runs in a thread of its own, which is told to stop when its time is over; that works in a notebook, in a
script and on Windows alike. One thing can't be stopped: a single C call that never gives Python back, as 9**9**9.
"""

import contextlib
import ctypes
import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

LONGEST_PRINT = 2000  # characters of what a learner prints; an endless loop prints without end
GRACE = 1.0  # seconds that code gets to stop when it is told to


class OutOfTime(BaseException):
    """Thrown into the learner's code. No Exception, so that `except Exception` in it does not catch it."""


@dataclass(frozen=True)
class Run:
    """What came of a run: a value, or an error, or neither in time; and what was printed."""

    value: Any = None
    error: BaseException | None = None
    timed_out: bool = False
    printed: str = ""


def run_limited(function: Callable[[], Any], seconds: float) -> Run:
    """Call `function`, for `seconds` at most, from the same random state each time; raises nothing of its own.

    Random state, default dtype, standard output and error are afterwards as they were before. Gradients are
    recorded within, whatever the caller has set, since that setting belongs to a thread.
    """
    box: dict[str, Any] = {}

    def work() -> None:
        try:
            box["value"] = function()
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: they are the learner's, not ours
            box["error"] = error

    worker = threading.Thread(target=work, daemon=True, name="exercise")
    printed = _Printed()
    with _restored_state(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        worker.start()
        try:
            finished = _wait(worker, seconds)
        finally:
            _stop(worker)
    error = box.get("error")
    timed_out = not finished or isinstance(error, OutOfTime)
    return Run(box.get("value"), None if timed_out else error, timed_out, printed.getvalue())


def _wait(worker: threading.Thread, seconds: float) -> bool:
    """Whether it ended in time. In short naps, since on Windows a Ctrl-C can't end a long one."""
    deadline = time.monotonic() + seconds
    while worker.is_alive() and time.monotonic() < deadline:
        worker.join(min(0.1, max(0.0, deadline - time.monotonic())))
    return not worker.is_alive()


def _stop(worker: threading.Thread) -> None:
    """Throw OutOfTime into the thread until it ends: more than once, since a bare `except:` in a loop catches it.

    Sleeping code gets it when it wakes; it is left behind, as a daemon that no exit of Python waits for.
    """
    deadline = time.monotonic() + GRACE
    while worker.is_alive() and time.monotonic() < deadline:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(OutOfTime))
        worker.join(0.02)


class _Printed(io.TextIOBase):
    """A text stream that keeps the beginning of what is written to it."""

    def __init__(self):
        self.kept = ""
        self.cut = False

    def write(self, text: str) -> int:
        room = LONGEST_PRINT - len(self.kept)
        self.cut = self.cut or len(text) > room
        self.kept += text[:room]
        return len(text)

    def writable(self) -> bool:
        return True

    def getvalue(self) -> str:
        return self.kept + (" ..." if self.cut else "")


@contextlib.contextmanager
def _restored_state() -> Iterator[None]:
    """Seed everything within the block, and put back what was there before."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate(), torch.get_default_dtype()
    # Only the CPU's generator: torch.manual_seed would seed those of GPUs too, for good.
    torch.default_generator.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
        torch.set_default_dtype(before[3])
