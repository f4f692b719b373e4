"""The matrix product x W^T + b by whichever of PyTorch's ways is fastest on this machine.

`nn.Linear` hands float32 products on a CPU to MKL, which is made for Intel's processors; on others oneDNN, which is in
PyTorch as well, can take half the time, and for the single row of a decoding step a batch of narrow products can be
faster still. So the first product of each kind tries the ways that there are, and the fastest does all that follow.
They give the same numbers up to rounding. Everything else (GPUs, autocast, compiled models) is F.linear.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 2
"""Up to so many rows, a product waits for the weights to come from memory rather than for the arithmetic."""

_MARGIN = 0.85  # another way must take less than this share of F.linear's time to be taken


class Linear(nn.Linear):
    """`nn.Linear`, with the product by the fastest way. Same parameters, same results up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., K), weight (N, K), bias (N,) or None -> (..., N)."""
    way = way_for(x, weight)
    if way == "plain":
        return F.linear(x, weight, bias)
    learns = x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    if way == "onednn" and learns and torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias)  # the operation alone has no gradient
    return WAYS[way](x, weight, bias)


def way_for(x: Tensor, weight: Tensor) -> str:
    """The name of the way, one of WAYS, that x (..., K) times weight (N, K) takes."""
    if (
        x.device.type != "cpu"
        or x.dtype != weight.dtype
        or x.dtype not in CANDIDATES
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or not x.numel()
    ):
        return "plain"
    few = x.numel() <= FEW * x.shape[-1]
    return _forced or fastest(x.dtype, few)


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product that torch.compile uses, callable without a compiler."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def sliced(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The weight's rows in up to 32 equal slices, multiplied as a batch, which the cores share well."""
    n, k = weight.shape
    slices = _slices(n)
    parts = weight.view(slices, n // slices, k)
    columns = x.reshape(-1, k).t().expand(slices, -1, -1)  # (slices, K, rows)
    add = (lambda *factors: torch.baddbmm(bias.view(slices, -1, 1), *factors)) if bias is not None else torch.bmm
    out = add(parts, columns)  # (slices, N / slices, rows)
    return out.view(n, -1).t().reshape(*x.shape[:-1], n)


def vector(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A matrix times one vector."""
    if x.numel() != x.shape[-1]:
        return F.linear(x, weight, bias)
    out = torch.mv(weight, x.reshape(-1)).view(*x.shape[:-1], -1)
    return out if bias is None else out + bias


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "plain": F.linear,
    "onednn": onednn,
    "sliced": sliced,
    "vector": vector,
}
CANDIDATES = {torch.float32: {True: ("onednn", "sliced"), False: ("onednn",)}, torch.bfloat16: {True: ("vector",)}}
"""For each type, and for few rows (True) or many, the ways that may beat F.linear."""


@lru_cache
def _slices(n: int) -> int:
    """The largest divisor of n up to 32."""
    return max(d for d in range(1, 33) if n % d == 0)


_chosen: dict[tuple[torch.dtype, bool], str] = {}


def fastest(dtype: torch.dtype, few: bool = False) -> str:
    """The fastest way for products with few rows, or with many; tried once, in some hundredths of a second."""
    if (dtype, few) not in _chosen:
        _chosen[dtype, few] = _fastest_of_trials(dtype, few)
    return _chosen[dtype, few]


def settle(dtype: torch.dtype, way: str | None) -> None:
    """Take this way for products with many rows from now on, where it is one of those to choose from."""
    if way == "plain" or way in CANDIDATES.get(dtype, {}).get(False, ()):
        _chosen[dtype, False] = way


def _fastest_of_trials(dtype: torch.dtype, few: bool) -> str:
    rows, n_weights = (1, 6) if few else (256, 1)
    # Several matrices, so that with few rows they come from memory, as those of a model do, and not from the cache.
    weights = [torch.ones(3072, 768, dtype=dtype) for _ in range(n_weights)]
    x = torch.ones(rows, 768, dtype=dtype)
    times = {}
    with torch.no_grad():
        for name in ("plain", *CANDIDATES[dtype].get(few, ())):
            try:
                times[name] = min(_seconds(WAYS[name], x, weights) for _ in range(4))
            except (RuntimeError, AttributeError, NotImplementedError):
                continue  # this PyTorch or this processor has no such way
    best = min(times, key=times.get)
    return best if times[best] < _MARGIN * times["plain"] else "plain"


def _seconds(way: Callable, x: Tensor, weights: list[Tensor]) -> float:
    start = time.perf_counter()
    for weight in weights:
        way(x, weight, None)
    return time.perf_counter() - start


_forced: str | None = None


@contextmanager
def forced(way: str | None) -> Iterator[None]:
    """Within it, every product on the CPU takes this way; None picks by trying. ValueError for an unknown one."""
    global _forced
    check_way(way)
    before, _forced = _forced, way
    try:
        yield
    finally:
        _forced = before


def check_way(way: str | None) -> None:
    """Raise ValueError where there is no such way."""
    if way is not None and way not in WAYS:
        raise ValueError(f"The way {way!r} of multiplying is unknown; give one of {', '.join(WAYS)}, or None.")


class _Linear(torch.autograd.Function):
    """oneDNN's product with its gradients, each a product again: dx = dy W, dW = dy^T x, db the sum of dy's rows."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        dx = onednn(dy, weight.t(), None) if wants_x else None
        rows = dy.reshape(-1, dy.shape[-1])  # (rows, N)
        dw = onednn(rows.t(), x.reshape(-1, x.shape[-1]).t(), None) if wants_weight else None
        return dx, dw, rows.sum(0) if wants_bias else None


if os.environ.get("GPTLIB_LINEAR"):
    check_way(os.environ["GPTLIB_LINEAR"])
    _forced = os.environ["GPTLIB_LINEAR"]
