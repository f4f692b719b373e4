"""The fast ways of attention give the results and gradients of the definition, on every shape and machine."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_helpers import tiny_model, train_loader

from gptlib.attention import MultiHeadAttention, attend, attention_mask
from gptlib.generation import generate
from gptlib.model import GPTModel
from gptlib.ops import attention as fast
from gptlib.ops.attention import fast_attention, in_blocks, of_one_query
from gptlib.training import TrainingConfig, train

BF16 = {"rtol": 2e-2, "atol": 2e-2}


@pytest.fixture
def batched(monkeypatch):
    """As on a machine where batched products are the faster, or not."""
    return lambda pays: monkeypatch.setattr(fast, "_pays", {True: pays, False: pays})


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
        found = in_blocks(*qkv)
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
    torch.testing.assert_close(of_one_query(q, k, v), attend(q, k, v)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize(("T", "S", "is_causal"), [(300, 300, True), (1, 300, False), (5, 9, False)])
def test_in_bf16_every_choice_is_near_the_exact_result(batched, pays, T, S, is_causal):
    batched(pays)
    q, k, v = queries_keys_values(2, 4, T, S, 64, torch.bfloat16)
    found = fast_attention(q, k, v, is_causal=is_causal)
    exact, _ = attend(q.double(), k.double(), v.double(), attention_mask(T, S) if is_causal else None)
    torch.testing.assert_close(found.double(), exact, **BF16)
    assert found.dtype == torch.bfloat16


def test_the_library_takes_the_batched_way_where_it_pays_and_only_there(batched, monkeypatch):
    taken = []
    for name in ("in_blocks", "of_one_query"):
        way = getattr(fast, name)
        monkeypatch.setattr(fast, name, lambda *a, name=name, way=way: taken.append(name) or way(*a))
    q, k, v = queries_keys_values(2, 4, 64, 64, 32, torch.bfloat16)
    long = queries_keys_values(1, 12, 1, 500, 64, torch.bfloat16)
    for pays, expected in ((True, ["in_blocks", "of_one_query"]), (False, [])):
        batched(pays)
        fast_attention(q, k, v, is_causal=True)
        fast_attention(*long)
        fast_attention(*(t.float() for t in long))
        fast_attention(q, k, v, mask=attention_mask(64, 64))
        assert taken == expected
        taken.clear()


def test_a_first_text_in_inference_mode_is_tried_as_well(monkeypatch):
    """In which nothing has the gradients that a trial takes the time of."""
    monkeypatch.setattr(fast, "_pays", {})
    model = tiny_model().to(torch.bfloat16).eval()
    with torch.inference_mode():
        model(torch.zeros(1, 8, dtype=torch.int64))
    assert set(fast._pays) == {False}


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


@pytest.mark.parametrize("pays", [True, False])
def test_in_bf16_a_model_continues_its_prompt_with_and_without_the_cache_alike(batched, pays):
    batched(pays)
    torch.manual_seed(0)
    config = {"vocab_size": 50, "context_length": 200, "emb_dim": 64, "n_heads": 2, "n_layers": 2, "drop_rate": 0.0}
    model = GPTModel(config | {"qkv_bias": True}).eval().to(torch.bfloat16)
    ids = torch.randint(50, (3, 150))
    with torch.no_grad():
        whole = model(ids)[:, -1]
        cache = model.new_cache(3)
        model(ids[:, :-1], cache=cache)
        last = model(ids[:, -1:], cache=cache)[:, -1]
    torch.testing.assert_close(last.float(), whole.float(), rtol=5e-2, atol=5e-2)
    assert generate(model, ids, 5, temperature=0).shape == (3, 155)


def test_a_resumed_run_multiplies_as_it_began(batched, tmp_path):
    """A trial in the new process could decide otherwise, and bf16's rounding would differ."""
    config = TrainingConfig(max_steps=4, eval_interval=2, precision="bf16", sample_prompt=None)
    batched(True)
    whole = tiny_model()
    train(whole, train_loader(), config=config, verbose=False)
    half = tiny_model()
    stop = TrainingConfig(max_steps=2, lr_decay_steps=4, eval_interval=2, precision="bf16", sample_prompt=None)
    train(half, train_loader(), config=stop, out=tmp_path / "x.pth", verbose=False)
    batched(False)
    resumed = tiny_model()
    train(resumed, train_loader(), config=config, resume=tmp_path / "x.last.pth", verbose=False)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
