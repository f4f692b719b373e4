"""Stopped or dead anywhere and resumed, a run is the same run."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_helpers import (
    CHARACTERS,
    At,
    Died,
    assert_helpful,
    config,
    die,
    files_in,
    identical,
    interrupt,
    overfitting,
    quietly,
    temporary_files,
    tiny_model,
    train_loader,
    val_loader,
    weights,
    without_clock,
)

from gptlib.checkpoints import CheckpointError, last_path, load_checkpoint
from gptlib.evaluation import evaluate_loss
from gptlib.training import Trainer, TrainingConfig, train

pytestmark = pytest.mark.usefixtures("one_thread")


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


# The state.


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_state_of_an_earlier_version_is_understood(tmp_path, capsys, optimizer):
    """As commit 9afe37b wrote it, with other names for what there still is."""
    whole, half, resumed = (tiny_model(seed, drop_rate=0.2) for seed in (0, 0, 9))
    cfg = config(optimizer=optimizer, activation_checkpointing=True)
    quietly(whole, cfg=cfg)
    At(half, 3, interrupt)
    quietly(half, cfg=cfg, out=tmp_path / "gpt.pth")
    path = tmp_path / "gpt.last.pth"
    content = torch.load(path, weights_only=True)
    state = content["training"]
    options = {name: value for name, value in state["config"].items() if name != "activation_checkpointing"}
    averages = state["optimizer"]
    if optimizer == "muon":
        averages = {"together": averages["combined"]}
    keys = ("step", "tokens", "seconds", "best_loss", "batches_per_epoch", "precision", "scaler", "rng", "history")
    content["training"] = {key: state[key] for key in keys} | {
        "config": options | {"recompute": True},
        "products": "plain",
        "batched_attention": None,
        "optimizer": averages,
        "notes": None,
    }
    torch.save(content, path)
    train(resumed, train_loader(), None, cfg, resume=path)
    assert "Changed" not in capsys.readouterr().out
    assert identical(weights(resumed), weights(whole))


def test_the_state_of_a_trainer_taken_over_by_another_is_the_same_run():
    """`state_dict` is all that a run is, but for the weights."""
    models = [tiny_model(seed, drop_rate=0.2) for seed in (0, 0, 9)]
    whole, half = (Trainer(model, train_loader(), None, config(), verbose=False) for model in models[:2])
    torch.manual_seed(0)
    done = whole.fit()
    torch.manual_seed(0)
    At(models[1], 3, interrupt)
    half.fit()
    state, of_model = half.state_dict(), weights(models[1])
    torch.manual_seed(123)
    models[2].load_state_dict(of_model)
    other = Trainer(models[2], train_loader(), None, config(), verbose=False)
    other.load_state_dict(state)
    assert other.fit().step_losses == done.step_losses
    assert identical(weights(models[2]), weights(models[0]))


def test_options_are_understood_by_the_names_that_they_had():
    assert TrainingConfig.from_dict({"recompute": True}) == TrainingConfig(activation_checkpointing=True)
