"""What a run needs to go on where it was stopped: everything that a step depends on, as tensors and plain data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gptlib.checkpoints import last_path, load_weights, read_checkpoint
from gptlib.model import GPTConfig
from gptlib.ops.backend import Backend, default_backend, supported
from gptlib.training.history import History
from gptlib.training.optim import Muon, Together
from gptlib.utils.errors import CheckpointError

if TYPE_CHECKING:
    from gptlib.training.trainer import Run

KEYS = (
    *("config", "step", "tokens", "seconds", "best_loss", "batches_per_epoch", "precision"),
    *("optimizer", "scaler", "rng", "history"),
)


def state_of(run: "Run") -> dict[str, Any]:
    """The state of the run between two steps, for `save_checkpoint`. The order of the data follows from the step."""
    return {
        "config": run.config.to_dict(),
        "step": run.step,
        "tokens": run.tokens,
        "seconds": run.seconds,
        "best_loss": run.best_loss,
        "batches_per_epoch": run.batches_per_epoch,
        "precision": run.precision,
        "backend": run.backend.to_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "rng": random_state(run.device),
        "history": run.history.to_dict(),
        "notes": run.notes,
    }


def load_training_state(path: str | Path) -> dict[str, Any]:
    """The content of a .last.pth, to resume from. Raises CheckpointError where it holds no training state."""
    content = read_checkpoint(path)
    state = content.get("training")
    if not isinstance(state, dict):
        raise CheckpointError(
            f"'{path}' holds a model but no training state to resume from; resume from '{last_path(path).name}', "
            "or start a new run from its weights with --init."
        )
    if missing := [key for key in KEYS if key not in state]:
        raise CheckpointError(f"'{path}' holds a training state without its '{missing[0]}'; use a complete file.")
    if state["precision"] not in ("fp32", "bf16", "fp16") or not isinstance(state["config"], dict):
        raise CheckpointError(f"'{path}' holds a training state that makes no sense; use another.")
    return content


def stored_backend(path: str | Path, content: dict[str, Any]) -> Backend:
    """The backend that a run began with, since other kernels round differently.

    The default one for a file of an earlier version, which has none. Raises CheckpointError if it makes no sense.
    """
    stored = content["training"].get("backend")
    if stored is None:
        return default_backend()
    try:
        return supported(Backend.from_dict(stored))
    except ValueError as error:
        raise CheckpointError(f"'{path}' holds a training state that can't be used ({error}); use another.") from None


def restore(run: "Run", path: str | Path, content: dict[str, Any]) -> None:
    """Bring a fresh run into the state that `load_training_state` has read from `path`.

    Raises CheckpointError where the state is of another model, text or tokenizer, or contradicts itself.
    """
    state = content["training"]
    check_same_run(run, path, content)
    load_weights(path, run.model, content["model"])
    try:
        load_optimizer(run.optimizer, state["optimizer"])
        run.scaler.load_state_dict(state["scaler"])
        run.history = History.from_dict(state["history"])
        set_random_state(run.device, state["rng"])
        run.step, run.tokens, run.seconds = int(state["step"]), int(state["tokens"]), float(state["seconds"])
        run.best_loss = float(state["best_loss"])
        if run.step < 0 or len(run.history.step_losses) != run.step:
            raise ValueError(f"{len(run.history.step_losses)} losses of {run.step} steps")
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"'{path}' holds a training state that can't be used ({error}); use another.") from None
    run.since = (run.tokens, run.seconds)
    if run.notes is None:
        run.notes = state.get("notes")
    run.say(f"Resumed '{path}' at step {run.step} of {run.total_steps}.")
    before = state["config"]
    changed = [name for name, value in run.config.to_dict().items() if before.get(name) != value]
    run.say(*(f"Changed since: {name} was {before.get(name)!r}, is {getattr(run.config, name)!r}." for name in changed))


def load_optimizer(optimizer: torch.optim.Optimizer | Together, state: dict[str, Any]) -> None:
    """Take over the averages; betas, weight_decay and so on are those of this run. ValueError where they don't fit."""
    options = [{name: value for name, value in g.items() if name != "params"} for g in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, option in zip(optimizer.param_groups, options, strict=True):
        group.update(option)
    for part in getattr(optimizer, "optimizers", (optimizer,)):
        names = ("average",) if isinstance(part, Muon) else ("exp_avg", "exp_avg_sq")
        for parameter, averages in part.state.items():
            for name in names:
                average = averages[name]
                if not isinstance(average, torch.Tensor) or average.shape != parameter.shape:
                    raise ValueError(f"{name} does not fit its parameter")


def check_same_run(run: "Run", path: str | Path, content: dict[str, Any]) -> None:
    """Raise CheckpointError where the model, the text or the tokenizer is not the one that the run began with."""
    stored, batches = content["config"], content["training"]["batches_per_epoch"]
    try:
        same = GPTConfig.from_dict(stored) == run.model.config
    except (ValueError, TypeError):
        same = False
    if not same:
        mine = run.model.config.to_dict()
        differs = next((name for name in mine if stored.get(name) != mine[name]), "its config")
        raise CheckpointError(
            f"'{path}' is of another model (its {differs} is {stored.get(differs)!r}, that of the model to train "
            f"{mine.get(differs)!r}); make the model from the checkpoint, with load_checkpoint."
        )
    if batches != run.batches_per_epoch:
        raise CheckpointError(
            f"'{path}' was trained on {batches} batches an epoch, and this loader has {run.batches_per_epoch}; "
            "resume with the same text, batch_size, stride and context_length."
        )
    if run.tokenizer is not None and content.get("tokenizer") not in (None, run.tokenizer.to_dict()):
        raise CheckpointError(f"'{path}' was trained with another tokenizer; resume with the one stored in it.")


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of the random numbers that dropout draws, on the CPU and on the device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(device: torch.device, states: dict[str, torch.Tensor]) -> None:
    """The inverse of random_state; a run that moves to another kind of device goes on from the CPU's state alone."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])
