"""Attention against explicit float64 numpy, and what must hold whatever the numbers: causality, caching, dropout."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptlib.attention import KVCache, MultiHeadAttention, attend, attention_mask
from gptlib.model import GPTConfig, GPTModel

CHUNKS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def make_attention(emb_dim=12, n_heads=3, seed=0, **options):
    torch.manual_seed(seed)
    attention = MultiHeadAttention(emb_dim, n_heads, **options).eval()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return attention


def numpy_attention(attention, x):
    """The textbook's formula with loops, in float64: the output (B, T, C) and the weights (B, H, T, T)."""
    w = {name: p.detach().double().numpy() for name, p in attention.named_parameters()}
    x = x.double().numpy()
    B, T, C = x.shape
    H, D = attention.n_heads, C // attention.n_heads
    qkv = x @ w["c_attn.weight"].T + w.get("c_attn.bias", 0.0)
    weights, heads = np.zeros((B, H, T, T)), np.zeros((B, T, C))
    for b in range(B):
        for h in range(H):
            channels = slice(h * D, (h + 1) * D)
            q, k, v = (qkv[b, :, part * C : (part + 1) * C][:, channels] for part in range(3))
            for t in range(T):
                scores = np.array([q[t] @ k[s] / np.sqrt(D) for s in range(t + 1)])
                weights[b, h, t, : t + 1] = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
                heads[b, t, channels] = sum(weights[b, h, t, s] * v[s] for s in range(t + 1))
    return heads @ w["c_proj.weight"].T + w["c_proj.bias"], weights


@pytest.mark.parametrize(("emb_dim", "n_heads"), [(12, 1), (12, 3), (12, 12), (40, 5)])
@pytest.mark.parametrize("qkv_bias", [False, True])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_equals_the_formula_in_float64(emb_dim, n_heads, qkv_bias, length):
    attention = make_attention(emb_dim, n_heads, qkv_bias=qkv_bias)
    x = torch.randn(2, length, emb_dim)
    expected, expected_weights = numpy_attention(attention, x)
    out, weights = attention(x, return_weights=True)
    np.testing.assert_allclose(out.detach(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights.detach(), expected_weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(attention(x).detach(), expected, rtol=1e-4, atol=1e-5)  # the fused path


def test_weights_are_distributions_over_the_past():
    attention = make_attention(qkv_bias=True)
    _, weights = attention(torch.randn(4, 10, 12) * 5, return_weights=True)
    assert weights.shape == (4, 3, 10, 10)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 3, 10))
    assert weights.triu(diagonal=1).count_nonzero() == 0
    assert (weights[:, :, 0, 0] == 1).all()


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("place", [1, 4, 8])
def test_the_future_has_no_say(place, return_weights):
    attention = make_attention()
    x = torch.randn(2, 9, 12)
    changed = x.clone()
    changed[:, place:] = torch.randn(2, 9 - place, 12) * 100
    before, after = (attention(x, return_weights=return_weights) for x in (x, changed))
    if return_weights:
        before, after = before[0], after[0]
    torch.testing.assert_close(before[:, :place], after[:, :place], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, place:], after[:, place:])


def test_no_gradient_reaches_the_future():
    attention = make_attention()
    x = torch.randn(1, 6, 12, requires_grad=True)
    attention(x)[0, 2].sum().backward()
    assert (x.grad[0, 3:] == 0).all()
    assert (x.grad[0, :3] != 0).all()


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_gradients_are_those_of_the_function(padded, return_weights):
    attention = make_attention(6, 2, qkv_bias=True).double()
    mask = attention_mask(4, 4, torch.tensor([0, 2])) if padded else None

    def function(x, *_):
        out = attention(x, mask=mask, return_weights=return_weights)
        return out[0] if return_weights else out

    x = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x, *attention.parameters()))


