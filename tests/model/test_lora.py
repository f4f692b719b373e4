"""LoRA in the model: what learns, what stays, and that merging is the same computation by another order."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lora_helpers import IDS, SHAPE, with_adapter
from training_helpers import assert_helpful, config, quietly, tiny_model, val_loader, weights

from gptlib.checkpoints import empty_model
from gptlib.generation import generate
from gptlib.generation.quantization import with_precision
from gptlib.lora import (
    TARGETS,
    LoRAConfig,
    active_adapter,
    adapters_of,
    add_lora,
    is_merged,
    lora_state,
    merge,
    merged_copy,
    rebuild_lora,
    remove_lora,
    switch,
    trainable_parameters,
    unmerge,
)
from gptlib.model import GPT2_CONFIGS, GPTModel
from gptlib.model.lora import lora_layers
from gptlib.weights.export import hf_weights


@st.composite
def shapes(draw):
    """A model's shape, and an adapter's for it."""
    n_heads = draw(st.integers(1, 3))
    shape = {"emb_dim": n_heads * draw(st.integers(4, 9)), "n_heads": n_heads, "n_layers": draw(st.integers(1, 2))}
    shape |= {name: draw(st.booleans()) for name in ("qkv_bias", "weight_tying")}
    targets = draw(st.lists(st.sampled_from([*TARGETS, "attention.c_proj"]), min_size=1, unique=True))
    adapter = {"rank": draw(st.integers(1, 12)), "alpha": draw(st.floats(0.1, 30)), "target_modules": targets}
    return SHAPE | shape, adapter


def fresh(shape):
    """A model whose logits are of size 1, so that 1e-5 is about what float32 can tell apart."""
    torch.manual_seed(5)
    return GPTModel(shape).eval()


@torch.no_grad()
@given(shapes())
def test_merged_is_unmerged_and_unmerging_restores(drawn):
    shape, adapter = drawn
    model = fresh(shape)
    before, base = weights(model), model(IDS)
    with_adapter(model, **adapter)
    apart = model(IDS)
    assert not torch.equal(apart, base)
    merge(model)
    torch.testing.assert_close(model(IDS), apart, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(merged_copy(model)(IDS), apart, atol=1e-5, rtol=1e-5)
    unmerge(model)
    torch.testing.assert_close(model(IDS), apart, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(merged_copy(model)(IDS), apart, atol=1e-5, rtol=1e-5)
    remove_lora(model, "default")
    torch.testing.assert_close(weights(model), before, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@given(shapes())
def test_the_update_has_the_rank_of_the_adapter_and_nothing_else_moves(drawn):
    shape, adapter = drawn
    plain = fresh(shape)
    changed = merged_copy(with_adapter(fresh(shape), **adapter))
    targets = tuple(f".{target}.weight" for target in adapter["target_modules"])
    for (name, before), after in zip(plain.named_parameters(), changed.parameters(), strict=True):
        if name.endswith(targets):
            update = (after - before).double()
            singular = torch.linalg.svdvals(update)
            assert singular[0] > 0
            assert (singular[adapter["rank"] :] < 1e-5 * singular[0].clamp(min=1)).all(), name
        else:
            assert torch.equal(before, after), name


def test_by_hand_of_rank_one():
    """W = I, A = (1, 1), B = (0, 3) and alpha / rank = 2: x + 2 * 3 * (x1 + x2) in the second channel."""
    model = add_lora(GPTModel(SHAPE | {"emb_dim": 2, "n_heads": 1}), LoRAConfig(rank=1, alpha=2.0))
    layer = model.blocks[0].attention.c_proj
    with torch.no_grad():
        layer.base_layer.weight.copy_(torch.eye(2))
        layer.base_layer.bias.zero_()
        layer.adapters["default"].A.copy_(torch.tensor([[1.0, 1.0]]))
        layer.adapters["default"].B.copy_(torch.tensor([[0.0], [3.0]]))
        assert layer(torch.tensor([5.0, 7.0])).tolist() == [5.0, 7.0 + 6 * 12]


@pytest.mark.parametrize("tying", [True, False])
def test_a_new_adapter_changes_nothing_and_alone_gets_gradients(make_model, tying):
    model = make_model(weight_tying=tying)
    before = model(IDS)
    assert add_lora(model) is model
    assert torch.equal(model(IDS), before)
    model(IDS).square().mean().backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient == set(trainable_parameters(model))
    assert len(with_gradient) == 2 * 4 * SHAPE["n_layers"]
    assert all(name.endswith((".adapters.default.A", ".adapters.default.B")) for name in with_gradient)
    assert type(model.output_head).__name__ == "Linear"
    assert (model.output_head.weight is model.token_embedding.weight) == tying


def test_how_a_begins(make_model):
    """As nn.Linear's weight does: uniform between -1/sqrt(K) and 1/sqrt(K)."""
    model = add_lora(make_model(n_layers=8), LoRAConfig(rank=16, target_modules=("c_attn", "c_fc")))
    a = torch.cat([layer.adapters["default"].A.flatten() for _, layer in lora_layers(model)]) * 24**0.5
    assert a.abs().max() <= 1
    assert a.std().item() == pytest.approx(3**-0.5, rel=0.05)
    torch.manual_seed(4)
    one = trainable_parameters(add_lora(make_model()))
    torch.manual_seed(4)
    another = trainable_parameters(add_lora(make_model()))
    assert all(torch.equal(one[name], another[name]) for name in one)


