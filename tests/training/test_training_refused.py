"""What makes no sense is refused in a sentence, before the first step."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from training_helpers import (
    CHARACTERS,
    VOCAB,
    At,
    Passes,
    Unknowing,
    assert_helpful,
    batches,
    config,
    identical,
    interrupt,
    never,
    quietly,
    tiny_model,
    tokens,
    train_loader,
    weights,
)

import gptlib.training.trainer
from gptlib.checkpoints import CheckpointError, save_checkpoint
from gptlib.datasets import IGNORE_INDEX
from gptlib.tokenizers import CharTokenizer
from gptlib.training import TrainingConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def stopped_run(folder, **changes):
    model = tiny_model(**changes)
    At(model, 3, interrupt)
    quietly(model, None, None, config(), tokenizer=CHARACTERS, out=folder / "gpt.pth")
    return folder / "gpt.last.pth"


MISMATCHES = {
    "wider model": (lambda: {"model": tiny_model(emb_dim=64)}, "another model", "make the model from the checkpoint"),
    "deeper model": (lambda: {"model": tiny_model(n_layers=2)}, "another model", "make the model from the checkpoint"),
    "tied model": (
        lambda: {"model": tiny_model(weight_tying=True)},
        "another model",
        "make the model from the checkpoint",
    ),
    "more text": (lambda: {"loader": train_loader(windows=14)}, "5 batches", "7", "resume with the same text"),
    "another batch size": (lambda: {"loader": train_loader(batch_size=5)}, "batch_size"),
    "another kind of loader": (lambda: {"loader": Passes()}, "5 batches", "None"),
    "another tokenizer": (lambda: {"tokenizer": CharTokenizer.train("tokenizer")}, "another tokenizer"),
}


@pytest.mark.parametrize("case", MISMATCHES.values(), ids=MISMATCHES)
def test_what_does_not_fit_the_state_is_refused_and_nothing_is_changed(tmp_path, case):
    make, *fragments = case
    path = stopped_run(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    what = make()
    model = what.pop("model", None) or tiny_model(5)
    untouched = weights(model)
    with pytest.raises(CheckpointError) as error:
        quietly(model, what.pop("loader", None), resume=path, **what)
    assert_helpful(error, path, *fragments)
    assert identical(weights(model), untouched)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def broken(*keys, value=None):
    """Change or (without a value) delete what is at that place of the training state."""

    def change(content):
        at = content["training"]
        for key in keys[:-1]:
            at = at[key]
        if value is None:
            del at[keys[-1]]
        else:
            at[keys[-1]] = value

    return change


HOSTILE_STATES = {
    "no optimizer": broken("optimizer"),
    "no random state": broken("rng"),
    "no step": broken("step"),
    "optimizer a list": broken("optimizer", value=[1]),
    "optimizer of another model": broken("optimizer", "param_groups", value=[{"params": [0]}]),
    "averages of another shape": broken("optimizer", "state", 0, value={"step": torch.tensor(1.0)}),
    "averages too small": broken("optimizer", "state", 0, "exp_avg", value=torch.zeros(1)),
    "averages NaN text": broken("optimizer", "state", 0, "exp_avg", value="none"),
    "random state a number": broken("rng", value=7),
    "random state too short": broken("rng", "cpu", value=torch.zeros(3, dtype=torch.uint8)),
    "random state of floats": broken("rng", "cpu", value=torch.zeros(5056)),
    "step of text": broken("step", value="three"),
    "negative step": broken("step", value=-3),
    "step a tensor": broken("step", value=torch.ones(2)),
    "tokens of text": broken("tokens", value="many"),
    "best loss of text": broken("best_loss", value="good"),
    "unknown precision": broken("precision", value="int4"),
    "options a list": broken("config", value=[1]),
    "history a list": broken("history", value=[1]),
    "history without rows": broken("history", "rows"),
    "rows of numbers": broken("history", "rows", value=[1, 2]),
    "rows of other columns": broken("history", "rows", value=[{"loss": 1.0}]),
    "step losses of text": broken("history", "step_losses", value=["a"]),
    "too few step losses": broken("history", "step_losses", value=[1.0]),
    "samples of numbers": broken("history", "samples", value=[1]),
    "unknown key in the model's config": lambda content: content["config"].update(n_experts=8),
    "a tensor missing": lambda content: content["model"].pop("final_norm.bias"),
    "a tensor of another shape": lambda content: content["model"].update({"final_norm.bias": torch.zeros(5)}),
}


@pytest.mark.parametrize("change", HOSTILE_STATES.values(), ids=HOSTILE_STATES)
def test_a_state_that_makes_no_sense_is_refused_before_the_first_step(tmp_path, monkeypatch, change):
    path = stopped_run(tmp_path)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(gptlib.training.trainer.Trainer, "training_step", never)
    with pytest.raises(CheckpointError) as error:
        quietly(tiny_model(), tokenizer=CHARACTERS, resume=path)
    assert_helpful(error, path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


BAD_OPTIONS = [
    ({"epochs": 0}, "epochs=0", "at least 1"),
    ({"epochs": 2.5}, "epochs=2.5", "whole number"),
    ({"epochs": 2, "max_steps": 5}, "epochs=2", "max_steps=5", "give one of them"),
    ({"max_steps": -1}, "max_steps=-1", "at least 1"),
    ({"max_steps": True}, "max_steps=True", "whole number"),
    ({"batch_size": 0}, "batch_size=0", "at least 1"),
    ({"batch_size": "16"}, "batch_size='16'", "whole number"),
    ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps=0", "at least 1"),
    ({"warmup_steps": -5}, "warmup_steps=-5", "at least 0"),
    ({"warmup_steps": None}, "warmup_steps=None", "whole number"),
    ({"learning_rate": 0}, "learning_rate=0", "above 0"),
    ({"learning_rate": -1e-3}, "learning_rate=-0.001", "above 0"),
    ({"learning_rate": math.nan}, "learning_rate=nan", "give a number"),
    ({"learning_rate": math.inf}, "learning_rate=inf", "give a number"),
    ({"learning_rate": "fast"}, "learning_rate='fast'", "give a number"),
    ({"min_learning_rate": 0.5}, "min_learning_rate=0.5", "lower it"),
    ({"weight_decay": -0.1}, "weight_decay=-0.1", "at least 0"),
    ({"grad_clip": None}, "grad_clip=None", "give a number"),
    ({"betas": (0.9, 1.0)}, "betas=(0.9, 1.0)", "below 1"),
    ({"betas": (0.9,)}, "betas=(0.9,)", "two numbers"),
    ({"betas": 0.9}, "betas=0.9", "two numbers"),
    ({"betas": None}, "betas=None", "two numbers"),
    ({"lr_schedule": "step"}, "lr_schedule='step'", "give one of cosine, linear, constant"),
    ({"lr_decay_steps": 0}, "lr_decay_steps=0", "at least 1"),
    ({"precision": "fp8"}, "precision='fp8'", "give one of"),
    ({"eval_interval": 0}, "eval_interval=0", "at least 1"),
    ({"eval_batches": 0}, "eval_batches=0", "at least 1"),
    ({"sample_tokens": 0}, "sample_tokens=0", "at least 1"),
    ({"sample_prompt": 5}, "sample_prompt=5", "text"),
    ({"compile": "yes"}, "compile='yes'", "True"),
    ({"tensorboard": 1}, "tensorboard=1", "True"),
    ({"seed": -1}, "seed=-1", "at least 0"),
    ({"seed": 1.5}, "seed=1.5", "whole number"),
    ({"device": None}, "device=None", "give"),
]


@pytest.mark.parametrize("case", BAD_OPTIONS, ids=lambda case: str(case[0]))
def test_an_option_out_of_range_is_refused_by_name(case):
    options, *fragments = case
    with pytest.raises(ValueError, match=next(iter(options))) as error:
        TrainingConfig(**options)
    assert_helpful(error, *fragments)


def test_options_survive_a_checkpoint_and_unknown_ones_are_told():
    options = config(betas=(0.8, 0.9), eval_batches=None, sample_prompt="a")
    assert TrainingConfig.from_dict(options.to_dict()) == options
    assert TrainingConfig.from_dict(options.to_dict() | {"betas": [0.8, 0.9]}) == options  # as YAML has it
    with pytest.raises(ValueError, match="Unknown training option 'momentum'; the options are epochs"):
        TrainingConfig.from_dict({"momentum": 0.9})


def short_text_loader():
    return DataLoader(
        TensorDataset(torch.zeros(0, 8, dtype=torch.long), torch.zeros(0, 8, dtype=torch.long)), batch_size=2
    )


OUT_OF_VOCABULARY = [(torch.full((2, 8), VOCAB), torch.zeros(2, 8, dtype=torch.long))]
TOO_LONG = batches(2, length=40)
NO_TARGETS = [(torch.zeros(2, 8, dtype=torch.long), torch.full((2, 8), IGNORE_INDEX))]
BAD_CALLS = {
    "no length": ({"loader": DataLoader(Unknowing(), batch_size=None), "cfg": config(epochs=1)}, "max_steps"),
    "no batch": ({"loader": []}, "no batch", "longer text"),
    "no batch in a DataLoader": ({"loader": short_text_loader()}, "no batch", "longer text"),
    "no batch to validate with": ({"val": []}, "no target", "check the data"),
    "no target to validate with": ({"val": NO_TARGETS}, "no target", "check the data"),
    "ids beyond the vocabulary": ({"loader": OUT_OF_VOCABULARY}, "Token id 23", "23", "tokenizer"),
    "longer than the context": ({"loader": TOO_LONG}, "40 tokens", "context_length=16"),
    "no such device": ({"cfg": config(device="cuda:7")}, "cuda:7", "give 'auto'"),
    "tokenizer of another model": ({"tokenizer": CharTokenizer.train("abcdefghijklmnopqrstuvwxyz")}, "26", "23"),
    "prompt of other letters": ({"tokenizer": CHARACTERS, "cfg": config(sample_prompt="Ω")}, "Ω"),
    "prompt without a letter": ({"tokenizer": CHARACTERS, "cfg": config(sample_prompt="")}, "''", "at least one"),
}


@pytest.mark.parametrize("case", BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_call_that_cannot_work_is_refused_before_the_first_step(tmp_path, monkeypatch, case):
    what, *fragments = case
    monkeypatch.setattr(gptlib.training.trainer.Trainer, "training_step", never)
    what = dict(what)
    with pytest.raises(ValueError, match=r".") as error:
        quietly(tiny_model(), what.pop("loader", None), what.pop("val", None), what.pop("cfg", None), **what)
    text = str(error.value)
    assert "\n" not in text
    for fragment in fragments:
        assert fragment in text


def test_what_is_no_state_to_resume_from_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        quietly(tiny_model(), resume=tmp_path / "missing.last.pth")
    save_checkpoint(tmp_path / "gpt.pth", tiny_model())
    with pytest.raises(CheckpointError, match=r"no training state.*gpt.last.pth"):
        quietly(tiny_model(), resume=tmp_path / "gpt.pth")


def test_numpy_and_python_numbers_are_alike_to_the_loader():
    """Ids may come in any integer type; the model sees int64 all the same."""
    from gptlib.datasets import create_dataloader

    models = [tiny_model() for _ in range(2)]
    for model, dtype in zip(models, (np.uint16, np.int32), strict=True):
        quietly(model, create_dataloader(tokens(windows=10).astype(dtype), batch_size=2, context_length=16))
    assert identical(weights(models[0]), weights(models[1]))
