"""LoRA beside PEFT on the same model: equal outputs, equal training losses, and adapters that move both ways."""

import json
import warnings

import pytest
import torch
from lora_helpers import IDS, with_adapter
from torch.nn.functional import cross_entropy
from training_helpers import assert_helpful, config, quietly, tiny_model, val_loader

from gptlib.generation import generate
from gptlib.lora import LoRAConfig, add_lora, merged_copy, trainable_parameters
from gptlib.model import GPTModel
from gptlib.model.peft import left_padding
from gptlib.weights.adapters import CONFIG, TENSORS, load_adapter, save_adapter

peft = pytest.importorskip("peft", reason="PEFT is an optional package")

TASKS = [None, peft.TaskType.CAUSAL_LM]
TARGETS = ["c_attn", "c_proj", "c_fc"]
SHAPES = [{}, {"qkv_bias": True, "weight_tying": True}]
BATCHES = torch.randint(61, (6, 3, 13), generator=torch.Generator().manual_seed(8))


def theirs_with(model, task, **options):
    return peft.get_peft_model(
        model, peft.LoraConfig(r=3, lora_alpha=5, target_modules=TARGETS, task_type=task, **options)
    )


def losses_of(model, seed=0):
    """Six steps of AdamW, each drawing the same dropout whoever takes it."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    model.train()
    losses = []
    for step, batch in enumerate(BATCHES):
        torch.manual_seed(seed + step)
        loss = cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_same_beginning_gives_the_same_losses(make_model, tmp_path, task, shape, dropout):
    """Begun by PEFT, trained by both, and what we have learned read by PEFT again."""
    shape = shape | {"drop_rate": dropout}
    theirs = theirs_with(make_model(**shape), task, lora_dropout=dropout)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = make_model(**shape)
    assert load_adapter(ours, tmp_path / "theirs") == LoRAConfig(3, 5, dropout, tuple(sorted(TARGETS)))
    assert sum(p.numel() for p in trainable_parameters(ours).values()) == theirs.get_nb_trainable_parameters()[0]
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS), theirs.eval()(IDS))
    expected = losses_of(theirs)
    assert expected[-1] < expected[0]
    assert losses_of(ours) == pytest.approx(expected, rel=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS), theirs(IDS), atol=1e-4, rtol=1e-4)
        again = peft.PeftModel.from_pretrained(make_model(**shape), save_adapter(ours, tmp_path / "ours"))
        torch.testing.assert_close(again(IDS), ours(IDS))
        torch.testing.assert_close(again.merge_and_unload()(IDS), merged_copy(ours)(IDS))


@pytest.mark.parametrize("task", TASKS)
def test_by_the_same_training_loop(tmp_path, task):
    theirs = theirs_with(tiny_model(drop_rate=0.1), task, lora_dropout=0.1)
    theirs.save_pretrained(tmp_path)
    ours = tiny_model(drop_rate=0.1)
    load_adapter(ours, tmp_path)
    expected, found = (quietly(model, None, val_loader(), config(max_steps=8)) for model in (theirs, ours))
    assert found.step_losses == pytest.approx(expected.step_losses, rel=1e-5)
    assert found.rows[-1]["val_loss"] == pytest.approx(expected.rows[-1]["val_loss"], rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_under_autocast(make_model, tmp_path, task):
    """In bf16, by two orders of the same roundings."""
    theirs = theirs_with(make_model(), task)
    theirs.save_pretrained(tmp_path)
    ours = make_model()
    load_adapter(ours, tmp_path)
    with torch.autocast("cpu", torch.bfloat16):
        assert losses_of(ours) == pytest.approx(losses_of(theirs), rel=2e-2)


@torch.no_grad()
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_our_generation_on_their_wrapped_model(make_model, tmp_path, task, shape):
    folder = save_adapter(with_adapter(make_model(**shape)), tmp_path)
    theirs = peft.PeftModel.from_pretrained(make_model(**shape), folder)
    if task is not None:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        (folder / CONFIG).write_text(json.dumps(found | {"task_type": task.value}), encoding="utf-8")
        theirs = peft.PeftModel.from_pretrained(make_model(**shape), folder)
        assert isinstance(theirs, peft.PeftModelForCausalLM)
    ours = make_model(**shape)
    load_adapter(ours, folder)
    expected = generate(ours, IDS, 5, temperature=0)
    for use_cache in (True, False):
        assert torch.equal(generate(theirs, IDS, 5, temperature=0, use_cache=use_cache), expected)
    pad_lengths = torch.tensor([0, 4])
    padded = generate(ours, IDS, 5, temperature=0, pad_lengths=pad_lengths)
    assert torch.equal(generate(theirs, IDS, 5, temperature=0, pad_lengths=pad_lengths), padded)
    with theirs.disable_adapter():
        torch.testing.assert_close(theirs(IDS), make_model(**shape)(IDS))


def test_what_peft_saves_of_our_model_is_the_adapter_alone(make_model, tmp_path):
    theirs = theirs_with(make_model(weight_tying=True), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs.save_pretrained(tmp_path)
    from safetensors import safe_open

    with safe_open(tmp_path / TENSORS, "pt") as file:
        assert not [name for name in file.keys() if "lora" not in name]  # noqa: SIM118


@pytest.mark.filterwarnings("ignore:fan_in_fan_out", "ignore:.*gradient_checkpointing")
@pytest.mark.parametrize("tying", [True, False])
def test_adapters_of_transformers_models(make_twins, tmp_path, tying):
    """Trained by PEFT on GPT2LMHeadModel, read by us; trained by us, read by PEFT on GPT2LMHeadModel."""
    ours, theirs = make_twins(weight_tying=tying, qkv_bias=True)
    wrapped = theirs_with(theirs, "CAUSAL_LM")
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        expected = wrapped.eval()(IDS).logits
        wrapped.save_pretrained(tmp_path / "theirs")
        before = ours(IDS)
        load_adapter(ours, tmp_path / "theirs")
        assert not torch.allclose(before, expected, atol=1e-2)
        torch.testing.assert_close(ours(IDS), expected, atol=1e-5, rtol=1e-5)

        ours, theirs = make_twins(weight_tying=tying, qkv_bias=True)
        with_adapter(ours)
        folder = save_adapter(ours, tmp_path / "ours", transformers=True)
        wrapped = peft.PeftModel.from_pretrained(theirs, folder)
        torch.testing.assert_close(wrapped.eval()(IDS).logits, ours(IDS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"use_rslora": True}, {"bias": "lora_only"}])
def test_kinds_of_lora_that_ours_is_not(make_model, tmp_path, options):
    theirs_with(make_model(), None, **options).save_pretrained(tmp_path)
    with pytest.raises(Exception, match=next(iter(options))) as error:
        load_adapter(make_model(), tmp_path)
    assert_helpful(error)


def test_a_model_that_peft_has_changed_is_not_changed_again(make_model):
    model = make_model()
    theirs_with(model, None)
    with pytest.raises(ValueError, match="c_attn"):
        add_lora(model)


# The names that PEFT calls by.


@torch.no_grad()
def test_called_by_transformers_names(make_model):
    model = make_model()
    expected = model(IDS)
    assert torch.equal(model(input_ids=IDS, attention_mask=None, labels=None, return_dict=None), expected)
    assert torch.equal(model(input_ids=IDS, attention_mask=torch.ones_like(IDS)), expected)
    left = torch.ones_like(IDS)
    left[1, :4] = 0
    assert torch.equal(model(IDS, attention_mask=left), model(IDS, pad_lengths=torch.tensor([0, 4])))
    right = left.flip(1)
    torch.testing.assert_close(model(IDS, attention_mask=right)[1, :5], expected[1, :5])
    cache = model.new_cache(2)
    model(IDS[:, :6], attention_mask=left[:, :6], cache=cache)
    torch.testing.assert_close(
        model(IDS[:, 6:], attention_mask=left, cache=cache), model(IDS, attention_mask=left)[:, 6:]
    )
    assert left_padding(torch.zeros(1, 3)).tolist() == [3]
    assert model.prepare_inputs_for_generation(IDS, pad_lengths=None) == {"input_ids": IDS, "pad_lengths": None}


def test_transformers_names_that_mean_nothing_here(make_model):
    model = make_model()
    with pytest.raises(ValueError, match="labels") as error:
        model(IDS, labels=IDS)
    assert_helpful(error)
    middle = torch.ones_like(IDS)
    middle[0, 3] = 0
    with pytest.raises(ValueError, match="attention_mask") as error:
        model(IDS, attention_mask=middle)
    for options in ({"input_ids": IDS}, {"attention_mask": torch.ones_like(IDS), "pad_lengths": torch.tensor([0, 2])}):
        with pytest.raises(ValueError, match="input_ids") as error:
            model(IDS, **options)
        assert_helpful(error)
    for shape in ((9,), (3, 9), (2, 5), (2, 10)):
        with pytest.raises(ValueError, match="attention_mask has the shape") as error:
            model(IDS, attention_mask=torch.ones(shape))
        assert_helpful(error, "(2, 9)")
    with pytest.raises(TypeError, match="attention_maks"):
        model(IDS, attention_maks=middle)
    with pytest.raises(TypeError):
        GPTModel.forward(model, IDS, None)
