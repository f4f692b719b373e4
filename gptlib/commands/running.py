"""What commands share while they run: the run they resume, the model they load, their last words."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gptlib.checkpoints import Checkpoint, find_checkpoint
from gptlib.loss import perplexity
from gptlib.ops.devices import pick_device
from gptlib.training import TrainingConfig
from gptlib.training.history import History
from gptlib.training.resume import load_training_state
from gptlib.weights.loading import load_model


def resumed_options(resumed: str | None, names: Iterable[str]) -> dict[str, Any]:
    """The options of the run to resume: its TrainingConfig, and those of its notes that have one of these names."""
    if resumed is None:
        return {}
    state = load_training_state(find_checkpoint(resumed))["training"]
    config, notes = TrainingConfig.from_dict(state["config"]), state.get("notes") or {}
    return {f"training.{k}": v for k, v in config.to_dict().items()} | {k: notes[k] for k in names if k in notes}


def load_with_tokenizer(name: str | Path, device: str, dtype: str | None = None) -> Checkpoint:
    """The model of a name, on a device. Raises ValueError where it has no tokenizer, and what `load_model` raises."""
    loaded = load_model(name, pick_device(device), dtype)
    if loaded.tokenizer is None:
        raise ValueError(f"'{Path(name).name}' holds no tokenizer that gptlib knows; use another model.")
    return loaded


def say_best(history: History) -> None:
    """The loss of the best model."""
    if best := history.best:
        loss = best["val_loss"] if best["val_loss"] is not None else best["train_loss"]
        print(f"Best loss {loss:.4f} (perplexity {perplexity(loss):.2f}) at step {best['step']}.")


def draw_losses(history: History, out: Path) -> None:
    """The loss curve beside the model, and where both are."""
    from gptlib import plots  # only here, because matplotlib takes a while to load

    plots.save_figure(plots.plot_losses(history), out.with_suffix(".png"))
    print(f"Model: {out}\nLoss curve: {out.with_suffix('.png')}, its numbers: {out.with_suffix('.csv')}")


def program() -> str:
    """How `gptlib` is called from here: by its name, or by its path where the environment isn't activated."""
    if shutil.which("gptlib"):
        return "gptlib"
    path = Path(sys.executable).parent / "gptlib"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
