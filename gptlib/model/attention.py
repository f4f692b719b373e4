"""Causal multi-head self-attention, as GPT-2 has it, and the cache of keys and values that makes generation fast.

Letters in the shape comments: B batch, T positions of the input, S positions that are seen (cached ones and the
input's own), H heads, D channels of one head, C = H * D the embedding's width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.ops.attention import fast_attention
from gptlib.ops.backend import Backend
from gptlib.ops.linear import Linear
from gptlib.utils.validation import whole_number


class KVCache:
    """The keys and values of every position seen so far, for every layer, in memory that is allocated once.

    keys, values: (n_layers, batch_size, n_heads, max_length, head_dim); the first `length` positions are filled.
    """

    def __init__(
        self,
        n_layers: int,
        batch_size: int,
        n_heads: int,
        max_length: int,
        head_dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        shape = (n_layers, batch_size, n_heads, max_length, head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.max_length = max_length
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the (B, H, T, D) keys and values of new positions; all of the layer's so far, (B, H, S, D).

        `length` does not move here, since every layer writes to the same positions: `advance` moves it, once.
        """
        rows, end = self.keys.shape[1], self.length + keys.shape[2]
        if keys.shape[0] != rows:
            raise ValueError(
                f"The KV cache was made for {rows} rows and {keys.shape[0]} came; make one with "
                f"model.new_cache({keys.shape[0]})."
            )
        if end > self.max_length:
            raise ValueError(
                f"The KV cache holds {self.max_length} positions and {self.length} are taken, so {keys.shape[2]} more "
                "do not fit; make a larger cache or call reset()."
            )
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, n_positions: int) -> None:
        """Count `n_positions` new positions as filled, after all layers have appended theirs."""
        self.length += n_positions

    def reset(self) -> None:
        """Forget everything, keep the memory."""
        self.length = 0


def attention_mask(n_queries: int, n_keys: int, pad_lengths: Tensor | None = None, device=None) -> Tensor:
    """True where a query may look: (n_queries, n_keys), or (B, 1, n_queries, n_keys) with `pad_lengths`.

    The queries are the last `n_queries` of the `n_keys` positions, and each sees itself and what came before.
    pad_lengths (B,): how many tokens at the left of each row are padding, which nobody sees. (Padding itself sees
    only itself, since a row of the mask without any True would give NaN.)

    Example, 2 queries, 3 keys: [[True, True, False], [True, True, True]]
    """
    query = torch.arange(n_keys - n_queries, n_keys, device=device)[:, None]
    key = torch.arange(n_keys, device=device)[None, :]
    causal = key <= query  # (T, S)
    if pad_lengths is None:
        return causal
    real = key >= pad_lengths[:, None, None, None]  # (B, 1, 1, S)
    return (causal & real) | (key == query)


class MultiHeadAttention(nn.Module):
    """Causal multi-head self-attention (Vaswani et al. 2017, section 3.2; masked as in section 3.2.3).

    emb_dim: width C of input and output. n_heads: number of heads, a divisor of emb_dim. drop_rate: dropout on the
    attention weights. qkv_bias: whether the query, key and value projections have a bias; GPT-2's do.

    `c_attn` makes queries, keys and values in one matrix product, `c_proj` mixes the heads' results; both names are
    GPT-2's own. Raises ValueError if n_heads does not divide emb_dim.
    """

    backend: Backend | None = None
    """None: `default_backend()`."""

    def __init__(self, emb_dim: int, n_heads: int, drop_rate: float = 0.0, qkv_bias: bool = False):
        super().__init__()
        n_heads = whole_number("n_heads", n_heads, 1)
        if not 0 <= drop_rate < 1:
            raise ValueError(f"drop_rate={drop_rate!r} is out of range; give a number from 0 up to below 1.")
        if emb_dim % n_heads:
            raise ValueError(
                f"emb_dim={emb_dim} cannot be shared equally among n_heads={n_heads}; choose n_heads that divides it."
            )
        self.n_heads = n_heads
        self.head_dim = emb_dim // n_heads
        self.drop_rate = drop_rate
        self.c_attn = Linear(emb_dim, 3 * emb_dim, bias=qkv_bias)
        self.c_proj = Linear(emb_dim, emb_dim)

    def forward(
        self,
        x: Tensor,
        *,
        cache: KVCache | None = None,
        layer: int = 0,
        mask: Tensor | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """x (B, T, C) -> (B, T, C); with return_weights also the weights (B, H, T, S), each row summing to 1.

        cache: where the keys and values of earlier positions are, and the new ones go (as layer number `layer`).
        mask: True where a query may look, from `attention_mask`; without it, causal.
        """
        B, T, C = x.shape
        q, k, v = self.c_attn(x).split(C, dim=2)  # (B, T, C) each
        q, k, v = (t.view(B, T, self.n_heads, self.head_dim).transpose(1, 2) for t in (q, k, v))  # (B, H, T, D)
        if cache is not None:
            k, v = cache.append(layer, k, v)  # (B, H, S, D)

        S = k.shape[2]
        is_causal = mask is None and T == S and T > 1
        if mask is None and 1 < T < S:  # a chunk of new positions after cached ones
            mask = attention_mask(T, S, device=x.device)
        dropout = self.drop_rate if self.training else 0.0
        weights = None
        if return_weights:
            if is_causal:
                mask = attention_mask(T, S, device=x.device)
            heads, weights = attend(q, k, v, mask, dropout)
        else:
            heads = fast_attention(q, k, v, mask, dropout, is_causal, self.backend)  # (B, H, T, D), as `attend` gives

        out = self.c_proj(heads.transpose(1, 2).reshape(B, T, C))
        return (out, weights) if return_weights else out


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, drop_rate: float = 0.0
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(D)) v, step by step (Vaswani et al. 2017, equation 1), with the weights to look at.

    q (B, H, T, D), k and v (B, H, S, D), mask broadcastable to (T, S), True where a query may look.
    Returns the heads' results (B, H, T, D) and the weights (B, H, T, S). `fast_attention` computes the same results in
    less time, and F.scaled_dot_product_attention, which it calls, without ever storing the weights.
    """
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.softmax(dim=-1)
    return F.dropout(weights, drop_rate, training=drop_rate > 0) @ v, weights
