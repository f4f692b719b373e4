"""Chapter 3: the wrong implementations that its code exercises know."""

import math

import torch
from torch import Tensor

from gptlib.attention import MultiHeadAttention, attention_mask

NO_MASK = "Every position sees the whole text: the causal mask is missing."
UPSIDE_DOWN = "Your mask is upside down: each position sees itself and the future, and not the past."

# softmax


def naive_softmax(scores: Tensor) -> Tensor:
    powers = scores.exp()
    return powers / powers.sum(dim=-1, keepdim=True)


def one_maximum(scores: Tensor) -> Tensor:
    return naive_softmax(scores - scores.max())


def mean_instead_of_maximum(scores: Tensor) -> Tensor:
    return naive_softmax(scores - scores.mean(dim=-1, keepdim=True))


def minimum_instead_of_maximum(scores: Tensor) -> Tensor:
    return naive_softmax(scores - scores.amin(dim=-1, keepdim=True))


def max_with_places(scores: Tensor) -> Tensor:
    """Raises: max gives a pair of tensors."""
    return naive_softmax(scores - scores.max(dim=-1, keepdim=True))


def without_keepdim(scores: Tensor) -> Tensor:
    powers = (scores - scores.amax(dim=-1)).exp()
    return powers / powers.sum(dim=-1)


def sum_without_keepdim(scores: Tensor) -> Tensor:
    powers = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return powers / powers.sum(dim=-1)


def divided_by_maximum(scores: Tensor) -> Tensor:
    return naive_softmax(scores / scores.amax(dim=-1, keepdim=True))


def clamped(scores: Tensor) -> Tensor:
    return naive_softmax(scores.clamp(max=80))


def over_rows(scores: Tensor) -> Tensor:
    powers = (scores - scores.amax(dim=0, keepdim=True)).exp()
    return powers / powers.sum(dim=0, keepdim=True)


def second_dimension(scores: Tensor) -> Tensor:
    powers = (scores - scores.amax(dim=1, keepdim=True)).exp()
    return powers / powers.sum(dim=1, keepdim=True)


def one_sum(scores: Tensor) -> Tensor:
    powers = (scores - scores.max()).exp()
    return powers / powers.sum()


def only_powers(scores: Tensor) -> Tensor:
    return (scores - scores.amax(dim=-1, keepdim=True)).exp()


def no_powers(scores: Tensor) -> Tensor:
    return scores / scores.sum(dim=-1, keepdim=True)


# the causal mask


def _mask(n_queries: int, n_keys: int, shift: int = 0) -> Tensor:
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries + shift)


def first_queries(n_queries: int, n_keys: int) -> Tensor:
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril()


def diagonal_of_one(n_queries: int, n_keys: int) -> Tensor:
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(1)


def diagonal_to_the_left(n_queries: int, n_keys: int) -> Tensor:
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_queries - n_keys)


def one_too_many(n_queries: int, n_keys: int) -> Tensor:
    return _mask(n_queries, n_keys, 1)


def not_itself(n_queries: int, n_keys: int) -> Tensor:
    return _mask(n_queries, n_keys, -1)


def hidden_is_true(n_queries: int, n_keys: int) -> Tensor:
    return ~_mask(n_queries, n_keys)


def only_the_future(n_queries: int, n_keys: int) -> Tensor:
    return torch.ones(n_queries, n_keys, dtype=torch.bool).triu(n_keys - n_queries)


def mask_of_numbers(n_queries: int, n_keys: int) -> Tensor:
    return _mask(n_queries, n_keys).float()


# one head: q, k, v (B, T, D)


def _head(q: Tensor, k: Tensor, v: Tensor, scale: float, shift: int = 0, dim: int = -1, fill: float = -math.inf):
    scores = q @ k.transpose(1, 2) * scale
    hidden = ~_mask(scores.shape[1], scores.shape[2], shift)
    return scores.masked_fill(hidden, fill).softmax(dim) @ v


