"""What commands share while they run: arguments before they are parsed, the model they load, their last words."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptlib.checkpoints import Checkpoint, find_checkpoint
from gptlib.loss import perplexity
from gptlib.ops.devices import pick_device
from gptlib.training.history import History
from gptlib.training.resume import load_training_state
from gptlib.utils.folders import project_root
from gptlib.weights.loading import load_model


def written_out(argument: str, short: Mapping[str, str]) -> str:
    """Example: "-B" -> "--training.batch_size", and "-B16" or "-B=16" -> "--training.batch_size=16" """
    name, value = argument[:2], argument[2:].removeprefix("=")
    if name not in short:
        return argument
    return f"{short[name]}={value}" if value else short[name]


def value_of(option: str, arguments: list[str]) -> str | None:
    """The value that follows an option in the arguments, or stands behind its "="."""
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == option:
            return following
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None


def unset(name: str, arguments: list[str], given: set[str]) -> list[str]:
    """The arguments, with an option that is not among those given set back to nothing."""
    return arguments if name in given else [*arguments, name, "null"]


def one_length(arguments: list[str]) -> list[str]:
    """The arguments, in which epochs take the place of a recipe's max_steps, and the other way round."""
    names = ("--training.epochs", "--training.max_steps")
    given = {name for name in names if value_of(name, arguments)}
    for name, other in (names, names[::-1]):
        if name in given:
            return unset(other, arguments, given)
    return arguments


def with_recipe_found(arguments: list[str]) -> list[str]:
    """The arguments, with the path of a recipe that is given by its name in configs/."""
    config = value_of("--config", arguments)
    if config is None or Path(config).exists():
        return arguments
    recipe = project_root() / "configs" / f"{Path(config).stem}.yaml"
    if not recipe.is_file():
        return arguments
    return [str(recipe) if a == config else a.replace(f"--config={config}", f"--config={recipe}") for a in arguments]


def resumed_defaults(resumed: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The options of the run to resume: its TrainingConfig, and those of its notes that have one of these names."""
    state = load_training_state(find_checkpoint(resumed))["training"]
    notes = state.get("notes") or {}
    return {f"training.{k}": v for k, v in state["config"].items()} | {k: v for k, v in notes.items() if k in names}


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
