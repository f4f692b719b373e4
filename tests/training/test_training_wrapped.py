"""A model that is compiled, or one of several processes' copies, trains as the plain one does."""

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from training_helpers import (
    CHARACTERS,
    At,
    child,
    config,
    identical,
    interrupt,
    quietly,
    tiny_model,
    tokens,
    val_loader,
    weights,
)

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.datasets import create_dataloader
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


def one_of_two(connection, rank, store):
    """Half of each batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
    loader = create_dataloader(tokens(windows=20), batch_size=2, context_length=16, rank=rank, world_size=2)
    model = DistributedDataParallel(tiny_model())
    quietly(model, loader)
    connection.send({name: tensor.numpy() for name, tensor in weights(model.module).items()})
    dist.destroy_process_group()


def test_two_processes_train_as_one_with_batches_twice_as_large(tmp_path):
    store = str(tmp_path / "store")
    with child(one_of_two, 0, store) as (_, first), child(one_of_two, 1, store) as (_, second):
        both = [connection.recv() for connection in (first, second) if connection.poll(60)]
    whole = tiny_model()
    quietly(whole, create_dataloader(tokens(windows=20), batch_size=4, context_length=16))
    assert len(both) == 2
    for name, tensor in weights(whole).items():
        assert (both[0][name] == both[1][name]).all()
        torch.testing.assert_close(torch.from_numpy(both[0][name]), tensor, rtol=1e-5, atol=1e-6)


@wrapped
def test_it_is_saved_and_measured_as_the_plain_model(tmp_path, wrap):
    model = tiny_model().eval()
    save_checkpoint(tmp_path / "gpt.pth", wrap(model), CHARACTERS)
    assert identical(weights(load_checkpoint(tmp_path / "gpt.pth").model), weights(model))
    assert evaluate_loss(wrap(model), val_loader()) == evaluate_loss(model, val_loader())
