"""What makes training faster or smaller changes no result, and a run that uses it resumes to the same weights."""

import pytest
import torch
from training_helpers import At, config, identical, interrupt, quietly, tiny_model, weights

from gptlib.checkpoints import load_checkpoint
from gptlib.ops.backend import Backend, pin_kernel
from gptlib.utils.errors import CheckpointError

ID = torch.zeros(1, 4, dtype=torch.int64)


@pytest.mark.parametrize("options", [{"optimizer": "muon"}, {"recompute": True}, {"lr_schedule": "linear"}], ids=str)
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, options):
    cfg = config(**options)
    whole, half, resumed = (tiny_model(seed, drop_rate=0.2) for seed in (0, 0, 9))
    quietly(whole, cfg=cfg)
    At(half, 4, interrupt)
    quietly(half, cfg=cfg, out=tmp_path / "gpt.pth")
    quietly(resumed, cfg=cfg, resume=tmp_path / "gpt.last.pth")
    assert identical(weights(resumed), weights(whole))


def test_recomputing_gives_the_same_weights(tmp_path):
    plain, again = tiny_model(0, drop_rate=0.2), tiny_model(0, drop_rate=0.2)
    quietly(plain, cfg=config())
    quietly(again, cfg=config(recompute=True))
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


def test_a_state_of_an_earlier_version_resumes_by_the_default_backend(tmp_path):
    half = tiny_model()
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    stored = torch.load(tmp_path / "gpt.last.pth")
    del stored["training"]["backend"]
    stored["training"] |= {"products": "onednn", "batched_attention": None}
    torch.save(stored, tmp_path / "gpt.last.pth")
    assert len(quietly(tiny_model(), resume=tmp_path / "gpt.last.pth").step_losses) == 6
