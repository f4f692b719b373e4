"""A process of its own for each peer of a benchmark, and runs in turns among them.

Threads of one library that wait for work would slow another down in the same process.
"""

import multiprocessing
import statistics
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

_peer: object = None  # what a process of its own measures


def _begin(kind: type, *arguments) -> None:
    global _peer
    warnings.simplefilter("ignore")
    _peer = kind(*arguments)


def _call(name: str, *arguments):
    return getattr(_peer, name)(*arguments)


class Process:
    """A process that holds one object of this class, and is asked by the names of its methods."""

    def __init__(self, kind: type, *arguments):
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(kind, *arguments))

    def call(self, name: str, *arguments):
        return self.pool.submit(_call, name, *arguments).result()

    def end(self) -> None:
        self.pool.shutdown()


@dataclass(frozen=True)
class Measured:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """The least and the most. Example: "74.9–76.2"."""
        digits = 1 if self.median < 100 else 0
        return f"{min(self.values):,.{digits}f}–{max(self.values):,.{digits}f}"


def in_turns(processes: Mapping[str, Process], rounds: int, job: str, *arguments) -> dict[str, Measured | None]:
    """What a method gives in each process, so many times, all in turns; None if it gives None: it can't do that.

    Whoever wants a run to warm up calls the method before.
    """
    runs = [{name: process.call(job, *arguments) for name, process in processes.items()} for _ in range(rounds)]
    return {name: None if runs[0][name] is None else Measured(tuple(run[name] for run in runs)) for name in processes}
