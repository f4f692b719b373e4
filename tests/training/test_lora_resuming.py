"""A run with LoRA through the same training loop: saved, resumed bit for bit, and its checkpoint as good as any."""

import numpy as np
import pytest
import torch
from lora_helpers import with_adapter
from training_helpers import (
    At,
    Died,
    assert_helpful,
    config,
    die,
    identical,
    quietly,
    tiny_model,
    train_loader,
    val_loader,
    weights,
    without_clock,
)

from gptlib.checkpoints import CheckpointError, last_path, load_checkpoint, save_checkpoint
from gptlib.generation import generate
from gptlib.lora import LoRAConfig, adapters_of, add_lora, lora_state, merge, merged_copy, switch, trainable_parameters
from gptlib.weights.loading import load_model

CFG = {"max_steps": 9, "eval_interval": 3, "gradient_accumulation_steps": 2}


def lora_model():
    return add_lora(tiny_model(0, drop_rate=0.2), LoRAConfig(rank=2, dropout=0.2))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("n", [4, 7, 13])
def test_died_and_resumed_is_the_same_run(tmp_path, n, optimizer):
    whole = lora_model()
    history = quietly(whole, train_loader(), val_loader(), config(**CFG, optimizer=optimizer), out=tmp_path / "a.pth")
    model = lora_model()
    At(model, n, die)
    with pytest.raises(Died):
        quietly(model, train_loader(), val_loader(), config(**CFG, optimizer=optimizer), out=tmp_path / "b.pth")
    last = last_path(tmp_path / "b.pth")
    resumed = load_checkpoint(last).model
    again = quietly(resumed, train_loader(), val_loader(), config(**CFG, optimizer=optimizer), resume=last)
    assert without_clock(again.rows) == without_clock(history.rows)
    assert again.step_losses == history.step_losses
    assert identical(weights(resumed), weights(whole))
    a, b = (load_checkpoint(tmp_path / name).model for name in ("a.pth", "b.pth"))
    assert identical(weights(a), weights(b))
    assert trainable_parameters(a).keys() == trainable_parameters(whole).keys()
    base = weights(tiny_model(0))
    plain = {name.replace(".base_layer", ""): t for name, t in weights(resumed).items() if "adapters" not in name}
    assert identical(plain, base)


def test_on_a_base_of_16_bits_the_adapter_keeps_its_32_through_a_file(tmp_path):
    def model():
        return add_lora(tiny_model(0).to(torch.bfloat16), LoRAConfig(rank=2))

    whole, half = model(), model()
    quietly(whole, train_loader(), val_loader(), config(**CFG), out=tmp_path / "a.pth")
    At(half, 7, die)
    with pytest.raises(Died):
        quietly(half, train_loader(), val_loader(), config(**CFG), out=tmp_path / "b.pth")
    last = last_path(tmp_path / "b.pth")
    resumed = load_model(last).model
    quietly(resumed, train_loader(), val_loader(), config(**CFG), resume=last)
    assert identical(weights(resumed), weights(whole))
    types = {name: t.dtype for name, t in weights(resumed).items()}
    assert {t for name, t in types.items() if ".adapters." in name} == {torch.float32}
    assert {t for name, t in types.items() if ".adapters." not in name} == {torch.bfloat16}


@pytest.mark.parametrize("tying", [True, False])
@pytest.mark.parametrize("state", ["active", "base alone", "merged"])
def test_a_checkpoint_of_a_model_with_adapters(make_model, tmp_path, state, tying):
    model = with_adapter(with_adapter(make_model(weight_tying=tying), "a"), "b", target_modules=["c_fc"])
    if state == "base alone":
        switch(model, None)
    if state == "merged":
        merge(model)
    rng = torch.get_rng_state()
    save_checkpoint(tmp_path / "x.pth", model)
    found = load_checkpoint(tmp_path / "x.pth").model
    assert torch.equal(rng, torch.get_rng_state())
    ids = torch.randint(61, (1, 5))
    assert lora_state(found) == lora_state(model)
    assert torch.equal(generate(found, ids, 4, temperature=0), generate(model, ids, 4, temperature=0))
    assert trainable_parameters(found).keys() == trainable_parameters(model).keys()
    save_checkpoint(tmp_path / "y.pth", merged_copy(model))
    plain = load_checkpoint(tmp_path / "y.pth").model
    assert lora_state(plain) is None
    assert "lora" not in torch.load(tmp_path / "y.pth")
    with torch.no_grad():
        torch.testing.assert_close(plain(ids), model(ids), atol=1e-4, rtol=1e-4)


def test_a_checkpoint_of_an_adapter_whose_numbers_are_numpys(make_model, tmp_path):
    config = LoRAConfig(alpha=np.float64(8), dropout=np.float64(0.5))
    save_checkpoint(tmp_path / "x.pth", add_lora(make_model(), config))
    assert adapters_of(load_checkpoint(tmp_path / "x.pth").model) == {"default": config}


@pytest.mark.parametrize(
    "change",
    [
        {"adapters": {"default": {"rank": 0}}},
        {"adapters": {"default": {"rank": 10**30}}},
        {"adapters": {"default": {"rank": 10**15}}},
        {"adapters": {"a.b": {}}},
        {"adapters": {1: {}}},
        {"adapters": None},
        {"adapters": {"default": []}},
        {"adapters": {"default": {"x": 1}}},
        {"active": "none"},
        {"active": []},
        {"adapters": {}, "active": None},
    ],
)
def test_hostile(make_model, tmp_path, change):
    save_checkpoint(tmp_path / "x.pth", with_adapter(make_model()))
    content = torch.load(tmp_path / "x.pth")
    content["lora"] = content["lora"] | change
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "x.pth")
    assert_helpful(error, "x.pth")
    content["lora"] = 3
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "x.pth")
