"""The record of a run: columns, CSV, the best row, TensorBoard."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_helpers import files_in

from gptlib.training.history import COLUMNS, History, TensorBoardWriter, one_line


def row(step, train_loss=2.0, val_loss=None, **changes):
    measured = {
        "epoch": step / 10,
        "tokens": step * 64,
        "learning_rate": 1e-3,
        "perplexity": 7.4,
        "seconds": step * 0.1,
    }
    return {"step": step, "train_loss": train_loss, "val_loss": val_loss, "tokens_per_second": None, "mfu": None} | (
        measured | changes
    )


def events(folder):
    """What TensorBoard itself reads in the folder: {column: [(step, value), ...]}."""
    reader = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_a_column_is_a_list_and_an_unknown_one_is_told_with_those_there_are():
    history = History(rows=[row(0, val_loss=3.0), row(5, val_loss=None)])
    assert history["val_loss"] == [3.0, None]
    assert len(history) == 2
    with pytest.raises(KeyError, match="no column 'loss'; the columns are step, epoch") as error:
        history["loss"]
    assert "val_loss" in str(error.value)


LOSS = st.floats(0, 20)


@given(losses=st.lists(st.tuples(LOSS, st.none() | LOSS), max_size=8))
def test_best_is_the_lowest_validation_loss_else_the_lowest_training_loss(losses):
    """A run may have been resumed with validation data or without it: rows that lack it don't count beside others."""
    history = History(rows=[row(i, train_loss, val_loss) for i, (train_loss, val_loss) in enumerate(losses)])
    measured = [(val, i) for i, (_, val) in enumerate(losses) if val is not None]
    expected = min(measured or [(loss, i) for i, (loss, _) in enumerate(losses)], default=None)
    assert (history.best and history.best["step"]) == (expected and expected[1])


@given(
    rows=st.lists(st.builds(row, st.integers(0, 10**6), LOSS, st.none() | LOSS), max_size=5),
    step_losses=st.lists(LOSS, max_size=5),
    samples=st.lists(st.tuples(st.integers(0, 99), st.text()), max_size=3),
)
def test_to_dict_and_back(rows, step_losses, samples):
    history = History(rows=rows, step_losses=step_losses, samples=samples)
    data = history.to_dict()
    again = History.from_dict(data)
    assert again == history
    again.rows.append(row(99))
    again.step_losses.append(1.0)
    assert data == history.to_dict()  # nothing is shared


@given(rows=st.lists(st.builds(row, st.integers(0, 10**6), LOSS, st.none() | LOSS), min_size=1, max_size=5))
def test_csv_holds_every_row_exactly(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "history.csv"
    History(rows=rows).save_csv(path)
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS
    assert [{k: None if v == "" else float(v) for k, v in r.items()} for r in read] == rows


def test_one_line_has_the_numbers_and_leaves_out_what_was_not_measured():
    full = one_line(row(200, 2.0114, 2.1039, perplexity=8.198, tokens_per_second=12345.6, mfu=0.314))
    assert full == "step 200 | train 2.011 | val 2.104 | perplexity 8.20 | 12,346 tokens/s | 31% of the device's peak"
    assert one_line(row(0, 3.0)) == "step 0 | train 3.000 | perplexity 7.40"


def test_tensorboard_reads_every_row_once_even_those_of_a_killed_run(tmp_path):
    folder = tmp_path / "gpt"
    killed = History()
    writer = TensorBoardWriter(folder, killed)
    for step in (0, 5, 10):
        writer.add(row(step, train_loss=3 - step / 10))
    writer.close()
    # The checkpoint knew of two rows; the resumed run goes on from them.
    known = History(rows=[row(0, 3.0), row(5, 2.5)])
    writer = TensorBoardWriter(folder, known)
    writer.add(row(10, 2.0))
    writer.add(row(15, 1.5))
    writer.close()
    read = events(folder)
    assert read["train_loss"] == [(0, 3.0), (5, 2.5), (10, 2.0), (15, 1.5)]
    assert "val_loss" not in read
    assert len(files_in(folder)) == 1