@pytest.mark.parametrize(
    "options", [{}, {"activation_checkpointing": True}, {"optimizer": "muon"}, {"precision": "bf16"}]
)
def test_train_moves_the_adapter_alone(options):
    model = add_lora(tiny_model(drop_rate=0.1), LoRAConfig(rank=2, dropout=0.1))
    before = weights(model)
    history = quietly(model, None, val_loader(), config(max_steps=12, **options))
    assert history.rows[-1]["val_loss"] < history.rows[0]["val_loss"]
    for name, tensor in weights(model).items():
        assert torch.equal(tensor, before[name]) == (".adapters." not in name), name


def test_dropout_only_in_training(make_model):
    model = with_adapter(make_model(), dropout=0.5)
    exact = model(IDS)
    assert torch.equal(model(IDS), exact)
    model.train()
    assert not torch.equal(model(IDS), model(IDS))
    generate(model, IDS, 3, temperature=0)
    assert model.training
    model.eval()
    assert torch.equal(model(IDS), exact)


@torch.no_grad()
def test_several_adapters_on_one_base(make_model):
    model = make_model()
    base = model(IDS)
    expected = {None: base, "a": with_adapter(make_model(), seed=1)(IDS)}
    expected["b"] = with_adapter(make_model(), seed=2, rank=1, target_modules=["c_fc"])(IDS)
    with_adapter(model, "a", seed=1)
    with_adapter(model, "b", seed=2, rank=1, target_modules=["c_fc"])
    assert {name: c.rank for name, c in adapters_of(model).items()} == {"a": 3, "b": 1}
    for name in ("b", "a", None, "b", "b"):
        switch(model, name)
        assert active_adapter(model) == name
        assert torch.equal(model(IDS), expected[name])
        learning = trainable_parameters(model)
        assert all(f".adapters.{name}." in path for path in learning)
        assert bool(learning) == (name is not None)
    remove_lora(model, "a")
    assert torch.equal(model(IDS), expected["b"])
    remove_lora(model, "b")
    assert torch.equal(model(IDS), base)
    assert weights(model).keys() == weights(make_model()).keys()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_merging_twice_is_merging_once_and_leaves_nothing_to_train(make_model):
    model = with_adapter(make_model())
    merge(model)
    once = weights(model)
    merge(model)
    assert all(torch.equal(tensor, once[name]) for name, tensor in weights(model).items())
    assert not trainable_parameters(model)
    unmerge(model)
    unmerge(model)
    assert not is_merged(model)
    assert len(trainable_parameters(model)) == 16


@torch.no_grad()
@pytest.mark.parametrize("shape", [{}, {"qkv_bias": True, "weight_tying": True, "positions": "sinusoidal"}])
def test_generation_with_the_cache(make_model, shape):
    model = with_adapter(make_model(**shape))
    cached, anew = (generate(model, IDS, 6, temperature=0, use_cache=use) for use in (True, False))
    assert torch.equal(cached, anew)
    assert torch.equal(generate(merged_copy(model), IDS, 6, temperature=0), anew)
    assert not torch.equal(generate(make_model(**shape), IDS, 6, temperature=0), anew)


def test_the_official_layout():
    shape = GPT2_CONFIGS["124M"].to_dict() | {"vocab_size": 61, "context_length": 16, "emb_dim": 24, "n_layers": 2}
    model = with_adapter(GPTModel(shape).eval())
    assert merged_copy(model).token_embedding.weight is not model.token_embedding.weight
    plain = merged_copy(model)
    assert plain.output_head.weight is plain.token_embedding.weight
    torch.testing.assert_close(plain(IDS), model(IDS), atol=1e-5, rtol=1e-5)
    assert len(dict(hf_weights(plain))) == 4 + 12 * 2


