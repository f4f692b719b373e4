"""What a machine can do, how long a job takes, where its time goes, and what memory its gradients need.

Two limits hold for every program (Williams, Waterman, Patterson 2009, Roofline): how fast memory is read and how fast
numbers are multiplied. Both are measured here on the CPU, and `Roofline` says what follows for a job from what it reads
and computes.
"""

import os
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptlib.ops.backend import FEW_ROWS, Backend, this_processor
from gptlib.ops.linear import MATMULS, linear
from gptlib.utils.validation import whole_number

Job = Callable[[], object]


def alternate(jobs: Mapping[str, Job], rounds: int = 5) -> dict[str, float]:
    """The median seconds of each job; all run once to warm up, then in turns, so that they see the same machine."""
    whole_number("rounds", rounds, 1)
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            seconds[name].append(_seconds(job))
    return {name: statistics.median(times) for name, times in seconds.items()}


def median_seconds(job: Job, rounds: int = 5) -> float:
    """The median seconds of a job, run once to warm up and then so many times."""
    return alternate({"": job}, rounds)[""]


def _seconds(job: Job) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def _least_seconds(job: Job, at_least: float = 0.3) -> float:
    """The fastest of all runs that fit into `at_least` seconds, two or more: a limit is what is possible."""
    end, best = time.perf_counter() + at_least, _seconds(job)
    while True:
        best = min(best, _seconds(job))
        if time.perf_counter() > end:
            return best


