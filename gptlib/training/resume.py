"""What a stopped run needs to go on: its file, checked, its kernels, and the state of the random numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gptlib.checkpoints import last_path, read_checkpoint
from gptlib.model import GPTConfig
from gptlib.ops.backend import Backend, default_backend, supported
from gptlib.tokenizers import Tokenizer
from gptlib.utils.errors import CheckpointError

KEYS = (
    *("config", "step", "tokens", "seconds", "best_loss", "batches_per_epoch", "precision"),
    *("optimizer", "scaler", "rng", "history"),
)


def load_training_state(path: str | Path) -> dict[str, Any]:
    """The content of a .last.pth, to resume from. Raises CheckpointError if it holds no training state."""
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


def check_same_run(
    path: str | Path,
    content: dict[str, Any],
    config: GPTConfig,
    batches_per_epoch: int | None,
    tokenizer: Tokenizer | None,
) -> None:
    """Raise CheckpointError if model, text or tokenizer is not the one that the run of this file began with."""
    stored, batches = content["config"], content["training"]["batches_per_epoch"]
    try:
        same = GPTConfig.from_dict(stored) == config
    except (ValueError, TypeError):
        same = False
    if not same:
        mine = config.to_dict()
        differs = next((name for name in mine if stored.get(name) != mine[name]), "its config")
        raise CheckpointError(
            f"'{path}' is of another model (its {differs} is {stored.get(differs)!r}, that of the model to train "
            f"{mine.get(differs)!r}); make the model from the checkpoint, with load_checkpoint."
        )
    if batches != batches_per_epoch:
        raise CheckpointError(
            f"'{path}' was trained on {batches} batches an epoch, and this loader has {batches_per_epoch}; "
            "resume with the same text, batch_size, stride and context_length."
        )
    if tokenizer is not None and content.get("tokenizer") not in (None, tokenizer.to_dict()):
        raise CheckpointError(f"'{path}' was trained with another tokenizer; resume with the one stored in it.")


def backend_of(state: dict[str, Any]) -> Backend:
    """The kernels that a run began with, since others round differently. ValueError if they make no sense.

    Earlier versions stored fewer choices; what they left open is as in `default_backend()`.
    """
    if "backend" in state:
        return supported(Backend.from_dict(state["backend"]))
    choices = {"blockwise_attention": bool(state.get("batched_attention"))}
    if (kernel := state.get("products")) is not None:
        choices |= {"fp32": kernel, "fp32_transposed": kernel, "small_matmul": 0}
    return supported(replace(default_backend(), **choices))


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
