"""What commands share while they run: the model they load, the run they resume, their last words."""

import shutil
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from gptlib.checkpoints import Checkpoint, best_path, find_checkpoint, last_path
from gptlib.generation.quantization import check_precision
from gptlib.loss import perplexity
from gptlib.ops.devices import pick_device
from gptlib.training import TrainingConfig
from gptlib.training.history import History
from gptlib.training.resume import load_training_state
from gptlib.utils.folders import project_root
from gptlib.weights.adapters import load_adapter
from gptlib.weights.inference import for_inference
from gptlib.weights.loading import load_model


def load_to_write(options) -> Checkpoint:
    """The model of --load with --adapter on --device, in --precision: for inference only.

    If "auto" had a choice, what it took is said. Raises what `load_with_tokenizer` and `load_adapter` raise.
    """
    if options.adapter is None:
        loaded = load_with_tokenizer(options.load, options.device, precision=options.precision)
    else:
        check_precision(options.precision, pick_device(options.device))
        loaded = load_with_tokenizer(options.load, options.device)
        load_adapter(loaded.model, options.adapter)
        loaded.model = for_inference(loaded.model, options.precision)
    if loaded.model.precision.automatic:
        print(f"{loaded.model.precision}.", file=sys.stderr)
    return loaded


def load_with_tokenizer(name: str | Path, device: str, **options: Any) -> Checkpoint:
    """The model of a name, on a device. Raises ValueError if it has no tokenizer, and what `load_model` raises."""
    loaded = load_model(name, pick_device(device), **options)
    if loaded.tokenizer is None:
        raise ValueError(f"'{Path(name).name}' holds no tokenizer that gptlib knows; use another model.")
    return loaded


def resumed_options(resume: str | None, names: Iterable[str]) -> dict[str, Any]:
    """The options of the run to resume: its TrainingConfig, and those of its notes with these names."""
    if resume is None:
        return {}
    state = load_training_state(find_checkpoint(resume))["training"]
    config, notes = TrainingConfig.from_dict(state["config"]), state.get("notes") or {}
    options = {f"training.{name}": value for name, value in config.to_dict().items()}
    return options | {name: notes[name] for name in names if name in notes}


def output_path(options, resume: Path | None, name: str) -> Path | None:
    """The file asked for, that of the resumed run, or model_weights/NAME-2026.11.21_093000.pth; None for no file."""
    if options.no_save:
        return None
    if options.out or resume:
        return Path(options.out or best_path(resume))
    return project_root() / "model_weights" / f"{name}-{datetime.now():%Y.%m.%d_%H%M%S}.pth"


def say_best(history: History) -> None:
    """The loss of the best model."""
    if best := history.best:
        loss = best["val_loss"] if best["val_loss"] is not None else best["train_loss"]
        print(f"Best loss {loss:.4f} (perplexity {perplexity(loss):.2f}) at step {best['step']}.")


def say_files(history: History, out: Path, command: str) -> None:
    """Draw the loss curve beside the model; where both are, and how to go on if the run was interrupted."""
    from gptlib import plots  # only here, because matplotlib takes a while to load

    plots.save_figure(plots.plot_losses(history), out.with_suffix(".png"))
    print(f"Model: {out}\nLoss curve: {out.with_suffix('.png')}, its numbers: {out.with_suffix('.csv')}")
    if history.interrupted:
        print(f"Finish the run: {program()} {command} --resume {last_path(out)}")


def program() -> str:
    """How `gptlib` is called from here: by its name, or by its path if the environment isn't activated."""
    if shutil.which("gptlib"):
        return "gptlib"
    path = Path(sys.executable).parent / "gptlib"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
