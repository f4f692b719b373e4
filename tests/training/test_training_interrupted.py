"""Signals in a terminal, and numbers that are none: a run ends cleanly, and costs no file."""

import math
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from training_helpers import (
    At,
    answer_of,
    assert_helpful,
    batches,
    child,
    config,
    files_in,
    identical,
    interrupt,
    quietly,
    temporary_files,
    tiny_model,
    train_loader,
    val_loader,
    weights,
)

import gptlib.training.trainer
from gptlib.checkpoints import load_checkpoint
from gptlib.evaluation import evaluate_loss
from gptlib.training import TrainingError, train

pytestmark = pytest.mark.usefixtures("one_thread")


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
    step = gptlib.training.trainer.Trainer.training_step

    def reporting_step(run, batches):
        if run.step == 12:
            connection.send("training")
        return step(run, batches)

    gptlib.training.trainer.Trainer.training_step = reporting_step
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