def memory_bandwidth(n_bytes: int = 500_000_000) -> float:
    """Bytes a second at which the CPU sums an array that no cache holds: the most that decoding can read."""
    array = torch.ones(n_bytes // 4)
    return 4 * array.numel() / _least_seconds(array.sum)


def matmul_flops(dtype: torch.dtype = torch.float32, size: int = 1024, backend: Backend | None = None) -> float:
    """Operations a second of the CPU in the matmul of two square matrices, by the kernel of the backend.

    On a busy machine even the best is too low, and what is reported as a share of it too high.
    """
    a, b = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    return 2 * size**3 / _least_seconds(lambda: linear(a, b, backend=backend))


def kernels_to_compare(dtype: torch.dtype, rows: int) -> tuple[str, ...]:
    """The names of the kernels that may be the fastest for so many rows."""
    few = rows <= FEW_ROWS
    if dtype == torch.float32:
        return ("plain", "onednn", "sliced") if few else ("plain", "onednn")
    return ("plain", "vector") if few else ("plain",)


@torch.no_grad()
def seconds_by_kernel(
    rows: int, k: int, n: int, dtype: torch.dtype = torch.float32, transposed: bool = False
) -> dict[str, float]:
    """The median seconds of a matmul (rows, k) x (k, n) by each kernel that may be the fastest.

    Small weights take turns, so that they come from memory, as those of a model do. transposed: these are views of
    matrices stored the other way round. A kernel that this machine doesn't have is left out.
    """
    x, n_weights = torch.randn(rows, k, dtype=dtype), max(1, min(8, 2**26 // (n * k)))
    weights = [
        torch.randn(k, n, dtype=dtype).t() if transposed else torch.randn(n, k, dtype=dtype) for _ in range(n_weights)
    ]

    def multiply(kernel: str) -> None:
        for weight in weights:
            MATMULS[kernel](x, weight, None)

    jobs = {}
    for kernel in kernels_to_compare(dtype, rows):
        with suppress(RuntimeError, AttributeError, NotImplementedError):
            multiply(kernel)
            jobs[kernel] = partial(multiply, kernel)
    return {kernel: seconds / len(weights) for kernel, seconds in alternate(jobs).items()}


@dataclass(frozen=True)
class Roofline:
    """The two limits of a machine, and what they allow."""

    memory_bandwidth: float
    """Bytes read from memory in a second."""
    matmul_flops: float
    """Floating-point operations in a second."""

    @classmethod
    def measured(cls, dtype: torch.dtype = torch.float32) -> "Roofline":
        """This machine's CPU, computing in `dtype`."""
        return cls(memory_bandwidth(), matmul_flops(dtype))

    @property
    def ridge(self) -> float:
        """Operations for each byte at which reading and computing take equally long."""
        return self.matmul_flops / self.memory_bandwidth

    def attainable(self, intensity: float) -> float:
        """The operations a second that a job with `intensity` operations for each byte can reach."""
        return min(self.matmul_flops, intensity * self.memory_bandwidth)

    def seconds(self, flops: float, n_bytes: float) -> float:
        """The least time for so many operations and bytes, where reading and computing go on side by side."""
        return max(flops / self.matmul_flops, n_bytes / self.memory_bandwidth)


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions, how busy the machine is, and its limits; takes about a second."""
    import psutil  # here, because training asks this module for no more than a rate

    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": psutil.cpu_count(logical=False),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": round(psutil.getloadavg()[0], 2),
        "read_GB_s": round(memory_bandwidth() / 1e9, 1),
        "fp32_GFLOP_s": _in_giga(matmul_flops(torch.float32)),
        "bf16_GFLOP_s": _in_giga(matmul_flops(torch.bfloat16)),
    }


def _in_giga(rate: float) -> int:
    """In whole billions, and 1 at least: a machine without bf16 may need seconds for one product."""
    return max(round(rate / 1e9), 1)


def processor() -> str:
    """Its name, with what it has for 16 and 8 bits (AMX, avx512_bf16, avx512_vnni), where the system says so."""
    found = this_processor()
    extras = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512_vnni") if flag in found.flags]
    return " ".join([found.name, *extras])


def describe(found: Mapping[str, Any]) -> str:
    """What `machine` has found, in two lines."""
    return (
        f"{found['processor']}, {found['threads']} threads, torch {found['torch']}, {found['date']}; load before "
        f"{found['load']}\nreads {found['read_GB_s']} GB/s, multiplies {found['fp32_GFLOP_s']} GFLOP/s in fp32, "
        f"{found['bf16_GFLOP_s']} in bf16"
    )


def activation_bytes(loss_of: Job, weights: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd keeps in loss_of() for its gradients, `weights` left out; what is kept twice counts once."""
    own = {weight.untyped_storage().data_ptr() for weight in weights}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of()  # held until all is counted: memory that is freed could be kept anew, under the same address
    del loss
    return sum(size for place, size in kept.items() if place not in own)


KINDS = {
    "matrix products": r"mm$|mv$|linear|linear_pointwise|int8pack_mm",
    "attention": r"attention",
    "softmax and loss": r"softmax|nll_loss|cross_entropy",
    "LayerNorm, GELU": r"layer_norm|gelu",
    "optimizer": r"_fused_adam|_foreach|addcdiv|addcmul|lerp",
    "drawing a token": r"topk|sort|multinomial|rand|searchsorted|cumsum|argmax",
    "copying and filling": r"copy_|clone|zero_|fill_|cat$|empty|embedding|index|gather|scatter",
    "adding, scaling": r"::(add|sub|mul|div|sum|sqrt|pow|mean|neg)_?$",
}
"""Patterns of the names that PyTorch's operations have in a profile; the first that is found counts."""

BETWEEN = "in between"


def profiled(job: Job, runs: int = 3) -> torch.profiler.profile:
    """torch.profiler's record of so many runs of a job on the CPU, after one run that is not recorded."""
    job()
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with _silent():
        profile.start()
    try:
        for _ in range(runs):
            with torch.profiler.record_function("job"):  # its own time is that of no operation
                job()
    finally:
        with _silent():
            profile.stop()
    return profile


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing reaches the standard error stream: the profiler's C++ part announces itself there."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def seconds_by_kind(profile: torch.profiler.profile) -> dict[str, float]:
    """Seconds of each kind of operation in a profile, the longest first: those of KINDS, and BETWEEN for all else.

    That is Python, PyTorch's way from Python to an operation, and the bookkeeping for gradients.
    """
    seconds: Counter[str] = Counter()
    for event in profile.key_averages():
        seconds[kind_of(event.key)] += event.self_cpu_time_total / 1e6  # given in microseconds
    return dict(seconds.most_common())


def kind_of(operation: str) -> str:
    """The kind, of KINDS or BETWEEN, that an operation's name in a profile belongs to."""
    if "::" not in operation or operation.startswith("autograd::"):
        return BETWEEN
    return next((kind for kind, names in KINDS.items() if re.search(names, operation)), BETWEEN)
