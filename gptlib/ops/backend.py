"""Which kernels compute on a CPU: one frozen object, from a rule or a stored measurement, never from a race.

Kernels agree up to rounding only, so a choice that hung on how busy the machine is would make two
models of one seed. `default_backend` goes by what the processor is, or by what `gptlib doctor --tune`
has measured and stored for it; nothing is timed while a model runs. A trainer and a copy for inference
hold a `Backend` of their own, and `use_backend` gives it to a model. On GPUs nothing is left to choose.
"""

import importlib.util
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gptlib.utils.files import read_json, write_json
from gptlib.utils.folders import data_folder

KERNELS = ("plain", "onednn", "sliced", "vector")
"""The kernels of matmuls in `gptlib.ops.linear`; "plain" is F.linear, and so PyTorch's own choice."""

LARGE = 20_000_000
"""Parameters of a model whose decoding waits for memory; a smaller one is fast enough, and exact, by any kernel."""

FEW_ROWS = 2
"""Up to so many rows, or one if the weight is transposed, matmuls have kernels of their own: they wait
for the weights to come from memory, not for the arithmetic."""


@dataclass(frozen=True)
class Backend:
    """The choices that a CPU leaves open. `Backend()` leaves each to PyTorch.

    A weight is transposed if it is a view of a matrix stored the other way round, as in GPT-2's files.
    Raises ValueError for an unknown kernel, or another type.
    """

    fp32: str = "plain"
    """The kernel of float32 matmuls."""
    fp32_transposed: str = "plain"
    """The same for a transposed weight."""
    fp32_few_rows: str = "plain"
    """The kernel of float32 matmuls of one or two rows, as in decoding."""
    fp32_few_rows_transposed: str = "plain"
    """The same for one row and a transposed weight."""
    bf16_few_rows: str = "plain"
    """The kernel of bfloat16 matmuls of one or two rows."""
    small_weight: int = 2**17
    """A weight of fewer numbers is multiplied by few rows with the plain kernel, which starts fastest."""
    small_matmul: int = 2**20
    """So is any other of fewer multiplications."""
    blockwise_attention: bool = False
    """Whether causal attention in bfloat16 takes a block of queries at a time, in batched matmuls."""
    decode_attention: bool = False
    """Whether attention of one new position in bfloat16 is computed without matmuls."""
    bf16_training_width: int | None = None
    """The least emb_dim at which training in bfloat16 is faster; None: never."""
    bf16_decoding: bool = False
    """Whether a large model decodes faster in bfloat16."""
    compiled_decoding: int | None = None
    """The least number of parameters at which one or two texts are decoded by `gptlib.ops.compiled`; None: never."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, field.type):
                raise ValueError(f"{field.name}={value!r} is not of the type {field.type}.")
            if field.type is str and value not in KERNELS:
                known = ", ".join(KERNELS)
                raise ValueError(f"{field.name}={value!r} is no kernel; give one of {known}.")

    @classmethod
    def from_dict(cls, content: Any) -> "Backend":
        """The inverse of `to_dict`. Raises ValueError if a field is missing, unknown or wrong.

        `compiled_decoding` may be missing: backends of before 2026-12 had none.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(content, Mapping) or set(content) | {"compiled_decoding"} != names:
            raise ValueError(f"A backend has the fields {', '.join(sorted(names))} and no others.")
        return cls(**content)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON or a checkpoint."""
        return asdict(self)

    def compiles(self, n_parameters: int) -> bool:
        """Whether a model with so many parameters decodes one or two texts by compiled kernels."""
        return self.compiled_decoding is not None and n_parameters >= self.compiled_decoding

    def kernel(self, dtype: torch.dtype, rows: int, n_weights: int, transposed: bool) -> str:
        """The name of the kernel that multiplies so many rows by a weight of n_weights numbers."""
        few = rows <= (1 if transposed else FEW_ROWS)
        if n_weights < self.small_weight if few else rows * n_weights < self.small_matmul:
            return "plain"
        if dtype == torch.float32:
            if few:
                return self.fp32_few_rows_transposed if transposed else self.fp32_few_rows
            return self.fp32_transposed if transposed else self.fp32
        return self.bf16_few_rows if dtype == torch.bfloat16 and few else "plain"


def pin_kernel(kernel: str) -> Backend:
    """The backend that uses this kernel for all matmuls, of any size. ValueError if it is unknown."""
    return Backend(kernel, kernel, kernel, kernel, kernel, small_weight=0, small_matmul=0)


@dataclass(frozen=True)
class Processor:
    """What the rule goes by; empty if the system doesn't say (only Linux does)."""

    name: str = ""
    vendor: str = ""
    flags: frozenset[str] = frozenset()
    """Its instruction sets, as Linux names them."""


