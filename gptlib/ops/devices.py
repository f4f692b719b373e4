"""Where to compute and in which precision: found by looking and by rule, always overridable."""

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache

import torch

from gptlib.ops.backend import Backend, default_backend
from gptlib.ops.benchmark import matmul_flops

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

FEW_TOKENS = 512
"""A batch of fewer tokens trains no faster in bf16 on a CPU: what is not a matmul takes too much of the time."""

PEAK_TFLOPS = {
    # Dense matmuls (tensor cores): bf16 and fp16, then fp32, from the vendors' data sheets.
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


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision with its reason; printed, it is one sentence."""

    precision: str
    """ "fp32", "bf16", "fp16" or, for inference, "int8"."""
    why: str
    """What follows the precision and a comma."""
    automatic: bool = False
    """Whether "auto" had more than one possibility and took this one."""

    def __str__(self) -> str:
        return f"{self.precision}, {self.why}"


NATIVELY = "which this processor multiplies natively"


def pick_precision(
    precision: str, device: torch.device, emb_dim: int, tokens: int, backend: Backend | None = None
) -> PrecisionChoice:
    """The precision to train in, "fp32", "bf16" or "fp16", and why.

    "auto" takes bf16 on a GPU that computes in it; on a CPU, if the backend (None: the default one) says that models of
    this width train faster in it, and a batch has tokens enough. Raises ValueError if the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; give one of {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return PrecisionChoice(precision, "as asked")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return PrecisionChoice("bf16", "which this GPU computes in", True)
        return PrecisionChoice("fp16", "with loss scaling, since this GPU has no bf16", True)
    if device.type != "cpu":
        return PrecisionChoice("fp32", "the safe choice on this device", True)
    width = (backend or default_backend()).bf16_training_width
    if width is None:
        return PrecisionChoice("fp32", "since bf16 is not known to be faster on this processor", True)
    if emb_dim < width or tokens < FEW_TOKENS:
        return PrecisionChoice("fp32", "since bf16 is no faster for so small a model or batch", True)
    return PrecisionChoice("bf16", NATIVELY, True)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Mixed precision (Micikevicius et al. 2018): matmuls in `precision`, weights and sums in fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, DTYPES[precision])


def grad_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Scales the loss in fp16, so that small gradients do not vanish; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


@lru_cache
def peak_flops(device: torch.device, precision: str) -> float | None:
    """Floating-point operations a second that the device reaches at best; None where nobody knows.

    GPUs from the table of data sheets; the CPU's is measured, once, with a large matmul.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for model, (half, full) in PEAK_TFLOPS.items():
            if re.search(rf"\b{model}\b", name):  # "L4" is not an L40, nor "A10" an A1000
                return 1e12 * (full if precision == "fp32" else half)
        return None
    return matmul_flops(DTYPES[precision]) if device.type == "cpu" else None


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it, so that a clock reads the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
