"""Attention by fast kernels; `gptlib.attention.attend` is all of its mathematics.

PyTorch's fused kernel (Dao et al. 2022, FlashAttention) never stores the scores. On a CPU it is slow in
bfloat16 all the same, since it multiplies one small block at a time, which only some processors do well;
and it has no dropout. There, batched matmuls of a block of queries, for all sequences and heads at once,
can take half the time, or a quarter if sequences are short. A `Backend` says whether they do.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gptlib.ops.backend import Backend, default_backend

QUERIES = 256
"""Queries of a block: their scores stay near the processor, and fewer later keys are multiplied in vain."""

MANY_KEYS = range(100_000, 8_000_000)
"""Numbers in the keys for which one query takes `decode_attention`: fewer take no time, more fit no cache."""


def fast_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    drop_rate: float = 0.0,
    is_causal: bool = False,
    backend: Backend | None = None,
) -> Tensor:
    """softmax(q k^T / sqrt(D)) v: q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D).

    mask: True if a query may look; is_causal: the mask of a sequence from its beginning (T = S), without
    giving it. drop_rate: dropout on the weights. backend: None is the default one.
    """
    if _chooses(q, k, v, mask):
        backend = backend or default_backend()
        in_bf16 = q.dtype == torch.bfloat16
        with torch.autocast("cpu", enabled=False):  # which would make the softmax's input float32
            if is_causal and (drop_rate or (in_bf16 and backend.blockwise_attention)):
                return blockwise_attention(q, k, v, drop_rate)
            one_query = q.shape[2] == 1 and not drop_rate and k.numel() in MANY_KEYS
            if one_query and in_bf16 and backend.decode_attention:
                return decode_attention(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, mask, drop_rate, is_causal)


def _chooses(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> bool:
    """Whether there is anything but the fused kernel. Under autocast, a cache may be of another type."""
    if mask is not None or q.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return q.numel() > 0 and q.dtype == k.dtype == v.dtype


def blockwise_attention(q: Tensor, k: Tensor, v: Tensor, drop_rate: float = 0.0) -> Tensor:
    """Causal attention, `QUERIES` queries at a time, each block with the keys up to its own last."""
    B, H, T, D = q.shape
    q, k, v = (t.flatten(0, 1) for t in (q, k, v))  # (B * H, T, D)
    results = []
    for start in range(0, T, QUERIES):
        end = min(start + QUERIES, T)
        later = torch.full((end - start, end), -torch.inf, dtype=q.dtype).triu_(start + 1)
        keys = k[:, :end].transpose(1, 2)  # (B * H, D, keys)
        mask = later.expand(B * H, -1, -1)  # (B * H, block, keys), 0 or -inf
        scores = torch.baddbmm(mask, q[:, start:end], keys, alpha=D**-0.5)
        weights = F.dropout(scores.softmax(dim=-1), drop_rate, training=drop_rate > 0)
        results.append(torch.bmm(weights, v[:, :end]))  # (B * H, block, D)
    return torch.cat(results, dim=1).view(B, H, T, -1)


def decode_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of one new position, q (B, H, 1, D), to all that are cached.

    Not by matmuls: oneDNN compiles one for each new size, and here the size is another at every token.
    """
    scores = (k * (q * q.shape[-1] ** -0.5)).sum(dim=-1)  # (B, H, S)
    return (scores.softmax(dim=-1)[..., None] * v).sum(dim=2, keepdim=True)  # (B, H, 1, D)