@torch.no_grad()
def test_a_base_of_16_bits_has_an_adapter_of_32(make_model):
    exact = with_adapter(make_model())
    model = make_model().to(torch.bfloat16)
    with_adapter(model)
    assert {parameter.dtype for parameter in trainable_parameters(model).values()} == {torch.float32}
    for merged in (model, merged_copy(model)):
        assert merged(IDS).dtype == torch.bfloat16
        assert (merged(IDS).float() - exact(IDS)).abs().max() < 0.05 * exact(IDS).abs().max()
    assert {parameter.dtype for parameter in merged_copy(model).parameters()} == {torch.bfloat16}


@torch.no_grad()
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_quantized_with_its_adapter(make_model, precision):
    model = with_adapter(make_model())
    expected = model(IDS)
    for source in (model, merged_copy(model)):
        found = with_precision(source, precision)[0](IDS).float()
        assert (found - expected).abs().max() < 0.06 * expected.abs().max()
    assert torch.equal(model(IDS), expected)


@torch.no_grad()
@pytest.mark.parametrize("state", ["active", "base alone", "merged"])
def test_the_state_of_all_adapters_makes_them_anew(make_model, state):
    model = with_adapter(with_adapter(make_model(), "a"), "b", target_modules=["c_fc"], dropout=0.25)
    if state == "base alone":
        switch(model, None)
    if state == "merged":
        merge(model)
    again = empty_model(model.config)
    rebuild_lora(again, lora_state(model))
    again.load_state_dict(model.state_dict(), assign=True)
    assert lora_state(again) == lora_state(model)
    assert trainable_parameters(again).keys() == trainable_parameters(model).keys()
    assert torch.equal(again.eval()(IDS), model(IDS))
    if state == "merged":
        unmerge(model)
        unmerge(again)
        assert torch.equal(again(IDS), model(IDS))
    assert lora_state(make_model()) is None


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("merged", [False, True])
@torch.no_grad()
def test_nothing_is_merged_into_a_quantized_base_or_taken_out(make_model, precision, merged):
    model = with_adapter(make_model())
    if merged:
        merge(model)
    model = with_precision(model, precision)[0]
    expected = model(IDS)
    for call in (merge, unmerge, merged_copy, lambda model: add_lora(model, name="b")):
        refused(lambda call=call: call(model), "quantized", "made from")
    assert torch.equal(model(IDS), expected)


def refused(call, *fragments):
    with pytest.raises(ValueError, match=re.escape(fragments[0])) as error:
        call()
    assert_helpful(error, *fragments)


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"rank": 0}, "rank=0"),
        ({"rank": 2.5}, "rank=2.5"),
        ({"rank": True}, "rank=True"),
        ({"alpha": 0}, "alpha=0"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"alpha": 10**400}, "alpha=1000"),
        ({"alpha": "8"}, "alpha='8'"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"target_modules": "all-linear"}, "'all-linear'"),
        ({"target_modules": []}, "[]"),
        ({"target_modules": ["c_fc", 3]}, "3"),
        ({"target_modules": None}, "None"),
    ],
)
def test_a_config_that_makes_no_sense(options, fragment):
    refused(lambda: LoRAConfig(**options), fragment)


def test_a_config_holds_plain_values_in_one_order():
    config = LoRAConfig(np.int64(2), np.float64(5), np.float64(0.5), {"c_proj", "c_fc", "c_attn"})
    assert [type(value) for value in (config.rank, config.alpha, config.dropout)] == [int, float, float]
    assert config.target_modules == ("c_attn", "c_fc", "c_proj")
    assert LoRAConfig.from_dict(config.to_dict()) == config


def test_what_does_not_fit_is_refused_and_changes_nothing(make_model):
    model = with_adapter(make_model(), "a")
    before, state = weights(model), lora_state(model)
    refused(lambda: add_lora(model, name="a"), "'a'", "already")
    for name in ("", "a.b", "keys", None, "ä"):
        refused(lambda name=name: add_lora(model, name=name), repr(name))
    for rank in (4 * SHAPE["emb_dim"] + 1, 10**12):
        refused(lambda rank=rank: add_lora(model, LoRAConfig(rank), "b"), f"rank={rank}", "1 to 96")
    for target in ("output_head", "token_embedding", "_proj", "blocks"):
        config = LoRAConfig(target_modules=("c_fc", target))
        refused(lambda config=config: add_lora(model, config, "b"), target, "c_attn, c_fc, c_proj")
    for call in (switch, remove_lora):
        refused(lambda call=call: call(model, "b"), "'b'", "it has: a")
    assert lora_state(model) == state
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(model).items())
    merge(model)
    for call in (lambda: switch(model, None), lambda: add_lora(model, name="b"), lambda: remove_lora(model, "a")):
        refused(call, "'a' is merged")
    unmerge(model)
    switch(model, None)
    refused(lambda: merge(model), "no active adapter")
    refused(lambda: merge(make_model()), "no active adapter")
    refused(lambda: add_lora(with_precision(make_model(), "int8")[0]), "quantized")