@given(chunks=CHUNKS, return_weights=st.booleans(), seed=st.integers(0, 99))
def test_a_cache_fed_in_any_chunks_changes_nothing(chunks, return_weights, seed):
    attention = make_attention(seed=seed, qkv_bias=True)
    n = sum(chunks)
    x = torch.randn(2, n, 12)
    cache = KVCache(n_layers=2, batch_size=2, n_heads=3, max_length=n, head_dim=4)
    outs = []
    with torch.no_grad():
        whole, all_weights = attention(x, return_weights=True)
        for piece in x.split(chunks, dim=1):
            out = attention(piece, cache=cache, layer=1, return_weights=return_weights)
            if return_weights:
                out, weights = out
                rows = slice(cache.length, cache.length + piece.shape[1])
                torch.testing.assert_close(weights, all_weights[:, :, rows, : rows.stop], rtol=1e-4, atol=1e-6)
            cache.advance(piece.shape[1])
            outs.append(out)
    torch.testing.assert_close(torch.cat(outs, dim=1), whole, rtol=1e-4, atol=1e-5)
    assert cache.length == n
    assert cache.keys[0].count_nonzero() == 0  # the other layer's memory is untouched


def test_a_reset_cache_is_as_new():
    attention = make_attention()
    cache = KVCache(1, 1, 3, 5, 4)
    first, second = torch.randn(2, 1, 5, 12)
    for x in (first, second):
        cache.reset()
        torch.testing.assert_close(attention(x, cache=cache), attention(x), rtol=1e-4, atol=1e-6)
        cache.advance(5)


def test_a_full_cache_refuses_more_and_keeps_what_it_has():
    attention = make_attention()
    cache = KVCache(1, 1, 3, 5, 4)
    attention(torch.randn(1, 4, 12), cache=cache)
    cache.advance(4)
    keys = cache.keys.clone()
    with pytest.raises(ValueError, match=r"holds 5 positions and 4 are taken, so 2 more do not fit.*reset"):
        attention(torch.randn(1, 2, 12), cache=cache)
    assert torch.equal(cache.keys, keys)
    attention(torch.randn(1, 1, 12), cache=cache)  # one more fits


@given(
    n_queries=st.integers(1, 6), seen=st.integers(0, 6), pad_lengths=st.none() | st.lists(st.integers(0, 9), min_size=1)
)
def test_the_mask_says_who_sees_whom(n_queries, seen, pad_lengths):
    n_keys = seen + n_queries
    mask = attention_mask(n_queries, n_keys, None if pad_lengths is None else torch.tensor(pad_lengths))
    assert mask.dtype == torch.bool
    rows = [mask] if pad_lengths is None else mask[:, 0]
    assert len(rows) == len(pad_lengths or [0])
    for row, left in zip(rows, pad_lengths or [0], strict=True):
        for q in range(n_queries):
            for k in range(n_keys):
                itself = k == seen + q
                assert row[q, k].item() == (itself or left <= k < seen + q), (q, k, left)


