"""The training loop: against a loop written by hand, interrupted at every step, resumed, and given bad input."""

import csv
import math
import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from training_helpers import (
    CHARACTERS,
    SHAPE,
    VOCAB,
    At,
    Died,
    answer_of,
    assert_helpful,
    batches,
    child,
    config,
    die,
    files_in,
    identical,
    interrupt,
    quietly,
    temporary_files,
    tiny_model,
    tokens,
    train_loader,
    val_loader,
    weights,
    without_clock,
)

import gptlib.training
from gptlib.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from gptlib.datasets import IGNORED, collate_padded
from gptlib.evaluation import evaluate_loss
from gptlib.history import COLUMNS
from gptlib.run_files import last_path, run_files
from gptlib.tokenizers import CharTokenizer
from gptlib.training import TrainingConfig, TrainingError, train


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in the child processes that some runs are compared with; and quicker, for sizes like these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# A step.


def hand_written_loop(model, loader, lrs, decay=0.1, betas=(0.9, 0.99), clip=1.0):
    """AdamW from its paper, clipping by the global norm; decay by the name of the parameter. The losses."""
    averages = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in model.named_parameters()}
    losses = []
    for t, (lr, (inputs, targets)) in enumerate(zip(lrs, loader, strict=True), 1):
        loss = F.cross_entropy(model(inputs).permute(0, 2, 1), targets)
        names, parameters = zip(*model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        losses.append(loss.item())
        with torch.no_grad():
            for name, p, g in zip(names, parameters, gradients, strict=True):
                g = g * min(1.0, clip / (norm.item() + 1e-6)) if clip else g
                m, v = averages[name]
                m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
                v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
                if name.endswith("weight") and "norm" not in name:
                    p.mul_(1 - lr * decay)
                p.sub_(lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + 1e-8))
    return losses


