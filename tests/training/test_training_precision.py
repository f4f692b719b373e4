"""Mixed precision and compiling: the same run, faster."""

import math

import pytest
import torch
from training_helpers import (
    At,
    assert_helpful,
    config,
    identical,
    interrupt,
    quietly,
    tiny_model,
    train_loader,
    weights,
)

import gptlib.ops.devices
import gptlib.training.trainer
from gptlib.checkpoints import load_checkpoint
from gptlib.ops.backend import Backend
from gptlib.training import TrainingError, train

pytestmark = pytest.mark.usefixtures("one_thread")


# Precision.


@pytest.fixture
def known_peak(monkeypatch):
    """fp16's peak is slow to measure on a CPU that does not compute in it."""
    monkeypatch.setattr(gptlib.training.trainer, "peak_flops", lambda device, precision: 1e12)


@pytest.mark.usefixtures("known_peak")
@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.02)])
def test_mixed_precision_learns_like_full_precision(precision, tolerance):
    cfg = {"max_steps": 12, "learning_rate": 3e-3, "eval_interval": 12}
    full = quietly(tiny_model(), cfg=config(**cfg))
    model = tiny_model()
    dtypes = set()
    model.blocks[0].attention.c_attn.register_forward_hook(lambda m, i, out: dtypes.add(out.dtype))
    mixed = quietly(model, cfg=config(**cfg, precision=precision))
    assert dtypes == {{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert mixed.step_losses != full.step_losses
    assert mixed.step_losses == pytest.approx(full.step_losses, abs=tolerance)
    assert mixed.rows[-1]["train_loss"] < mixed.rows[0]["train_loss"]


@pytest.mark.usefixtures("known_peak")
def test_the_loss_scale_of_fp16_is_part_of_the_state(tmp_path, monkeypatch):
    """transformers #34053: it began again at 65536, and the first steps were lost."""
    monkeypatch.setattr(torch.amp, "GradScaler", growing_fast(torch.amp.GradScaler))
    cfg = config(precision="fp16", max_steps=10, eval_interval=5)
    whole, half, resumed = (tiny_model(seed, drop_rate=0.2) for seed in (0, 0, 9))
    quietly(whole, cfg=cfg, out=tmp_path / "whole.pth")
    At(half, 6, interrupt)
    quietly(half, cfg=cfg, out=tmp_path / "gpt.pth")
    quietly(resumed, cfg=cfg, resume=tmp_path / "gpt.last.pth")
    states = [torch.load(tmp_path / f"{name}.last.pth", weights_only=True)["training"] for name in ("whole", "gpt")]
    assert states[0]["scaler"]["scale"] != 65536
    assert states[0]["scaler"] == states[1]["scaler"]
    assert identical(weights(resumed), weights(whole))


def growing_fast(scaler):
    return lambda *args, **options: scaler(*args, growth_interval=2, **options)


@pytest.mark.usefixtures("known_peak")
def test_a_step_that_overflows_in_fp16_is_skipped_and_the_run_goes_on():
    model = tiny_model()
    before = []

    def overflow(gradient):
        before.append(weights(model)["final_norm.weight"])
        return gradient * math.inf if len(before) == 2 else gradient

    model.final_norm.weight.register_hook(overflow)
    quietly(model, cfg=config(precision="fp16"))
    assert torch.equal(before[1], before[2])
    assert not torch.equal(before[2], before[3])
    assert all(p.isfinite().all() for p in model.parameters())


def test_auto_is_decided_once_and_kept_on_resuming(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gptlib.ops.devices, "FEW_TOKENS", 1)
    half = tiny_model()
    At(half, 2, interrupt)
    quietly(half, cfg=config(precision="auto"), out=tmp_path / "gpt.pth", backend=Backend(bf16_training_width=32))
    monkeypatch.setattr(gptlib.ops.devices, "FEW_TOKENS", 10**9)  # another version, another rule
    model, dtypes = tiny_model(), set()
    model.blocks[0].attention.c_attn.register_forward_hook(lambda m, i, out: dtypes.add(out.dtype))
    train(model, train_loader(), None, config(precision="auto"), resume=tmp_path / "gpt.last.pth")
    assert dtypes == {torch.bfloat16}
    said = capsys.readouterr().out
    assert "(bf16, as the run began)" in said
    assert "as asked" not in said


def test_a_precision_asked_for_on_resuming_is_the_one_that_is_used(tmp_path, capsys):
    half, model, dtypes = tiny_model(), tiny_model(), set()
    At(half, 2, interrupt)
    quietly(half, cfg=config(precision="bf16"), out=tmp_path / "gpt.pth")
    model.blocks[0].attention.c_attn.register_forward_hook(lambda m, i, out: dtypes.add(out.dtype))
    train(model, train_loader(), None, config(precision="fp32"), resume=tmp_path / "gpt.last.pth")
    said = capsys.readouterr().out
    assert "precision was 'bf16', is 'fp32'" in said
    assert dtypes == {torch.float32}, "it says that the precision has changed, and it has not"


def test_a_run_that_goes_on_in_fp16_begins_with_a_new_scale(tmp_path, monkeypatch):
    """A run in fp32 leaves no scale to go on from."""
    monkeypatch.setattr(gptlib.training.trainer, "peak_flops", lambda device, precision: 1e12)
    half, model = tiny_model(), tiny_model()
    At(half, 2, interrupt)
    quietly(half, cfg=config(precision="fp32"), out=tmp_path / "gpt.pth")
    quietly(model, cfg=config(precision="fp16"), resume=tmp_path / "gpt.last.pth")
    assert torch.load(tmp_path / "gpt.last.pth", weights_only=True)["training"]["scaler"]["scale"] == 65536


# Compiling.


def test_without_a_compiler_it_says_so_and_trains(monkeypatch, capsys):
    def broken(*args, **options):
        raise RuntimeError("no compiler here\nand a long story")

    plain, compiled = tiny_model(drop_rate=0.2), tiny_model(drop_rate=0.2)
    quietly(plain)
    monkeypatch.setattr(torch, "compile", broken)
    train(compiled, train_loader(), None, config(compile=True))
    assert "torch.compile does not work here" in capsys.readouterr().out
    assert identical(weights(compiled), weights(plain))


def test_a_quiet_run_warns_that_there_is_no_compiler(monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(UserWarning, match=r"torch.compile does not work here \(RuntimeError\)"):
        quietly(tiny_model(), cfg=config(compile=True))


def test_a_compiled_run_is_the_same_run_and_saves_plain_names(tmp_path, monkeypatch, capsys):
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend="eager"))
    plain, compiled = tiny_model(), tiny_model()
    quietly(plain)
    train(compiled, train_loader(), None, config(compile=True), out=tmp_path / "gpt.pth")
    assert "does not work" not in capsys.readouterr().out
    assert identical(weights(compiled), weights(plain))
    for name in ("gpt.pth", "gpt.last.pth"):
        content = torch.load(tmp_path / name, weights_only=True)
        assert set(content["model"]) == set(plain.state_dict())
        assert identical(weights(load_checkpoint(tmp_path / name).model), weights(plain))


def test_a_loaded_model_is_compiled_as_it_will_be_trained(monkeypatch):
    """One in eval mode would be compiled without dropout, and again at the first step."""
    modes = []

    def note(model):
        def forward(*args, **options):
            modes.append(model.training)
            return model(*args, **options)

        forward._orig_mod = model  # as the wrapper of torch.compile has it
        return forward

    monkeypatch.setattr(torch, "compile", note)
    quietly(tiny_model(drop_rate=0.2).eval(), cfg=config(compile=True, max_steps=2))
    assert modes == [True] * 3  # the trial and two steps


@pytest.mark.parametrize("compiles", [True, False])
def test_a_gpu_that_is_too_small_is_one_sentence(monkeypatch, compiles):
    monkeypatch.setattr(torch, "compile", lambda model: model)

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of …")

    model = tiny_model()
    At(model, 1 if compiles else 3, full)
    with pytest.raises(TrainingError) as error:
        quietly(model, cfg=config(compile=compiles, batch_size=2))
    assert_helpful(error, f"step {1 if compiles else 3} with batch_size=2", "gradient_accumulation_steps")
