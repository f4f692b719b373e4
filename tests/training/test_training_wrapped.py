"""A model that is compiled, or one of several processes' copies, trains as the plain one does."""

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from training_helpers import (
    CHARACTERS,
    At,
    config,
    identical,
    interrupt,
    quietly,
    tiny_model,
    val_loader,
    weights,
)

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.evaluation import evaluate_loss
from gptlib.model import unwrap

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def alone():
    """A group of one process, which nothing but this one's memory connects."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def compiled(model):
    return torch.compile(model, backend="eager")


WRAPPERS = {
    "distributed": DistributedDataParallel,
    "compiled": compiled,
    "compiled and distributed": lambda model: DistributedDataParallel(compiled(model)),
    "distributed and compiled": lambda model: compiled(DistributedDataParallel(model)),
}
wrapped = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


@wrapped
def test_unwrapped_is_the_plain_model(wrap):
    model = tiny_model()
    assert unwrap(wrap(model)) is model
    assert unwrap(model) is model


@wrapped
@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}, {"optimizer": "muon"}], ids=str)
def test_training_equals_that_of_the_plain_model_bit_for_bit(tmp_path, wrap, options):
    plain, model = (tiny_model(drop_rate=0.2, weight_tying=True) for _ in range(2))
    quietly(plain, None, val_loader(), config(**options))
    out = tmp_path / "gpt.pth"
    history = quietly(wrap(model), None, val_loader(), config(**options), tokenizer=CHARACTERS, out=out)
    assert identical(weights(model), weights(plain))
    assert not model.training
    assert identical(weights(load_checkpoint(tmp_path / "gpt.last.pth").model), weights(plain))
    assert evaluate_loss(load_checkpoint(out).model, val_loader()) == min(history["val_loss"])


@pytest.mark.parametrize("options", [{"activation_checkpointing": True}, {"precision": "bf16"}], ids=str)
def test_a_distributed_model_takes_every_option(options):
    """A compiled one computes in bf16 by other kernels, so that it differs by rounding."""
    plain, model = (tiny_model(drop_rate=0.2) for _ in range(2))
    quietly(plain, cfg=config(**options))
    quietly(DistributedDataParallel(model), cfg=config(**options))
    assert identical(weights(model), weights(plain))


def test_every_forward_pass_of_training_goes_through_the_wrapper_and_no_other(monkeypatch):
    """Its gradients are reduced after such a pass alone; and an evaluation must not wait for others."""
    passes = []
    forward = DistributedDataParallel.forward
    monkeypatch.setattr(
        DistributedDataParallel,
        "forward",
        lambda self, *args, **options: passes.append(torch.is_grad_enabled()) or forward(self, *args, **options),
    )
    quietly(DistributedDataParallel(tiny_model()), None, val_loader(), tokenizer=CHARACTERS)
    assert passes == [True] * config().max_steps


@wrapped
def test_stopped_and_resumed_it_is_the_same_run(tmp_path, wrap):
    plain, half, resumed = (tiny_model(seed, drop_rate=0.2) for seed in (0, 0, 9))
    quietly(plain)
    At(half, 4, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    quietly(wrap(resumed), resume=tmp_path / "gpt.last.pth")
    assert identical(weights(resumed), weights(plain))


@wrapped
def test_it_is_saved_and_measured_as_the_plain_model(tmp_path, wrap):
    model = tiny_model().eval()
    save_checkpoint(tmp_path / "gpt.pth", wrap(model), CHARACTERS)
    assert identical(weights(load_checkpoint(tmp_path / "gpt.pth").model), weights(model))
    assert evaluate_loss(wrap(model), val_loader()) == evaluate_loss(model, val_loader())
