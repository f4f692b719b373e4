"""Runs killed with SIGKILL, in the middle of a step or of a checkpoint, and resumed: as if nothing had been.

The long version, with a table, is `python tests/long/kill_runs.py 30`.
"""

import random

import pytest
import torch
from training_helpers import (
    CHARACTERS,
    child,
    die_inside_a_write,
    differences,
    finish,
    killable_run,
    outcome,
    run_and_kill,
    temporary_files,
    tiny_model,
)

from gptlib.checkpoints import load_checkpoint, save_checkpoint

SEED = 3


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    finish(folder, SEED)
    return outcome(folder)


@pytest.mark.parametrize(
    "kills", [("in a step", "in a write"), ("in a write", "in a write"), ("in a write", "in a step")]
)
def test_killed_twice_and_resumed_is_the_same_run_bit_for_bit(tmp_path, uninterrupted, kills):
    rng = random.Random(repr(kills))
    for kill in kills:
        seen = run_and_kill(tmp_path, SEED, rng, inside=kill == "in a write", early=True)
        assert seen["exit code"] == -9
        assert bool(seen["inside"]) == (kill == "in a write")
        for path in tmp_path.glob("*.pth"):  # whatever has its final name is whole
            assert load_checkpoint(path).model is not None
    finish(tmp_path, SEED)
    assert differences(outcome(tmp_path), uninterrupted) == []
    assert temporary_files(tmp_path) == []


@pytest.mark.parametrize("position", ["replace", "renamed"])
def test_killed_between_the_files_of_the_last_step(tmp_path, uninterrupted, position):
    """The latest state says that all is done, and the CSV has not been written: resuming makes up for it."""
    n_files = 2 * len(uninterrupted["rows"]) + n_best(uninterrupted["rows"])
    nth = n_files - (2 if position == "renamed" else 1)  # behind the latest state, or before the CSV
    with child(killable_run, str(tmp_path), SEED, (nth, position)) as (process, _):
        process.join(60)
    assert process.exitcode == -9
    finish(tmp_path, SEED)
    assert differences(outcome(tmp_path), uninterrupted) == []
    assert temporary_files(tmp_path) == []


def n_best(rows):
    losses = [row["val_loss"] for row in rows]
    return sum(loss < min(losses[:i], default=float("inf")) for i, loss in enumerate(losses))


def killed_while_saving(connection, path, position):
    model = tiny_model(1)
    die_inside_a_write(connection, 0, position)
    save_checkpoint(path, model, CHARACTERS)


@pytest.mark.parametrize("position", [0, 20_000, "fsync", "replace"])
def test_the_old_checkpoint_outlives_a_writer_that_is_killed(tmp_path, position):
    path = tmp_path / "gpt.pth"
    save_checkpoint(path, tiny_model(0), CHARACTERS)
    before = path.read_bytes()
    with child(killed_while_saving, str(path), position) as (process, _):
        process.join(60)
    assert process.exitcode == -9
    assert path.read_bytes() == before
    assert len(temporary_files(tmp_path)) == 1  # a killed process can't clean up; the next run does
    assert torch.equal(load_checkpoint(path).model.output_head.weight, tiny_model(0).output_head.weight)