@lru_cache
def this_processor() -> Processor:
    """This machine's, read once."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""

    def entry(key: str) -> str:
        found = re.search(rf"^{key}[ \t]*:[ \t]*(.*)", text, re.MULTILINE)
        return found[1].strip() if found else ""

    name = entry("model name") or platform.processor() or platform.machine()
    return Processor(name, entry("vendor_id"), frozenset(entry("flags").split()))


def rule(processor: Processor, onednn: bool = True, numba: bool = True) -> Backend:
    """The backend for a processor, with oneDNN in PyTorch or without, and Numba or without; a function of these alone.

    Measured on a Zen 5 (bench/kernels.py) and, in bfloat16, on a Xeon with AMX. Whatever has not been
    measured, other vendors, Macs and Windows among them, is left to PyTorch.
    """
    flags, choices = processor.flags, {}
    if numba and "avx2" in flags:
        choices["compiled_decoding"] = LARGE
    if onednn and processor.vendor == "AuthenticAMD" and "avx512f" in flags:
        # F.linear's float32 goes to Intel's MKL, which gets half of what oneDNN does out of this.
        # One row of a transposed weight is the exception: there oneDNN takes up to twice as long.
        choices |= {"fp32": "onednn", "fp32_transposed": "onednn", "fp32_few_rows": "sliced"}
    if onednn and "amx_bf16" in flags:
        # PyTorch's fused attention uses AMX. Models of width 128 trained faster in float32, of 384 didn't.
        choices |= {"bf16_few_rows": "vector", "bf16_training_width": 384, "bf16_decoding": True}
    elif onednn and "avx512_bf16" in flags:
        choices |= {"blockwise_attention": True, "decode_attention": True}
        choices |= {"bf16_training_width": 128, "bf16_decoding": True}
    return Backend(**choices)


def has_onednn() -> bool:
    """Whether this PyTorch has the matmul of oneDNN that `gptlib.ops.linear` calls."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def has_numba() -> bool:
    """Whether Numba is installed, which compiles `gptlib.ops.compiled`."""
    return importlib.util.find_spec("numba") is not None


def supported(backend: Backend) -> Backend:
    """The backend, with PyTorch's own choice in place of a kernel that is not to be had here."""
    missing = () if has_onednn() else ("onednn",)
    backend = replace(backend, **{name: "plain" for name, value in backend.to_dict().items() if value in missing})
    return backend if has_numba() else replace(backend, compiled_decoding=None)


def default_backend() -> Backend:
    """The stored measurement of this machine with as many threads as now; without one, the rule."""
    return _default(torch.get_num_threads())


@lru_cache
def _default(threads: int) -> Backend:
    try:
        stored = stored_backend(threads)
    except (OSError, ValueError):  # `gptlib doctor` says it
        stored = None
    return supported(stored) if stored else rule(this_processor(), has_onednn(), has_numba())


def tuning_file() -> Path:
    """Where `gptlib doctor --tune` stores what it has measured, for each machine and number of threads."""
    return data_folder() / "tuning.json"


def stored_backend(threads: int) -> Backend | None:
    """The backend that was measured for this processor and PyTorch with so many threads, or None.

    Raises ValueError if the file is damaged, and OSError if it can't be read.
    """
    found = [entry for entry in _entries() if _matches(entry, threads)]
    return Backend.from_dict(found[0]["backend"]) if found else None


def store_backend(backend: Backend) -> Path:
    """Keep a backend for this machine, in place of an earlier one; the file. OSError if that fails."""
    threads = torch.get_num_threads()
    try:
        others = [entry for entry in _entries() if not _matches(entry, threads)]
    except ValueError:
        others = []  # damaged: nothing in it is of use
    write_json(tuning_file(), [*others, _key(threads) | {"backend": backend.to_dict()}])
    _default.cache_clear()
    return tuning_file()


def _entries() -> list[dict[str, Any]]:
    if not tuning_file().is_file():
        return []
    entries = read_json(tuning_file(), "tuning")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "backend" in entry for entry in entries):
        raise ValueError(f"'{tuning_file()}' is no tuning file.")
    return entries


def _matches(entry: dict[str, Any], threads: int) -> bool:
    return all(entry.get(name) == value for name, value in _key(threads).items())


def _key(threads: int) -> dict[str, Any]:
    return {"processor": this_processor().name, "torch": torch.__version__, "threads": threads}


def set_backend(model: nn.Module, backend: Backend | None) -> None:
    """Give it to every module that asks for one; None is the default one."""
    for module in model.modules():
        if hasattr(module, "backend"):
            module.backend = backend


@contextmanager
def use_backend(model: nn.Module, backend: Backend | None) -> Iterator[None]:
    """Within it the model computes by this backend; afterwards each module has its own again."""
    before = [(m, m.backend) for m in model.modules() if hasattr(m, "backend")]
    set_backend(model, backend)
    try:
        yield
    finally:
        for module, own in before:
            module.backend = own
