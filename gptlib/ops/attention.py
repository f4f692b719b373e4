"""Attention by whichever way is fastest here; `attention.attend` is all of its mathematics.

PyTorch's fused kernel (Dao et al. 2022, FlashAttention) never stores the scores. On a CPU it is slow in bf16 all the
same, since it multiplies one small block at a time, which only some processors do well; and it has no dropout. There,
batched products of a block of queries, for all texts and heads at once, can take half the time, or a quarter where
texts are short. In bf16 both ways are tried, once; they give the same numbers up to rounding.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

QUERIES = 256
"""Queries of a block: their scores stay near the processor, and later blocks' keys are not multiplied in vain."""

MANY_KEYS = range(100_000, 8_000_000)
"""Numbers in the keys for which one query goes without the fused kernel: fewer take no time, more fit no cache."""

_MARGIN = 0.85  # batched products must take less than this share of the fused kernel's time


def fast_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, drop_rate: float = 0.0, is_causal: bool = False
) -> Tensor:
    """softmax(q k^T / sqrt(D)) v: q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D).

    mask: True where a query may look; is_causal: the mask of a text from its beginning (T = S), without giving it.
    drop_rate: dropout on the weights.
    """
    if mask is None and q.device.type == "cpu" and q.numel() and not torch.compiler.is_compiling():
        in_bf16 = q.dtype == torch.bfloat16
        with torch.autocast("cpu", enabled=False):  # which would make the softmax's input float32
            if is_causal and (drop_rate or (in_bf16 and batched_pays(False))):
                return in_blocks(q, k, v, drop_rate)
            if q.shape[2] == 1 and in_bf16 and not drop_rate and k.numel() in MANY_KEYS and batched_pays(True):
                return of_one_query(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, mask, drop_rate, is_causal)


def in_blocks(q: Tensor, k: Tensor, v: Tensor, drop_rate: float = 0.0) -> Tensor:
    """Causal attention, `QUERIES` queries at a time, each block with the keys up to its own last."""
    B, H, T, D = q.shape
    q, k, v = (t.flatten(0, 1) for t in (q, k, v))  # (B * H, T, D)
    results = []
    for start in range(0, T, QUERIES):
        end = min(start + QUERIES, T)
        later = torch.full((end - start, end), -torch.inf, dtype=q.dtype).triu_(start + 1)  # (block, keys), 0 or -inf
        keys = k[:, :end].transpose(1, 2)  # (B * H, D, keys)
        scores = torch.baddbmm(later.expand(B * H, -1, -1), q[:, start:end], keys, alpha=D**-0.5)
        weights = F.dropout(scores.softmax(dim=-1), drop_rate, training=drop_rate > 0)
        results.append(torch.bmm(weights, v[:, :end]))  # (B * H, block, D)
    return torch.cat(results, dim=1).view(B, H, T, -1)


def of_one_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of one new position, q (B, H, 1, D), to all that are cached.

    Not by matrix products: oneDNN compiles one for each new size, and here the size is another at every token.
    """
    scores = (k * (q * q.shape[-1] ** -0.5)).sum(dim=-1)  # (B, H, S)
    return (scores.softmax(dim=-1)[..., None] * v).sum(dim=2, keepdim=True)  # (B, H, 1, D)


_pays: dict[bool, bool] = {}


def batched_pays(one_query: bool) -> bool:
    """Whether, in bf16, batched products beat the fused kernel: for one query in decoding, or for training."""
    if one_query not in _pays:
        _pays[one_query] = _tried(one_query)
    return _pays[one_query]


def settle(batched: bool | None) -> None:
    """Train in batched products from now on, or not; None leaves it to a trial."""
    if isinstance(batched, bool):
        _pays[False] = batched


@torch.inference_mode(False)  # in which the caller may be, and nothing has gradients
def _tried(one_query: bool) -> bool:
    q, k, v = (torch.zeros(2, 12, 512, 64, dtype=torch.bfloat16, requires_grad=not one_query) for _ in range(3))
    ours = of_one_query if one_query else in_blocks
    q = q[:, :, -1:] if one_query else q

    def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=not one_query)

    def seconds(way: Callable[..., Tensor]) -> float:
        start = time.perf_counter()
        with torch.set_grad_enabled(not one_query):
            out = way(q, k, v)
            if not one_query:
                out.sum().backward()
        return time.perf_counter() - start

    times = [(seconds(ours), seconds(fused)) for _ in range(4)][1:]
    return min(mine for mine, _ in times) < _MARGIN * min(theirs for _, theirs in times)
