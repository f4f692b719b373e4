"""The matmul x W^T + b by any of several kernels, the same numbers up to rounding.

`nn.Linear` hands float32 matmuls on a CPU to MKL, which is made for Intel's processors. On others
oneDNN, which is in PyTorch as well, can take half the time, and for the single row of a decoding step
a batch of narrow matmuls can be faster still. A `Backend` says which kernel is used when
(`gptlib.ops.backend`). All else (GPUs, autocast, compiled models) is F.linear.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.ops.backend import Backend, default_backend


class Linear(nn.Linear):
    """`nn.Linear` by the kernels of a backend. Same parameters, same results up to rounding."""

    backend: Backend | None = None
    """None: `default_backend()`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias, self.backend)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, backend: Backend | None = None) -> Tensor:
    """x (..., K), weight (N, K), bias (N,) or None -> (..., N)."""
    kernel = kernel_for(x, weight, backend)
    if kernel == "plain":
        return F.linear(x, weight, bias)
    learns = x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    if kernel == "onednn" and learns and torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias)  # the operation alone has no gradient
    return MATMULS[kernel](x, weight, bias)


def kernel_for(x: Tensor, weight: Tensor, backend: Backend | None = None) -> str:
    """The name of the kernel that multiplies x (..., K) by weight (N, K)."""
    if (
        x.device.type != "cpu"
        or x.dtype != weight.dtype
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or not x.numel()
    ):
        return "plain"
    backend = backend or default_backend()
    rows, transposed = x.numel() // x.shape[-1], weight.stride(1) != 1
    return backend.kernel(x.dtype, rows, weight.numel(), transposed)


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The matmul that torch.compile uses, callable without a compiler."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def sliced(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The weight's rows in up to 32 equal slices, multiplied as a batch, which the cores share well."""
    n, k = weight.shape
    slices = _slices(n)
    parts = weight.view(slices, n // slices, k)
    columns = x.reshape(-1, k).t().expand(slices, -1, -1)  # (slices, K, rows)
    out = torch.bmm(parts, columns) if bias is None else torch.baddbmm(bias.view(slices, -1, 1), parts, columns)
    return out.view(n, -1).t().reshape(*x.shape[:-1], n)


def vector(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A matrix times one vector."""
    if x.numel() != x.shape[-1]:
        return F.linear(x, weight, bias)
    out = torch.mv(weight, x.reshape(-1)).view(*x.shape[:-1], -1)
    return out if bias is None else out + bias


MATMULS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "plain": F.linear,
    "onednn": onednn,
    "sliced": sliced,
    "vector": vector,
}
"""The kernels by their names in `KERNELS`."""


@lru_cache
def _slices(n: int) -> int:
    """The largest divisor of n up to 32."""
    return max(d for d in range(1, 33) if n % d == 0)


class _Linear(torch.autograd.Function):
    """oneDNN's matmul and its gradients, matmuls again: dx = dy W, dW = dy^T x, db the sum of dy's rows."""

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


@lru_cache
def can_pack() -> bool:
    """Whether this PyTorch, on this processor, has oneDNN's blocks for bfloat16 (`pack_weight`)."""
    try:
        out = packed_linear(torch.ones(1, 64), pack_weight(torch.ones(64, 64)), None)
        return bool((out == 64).all())
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


def pack_weight(weight: Tensor) -> Tensor:
    """A weight (N, K) in bfloat16, reordered into the blocks that oneDNN reads in one sweep."""
    dense = weight.detach().to(torch.bfloat16).contiguous()
    return torch.ops.mkldnn._reorder_linear_weight(dense, 1)


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """x (..., K) of any type times a weight from `pack_weight`, and a bias in bfloat16 -> (..., N) bfloat16."""
    return onednn(x.to(torch.bfloat16), packed, bias)
