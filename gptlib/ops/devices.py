"""Where to compute and in which precision: found by looking and by measuring, never guessed, always overridable."""

import re
import time
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F

from gptlib.ops.linear import linear

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

BF16_PAYS = 1.3
"""A model does more than matrix products, and the rest gains less: a smaller lead of bf16 there is none in training."""

PEAK_TFLOPS = {
    # Dense matrix products (tensor cores): bf16 and fp16, then fp32, from the vendors' data sheets.
    "H200": (989, 67),
    "H100": (989, 67),
    "A100": (312, 19.5),
    "L40S": (362, 91.6),
    "L4": (121, 30.3),
    "A10": (125, 31.2),
    "V100": (125, 15.7),
    "T4": (65, 8.1),
    "RTX 5090": (209.5, 104.8),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71, 35.6),
}


def pick_device(name: str = "auto") -> torch.device:
    """ "auto": CUDA where there is a GPU, else Apple's MPS, else the CPU; any other name is taken at its word.

    Raises ValueError where the name is unknown or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f"device={name!r} is unknown; give 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise ValueError(f"device={name!r} is not on this machine; give 'auto', or 'cpu', which always works.")
    return device


def pick_precision(precision: str, device: torch.device, emb_dim: int, tokens: int) -> tuple[str, str]:
    """The precision to compute in, "fp32", "bf16" or "fp16", and one sentence on why.

    "auto" takes bf16 on a GPU that computes in it, and on a CPU measures a feed-forward layer of the model's width
    on as many tokens as a batch has: bf16 pays only on some CPUs, and not for small models.
    Raises ValueError where the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; give one of {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return precision, f"{precision}, as asked"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "bf16, which this GPU computes in"
        return "fp16", "fp16 with loss scaling, since this GPU has no bf16"
    if device.type != "cpu":
        return "fp32", "fp32, the safe choice on this device"
    ratio = bf16_speedup(emb_dim, min(tokens, 4096))
    chosen = "bf16" if ratio > BF16_PAYS else "fp32"
    return chosen, f"{chosen}, because bf16 runs at {ratio:.1f} times the speed of fp32 here at this size"


def bf16_speedup(emb_dim: int, tokens: int) -> float:
    """How many times as fast as in fp32 the CPU trains a feed-forward layer under bf16 autocast."""
    with torch.random.fork_rng(devices=[]):
        x = torch.randn(tokens, emb_dim)
        w_in = torch.randn(4 * emb_dim, emb_dim, requires_grad=True)
        w_out = torch.randn(emb_dim, 4 * emb_dim, requires_grad=True)

    def run(precision: str) -> float:
        start = time.perf_counter()
        with autocast(torch.device("cpu"), precision):
            y = linear(F.gelu(linear(x, w_in), approximate="tanh"), w_out)
        y.float().sum().backward()
        return time.perf_counter() - start

    times = {"fp32": [], "bf16": []}
    for _ in range(4):  # in turn, so that both see the same machine; the first pass warms up
        for precision, seen in times.items():
            seen.append(run(precision))
    return min(times["fp32"][1:]) / min(times["bf16"][1:])


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Mixed precision (Micikevicius et al. 2018): matrix products in `precision`, weights and sums in fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, DTYPES[precision])


@lru_cache
def peak_flops(device: torch.device, precision: str) -> float | None:
    """Floating-point operations a second that the device reaches at best; None where nobody knows.

    GPUs from the table of data sheets; the CPU's is measured, once, with a large matrix product.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for model, (half, full) in PEAK_TFLOPS.items():
            if re.search(rf"\b{model}\b", name):  # "L4" is not an L40, nor "A10" an A1000
                return 1e12 * (full if precision == "fp32" else half)
        return None
    return measured_flops(DTYPES[precision]) if device.type == "cpu" else None


def measured_flops(dtype: torch.dtype, size: int = 1024) -> float:
    """The CPU's rate on a square matrix product in `dtype`, operations a second: the best in a quarter of a second.

    On a busy machine even the best is too low, and what is reported as a share of it too high.
    """
    a, b = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + 0.25
    while (start := time.perf_counter()) < end or best == float("inf"):
        linear(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it, so that a clock reads the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
