"""A process of its own for each peer of a benchmark, and runs in turns among them.

Threads of one library that wait for work would slow another down in the same process.
"""

import multiprocessing
import statistics
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

_peer: object = None  # what a process of its own measures


def _begin(kind: type, *arguments) -> None:
    global _peer
    warnings.simplefilter("ignore")
    _peer = kind(*arguments)


def _call(name: str, *arguments):
    return getattr(_peer, name)(*arguments)


def _seconds(name: str, *arguments) -> float | None:
    """How long the job takes that this method gives, or None where it gives none."""
    job = getattr(_peer, name)(*arguments)
    if job is None:
        return None
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


class Process:
    """A process that holds one object of this class, and is asked by the names of its methods."""

    def __init__(self, kind: type, *arguments):
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(kind, *arguments))

    def call(self, name: str, *arguments):
        return self.pool.submit(_call, name, *arguments).result()

    def seconds(self, name: str, *arguments) -> float | None:
        return self.pool.submit(_seconds, name, *arguments).result()


def in_turns(processes: dict[str, Process], rounds: int, *job) -> dict[str, float | None]:
    """The median seconds of a job in each process, after one run to warm up; None where it can't do it."""
    runs = [{name: process.seconds(*job) for name, process in processes.items()} for _ in range(rounds + 1)][1:]
    return {name: s and statistics.median(run[name] for run in runs) for name, s in runs[0].items()}