def head_all_dimensions_turned(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `k.T`, which PyTorch warns of, since it turns all dimensions round."""
    scores = q @ k.permute(2, 1, 0) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~attention_mask(q.shape[1], q.shape[1]), -math.inf).softmax(-1) @ v


def head_keys_ask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(k, q, v, q.shape[-1] ** -0.5)


def head_weights_alone(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, torch.eye(q.shape[1]).expand(len(q), -1, -1), q.shape[-1] ** -0.5)


def head_unscaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, 1.0)


def head_divided_by_d(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, 1 / q.shape[-1])


def head_times_root(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, math.sqrt(q.shape[-1]))


def head_root_of_length(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, q.shape[1] ** -0.5)


def head_scaled_late(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, 1.0) / math.sqrt(q.shape[-1])


def head_without_mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, q.shape[-1] ** -0.5, shift=q.shape[1])


def head_bare(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, 1.0, shift=q.shape[1])


def head_one_too_many(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, q.shape[-1] ** -0.5, shift=1)


def head_not_itself(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, q.shape[-1] ** -0.5, shift=-1)


def head_upside_down(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(), -math.inf).softmax(-1) @ v


def head_only_hidden(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(attention_mask(q.shape[1], q.shape[1]), -math.inf).softmax(-1) @ v


def head_wrong_dim(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, q.shape[-1] ** -0.5, dim=1)


def head_filled_with_zero(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _head(q, k, v, q.shape[-1] ** -0.5, fill=0.0)


def head_zero_after(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    return (scores.softmax(-1) * attention_mask(q.shape[1], q.shape[1])) @ v


# many heads: each class goes one step of the reference another way


class _Steps(MultiHeadAttention):
    """MultiHeadAttention in steps that can be replaced."""

    dim = -1

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x)
        scores = (q @ k.transpose(2, 3) * self.scale(x)).masked_fill(~self.mask(x.shape[1]), -math.inf)
        return self.finish(self.merge(scores.softmax(self.dim) @ v))

    def project(self, x: Tensor) -> list[Tensor]:
        return [self.split(t) for t in self.c_attn(x).chunk(3, dim=-1)]

    def split(self, t: Tensor) -> Tensor:
        return t.view(*t.shape[:2], self.n_heads, self.head_dim).transpose(1, 2)

    def scale(self, x: Tensor) -> float:
        return self.head_dim**-0.5

    def mask(self, T: int) -> Tensor:
        return attention_mask(T, T)

    def merge(self, heads: Tensor) -> Tensor:
        return heads.transpose(1, 2).flatten(2)

    def finish(self, x: Tensor) -> Tensor:
        return self.c_proj(x)


class NoTranspose(_Steps):
    def split(self, t: Tensor) -> Tensor:
        return t.reshape(t.shape[0], self.n_heads, t.shape[1], self.head_dim)

    def merge(self, heads: Tensor) -> Tensor:
        return heads.reshape(heads.shape[0], heads.shape[2], -1)


class NoTransposeBefore(_Steps):
    def split(self, t: Tensor) -> Tensor:
        return t.reshape(t.shape[0], self.n_heads, t.shape[1], self.head_dim)


class HeadsInTurn(_Steps):
    """Channel c to head c % H."""

    def split(self, t: Tensor) -> Tensor:
        return t.view(*t.shape[:2], self.head_dim, self.n_heads).permute(0, 3, 1, 2)


class MergedWithoutTranspose(_Steps):
    def merge(self, heads: Tensor) -> Tensor:
        return heads.reshape(heads.shape[0], heads.shape[2], -1)


class MergedInTurn(_Steps):
    def merge(self, heads: Tensor) -> Tensor:
        return heads.permute(0, 2, 3, 1).flatten(2)


class ScaledByWidth(_Steps):
    def scale(self, x: Tensor) -> float:
        return x.shape[-1] ** -0.5


class Unscaled(_Steps):
    def scale(self, x: Tensor) -> float:
        return 1.0


class Unmasked(_Steps):
    def mask(self, T: int) -> Tensor:
        return torch.ones(T, T, dtype=torch.bool)


class Bare(Unmasked, Unscaled):
    pass


class MaskedUpsideDown(_Steps):
    def mask(self, T: int) -> Tensor:
        return attention_mask(T, T).T


class WrongDim(_Steps):
    dim = -2


class HeadsAgainstHeads(_Steps):
    """Forgets to swap positions and heads, and so attends between the heads of one position."""

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.n_heads, self.head_dim) for t in self.c_attn(x).split(C, dim=2))
        scores = q @ k.transpose(2, 3) * self.scale(x)  # (B, T, H, H)
        hidden = ~self.mask_of_heads(T)
        return self.c_proj((scores.masked_fill(hidden, -math.inf).softmax(-1) @ v).flatten(2))

    def mask_of_heads(self, T: int) -> Tensor:
        return attention_mask(self.n_heads, self.n_heads)


class HeadsAgainstHeadsUnmasked(HeadsAgainstHeads):
    def mask_of_heads(self, T: int) -> Tensor:
        return torch.ones(self.n_heads, self.n_heads, dtype=torch.bool)


class HeadsAgainstMask(HeadsAgainstHeads):
    """Raises where there are not as many heads as positions."""

    def mask_of_heads(self, T: int) -> Tensor:
        return attention_mask(T, T)


class OneWideHead(_Steps):
    def split(self, t: Tensor) -> Tensor:
        return t.unsqueeze(1)  # (B, 1, T, C)

    def scale(self, x: Tensor) -> float:
        return x.shape[-1] ** -0.5


class Unprojected(_Steps):
    def finish(self, x: Tensor) -> Tensor:
        return x


class KeysFirst(_Steps):
    def project(self, x: Tensor) -> list[Tensor]:
        k, q, v = super().project(x)
        return [q, k, v]


class HeadByHead(_Steps):
    """Takes c_attn's outputs as head 0's query, key and value, then head 1's."""

    def project(self, x: Tensor) -> list[Tensor]:
        return list(self.c_attn(x).unflatten(2, (self.n_heads, -1)).transpose(1, 2).chunk(3, dim=-1))