@pytest.mark.parametrize("clip", [0.05, 0.0])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_steps_are_those_of_a_loop_written_by_hand(schedule, clip):
    loader = batches(6)
    theirs, ours = tiny_model(n_layers=2), tiny_model(n_layers=2)
    lrs = [0.0015, 0.003] + [0.003] * 4
    if schedule == "cosine":  # over four steps, from 0.003 down to 0.0003
        lrs[2:] = [0.0003 + 0.0027 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    losses = hand_written_loop(theirs, loader, lrs, clip=clip)
    history = quietly(ours, loader, cfg=config(learning_rate=0.003, lr_schedule=schedule, grad_clip=clip))
    assert history.step_losses == pytest.approx(losses, abs=1e-5)
    for name, tensor in weights(theirs).items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, atol=2e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("uneven", [False, True])
def test_accumulation_equals_the_large_batch(uneven):
    """Also where the targets that count are spread unevenly: the mean of means would be wrong (transformers #34191)."""
    large = batches(3, batch_size=8, length=16)
    if uneven:
        for n, (_, targets) in enumerate(large):
            for row, kept in enumerate([1, 16, 0, 0, 5, 3, 12, n]):
                targets[row, kept:] = IGNORED
    small = [(i, t) for inputs, targets in large for i, t in zip(inputs.split(2), targets.split(2), strict=True)]
    models = [tiny_model(1), tiny_model(1)]
    common = {"max_steps": 3, "learning_rate": 1e-3, "warmup_steps": 0, "eval_interval": 10}
    a = quietly(models[0], large, cfg=config(**common))
    b = quietly(models[1], small, cfg=config(**common, gradient_accumulation_steps=4))
    assert a.step_losses == pytest.approx(b.step_losses, abs=1e-6)
    for name, tensor in weights(models[0]).items():
        torch.testing.assert_close(models[1].state_dict()[name], tensor, atol=1e-6, rtol=0, msg=name)


def test_a_batch_without_any_target_does_no_harm():
    loader = batches(2)
    loader[1][1].fill_(IGNORED)
    model = tiny_model()
    history = quietly(model, loader, cfg=config(max_steps=4))
    assert history.step_losses[1] == history.step_losses[3] == 0.0
    assert all(p.isfinite().all() for p in model.parameters())


def test_frozen_parameters_stay_and_a_resumed_run_keeps_them_frozen(tmp_path):
    def frozen():
        model = tiny_model(drop_rate=0.2)
        for part in (model.token_embedding, model.blocks[0].feed_forward):
            part.requires_grad_(False)
        return model

    before = weights(frozen())
    whole, half = frozen(), frozen()
    quietly(whole, cfg=config(grad_clip=0.1))
    At(half, 4, interrupt)
    quietly(half, cfg=config(grad_clip=0.1), out=tmp_path / "gpt.pth")
    resumed = frozen()
    quietly(resumed, cfg=config(grad_clip=0.1), resume=tmp_path / "gpt.last.pth")
    for name, tensor in weights(whole).items():
        is_frozen = name.startswith(("token_embedding", "blocks.0.feed_forward"))
        assert torch.equal(tensor, before[name]) == is_frozen, name
    assert not resumed.token_embedding.weight.requires_grad
    assert identical(weights(resumed), weights(whole))


def test_tied_weights_stay_one_parameter_through_a_resumed_run(tmp_path):
    whole, half, resumed = (tiny_model(seed, weight_tying=True) for seed in (0, 0, 9))
    quietly(whole)
    At(half, 4, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    quietly(resumed, resume=tmp_path / "gpt.last.pth")
    assert resumed.output_head.weight is resumed.token_embedding.weight
    assert identical(weights(resumed), weights(whole))
    assert "output_head.weight" not in torch.load(tmp_path / "gpt.last.pth", weights_only=True)["model"]


# Loaders.


@pytest.mark.parametrize(
    ("windows", "epochs", "accumulation", "steps"), [(10, 1, 1, 5), (10, 3, 1, 15), (10, 3, 2, 7), (4, 1, 3, 1)]
)
def test_epochs_are_counted_to_steps(windows, epochs, accumulation, steps):
    options = {"epochs": epochs, "gradient_accumulation_steps": accumulation, "eval_interval": 100}
    history = quietly(tiny_model(), train_loader(windows), cfg=config(**options))
    assert len(history.step_losses) == steps
    assert history.rows[-1]["epoch"] == pytest.approx(steps * accumulation / (windows // 2))
    assert history.rows[-1]["tokens"] == steps * accumulation * 2 * 16


def test_neither_epochs_nor_steps_is_one_epoch():
    assert len(quietly(tiny_model(), train_loader(6), cfg=config(max_steps=None)).step_losses) == 3


class Unknowing(IterableDataset):
    """A stream that has no length."""

    def __iter__(self):
        return iter(batches(3))


class Passes:
    """Neither length nor anything else but passes; counts them."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        yield from batches(3)


def padded_dicts():
    pairs = [(list(range(n)), list(range(1, n + 1))) for n in (3, 7, 5, 2, 9, 4)]
    return [collate_padded(pairs[i : i + 2]) for i in (0, 2, 4)]


LOADERS = {
    "list": lambda: batches(3),
    "tuple": lambda: tuple(batches(3)),
    "TensorDataset": lambda: DataLoader(
        TensorDataset(*(torch.cat(part) for part in zip(*batches(3), strict=True))), batch_size=2
    ),
    "dicts": padded_dicts,
    "DataLoader that collates": lambda: DataLoader(
        [(list(range(n)), list(range(1, n + 1))) for n in (3, 7, 5, 2)], batch_size=2, collate_fn=collate_padded
    ),
    "stream": lambda: DataLoader(Unknowing(), batch_size=None),
    "passes": Passes,
}


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_any_loader_trains_and_resumes_where_it_was(tmp_path, make):
    """Epochs of two or three batches, stopped behind the first one: the order goes on, it does not begin again."""
    whole, half, resumed = tiny_model(0), tiny_model(0), tiny_model(9)
    complete = quietly(whole, make(), cfg=config(max_steps=8, eval_interval=4))
    At(half, 5, interrupt)
    assert quietly(half, make(), cfg=config(max_steps=8, eval_interval=4), out=tmp_path / "gpt.pth").interrupted
    history = quietly(resumed, make(), cfg=config(max_steps=8, eval_interval=4), resume=tmp_path / "gpt.last.pth")
    assert history.step_losses == complete.step_losses
    assert identical(weights(resumed), weights(whole))


@pytest.mark.parametrize("as_val", [False, True])
def test_a_foreign_loader_that_draws_random_numbers_resumes_to_the_same_weights_too(tmp_path, as_val):
    """A DataLoader draws from the global random state at each pass; dropout must not notice how many there were."""
    loader = LOADERS["TensorDataset"]
    train_on, val_on = (train_loader, loader) if as_val else (loader, lambda: None)
    whole, half, resumed = (tiny_model(seed, drop_rate=0.3) for seed in (0, 0, 9))
    quietly(whole, train_on(), val_on())
    At(half, 4, interrupt)
    quietly(half, train_on(), val_on(), out=tmp_path / "gpt.pth")
    quietly(resumed, train_on(), val_on(), resume=tmp_path / "gpt.last.pth")
    assert identical(weights(resumed), weights(whole))


def test_validation_does_not_disturb_the_run():
    models = [tiny_model(drop_rate=0.3) for _ in range(4)]
    quietly(models[0], cfg=config(eval_interval=6))
    quietly(models[1], cfg=config(eval_interval=1), val=val_loader())
    quietly(models[2], cfg=config(eval_interval=2), val=val_loader(), tokenizer=CHARACTERS)
    sampled = config(eval_interval=2, sample_prompt="abc", sample_tokens=5)
    history = quietly(models[3], cfg=sampled, tokenizer=CHARACTERS)
    assert [step for step, _ in history.samples] == [0, 2, 4, 6]
    assert all(text.startswith("abc") for _, text in history.samples)
    for model in models[1:]:
        assert identical(weights(model), weights(models[0]))


@pytest.mark.filterwarnings("error")
def test_a_sample_behind_a_long_prompt_stays_within_the_context():
    model = tiny_model()
    history = quietly(model, cfg=config(sample_prompt="abcabc", sample_tokens=500), tokenizer=CHARACTERS)
    assert {len(text) for _, text in history.samples} == {model.config.context_length}


def exhausted():
    return iter(batches(4))


class EmptySecondPass(Passes):
    def __iter__(self):
        self.passes += 1
        return iter(batches(3) if self.passes <= 2 else [])


@pytest.mark.parametrize("make", [exhausted, EmptySecondPass])
def test_a_loader_that_has_no_more_batches_is_told_and_not_waited_for(make):
    """A generator gives one pass, and waiting for the next would never end."""

    def too_long(signal_number, frame):
        pytest.fail("train() waits for batches that never come")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(10)
    try:
        with pytest.raises(ValueError, match="loader") as error:
            quietly(tiny_model(), make(), cfg=config(max_steps=50, eval_interval=100))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert_helpful(error, "loader")


def seen_by(model):
    """The inputs of every training step, as they come."""
    seen = []
    model.register_forward_pre_hook(lambda m, args: seen.append(args[0].tolist()) if m.training else None)
    return seen


def test_the_resumed_run_goes_on_in_the_data_and_an_epoch_has_each_window_once(tmp_path):
    """nanoGPT #467: the same batches again after each resumption."""
    cfg = config(max_steps=10, eval_interval=100)
    whole, parts = tiny_model(), [tiny_model() for _ in range(4)]
    expected = seen_by(whole)
    quietly(whole, cfg=cfg)
    assert len({str(row) for batch in expected[:5] for row in batch}) == 10  # 10 windows, 2 a step: 5 steps an epoch
    first, second = ([row for batch in epoch for row in batch] for epoch in (expected[:5], expected[5:]))
    assert sorted(first) == sorted(second)
    assert expected[:5] != expected[5:]
    seen = []
    for i, model in enumerate(parts):
        part = seen_by(model)
        if i < 3:
            At(model, (3, 2, 4)[i], interrupt)
        how = {"resume": tmp_path / "gpt.last.pth"} if i else {"out": tmp_path / "gpt.pth"}
        quietly(model, cfg=cfg, **how)
        seen += part
    assert seen == expected


# Precision.


@pytest.fixture
def known_peak(monkeypatch):
    """fp16's peak is slow to measure on a CPU that does not compute in it."""
    monkeypatch.setattr(gptlib.training, "peak_flops", lambda device, precision: 1e12)


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
    import gptlib.devices

    monkeypatch.setattr(gptlib.devices, "bf16_speedup", lambda *_: 9.0)
    half = tiny_model()
    At(half, 2, interrupt)
    quietly(half, cfg=config(precision="auto"), out=tmp_path / "gpt.pth")
    monkeypatch.setattr(gptlib.devices, "bf16_speedup", lambda *_: 0.1)  # another moment, another measurement
    model, dtypes = tiny_model(), set()
    model.blocks[0].attention.c_attn.register_forward_hook(lambda m, i, out: dtypes.add(out.dtype))
    train(model, train_loader(), None, config(precision="auto"), resume=tmp_path / "gpt.last.pth")
    assert dtypes == {torch.bfloat16}
    assert "bf16" in capsys.readouterr().out


def test_a_precision_asked_for_on_resuming_is_the_one_that_is_used(tmp_path, capsys):
    half, model, dtypes = tiny_model(), tiny_model(), set()
    At(half, 2, interrupt)
    quietly(half, cfg=config(precision="bf16"), out=tmp_path / "gpt.pth")
    model.blocks[0].attention.c_attn.register_forward_hook(lambda m, i, out: dtypes.add(out.dtype))
    train(model, train_loader(), None, config(precision="fp32"), resume=tmp_path / "gpt.last.pth")
    said = capsys.readouterr().out
    assert "precision was 'bf16', is 'fp32'" in said
    assert dtypes == {torch.float32}, "it says that the precision has changed, and it has not"


# What is measured.


def test_losses_are_those_of_fixed_batches_whatever_the_run_has_seen():
    """Both losses of a row are the loss of these weights, measured apart from the run, in all places of the text."""
    model = tiny_model()
    losses = []

    def measure(history):
        fresh = [evaluate_loss(model, loader, 2) for loader in (train_loader(seed=5), val_loader())]
        losses.append((fresh, [history.rows[-1]["train_loss"], history.rows[-1]["val_loss"]]))

    quietly(model, train_loader(), val_loader(), config(eval_interval=1), on_evaluation=measure)
    assert len(losses) == 7
    for fresh, recorded in losses:
        assert recorded == fresh


def test_every_row_once_in_order_with_plausible_numbers(tmp_path):
    history = quietly(tiny_model(), None, val_loader(), config(max_steps=8), out=tmp_path / "gpt.pth")
    assert history["step"] == [0, 3, 6, 8]
    assert len(history.step_losses) == 8
    assert history["tokens"] == [step * 32 for step in history["step"]]
    assert history["learning_rate"][0] == pytest.approx(0.005)
    assert history["learning_rate"][-1] == pytest.approx(0.001)
    assert history.rows[0]["tokens_per_second"] is None
    assert history.rows[0]["mfu"] is None
    for row in history.rows:
        assert tuple(row) == COLUMNS
        assert row["perplexity"] == pytest.approx(math.exp(row["val_loss"]))
    for earlier, row in zip(history.rows, history.rows[1:], strict=False):
        assert row["tokens_per_second"] == pytest.approx(
            (row["tokens"] - earlier["tokens"]) / (row["seconds"] - earlier["seconds"])
        )
        assert 0 < row["mfu"] < 1
        assert row["seconds"] > earlier["seconds"]
    with (tmp_path / "gpt.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: None if v == "" else float(v) for k, v in row.items()} for row in rows] == history.rows


def test_mfu_is_the_share_of_the_peak_that_the_model_reaches(monkeypatch):
    monkeypatch.setattr(gptlib.training, "peak_flops", lambda device, precision: 1e12)
    row = quietly(tiny_model()).rows[-1]
    c = SimpleNamespace(**SHAPE)
    matrices = c.n_layers * 12 * c.emb_dim**2 + c.vocab_size * c.emb_dim
    at_least = 6 * matrices + 12 * c.n_layers * c.emb_dim * c.context_length  # PaLM, appendix B; vectors come on top
    assert row["mfu"] == pytest.approx(row["tokens_per_second"] * at_least / 1e12, rel=0.05)
    monkeypatch.setattr(gptlib.training, "peak_flops", lambda device, precision: None)
    assert quietly(tiny_model()).rows[-1]["mfu"] is None


def test_without_validation_data_the_latest_is_the_best(tmp_path):
    model = tiny_model()
    history = quietly(model, out=tmp_path / "gpt.pth")
    assert history["val_loss"] == [None, None, None]
    assert history["perplexity"] == pytest.approx([math.exp(loss) for loss in history["train_loss"]])
    assert identical(weights(load_checkpoint(tmp_path / "gpt.pth").model), weights(model))
    assert not model.training


def overfitting():
    """A run whose validation loss falls and then rises: a large step size, and validation on quite another text."""
    other = [(i.flip(1).contiguous(), t.flip(1).contiguous()) for i, t in batches(2, seed=5)]
    return batches(3), other, config(max_steps=12, eval_interval=2, learning_rate=0.02)


def test_the_best_file_is_that_of_the_lowest_validation_loss_also_after_a_resumption(tmp_path):
    """`best_val_loss` overwritten: a resumed run took its first evaluation for the best."""
    loader, val, cfg = overfitting()
    history = quietly(tiny_model(), loader, val, cfg, out=tmp_path / "gpt.pth")
    best = min(history["val_loss"])
    assert history["val_loss"].index(best) not in (0, 6), "this test needs a run with its best in the middle"
    assert evaluate_loss(load_checkpoint(tmp_path / "gpt.pth").model, val) == best
    assert history.best["val_loss"] == best
    half, resumed = tiny_model(), tiny_model(9)
    At(half, 9, die)  # behind the best
    with pytest.raises(Died):
        quietly(half, loader, val, cfg, out=tmp_path / "half.pth")
    quietly(resumed, loader, val, cfg, resume=tmp_path / "half.last.pth")
    assert evaluate_loss(load_checkpoint(tmp_path / "half.pth").model, val) == best


def test_ctrl_c_leaves_no_worse_a_file_than_it_found_and_the_resumed_run_keeps_the_better(tmp_path):
    loader, val, cfg = overfitting()
    whole = quietly(tiny_model(), loader, val, cfg)
    worst_first = whole["val_loss"].index(min(whole["val_loss"])) * 2 + 3
    half = tiny_model()
    At(half, worst_first, interrupt)
    quietly(half, loader, val, cfg, out=tmp_path / "gpt.pth")
    assert evaluate_loss(load_checkpoint(tmp_path / "gpt.pth").model, val) == min(whole["val_loss"])
    quietly(tiny_model(), loader, val, cfg, resume=tmp_path / "gpt.last.pth")
    assert evaluate_loss(load_checkpoint(tmp_path / "gpt.pth").model, val) == min(whole["val_loss"])


def test_two_runs_of_one_seed_are_identical_and_of_another_seed_are_not():
    models = [tiny_model(drop_rate=0.3) for _ in range(3)]
    torch.manual_seed(123)
    a = quietly(models[0], cfg=config(seed=4))
    torch.manual_seed(456)
    torch.rand(7)
    b = quietly(models[1], cfg=config(seed=4))
    quietly(models[2], cfg=config(seed=5))
    assert identical(weights(models[0]), weights(models[1]))
    assert without_clock(a.rows) == without_clock(b.rows)
    assert not identical(weights(models[0]), weights(models[2]))


# Resuming.


class Whole(SimpleNamespace):
    """What an uninterrupted run has left."""

    def __repr__(self):
        return "the uninterrupted run"  # and not every weight of it, where a test fails


RESUMED = {
    "max_steps": 9,
    "gradient_accumulation_steps": 2,
    "eval_interval": 4,
    "sample_prompt": "a",
    "sample_tokens": 4,
}


@pytest.fixture(scope="module")
def uninterrupted(one_thread, tmp_path_factory):
    """18 batches in 9 steps, 5 batches an epoch: steps lie across the ends of epochs."""
    model, out = tiny_model(drop_rate=0.2), tmp_path_factory.mktemp("whole") / "gpt.pth"
    history = quietly(model, None, val_loader(), config(**RESUMED), tokenizer=CHARACTERS, out=out)
    return Whole(weights=weights(model), history=history, best=weights(load_checkpoint(out).model))


def assert_same_run(model, history, out, whole):
    assert identical(weights(model), whole.weights)
    assert history.step_losses == whole.history.step_losses
    assert without_clock(history.rows) == without_clock(whole.history.rows)
    assert history.samples == whole.history.samples
    assert identical(weights(load_checkpoint(out).model), whole.best)
    lines = out.with_suffix(".csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", *(str(step) for step in whole.history["step"])]
    assert not history.interrupted


def resumed_run(folder, stops, action, num_workers=0):
    """Stop the run of `uninterrupted` in the middle of these forward passes, counted from each start; go on then."""
    out = folder / "gpt.pth"
    for stop in (*stops, None):
        model = tiny_model(stop or 77, drop_rate=0.2)  # what it begins with does not matter, if there is a file
        if not last_path(out).exists():
            model = tiny_model(drop_rate=0.2)
        if stop:
            At(model, stop, action)
        how = {"resume": last_path(out)} if last_path(out).exists() else {"out": out}
        loader = train_loader(num_workers=num_workers)
        try:
            history = quietly(model, loader, val_loader(), config(**RESUMED), tokenizer=CHARACTERS, **how)
        except Died:
            assert action is die
    return model, history, out


@pytest.mark.parametrize("stop", range(1, 19))
def test_stopped_in_any_forward_pass_and_resumed_is_the_same_run(tmp_path, uninterrupted, stop):
    assert_same_run(*resumed_run(tmp_path, [stop], interrupt), uninterrupted)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 9), min_size=1, max_size=4), action=st.sampled_from([interrupt, die]))
def test_stopped_or_dead_several_times_and_resumed_is_the_same_run(tmp_path_factory, uninterrupted, stops, action):
    assert_same_run(*resumed_run(tmp_path_factory.mktemp("stopped"), stops, action), uninterrupted)


@pytest.mark.parametrize("stop", [3, 12])
def test_with_workers_that_read_ahead_it_is_the_same_run_too(tmp_path, uninterrupted, stop):
    assert_same_run(*resumed_run(tmp_path, [stop], interrupt, num_workers=2), uninterrupted)


def test_dead_before_the_first_step_was_done_the_first_row_is_not_written_twice(tmp_path, uninterrupted):
    model, history, out = resumed_run(tmp_path, [1], die)
    assert history["step"] == [0, 4, 8, 9]
    assert_same_run(model, history, out, uninterrupted)


def test_the_files_of_a_dead_writer_go_when_the_run_is_resumed(tmp_path):
    model = tiny_model()
    At(model, 2, interrupt)
    quietly(model, out=tmp_path / "gpt.pth")
    for name in ("gpt.pth", "gpt.last.pth", "gpt.csv"):
        (tmp_path / f".{name}.0123abcd.tmp").write_bytes(b"half")
    quietly(tiny_model(), resume=tmp_path / "gpt.last.pth")
    assert temporary_files(tmp_path) == []


def test_a_finished_run_stays_as_it_is_and_can_be_extended(tmp_path, capsys):
    cfg = config(lr_decay_steps=20)
    first, again, longer, whole = (tiny_model(seed, drop_rate=0.2) for seed in (0, 1, 2, 0))
    done = quietly(first, None, val_loader(), cfg, out=tmp_path / "gpt.pth")
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    history = quietly(again, None, val_loader(), cfg, resume=tmp_path / "gpt.last.pth")
    assert history.rows == done.rows
    assert history.step_losses == done.step_losses
    assert not history.interrupted
    assert identical(weights(again), weights(first))
    assert not again.training
    assert {name: (tmp_path / name).read_bytes() for name in content} == content
    longer_config = config(lr_decay_steps=20, max_steps=9)
    history = train(longer, train_loader(), val_loader(), longer_config, resume=tmp_path / "gpt.last.pth")
    assert "max_steps was 6, is 9" in capsys.readouterr().out
    quietly(whole, None, val_loader(), longer_config)
    assert history["step"] == [0, 3, 6, 9]
    assert identical(weights(longer), weights(whole))


def test_changed_settings_are_said_and_used(tmp_path, capsys):
    half = tiny_model()
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    changed = config(learning_rate=0.02, lr_schedule="constant", weight_decay=0.0, betas=(0.8, 0.9))
    history = train(tiny_model(), train_loader(), None, changed, resume=tmp_path / "gpt.last.pth")
    said = capsys.readouterr().out
    assert "at step 3 of 6" in said
    assert "learning_rate was 0.01, is 0.02" in said
    assert "lr_schedule was 'cosine', is 'constant'" in said
    assert history["learning_rate"][-1] == 0.02
    groups = torch.load(tmp_path / "gpt.last.pth", weights_only=True)["training"]["optimizer"]["param_groups"]
    assert {tuple(group["betas"]) for group in groups} == {(0.8, 0.9)}, "what is said to have changed has not"
    assert {group["weight_decay"] for group in groups} == {0.0}


def test_nothing_is_said_to_have_changed_where_nothing_has(tmp_path, capsys):
    half = tiny_model()
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    train(tiny_model(), train_loader(), None, config(), resume=tmp_path / "gpt.last.pth")
    assert "Changed" not in capsys.readouterr().out


def test_into_another_file_the_resumed_run_writes_all_of_its_files_there(tmp_path):
    """Also where no later evaluation is better than the best one so far."""
    loader, val, cfg = overfitting()
    half = tiny_model()
    At(half, 9, interrupt)
    quietly(half, loader, val, cfg, out=tmp_path / "gpt.pth")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    history = quietly(tiny_model(), loader, val, cfg, resume=tmp_path / "gpt.last.pth", out=tmp_path / "new" / "b.pth")
    assert files_in(tmp_path / "new") == ["b.csv", "b.last.pth", "b.pth"]
    assert evaluate_loss(load_checkpoint(tmp_path / "new" / "b.pth").model, val) == min(history["val_loss"])
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_into_another_file_the_resumed_run_sets_an_earlier_one_aside(tmp_path):
    half, other = tiny_model(), tiny_model(5)
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    quietly(other, out=tmp_path / "other.pth")
    quietly(tiny_model(), resume=tmp_path / "gpt.last.pth", out=tmp_path / "other.pth")
    kept = [load_checkpoint(path).model for path in tmp_path.glob("other-*.pth") if ".last" not in path.name]
    assert [identical(weights(model), weights(other)) for model in kept] == [True]


def test_a_state_of_another_name_is_not_overwritten_by_the_model_it_leads_to(tmp_path):
    half = tiny_model()
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    backup = tmp_path / "backup.pth"
    shutil.copy(tmp_path / "gpt.last.pth", backup)
    before = backup.read_bytes()
    try:
        quietly(tiny_model(), resume=backup)
    except (CheckpointError, ValueError) as error:
        assert_helpful(error, backup)
    assert backup.read_bytes() == before


@pytest.mark.parametrize("name", ["model", "gpt.v2", "gpt.v2.pt"])
def test_a_name_without_pth_gives_a_run_that_can_be_resumed_or_is_refused(tmp_path, name):
    half = tiny_model()
    At(half, 3, interrupt)
    try:
        quietly(half, out=tmp_path / name)
    except ValueError as error:
        assert_helpful(error, name, ".pth")
        return
    files = files_in(tmp_path)
    assert all(file.startswith(name.removesuffix(".pt")) for file in files)
    state = next(path for path in tmp_path.iterdir() if ".last" in path.name)
    quietly(tiny_model(), resume=state)
    assert files_in(tmp_path) == files


# Interrupted.


def test_a_signal_from_on_evaluation_ends_the_run_and_gives_the_handler_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    evaluations = []

    def stop_at_the_second(history):
        evaluations.append(history.rows[-1]["step"])
        if len(evaluations) == 2:
            interrupt()

    model = tiny_model()
    history = quietly(model, None, val_loader(), out=tmp_path / "gpt.pth", on_evaluation=stop_at_the_second)
    assert history.interrupted
    assert evaluations == [0, 3]
    assert history["step"] == [0, 3]
    assert signal.getsignal(signal.SIGINT) == before
    assert identical(weights(load_checkpoint(tmp_path / "gpt.last.pth").model), weights(model))


def test_a_signal_in_the_very_first_evaluation_ends_the_run_cleanly_too(tmp_path):
    try:
        history = quietly(tiny_model(), out=tmp_path / "gpt.pth", on_evaluation=lambda history: interrupt())
    except KeyboardInterrupt:  # which would end pytest, too
        pytest.fail("a first Ctrl-C stopped the run at once")
    assert history.interrupted
    assert history.step_losses == []
    resumed, whole = tiny_model(9), tiny_model()
    quietly(resumed, resume=tmp_path / "gpt.last.pth")
    quietly(whole)
    assert identical(weights(resumed), weights(whole))


def test_a_second_signal_stops_at_once_and_costs_no_file(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    model = tiny_model(drop_rate=0.2)
    At(model, 5, lambda: (interrupt(), interrupt()))
    with pytest.raises(KeyboardInterrupt):
        quietly(model, None, val_loader(), out=tmp_path / "gpt.pth")
    assert signal.getsignal(signal.SIGINT) == before
    assert temporary_files(tmp_path) == []
    resumed, whole = tiny_model(9, drop_rate=0.2), tiny_model(drop_rate=0.2)
    quietly(resumed, None, val_loader(), resume=tmp_path / "gpt.last.pth")
    quietly(whole, None, val_loader())
    assert identical(weights(resumed), weights(whole))


def test_interrupted_without_a_file_the_model_is_what_it_was_after_its_last_step(capsys):
    model, shorter = tiny_model(), tiny_model()
    At(model, 4, interrupt)
    history = train(model, train_loader(), None, config())
    assert history.interrupted
    assert len(history.step_losses) == 4
    assert "step 4 of 6" in capsys.readouterr().out
    quietly(shorter, cfg=config(max_steps=4, lr_decay_steps=6))
    assert identical(weights(model), weights(shorter))


def test_in_a_thread_of_its_own_it_trains_without_signals():
    model, in_main, results = tiny_model(), tiny_model(), []
    thread = threading.Thread(target=lambda: results.append(quietly(model)))
    thread.start()
    thread.join(60)
    assert len(results) == 1
    quietly(in_main)
    assert identical(weights(model), weights(in_main))


def run_in_a_terminal(connection, folder, num_workers):
    """A run with a process group of its own, so that Ctrl-C reaches its workers too, as in a terminal."""
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    cfg = config(max_steps=2000, eval_interval=500, eval_batches=1, lr_decay_steps=40)
    loader = train_loader(windows=200, num_workers=num_workers)
    step = gptlib.training.Run.training_step

    def reporting_step(run, batches):
        if run.step == 12:
            connection.send("training")
        return step(run, batches)

    gptlib.training.Run.training_step = reporting_step
    history = quietly(tiny_model(drop_rate=0.2), loader, None, cfg, out=Path(folder) / "gpt.pth")
    connection.send((history.interrupted, len(history.step_losses)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ctrl_c_in_a_terminal_saves_ends_cleanly_and_resumes_to_the_same_weights(tmp_path, num_workers):
    with child(run_in_a_terminal, str(tmp_path), num_workers) as (process, connection):
        assert connection.poll(60)
        assert connection.recv() == "training"
        os.killpg(process.pid, signal.SIGINT)
        assert connection.poll(60), "the run does not end"
        interrupted, steps = connection.recv()
        process.join(60)
        assert process.exitcode == 0
    assert interrupted
    assert 12 < steps < 2000
    assert files_in(tmp_path) == ["gpt.csv", "gpt.last.pth", "gpt.pth"]
    assert load_checkpoint(tmp_path / "gpt.pth").model is not None
    cfg = config(max_steps=steps + 5, eval_interval=500, eval_batches=1, lr_decay_steps=40)
    resumed, whole = tiny_model(9, drop_rate=0.2), tiny_model(drop_rate=0.2)
    quietly(resumed, train_loader(windows=200), cfg=cfg, resume=tmp_path / "gpt.last.pth")
    quietly(whole, train_loader(windows=200), cfg=cfg)
    assert identical(weights(resumed), weights(whole))


def interrupted_while_reading(connection, folder, workers_start_by):
    """Ctrl-C while a step still waits for most of its batches, and so for its workers."""
    os.setsid()
    multiprocessing.set_start_method(workers_start_by, force=True)
    torch.set_num_threads(1)
    loader = train_loader(windows=200, num_workers=2)
    order = type(loader.sampler).__iter__

    def interrupting(sampler):
        for n, batch in enumerate(order(sampler)):
            if n == 50:
                os.killpg(0, signal.SIGINT)
            yield batch

    type(loader.sampler).__iter__ = interrupting
    cfg = config(max_steps=4, gradient_accumulation_steps=40)
    history = quietly(tiny_model(), loader, None, cfg, out=Path(folder) / "gpt.pth")
    connection.send((history.interrupted, len(history.step_losses)))


# On Linux a worker is a fork, with its parent's signal handlers; on macOS and Windows it begins from scratch.
@pytest.mark.parametrize("workers_start_by", ["fork", "forkserver"])
def test_ctrl_c_in_a_terminal_does_not_end_the_workers_that_the_step_still_needs(tmp_path, workers_start_by):
    interrupted, steps = answer_of(interrupted_while_reading, str(tmp_path), workers_start_by)
    assert interrupted
    assert steps in (1, 2)  # workers read ahead: the signal comes in the second step, or shortly before it


# Numbers that are none.


def assert_stopped_in_time(error, path, model, learning_rate):
    """The message names step, learning rate and a checkpoint from which one can indeed go on; weights are finite."""
    assert_helpful(error, "step", learning_rate, path)
    content = torch.load(path, weights_only=True)
    assert f"(step {content['training']['step']})" in str(error.value)
    good = load_checkpoint(path).model
    for m in (good, load_checkpoint(path.with_name("gpt.pth")).model, model):
        assert all(p.isfinite().all() for p in m.parameters())
    assert math.isfinite(evaluate_loss(good, train_loader()))
    assert temporary_files(path.parent) == []


@pytest.mark.parametrize("eval_interval", [100, 1])
@pytest.mark.parametrize("val", [None, val_loader])
def test_too_large_a_step_ends_the_run_before_it_costs_anything(tmp_path, eval_interval, val):
    """A learning rate of 1e30 makes numbers that float32 can't multiply. What is saved has been seen to work."""
    model = tiny_model()
    cfg = config(learning_rate=1e30, warmup_steps=0, lr_schedule="constant", eval_interval=eval_interval)
    with pytest.raises(TrainingError) as error:
        quietly(model, None, val and val(), cfg, out=tmp_path / "gpt.pth")
    assert_stopped_in_time(error, tmp_path / "gpt.last.pth", model, "1e+30")


@pytest.mark.parametrize("eval_interval", [100, 1])
def test_a_gradient_that_is_no_number_ends_the_run_before_the_update(tmp_path, eval_interval):
    """The loss is finite, and the step would write NaN into every weight."""
    model, calls = tiny_model(), []

    def poison(gradient):
        calls.append(1)
        return gradient * math.nan if len(calls) == 3 else gradient

    model.output_head.weight.register_hook(poison)
    cfg = config(learning_rate=0.00125, lr_schedule="constant", eval_interval=eval_interval)
    with pytest.raises(TrainingError) as error:
        quietly(model, cfg=cfg, out=tmp_path / "gpt.pth")
    assert_stopped_in_time(error, tmp_path / "gpt.last.pth", model, "0.00125")


class Poisoned:
    """Batches that are fine for `n` steps and then come with a weight of the model gone bad."""

    def __init__(self, model, n):
        self.model, self.n = model, n

    def __iter__(self):
        for i, batch in enumerate(batches(10)):
            if i == self.n and self.model.training:
                with torch.no_grad():
                    self.model.final_norm.weight[0] = math.inf
            yield batch

    def __len__(self):
        return 10


def test_the_last_good_checkpoint_is_named_with_its_own_step(tmp_path):
    """After Ctrl-C at step 4 and a failure at step 6, that is step 4, not the last evaluation's."""
    half, model = tiny_model(), tiny_model()
    At(half, 4, interrupt)
    quietly(half, batches(10), cfg=config(eval_interval=3, max_steps=9), out=tmp_path / "gpt.pth")
    with pytest.raises(TrainingError) as error:
        quietly(model, Poisoned(model, 4), cfg=config(eval_interval=100, max_steps=9), resume=tmp_path / "gpt.last.pth")
    assert_helpful(error, "step 5", tmp_path / "gpt.last.pth", "(step 4)")


def test_into_another_file_a_failure_names_a_checkpoint_that_exists(tmp_path):
    half, model = tiny_model(), tiny_model()
    At(half, 4, interrupt)
    quietly(half, batches(10), cfg=config(max_steps=9), out=tmp_path / "gpt.pth")
    how = {"resume": tmp_path / "gpt.last.pth", "out": tmp_path / "b.pth"}
    with pytest.raises(TrainingError) as error:
        quietly(model, Poisoned(model, 4), cfg=config(eval_interval=100, max_steps=9), **how)
    named = str(error.value).split("'")[1]
    assert load_checkpoint(named).training["step"] == 4


def test_without_a_file_the_message_says_that_there_is_none():
    model = tiny_model()
    with pytest.raises(TrainingError) as error:
        quietly(model, Poisoned(model, 2), cfg=config(eval_interval=100))
    assert_helpful(error, "step 3", "none was written", "learning rate of")


# Disks.


def run_on_a_full_disk(connection, folder, limit):
    """The first evaluation is saved; from then on no file can grow beyond the limit."""
    import resource

    def fill_up(history):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    try:
        quietly(tiny_model(), None, val_loader(), config(), out=Path(folder) / "gpt.pth", on_evaluation=fill_up)
    except CheckpointError as error:
        connection.send(str(error))
    else:
        connection.send("it was written")


@pytest.mark.parametrize("limit", [200, 30_000, 100_000])
def test_a_disk_that_gets_full_ends_the_run_and_costs_no_earlier_checkpoint(tmp_path, limit):
    """Below the size of the best model, and between that and the size of the latest state."""
    message = answer_of(run_on_a_full_disk, str(tmp_path), limit)
    assert_helpful(message, "could not be written", tmp_path, "free some space")
    assert load_checkpoint(tmp_path / "gpt.pth").model is not None
    assert load_checkpoint(tmp_path / "gpt.last.pth").training["step"] == 0
    assert temporary_files(tmp_path) == []
    history = quietly(tiny_model(9), None, val_loader(), resume=tmp_path / "gpt.last.pth")
    assert history["step"] == [0, 3, 6]


def test_a_history_that_cannot_be_written_is_a_checkpoint_error_too(tmp_path):
    """The checkpoints are there by then."""
    model = tiny_model()

    def in_the_way(history):
        (tmp_path / "gpt.csv").unlink(missing_ok=True)
        (tmp_path / "gpt.csv").mkdir(exist_ok=True)

    with pytest.raises(CheckpointError) as error:
        quietly(model, out=tmp_path / "gpt.pth", on_evaluation=in_the_way)
    assert_helpful(error, tmp_path / "gpt.csv")


def never(*args):
    pytest.fail("a step was taken")


@pytest.mark.parametrize("trouble", ["a file for a folder", "a folder for the file", "no room"])
def test_a_place_that_cannot_take_the_files_is_told_before_training(tmp_path, monkeypatch, trouble):
    monkeypatch.setattr(gptlib.training.Run, "training_step", never)
    out = tmp_path / "gpt.pth"
    if trouble == "a file for a folder":
        (tmp_path / "taken").write_text("x")
        out = tmp_path / "taken" / "gpt.pth"
    elif trouble == "a folder for the file":
        out.mkdir()
    else:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000))
    with pytest.raises(CheckpointError) as error:
        quietly(tiny_model(), out=out)
    assert_helpful(error, out.parent)


def test_an_earlier_runs_files_are_kept_and_it_is_said(tmp_path, capsys):
    out = tmp_path / "gpt.pth"
    first, second = tiny_model(0), tiny_model(1)
    cfg = config(tensorboard=True)
    quietly(first, cfg=cfg, out=out)
    (tmp_path / "gpt.png").write_bytes(b"a curve")
    train(second, train_loader(), None, cfg, out=out)
    kept = [path for path in tmp_path.glob("gpt-20*.pth") if ".last" not in path.name]
    assert len(kept) == 1
    assert kept[0].name in capsys.readouterr().out
    assert all(path.exists() for path in run_files(kept[0]))
    assert identical(weights(load_checkpoint(kept[0]).model), weights(first))
    assert identical(weights(load_checkpoint(out).model), weights(second))
    folders = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert sorted(folders) == [f"{kept[0].stem}.tensorboard", "gpt.tensorboard"], (
        "the earlier run's TensorBoard folder is gone"
    )


def test_a_run_that_is_refused_leaves_the_earlier_ones_files_in_place(tmp_path):
    out = tmp_path / "gpt.pth"
    quietly(tiny_model(), out=out)
    before = files_in(tmp_path)
    tokenizer = CharTokenizer.train("abcdefghijklmnopqrstuvwxyz")  # more than the model knows
    for bad in (
        {"tokenizer": tokenizer},
        {"cfg": config(epochs=1), "loader": DataLoader(Unknowing(), batch_size=None)},
    ):
        with pytest.raises(ValueError, match=r"tokens|length"):
            quietly(tiny_model(), bad.pop("loader", None), None, bad.pop("cfg", None), out=out, **bad)
        assert files_in(tmp_path) == before


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


def test_a_compiled_run_is_the_same_run_and_saves_plain_names(tmp_path, monkeypatch):
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend="eager"))
    plain, compiled = tiny_model(), tiny_model()
    quietly(plain)
    quietly(compiled, cfg=config(compile=True), out=tmp_path / "gpt.pth")
    assert identical(weights(compiled), weights(plain))
    for name in ("gpt.pth", "gpt.last.pth"):
        content = torch.load(tmp_path / name, weights_only=True)
        assert set(content["model"]) == set(plain.state_dict())
        assert identical(weights(load_checkpoint(tmp_path / name).model), weights(plain))


# TensorBoard.


def test_tensorboard_shows_each_row_once_after_a_resumption(tmp_path):
    cfg = config(tensorboard=True, eval_interval=2)
    half = tiny_model()
    At(half, 4, die)  # rows 0 and 2 are saved
    with pytest.raises(Died):
        quietly(half, None, val_loader(), cfg, out=tmp_path / "gpt.pth")
    history = quietly(tiny_model(), None, val_loader(), cfg, resume=tmp_path / "gpt.last.pth")
    reader = EventAccumulator(str(tmp_path / "gpt.tensorboard")).Reload()
    for column in ("train_loss", "val_loss", "learning_rate"):
        events = reader.Scalars(column)
        assert [event.step for event in events] == history["step"] == [0, 2, 4, 6]
        assert [event.value for event in events] == pytest.approx(history[column])


# Refused.


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
    monkeypatch.setattr(gptlib.training.Run, "training_step", never)
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
NO_TARGETS = [(torch.zeros(2, 8, dtype=torch.long), torch.full((2, 8), IGNORED))]
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
    monkeypatch.setattr(gptlib.training.Run, "training_step", never)
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
