"""The fast kernels of attention give the results and gradients of the definition, on every shape and machine."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_helpers import tiny_model

from gptlib.attention import MultiHeadAttention, attend, attention_mask
from gptlib.generation import generate
from gptlib.model import GPTModel
from gptlib.ops import attention as fast
from gptlib.ops.attention import blockwise_attention, decode_attention, fast_attention
from gptlib.ops.backend import Backend, set_backend
from gptlib.ops.devices import autocast

BF16 = {"rtol": 2e-2, "atol": 2e-2}


def batched(preferred):
    """As on a machine on which batched matmuls are the faster, or not."""
    return Backend(blockwise_attention=preferred, decode_attention=preferred)


def queries_keys_values(B, H, T, S, D, dtype=torch.float32):
    """Strided as in the model: q of all heads side by side, k and v out of a longer cache."""
    torch.manual_seed(B * 100 + S)
    q = torch.randn(B, T, H, D).to(dtype).transpose(1, 2)
    cache = torch.randn(2, B, H, S + 3, D).to(dtype)
    return q, cache[0, :, :, :S], cache[1, :, :, :S]


@settings(max_examples=60)
@given(
    B=st.integers(1, 3),
    H=st.integers(1, 3),
    T=st.integers(1, 20),
    D=st.integers(1, 8),
    block=st.sampled_from([1, 3, 7, 64]),
)
def test_blocks_give_results_and_gradients_of_the_definition(B, H, T, D, block):
    qkv = [t.detach().requires_grad_() for t in queries_keys_values(B, H, T, T, D)]
    expected, _ = attend(*qkv, attention_mask(T, T))
    before, fast.QUERIES = fast.QUERIES, block
    try:
        found = blockwise_attention(*qkv)
    finally:
        fast.QUERIES = before
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(expected)
    for ours, exact in zip(
        torch.autograd.grad(found, qkv, weights), torch.autograd.grad(expected, qkv, weights), strict=True
    ):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)


@given(B=st.integers(1, 3), H=st.integers(1, 3), S=st.integers(1, 40), D=st.integers(1, 8))
def test_one_query_gives_the_definition(B, H, S, D):
    q, k, v = queries_keys_values(B, H, 1, S, D)
    torch.testing.assert_close(decode_attention(q, k, v), attend(q, k, v)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("preferred", [True, False])
@pytest.mark.parametrize(("T", "S", "is_causal"), [(300, 300, True), (1, 300, False), (5, 9, False)])
def test_in_bf16_every_choice_is_near_the_exact_result(preferred, T, S, is_causal):
    q, k, v = queries_keys_values(2, 4, T, S, 64, torch.bfloat16)
    found = fast_attention(q, k, v, is_causal=is_causal, backend=batched(preferred))
    exact, _ = attend(q.double(), k.double(), v.double(), attention_mask(T, S) if is_causal else None)
    torch.testing.assert_close(found.double(), exact, **BF16)
    assert found.dtype == torch.bfloat16


def test_batched_matmuls_are_used_if_the_backend_prefers_them_and_only_then(monkeypatch):
    used = []
    for name in ("blockwise_attention", "decode_attention"):
        kernel = getattr(fast, name)
        monkeypatch.setattr(fast, name, lambda *a, name=name, kernel=kernel: used.append(name) or kernel(*a))
    q, k, v = queries_keys_values(2, 4, 64, 64, 32, torch.bfloat16)
    long = queries_keys_values(1, 12, 1, 500, 64, torch.bfloat16)
    for preferred, expected in ((True, ["blockwise_attention", "decode_attention"]), (False, [])):
        backend = batched(preferred)
        fast_attention(q, k, v, is_causal=True, backend=backend)
        fast_attention(*long, backend=backend)
        fast_attention(*(t.float() for t in long), backend=backend)
        fast_attention(q, k, v, mask=attention_mask(64, 64), backend=backend)
        assert used == expected
        used.clear()


@pytest.mark.parametrize("preferred", [True, False])
def test_under_autocast_a_model_in_float32_generates(preferred):
    """Its cache is in float32, and the queries are not."""
    model = tiny_model().eval()
    set_backend(model, batched(preferred))
    ids = torch.zeros(1, 8, dtype=torch.int64)
    with autocast(torch.device("cpu"), "bf16"):
        assert generate(model, ids, 3, temperature=0).shape == (1, 11)


def test_dropout_drops_that_share_of_the_weights_and_keeps_their_mean():
    torch.manual_seed(0)
    q = torch.zeros(1, 1, 400, 4)
    v = torch.eye(400)[None, None]  # the result shows the weights themselves
    weights = fast_attention(q, q, v, drop_rate=0.25, is_causal=True)[0, 0]
    seen = weights.tril() != 0
    share = seen.float().sum() / (400 * 401 / 2)
    assert abs(share - 0.75) < 0.01
    assert abs(weights.sum(1)[50:].mean() - 1) < 0.02
    assert not weights.triu(1).any()


def test_training_with_dropout_repeats_itself_and_generation_has_none():
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2, drop_rate=0.5)
    x = torch.randn(2, 6, 8)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(attention(x))
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])
    attention.eval()
    assert torch.equal(attention(x), attention(x))


@pytest.mark.parametrize("preferred", [True, False])
def test_in_bf16_a_model_continues_its_prompt_with_and_without_the_cache_alike(preferred):
    torch.manual_seed(0)
    config = {"vocab_size": 50, "context_length": 200, "emb_dim": 64, "n_heads": 2, "n_layers": 2, "drop_rate": 0.0}
    model = GPTModel(config | {"qkv_bias": True}).eval().to(torch.bfloat16)
    set_backend(model, batched(preferred))
    ids = torch.randint(50, (3, 150))
    with torch.no_grad():
        whole = model(ids)[:, -1]
        cache = model.new_cache(3)
        model(ids[:, :-1], cache=cache)
        last = model(ids[:, -1:], cache=cache)[:, -1]
    torch.testing.assert_close(last.float(), whole.float(), rtol=5e-2, atol=5e-2)
    assert generate(model, ids, 5, temperature=0).shape == (3, 155)
