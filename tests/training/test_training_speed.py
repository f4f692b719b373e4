"""What makes training faster or smaller changes no result, and a run that uses it resumes to the same weights."""

import pytest
import torch
from training_helpers import At, Died, config, identical, interrupt, quietly, tiny_model, weights

from gptlib.checkpoints import load_checkpoint
from gptlib.ops.backend import Backend, pin_kernel
from gptlib.training.activation_checkpointing import activation_checkpointing
from gptlib.utils.errors import CheckpointError

ID = torch.zeros(1, 4, dtype=torch.int64)
OPTIONS = [{"optimizer": "muon"}, {"activation_checkpointing": True}, {"lr_schedule": "linear"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, options):
    cfg = config(**options)
    whole, half, resumed = (tiny_model(seed, drop_rate=0.2) for seed in (0, 0, 9))
    quietly(whole, cfg=cfg)
    At(half, 4, interrupt)
    quietly(half, cfg=cfg, out=tmp_path / "gpt.pth")
    quietly(resumed, cfg=cfg, resume=tmp_path / "gpt.last.pth")
    assert identical(weights(resumed), weights(whole))


def test_activation_checkpointing_gives_the_same_weights():
    plain, again = tiny_model(0, drop_rate=0.2), tiny_model(0, drop_rate=0.2)
    quietly(plain, cfg=config())
    quietly(again, cfg=config(activation_checkpointing=True))
    assert identical(weights(again), weights(plain))


@pytest.mark.parametrize(
    ("precision", "backend"), [("fp32", pin_kernel("onednn")), ("bf16", Backend(blockwise_attention=True))], ids=str
)
def test_a_resumed_run_computes_as_the_run_that_it_goes_on_with(tmp_path, precision, backend):
    """The default kernels may be others by now, or on another machine, and round differently."""
    cfg, model, other = config(precision=precision), tiny_model(), tiny_model(5)
    At(model, 3, interrupt)
    quietly(model, cfg=cfg, out=tmp_path / "gpt.pth", backend=backend)
    assert load_checkpoint(tmp_path / "gpt.last.pth").training["backend"] == backend.to_dict()
    whole, resumed = tiny_model(), tiny_model(9)
    quietly(whole, cfg=cfg, backend=backend)
    seen, before = set(), other(ID)
    resumed.register_forward_hook(lambda model, *_: seen.add(model.output_head.backend))
    quietly(resumed, cfg=cfg, resume=tmp_path / "gpt.last.pth")
    assert identical(weights(resumed), weights(whole))
    assert seen == {backend}
    assert resumed.output_head.backend is None  # nothing that a run switches on stays on
    assert torch.equal(other(ID), before)


def test_a_resumed_run_can_be_given_another_backend(tmp_path):
    half, resumed, seen = tiny_model(), tiny_model(), set()
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth", backend=Backend())
    resumed.register_forward_hook(lambda model, *_: seen.add(model.output_head.backend))
    quietly(resumed, resume=tmp_path / "gpt.last.pth", backend=pin_kernel("vector"))
    assert seen == {pin_kernel("vector")}


@pytest.mark.parametrize("content", ["fast", {"fp32": "plain"}, Backend().to_dict() | {"fp32": "magic"}], ids=str)
def test_a_state_with_a_backend_that_makes_no_sense_is_refused(tmp_path, content):
    half = tiny_model()
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    stored = torch.load(tmp_path / "gpt.last.pth")
    stored["training"]["backend"] = content
    torch.save(stored, tmp_path / "gpt.last.pth")
    with pytest.raises(CheckpointError, match="can't be used"):
        quietly(tiny_model(), resume=tmp_path / "gpt.last.pth")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"products": "plain", "batched_attention": None}, {"fp32": "plain", "blockwise_attention": False}),
        ({"products": "onednn", "batched_attention": None}, {"fp32": "onednn", "small_matmul": 0}),
        ({"products": None, "batched_attention": True}, {"blockwise_attention": True}),
    ],
    ids=str,
)
def test_a_state_of_an_earlier_version_resumes_by_the_kernels_that_it_names(tmp_path, stored, expected):
    half, resumed, seen = tiny_model(), tiny_model(), set()
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    content = torch.load(tmp_path / "gpt.last.pth")
    del content["training"]["backend"]
    content["training"] |= stored
    torch.save(content, tmp_path / "gpt.last.pth")
    resumed.register_forward_hook(lambda model, *_: seen.add(model.output_head.backend))
    quietly(resumed, resume=tmp_path / "gpt.last.pth")
    (backend,) = seen
    assert {name: getattr(backend, name) for name in expected} == expected


def kept_bytes(model, ids):
    """How much a forward pass keeps for the gradients."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(ids).sum()
    return sum(kept.values()), loss


def test_activation_checkpointing_keeps_less_and_ends_with_its_block():
    model, ids = tiny_model(n_layers=4), torch.ones(2, 16).long()
    before, _ = kept_bytes(model, ids)
    with activation_checkpointing(model.blocks):
        within, loss = kept_bytes(model, ids)
        loss.backward()
    assert within < 0.6 * before
    assert kept_bytes(model, ids)[0] == before
    assert all("forward" not in vars(module) for module in model.modules())


def died(*args):
    raise Died


def test_nothing_that_training_switches_on_stays_on_even_if_it_fails(tmp_path):
    model = tiny_model()
    cfg = config(activation_checkpointing=True, tensorboard=True)
    with pytest.raises(Died):
        quietly(model, None, None, cfg, out=tmp_path / "gpt.pth", on_evaluation=died)
    for module in model.modules():
        assert not module.training
        assert "forward" not in vars(module)
        assert getattr(module, "backend", None) is None
