"""The model against transformers' GPT-2 and against formulas; its sizes, its start, its cache and padding."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.evaluation import next_token_loss
from gptlib.model import (
    GELU,
    GPT2_CONFIGS,
    GPT_CONFIG_124M,
    GPT_CONFIG_SMALL,
    FeedForward,
    GPTConfig,
    GPTModel,
    LayerNorm,
    SinusoidalPositions,
    TransformerBlock,
    eval_mode,
)

PUBLISHED_COUNTS = {"124M": 124_439_808, "355M": 354_823_168, "774M": 774_030_080, "1558M": 1_557_611_200}


def random_ids(*shape, vocab_size=61, seed=0):
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def on_meta(config):
    with torch.device("meta"):
        return GPTModel(config)


# Parts, in float64


@pytest.mark.parametrize("eps", [1e-5, 1e-2])
def test_layer_norm_is_its_formula(eps):
    norm = LayerNorm(7, eps)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(3, 4, 7) * torch.tensor([1e-2, 1.0, 50.0])[:, None, None] + 0.5
    z = x.double().numpy()
    centred = z - z.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    expected = expected * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    np.testing.assert_allclose(norm(x).detach(), expected, rtol=2e-4, atol=1e-4)


def test_layer_norm_has_gpt2s_eps_and_bears_a_constant():
    assert LayerNorm(4).eps == 1e-5
    assert torch.equal(LayerNorm(4)(torch.full((1, 4), 3.0)), torch.zeros(1, 4))


def test_gelu_is_the_tanh_formula_and_not_the_exact_one():
    x = torch.linspace(-6, 6, 1001)
    z = x.double().numpy()
    expected = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    np.testing.assert_allclose(GELU()(x), expected, atol=1e-6)
    assert (GELU()(x) - torch.nn.functional.gelu(x)).abs().max() > 1e-4


def test_feed_forward_is_four_times_as_wide_inside_and_takes_each_position_alone():
    feed_forward = FeedForward(6)
    assert feed_forward.c_fc.weight.shape == (24, 6)
    x = torch.randn(2, 5, 6)
    whole = feed_forward(x)
    torch.testing.assert_close(whole[:, 3:4], feed_forward(x[:, 3:4]))
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in feed_forward.parameters())
    inner = x.double().numpy() @ w1.T + b1
    inner = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    np.testing.assert_allclose(whole.detach(), inner @ w2.T + b2, atol=1e-5)


@pytest.mark.parametrize("emb_dim", [1, 5, 8, 64])
def test_sinusoidal_table_is_the_papers_formula(emb_dim):
    expected = np.zeros((300, emb_dim))
    for position in range(300):
        for i in range(emb_dim):
            angle = position / 10000 ** (2 * (i // 2) / emb_dim)
            expected[position, i] = math.cos(angle) if i % 2 else math.sin(angle)
    table = SinusoidalPositions(emb_dim)(torch.arange(300))
    np.testing.assert_allclose(table, expected, atol=5e-5)


# The whole model against transformers


CONFIGS = {
    "GPT-2": {"qkv_bias": True, "weight_tying": True},
    "untied": {"qkv_bias": True},
    "tied, no qkv_bias": {"weight_tying": True},
    "untied, no qkv_bias": {},
    "one head": {"n_heads": 1, "n_layers": 1},
    "many heads, deep": {"n_heads": 12, "n_layers": 5, "qkv_bias": True},
    "wide": {"emb_dim": 96, "n_heads": 2, "vocab_size": 301, "context_length": 40},
}


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_logits_equal_transformers(make_twins, changes):
    ours, theirs = make_twins(**changes)
    ids = random_ids(3, ours.config.context_length, vocab_size=ours.config.vocab_size)
    with torch.no_grad():
        expected = theirs(ids, output_attentions=True)
        logits, attention = ours(ids, return_attention=True)
        torch.testing.assert_close(ours(ids), expected.logits, rtol=1e-4, atol=1e-4)
    assert expected.logits.std() > 0.1  # there was something to compare
    torch.testing.assert_close(logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert len(attention) == ours.config.n_layers
    for mine, weights in zip(attention, expected.attentions, strict=True):
        torch.testing.assert_close(mine, weights, rtol=1e-4, atol=1e-5)


def test_left_padded_logits_equal_transformers(make_twins):
    ours, theirs = make_twins(qkv_bias=True)
    ids, pad_lengths = random_ids(4, 11), torch.tensor([0, 1, 5, 10])
    real = torch.arange(11) >= pad_lengths[:, None]
    position_ids = (real.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=real.long(), position_ids=position_ids).logits
        logits = ours(ids, pad_lengths=pad_lengths)
    torch.testing.assert_close(logits[real], expected[real], rtol=1e-4, atol=1e-4)


def test_gradients_equal_transformers(make_twins):
    ours, theirs = make_twins(weight_tying=True, qkv_bias=True)
    ids = random_ids(2, 16)
    theirs(ids, labels=ids).loss.backward()
    next_token_loss(ours(ids[:, :-1]), ids[:, 1:]).backward()
    pairs = [
        (ours.token_embedding.weight, theirs.transformer.wte.weight.grad),
        (ours.position_embedding.weight, theirs.transformer.wpe.weight.grad),
        (ours.blocks[0].attention.c_attn.weight, theirs.transformer.h[0].attn.c_attn.weight.grad.T),
        (ours.blocks[1].feed_forward.c_proj.weight, theirs.transformer.h[1].mlp.c_proj.weight.grad.T),
        (ours.final_norm.bias, theirs.transformer.ln_f.bias.grad),
    ]
    for parameter, expected in pairs:
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-5)


# Properties


def test_the_future_has_no_say(tiny_model):
    ids = random_ids(2, 16)
    with torch.no_grad():
        before = tiny_model(ids)
        for place in (1, 7, 15):
            changed = ids.clone()
            changed[:, place:] = (changed[:, place:] + 17) % 61
            after = tiny_model(changed)
            torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-6)
            assert (after[:, place] - before[:, place]).abs().max() > 0.1


def test_order_matters(tiny_model):
    with torch.no_grad():
        one, other = tiny_model(torch.tensor([[3, 9, 5], [9, 3, 5]]))[:, -1]
    assert (one - other).abs().max() > 1e-2


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_a_batch_equals_its_rows(make_model, positions):
    model = make_model(positions=positions)
    ids = random_ids(5, 12)
    with torch.no_grad():
        alone = torch.cat([model(row[None]) for row in ids])
        torch.testing.assert_close(model(ids), alone, rtol=1e-4, atol=1e-5)


@settings(max_examples=40)
@given(
    chunks=st.lists(st.integers(1, 6), min_size=1, max_size=6).filter(lambda chunks: sum(chunks) <= 16),
    paddings=st.none() | st.lists(st.integers(0, 15), min_size=3, max_size=3),
    last_only=st.booleans(),
)
def test_a_cache_fed_in_any_chunks_changes_nothing(tiny_model, chunks, paddings, last_only):
    n = sum(chunks)
    ids = random_ids(3, n, seed=n)
    pad_lengths = None if paddings is None else torch.tensor(paddings).clamp(max=n - 1)
    real = torch.arange(n) >= (0 if pad_lengths is None else pad_lengths[:, None])
    real = real.expand(3, n)
    cache = tiny_model.new_cache(3)
    with torch.no_grad():
        whole = tiny_model(ids, pad_lengths=pad_lengths)
        end = 0
        for piece in ids.split(chunks, dim=1):
            logits = tiny_model(piece, cache=cache, pad_lengths=pad_lengths, last_only=last_only)
            end += piece.shape[1]
            here = slice(end - logits.shape[1], end)
            torch.testing.assert_close(logits[real[:, here]], whole[:, here][real[:, here]], rtol=1e-4, atol=1e-4)
            assert logits.shape[1] == (1 if last_only else piece.shape[1])
    assert cache.length == n


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_left_padded_rows_equal_unpadded_rows(make_model, positions):
    model = make_model(positions=positions)
    rows = [random_ids(1, n, seed=n) for n in (1, 4, 11)]
    pad_lengths = torch.tensor([11 - row.shape[1] for row in rows])
    with torch.no_grad():
        alone = [model(row)[0] for row in rows]
        for filler in (0, 60):  # whatever stands there
            padded = torch.cat([torch.nn.functional.pad(row, (11 - row.shape[1], 0), value=filler) for row in rows])
            logits, attention = model(padded, pad_lengths=pad_lengths, return_attention=True)
            fused = model(padded, pad_lengths=pad_lengths)
            assert fused.isfinite().all()
            for i, expected in enumerate(alone):
                torch.testing.assert_close(fused[i, pad_lengths[i] :], expected, rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(logits[i, pad_lengths[i] :], expected, rtol=1e-4, atol=1e-4)
                assert attention[0][i, :, pad_lengths[i] :, : pad_lengths[i]].count_nonzero() == 0


def test_cached_attention_weights_are_rows_of_the_uncached(tiny_model):
    ids = random_ids(1, 9)
    cache = tiny_model.new_cache()
    with torch.no_grad():
        _, expected = tiny_model(ids, return_attention=True)
        tiny_model(ids[:, :5], cache=cache)
        _, weights = tiny_model(ids[:, 5:], cache=cache, return_attention=True)
    for some, whole in zip(weights, expected, strict=True):
        assert some.shape == (1, 3, 4, 9)
        torch.testing.assert_close(some, whole[:, :, 5:], rtol=1e-4, atol=1e-6)


def test_a_cache_follows_the_model(make_model):
    model = make_model().to(torch.bfloat16)
    cache = model.new_cache(2, max_length=100)
    assert (cache.max_length, cache.keys.dtype) == (16, torch.bfloat16)  # never longer than the context
    assert cache.keys.shape == cache.values.shape == (2, 2, 3, 16, 8)
    assert model.new_cache(1, max_length=5).max_length == 5
    with torch.no_grad():
        assert model(random_ids(2, 16), cache=cache).dtype == torch.bfloat16


def test_gradients_flow_everywhere(make_model):
    model = make_model(n_layers=3, weight_tying=False)
    next_token_loss(model(random_ids(2, 16)), random_ids(2, 16, seed=1)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.count_nonzero() > 0, name


# Dropout: on the embeddings and on both residual branches (on the attention weights: test_attention.py)


def test_dropout_falls_on_the_embeddings_in_training_only(make_model):
    model = make_model(drop_rate=0.25)
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    ids = random_ids(40, 16)
    model(ids)
    model.train()
    model(ids)
    plain, dropped = seen
    gone = dropped == 0
    assert 0.22 < gone.float().mean() < 0.28
    torch.testing.assert_close(dropped[~gone], plain[~gone] / 0.75)


@pytest.mark.parametrize("branch", ["attention", "feed_forward"])
def test_dropout_falls_on_both_residual_branches_in_training_only(branch):
    block = TransformerBlock(GPTConfig(emb_dim=8, n_heads=2, drop_rate=0.25))
    for part in (block.attention.c_proj, block.feed_forward.c_proj):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    torch.nn.init.ones_(getattr(block, branch).c_proj.bias)
    x = torch.zeros(100, 10, 8)
    with torch.no_grad():
        dropped = block(x)
        block.eval()
        assert torch.equal(block(x), torch.ones_like(x))
    torch.testing.assert_close(dropped.unique(), torch.tensor([0, 4 / 3]))
    assert 0.22 < (dropped == 0).float().mean() < 0.28


def test_training_mode_without_dropout_is_deterministic(make_model):
    model = make_model(drop_rate=0.0)
    ids = random_ids(2, 16)
    expected = model(ids)
    assert torch.equal(model.train()(ids), expected)


def test_eval_mode_comes_and_goes(make_model):
    model = make_model(drop_rate=0.5).train()
    with eval_mode(model):
        assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.modules())
    with pytest.raises(KeyboardInterrupt), eval_mode(model):
        raise KeyboardInterrupt
    assert model.training
    model.eval()
    with eval_mode(model):
        pass
    assert not model.training


# Sizes


@pytest.mark.parametrize("size", PUBLISHED_COUNTS)
def test_official_sizes_have_the_published_counts(size):
    model = on_meta(GPT2_CONFIGS[size])
    assert model.parameter_count() == PUBLISHED_COUNTS[size]
    c = model.config
    assert (c.vocab_size, c.context_length, c.drop_rate, c.positions) == (50257, 1024, 0.1, "learned")
    shapes = {"124M": (768, 12, 12), "355M": (1024, 16, 24), "774M": (1280, 20, 36), "1558M": (1600, 25, 48)}
    assert (c.emb_dim, c.n_heads, c.n_layers) == shapes[size]
    assert c.emb_dim // c.n_heads == 64


@settings(max_examples=40)
@given(
    vocab_size=st.integers(1, 500),
    context_length=st.integers(1, 100),
    head_dim=st.integers(1, 16),
    n_heads=st.integers(1, 4),
    n_layers=st.integers(1, 4),
    qkv_bias=st.booleans(),
    weight_tying=st.booleans(),
    positions=st.sampled_from(["learned", "sinusoidal"]),
)
def test_parameter_counts_follow_the_formula(
    vocab_size, context_length, head_dim, n_heads, n_layers, qkv_bias, weight_tying, positions
):
    C = head_dim * n_heads
    config = {"vocab_size": vocab_size, "context_length": context_length, "emb_dim": C, "n_heads": n_heads}
    config |= {"n_layers": n_layers, "qkv_bias": qkv_bias, "weight_tying": weight_tying, "positions": positions}
    model = on_meta(config)
    blocks = n_layers * (12 * C * C + (13 if qkv_bias else 10) * C) + 2 * C
    table = context_length * C if positions == "learned" else 0
    assert model.parameter_count() == blocks + table + vocab_size * C * (1 if weight_tying else 2)
    assert model.parameter_count(embeddings=False) == blocks + vocab_size * C  # the head's matrix product remains


def test_flops_by_hand():
    model = GPTModel({"vocab_size": 10, "context_length": 4, "emb_dim": 8, "n_heads": 2, "n_layers": 1})
    attention, feed_forward = 8 * 24 + (8 * 8 + 8), (8 * 32 + 32) + (32 * 8 + 8)
    norms, head = 3 * 16, 80
    # forward 2 and backward 4 for each parameter; scores and their use: 2 * 2 * 4 positions * 8 channels, three times
    assert model.flops_per_token() == 6 * (attention + feed_forward + norms + head) + 3 * (2 * 2 * 4 * 8) == 6048


# How a model starts


def test_initialisation_is_gpt2s():
    torch.manual_seed(0)
    model = GPTModel({"vocab_size": 400, "context_length": 128, "emb_dim": 128, "n_heads": 4, "n_layers": 8})
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert (parameter == float(name.endswith("weight"))).all(), name
        elif name.endswith("bias"):
            assert parameter.count_nonzero() == 0, name
        else:
            expected = 0.02 / math.sqrt(16) if "c_proj" in name else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.03), name
            assert abs(parameter.mean().item()) < expected * 0.05, name


@pytest.mark.parametrize("weight_tying", [False, True])
def test_the_tied_token_embedding_starts_with_deviation_002(weight_tying):
    torch.manual_seed(0)
    model = GPTModel({"vocab_size": 500, "emb_dim": 64, "n_heads": 2, "n_layers": 1, "weight_tying": weight_tying})
    assert model.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert model.output_head.weight.std().item() == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@pytest.mark.parametrize("weight_tying", [False, True])
def test_the_first_loss_is_that_of_guessing(positions, weight_tying):
    torch.manual_seed(0)
    config = {"vocab_size": 1000, "context_length": 64, "emb_dim": 96, "n_heads": 4, "n_layers": 4}
    model = GPTModel(config | {"positions": positions, "weight_tying": weight_tying}).eval()
    with torch.no_grad():
        loss = next_token_loss(model(random_ids(8, 64, vocab_size=1000)), random_ids(8, 64, vocab_size=1000, seed=1))
    assert loss.item() == pytest.approx(math.log(1000), abs=0.1)


def test_the_same_seed_gives_the_same_model():
    models = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        models.append(GPTModel({"vocab_size": 9, "emb_dim": 8, "n_heads": 2, "n_layers": 1}).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not torch.equal(models[0]["blocks.0.attention.c_attn.weight"], models[2]["blocks.0.attention.c_attn.weight"])


# Tying


def test_tied_weights_are_one_parameter(make_model):
    model = make_model(weight_tying=True)
    assert model.output_head.weight is model.token_embedding.weight
    names = [name for name, _ in model.named_parameters()]
    assert "token_embedding.weight" in names
    assert "output_head.weight" not in names
    twin = copy.deepcopy(model)
    assert twin.output_head.weight is twin.token_embedding.weight
    assert twin.output_head.weight is not model.output_head.weight

    untied = make_model(weight_tying=False)
    assert untied.output_head.weight is not untied.token_embedding.weight
    assert not torch.equal(untied.output_head.weight, untied.token_embedding.weight)


def test_the_tie_is_mended_after_assigned_weights(make_model):
    model = make_model(weight_tying=True)
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    other = on_meta(model.config)
    other.load_state_dict(state, assign=True)
    other.tie_weights()
    assert other.output_head.weight is other.token_embedding.weight
    ids = random_ids(1, 5)
    torch.testing.assert_close(other.eval()(ids), model(ids))


# Names and configs


def test_state_dict_names_are_the_contract():
    names = {
        "token_embedding.weight": (11, 8),
        "position_embedding.weight": (4, 8),
        "blocks.0.norm_1.weight": (8,),
        "blocks.0.norm_1.bias": (8,),
        "blocks.0.attention.c_attn.weight": (24, 8),
        "blocks.0.attention.c_attn.bias": (24,),
        "blocks.0.attention.c_proj.weight": (8, 8),
        "blocks.0.attention.c_proj.bias": (8,),
        "blocks.0.norm_2.weight": (8,),
        "blocks.0.norm_2.bias": (8,),
        "blocks.0.feed_forward.c_fc.weight": (32, 8),
        "blocks.0.feed_forward.c_fc.bias": (32,),
        "blocks.0.feed_forward.c_proj.weight": (8, 32),
        "blocks.0.feed_forward.c_proj.bias": (8,),
        "final_norm.weight": (8,),
        "final_norm.bias": (8,),
        "output_head.weight": (11, 8),
    }
    config = {"vocab_size": 11, "context_length": 4, "emb_dim": 8, "n_heads": 2, "n_layers": 1, "qkv_bias": True}
    for tied in (False, True):
        state = GPTModel(config | {"weight_tying": tied}).state_dict()
        assert {name: tuple(weight.shape) for name, weight in state.items()} == names
    without = GPTModel(config | {"qkv_bias": False, "positions": "sinusoidal"}).state_dict()
    assert names.keys() - without.keys() == {"blocks.0.attention.c_attn.bias", "position_embedding.weight"}


def test_a_plain_dict_is_a_config():
    changes = {"vocab_size": 61, "emb_dim": 24, "n_heads": 3, "n_layers": 2, "qkv_bias": True}
    torch.manual_seed(0)
    from_dict = GPTModel(changes)
    torch.manual_seed(0)
    from_config = GPTModel(GPTConfig(**changes))
    assert from_dict.config == from_config.config == GPTConfig(**changes)
    assert from_dict.config.context_length == 1024  # what is missing takes the default
    ids = random_ids(1, 8)
    assert torch.equal(from_dict.eval()(ids), from_config.eval()(ids))
    assert GPTConfig.from_dict(from_dict.config.to_dict()) == from_dict.config
    assert type(from_dict.config.to_dict()) is dict


def test_presets_are_the_designs():
    assert GPT_CONFIG_124M == GPTConfig() == GPTConfig(50257, 1024, 768, 12, 12, 0.1, False, False, "learned")
    small = GPT_CONFIG_SMALL
    assert (small.context_length, small.emb_dim, small.n_heads, small.n_layers) == (256, 384, 6, 6)
    with pytest.raises(AttributeError):  # frozen
        small.n_layers = 7


# Sinusoidal positions in the model


def test_a_sinusoidal_model_is_a_learned_one_with_the_papers_table(make_model):
    model = make_model(positions="sinusoidal")
    state = model.state_dict()
    table = torch.tensor(
        [[p / 10000 ** (2 * (i // 2) / 24) + i % 2 * math.pi / 2 for i in range(24)] for p in range(16)]
    )
    state["position_embedding.weight"] = table.sin()  # cos x = sin(x + pi/2)
    state["token_embedding.weight"] = state["token_embedding.weight"] * math.sqrt(24)
    learned = make_model()
    learned.load_state_dict(state)
    ids = random_ids(2, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(ids), learned(ids), rtol=1e-3, atol=1e-3)


def test_a_sinusoidal_model_learns():
    torch.manual_seed(0)
    config = {"vocab_size": 20, "context_length": 16, "emb_dim": 32, "n_heads": 2, "n_layers": 1, "drop_rate": 0.0}
    model = GPTModel(config | {"positions": "sinusoidal"})
    ids = random_ids(1, 17, vocab_size=20)
    parameters = list(model.parameters())
    for _ in range(80):
        loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
        with torch.no_grad():
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter -= 0.005 * gradient.sign()
    assert loss.item() < 0.3


def test_a_config_unpacks_like_a_dict():
    changed = {**GPT_CONFIG_SMALL, "n_layers": 2}
    assert GPTModel(changed | {"vocab_size": 9}).config == GPTConfig(9, 256, 384, 6, 2)
    assert GPT_CONFIG_SMALL["emb_dim"] == 384
    with pytest.raises(KeyError, match="width"):
        GPT_CONFIG_SMALL["width"]