@pytest.mark.parametrize("return_weights", [False, True])
def test_left_padding_is_not_seen(return_weights):
    attention = make_attention()
    x, pad_lengths = torch.randn(3, 7, 12), torch.tensor([0, 2, 6])
    out = attention(x, mask=attention_mask(7, 7, pad_lengths), return_weights=return_weights)
    if return_weights:
        out, weights = out
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 3, 7))
    assert out.isfinite().all()
    for row, left in enumerate(pad_lengths.tolist()):
        torch.testing.assert_close(out[row : row + 1, left:], attention(x[row : row + 1, left:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("return_weights", [False, True])
def test_dropout_falls_on_the_weights_in_training_only(return_weights):
    """With one position its weight is 1: a head's result is either dropped whole or divided by 1 - drop_rate."""
    attention = make_attention(8, 2, drop_rate=0.25)
    torch.nn.init.eye_(attention.c_proj.weight)
    torch.nn.init.zeros_(attention.c_proj.bias)
    x = torch.randn(2000, 1, 8)

    def heads():
        out = attention(x, return_weights=return_weights)
        return (out[0] if return_weights else out).view(2000, 2, 4)

    with torch.no_grad():
        plain = heads()
        assert torch.equal(plain, heads())
        torch.testing.assert_close(plain.flatten(1), (x[:, 0] @ attention.c_attn.weight.T)[:, 16:])
        attention.train()
        dropped = heads()
    gone = (dropped == 0).all(-1)
    assert 0.22 < gone.float().mean() < 0.28  # 4000 heads: 4 standard deviations
    torch.testing.assert_close(dropped[~gone], plain[~gone] / 0.75)
    assert not torch.equal(gone[:, 0], gone[:, 1])  # each head on its own


def test_the_weights_shown_are_those_before_dropout():
    q, k, v = torch.randn(3, 1, 2, 5, 4)
    _, dropped = attend(q, k, v, drop_rate=0.5)
    _, plain = attend(q, k, v)
    assert torch.equal(dropped, plain)


TINY = {"vocab_size": 10, "context_length": 4, "emb_dim": 8, "n_heads": 2, "n_layers": 1}
TINY_MODEL = GPTModel(TINY)


def ids(*shape, value=1):
    return torch.full(shape, value)


def too_long_with_a_cache():
    cache = TINY_MODEL.new_cache(1)
    TINY_MODEL(ids(1, 3), cache=cache)
    TINY_MODEL(ids(1, 2), cache=cache)


def cache_too_short():
    TINY_MODEL(ids(1, 3), cache=TINY_MODEL.new_cache(1, max_length=2))


BAD_INPUTS = {  # what is done: a part of the message with the value, and one with the remedy
    "heads do not divide": (lambda: MultiHeadAttention(10, 3), "emb_dim=10", "n_heads=3; choose n_heads that divides"),
    "no heads": (lambda: MultiHeadAttention(8, 0), "n_heads=0", "at least 1"),
    "config: heads do not divide": (lambda: GPTModel(TINY | {"n_heads": 3}), "n_heads=3", "choose n_heads that"),
    "config: no layers": (lambda: GPTConfig(n_layers=0), "n_layers=0", "a whole number of at least 1"),
    "config: half a token": (lambda: GPTConfig(vocab_size=0.5), "vocab_size=0.5", "a whole number of at least 1"),
    "config: True is no size": (lambda: GPTConfig(emb_dim=True), "emb_dim=True", "a whole number of at least 1"),
    "config: size as text": (lambda: GPTConfig(context_length="64"), "context_length='64'", "a whole number"),
    "config: all dropped": (lambda: GPTConfig(drop_rate=1.0), "drop_rate=1.0", "from 0 up to below 1"),
    "config: negative dropout": (lambda: GPTConfig(drop_rate=-0.1), "drop_rate=-0.1", "from 0 up to below 1"),
    "config: dropout NaN": (lambda: GPTConfig(drop_rate=float("nan")), "drop_rate=nan", "from 0 up to below 1"),
    "config: dropout as text": (lambda: GPTConfig(drop_rate="0.1"), "drop_rate='0.1'", "from 0 up to below 1"),
    "config: maybe": (lambda: GPTConfig(qkv_bias="no"), "qkv_bias='no'", "True nor False; give one of them"),
    "config: tied 1": (lambda: GPTConfig(weight_tying=1), "weight_tying=1", "True nor False; give one of them"),
    "config: positions": (lambda: GPTConfig(positions="rotary"), "'rotary' is unknown", "'learned' or 'sinusoidal'"),
    "config: unknown key": (lambda: GPTModel(TINY | {"n_head": 2}), "'n_head'", "the keys are vocab_size, context"),
    "config: no mapping": (lambda: GPTModel(["emb_dim", 8]), "not list: ['emb_dim', 8]", "a GPTConfig or a dict"),
    "model: too long": (lambda: TINY_MODEL(ids(1, 5)), "5 tokens are more", "context_length=4; pass the last"),
    "model: too long, cached": (too_long_with_a_cache, "5 tokens are more", "context_length=4; pass the last"),
    "model: id too large": (lambda: TINY_MODEL(ids(1, 2, value=10)), "Token id 10 is not in", "is this the tokenizer"),
    "model: id negative": (lambda: TINY_MODEL(ids(1, 2, value=-3)), "Token id -3 is not in", "is this the tokenizer"),
    "model: one row": (lambda: TINY_MODEL(ids(3)), "not (3,)", "shape (batch, tokens)"),
    "model: nothing": (lambda: TINY_MODEL(ids(2, 0)), "not (2, 0)", "at least one each"),
    "model: floats": (lambda: TINY_MODEL(torch.zeros(1, 2)), "torch.float32", "whole numbers"),
    "model: a list": (lambda: TINY_MODEL([[1, 2]]), "list", "torch.tensor(ids)"),
    "cache of other rows": (lambda: TINY_MODEL(ids(1, 3), cache=TINY_MODEL.new_cache(2)), "2 rows and 1", "new_cache"),
    "cache too short": (cache_too_short, "holds 2 positions and 0 are taken, so 3 more", "make a larger cache"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_named_with_the_remedy(case):
    action, value, remedy = BAD_INPUTS[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is looked at below)
        action()
    assert value in str(error.value)
    assert remedy in str(error.value)
