"""The files of a run: their names, room for them, and keeping those of an earlier run."""

import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from torch import nn

from gptlib.checkpoints import best_path, last_path
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import remove_leftovers, write_atomically


def run_files(path: str | Path) -> list[Path]:
    """All that the run of this name writes: best model, latest state, history, loss curve; then, as folders,
    TensorBoard's files and the adapter.
    """
    path = Path(path)
    files = [path, last_path(path), csv_path(path), path.with_suffix(".png")]
    return [*files, board_folder(path), adapter_folder(path)]


def csv_path(path: str | Path) -> Path:
    """The history of the run: a.pth -> a.csv."""
    return Path(path).with_suffix(".csv")


def board_folder(path: str | Path) -> Path:
    """The folder of TensorBoard's files of the run, if it writes any."""
    return Path(path).with_suffix(".tensorboard")


def adapter_folder(path: str | Path) -> Path:
    """The folder of the run's LoRA adapter, if it trains one: a.pth -> a.adapter."""
    return Path(path).with_suffix(".adapter")


def out_beside(resumed: str | Path, out: str | Path | None = None) -> Path:
    """Where the run that goes on from the .last.pth `resumed` writes its best model, if not to `out`.

    Raises CheckpointError if it would take the place of the file that it goes on from.
    """
    out = best_path(resumed) if out is None else Path(out)
    if out == Path(resumed):
        raise CheckpointError(f"The best model would take the place of '{resumed}'; give out, a name of its own.")
    return out


def check_room(path: str | Path, model: nn.Module) -> None:
    """Raise CheckpointError if the folder of `path` can't be written, or its disk can't take a run's files.

    ValueError if `path` does not end in .pth.

    A run needs room for its best model, and twice for its latest state (weights and AdamW's two averages), since a
    new file is complete before the old one goes.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"'{path}' is a folder; give the name of a file, such as '{path / 'gpt.pth'}'.")
    if path.suffix != ".pth":
        raise ValueError(f"out='{path}' is no checkpoint's name; give one that ends in .pth.")
    needed = 7 * sum(p.numel() * p.element_size() for p in model.parameters())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise CheckpointError(
            f"The folder '{path.parent}' can't be written to ({error.strerror}); choose another place."
        ) from None
    if free < needed:
        raise CheckpointError(
            f"The disk of '{path.parent}' has {free / 1e9:.2f} GB free, and the run's checkpoints need up to "
            f"{needed / 1e9:.2f} GB; free some space or choose another folder."
        )


def set_aside(path: str | Path) -> list[Path]:
    """Rename what an earlier run has written under this name by its date, so that nothing is lost; the new names.

    Example: trained_gpt2.pth, .last.pth, … -> trained_gpt2-2026.11.21_093000.pth, .last.pth, …
    """
    path = Path(path)
    for file in run_files(path):
        remove_leftovers(file)
    earlier = [file.stat().st_mtime for file in run_files(path) if file.exists()]
    if not earlier:
        return []
    date = datetime.fromtimestamp(max(earlier)).strftime("%Y.%m.%d_%H%M%S")
    kept, n = path.with_name(f"{path.stem}-{date}{path.suffix}"), 1
    while any(file.exists() for file in run_files(kept)):
        n += 1
        kept = path.with_name(f"{path.stem}-{date}-{n}{path.suffix}")
    pairs = zip(run_files(path), run_files(kept), strict=True)
    return [file.rename(new) for file, new in pairs if file.exists()]


def claim(out: str | Path, resumed: str | Path | None = None) -> list[Path]:
    """Make the names of `out` those of the run that begins; what an earlier run is kept as, if there was one.

    resumed: the .last.pth that the run goes on from. If that is the file beside `out`, the files are the run's own
    already; if the run goes on under another name, its best model so far is copied there.
    """
    out, kept = Path(out), []
    goes_on = resumed is not None and last_path(out).resolve() == Path(resumed).resolve()
    if not goes_on:
        kept = set_aside(out)
    for file in run_files(out):
        remove_leftovers(file)
    if resumed is not None and best_path(resumed).exists() and not out.exists():
        with write_atomically(out) as file, best_path(resumed).open("rb") as best:
            shutil.copyfileobj(best, file)
    return kept
