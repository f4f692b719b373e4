"""What `gptlib doctor --tune` measures: which choices are the fastest on this machine, for `store_backend`.

It wants a quiet machine, and takes some ten seconds. Another choice than PyTorch's own has to be faster by a good deal:
on a machine of which little is known, the plain one is the safer.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gptlib.ops.attention import blockwise_attention, decode_attention
from gptlib.ops.backend import Backend, use_backend
from gptlib.ops.benchmark import alternate, seconds_by_kernel
from gptlib.ops.devices import autocast
from gptlib.ops.linear import Linear, can_pack, linear, pack_weight, packed_linear

WIDTHS = (128, 256, 384, 768)
"""Widths of models in which training is tried in both precisions."""

_LEAD = 1 / 0.85  # how many times as fast another choice has to be
_BF16_LEAD = 1.3  # the same for bfloat16: a model does more than matmuls, and the rest gains less


def tune() -> Backend:
    """The fastest choices on this machine, with the threads that PyTorch has now."""
    measured = {
        "fp32": fastest_kernel(256, torch.float32),
        "fp32_transposed": fastest_kernel(256, torch.float32, transposed=True),
        "fp32_few_rows": fastest_kernel(1, torch.float32),
        "fp32_few_rows_transposed": fastest_kernel(1, torch.float32, transposed=True),
        "bf16_few_rows": fastest_kernel(1, torch.bfloat16),
        "blockwise_attention": _attention_lead(blockwise_attention, one_query=False) > _LEAD,
        "decode_attention": _attention_lead(decode_attention, one_query=True) > _LEAD,
    }
    backend = Backend(**measured)
    widths = [width for width in WIDTHS if bf16_training_speedup(width, backend) > _BF16_LEAD]
    decoding = bf16_decoding_speedup(backend) > _BF16_LEAD
    return replace(backend, bf16_training_width=min(widths, default=None), bf16_decoding=decoding)


def fastest_kernel(rows: int, dtype: torch.dtype, transposed: bool = False) -> str:
    """The kernel that multiplies so many rows by GPT-2's matrices in the least time, or "plain" if hardly less."""
    seconds: dict[str, float] = {}
    for k, n in ((768, 3072), (1024, 1024)):  # oneDNN is at its worst if the width is a power of two
        for kernel, each in seconds_by_kernel(rows, k, n, dtype, transposed).items():
            seconds[kernel] = seconds.get(kernel, 0.0) + each
    best = min(seconds, key=seconds.get)
    return best if seconds["plain"] / seconds[best] > _LEAD else "plain"


def _attention_lead(kernel: Callable[..., Tensor], one_query: bool) -> float:
    """How many times as fast as the fused kernel this one is, in bfloat16: in decoding, or with its gradients."""
    q, k, v = (torch.zeros(2, 12, 512, 64, dtype=torch.bfloat16, requires_grad=not one_query) for _ in range(3))
    q = q[:, :, -1:] if one_query else q

    def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=not one_query)

    def job(attention: Callable[..., Tensor]) -> None:
        out = attention(q, k, v)
        if not one_query:
            out.sum().backward()

    seconds = alternate({"fused": lambda: job(fused), "ours": lambda: job(kernel)})
    return seconds["fused"] / seconds["ours"]


def bf16_training_speedup(emb_dim: int, backend: Backend, tokens: int = 1024) -> float:
    """How many times as fast as in fp32 the CPU trains a feed-forward layer under bf16 autocast."""
    with torch.random.fork_rng(devices=[]):
        x = torch.randn(tokens, emb_dim)
        layers = torch.nn.Sequential(
            Linear(emb_dim, 4 * emb_dim), torch.nn.GELU(approximate="tanh"), Linear(4 * emb_dim, emb_dim)
        )

    def train(precision: str) -> None:
        with autocast(torch.device("cpu"), precision):
            out = layers(x)
        out.float().sum().backward()

    with use_backend(layers, backend):
        seconds = alternate({"fp32": lambda: train("fp32"), "bf16": lambda: train("bf16")})
    return seconds["fp32"] / seconds["bf16"]


@torch.no_grad()
def bf16_decoding_speedup(backend: Backend) -> float:
    """How many times as fast as in float32 the CPU multiplies one row by matrices of bfloat16."""
    weights = [torch.ones(3072, 768) for _ in range(8)]
    halves = [pack_weight(w) if can_pack() else w.to(torch.bfloat16) for w in weights]
    row = torch.ones(1, 768)

    def in_bf16(half: Tensor) -> Tensor:
        if can_pack():
            return packed_linear(row, half, None)
        return linear(row.to(torch.bfloat16), half, backend=backend)

    jobs = {
        "fp32": lambda: [linear(row, weight, backend=backend) for weight in weights],
        "bf16": lambda: [in_bf16(half) for half in halves],
    }
    seconds = alternate(jobs)
    return seconds["fp32"] / seconds["bf16"]
