"""What a run measures and keeps: losses of fixed batches, rows, the best file, TensorBoard, full disks."""

import csv
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader
from training_helpers import (
    SHAPE,
    At,
    Died,
    Unknowing,
    answer_of,
    assert_helpful,
    config,
    die,
    files_in,
    identical,
    interrupt,
    never,
    overfitting,
    quietly,
    temporary_files,
    tiny_model,
    train_loader,
    val_loader,
    weights,
    without_clock,
)

import gptlib.training.trainer
from gptlib.checkpoints import CheckpointError, load_checkpoint
from gptlib.evaluation import evaluate_loss
from gptlib.tokenizers import CharTokenizer
from gptlib.training import train
from gptlib.training.history import COLUMNS
from gptlib.training.run_files import run_files

pytestmark = pytest.mark.usefixtures("one_thread")


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
    monkeypatch.setattr(gptlib.training.trainer, "peak_flops", lambda device, precision: 1e12)
    row = quietly(tiny_model()).rows[-1]
    c = SimpleNamespace(**SHAPE)
    matrices = c.n_layers * 12 * c.emb_dim**2 + c.vocab_size * c.emb_dim
    at_least = 6 * matrices + 12 * c.n_layers * c.emb_dim * c.context_length  # PaLM, appendix B; vectors come on top
    assert row["mfu"] == pytest.approx(row["tokens_per_second"] * at_least / 1e12, rel=0.05)
    monkeypatch.setattr(gptlib.training.trainer, "peak_flops", lambda device, precision: None)
    assert quietly(tiny_model()).rows[-1]["mfu"] is None


def test_without_validation_data_the_latest_is_the_best(tmp_path):
    model = tiny_model()
    history = quietly(model, out=tmp_path / "gpt.pth")
    assert history["val_loss"] == [None, None, None]
    assert history["perplexity"] == pytest.approx([math.exp(loss) for loss in history["train_loss"]])
    assert identical(weights(load_checkpoint(tmp_path / "gpt.pth").model), weights(model))
    assert not model.training


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


@pytest.mark.parametrize("trouble", ["a file for a folder", "a folder for the file", "no room"])
def test_a_place_that_cannot_take_the_files_is_told_before_training(tmp_path, monkeypatch, trouble):
    monkeypatch.setattr(gptlib.training.trainer.Trainer, "training_step", never)
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
    there = [path.exists() for path in run_files(out)]
    train(second, train_loader(), None, cfg, out=out)
    kept = [path for path in tmp_path.glob("gpt-20*.pth") if ".last" not in path.name]
    assert len(kept) == 1
    assert kept[0].name in capsys.readouterr().out
    assert [path.exists() for path in run_files(kept[0])] == there
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
