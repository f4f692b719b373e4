"""Where the files of a run are, and which one a person means."""

from pathlib import Path

from gptlib.utils.folders import project_root


def last_path(path: str | Path) -> Path:
    """Where the run that writes its best model to `path` keeps its latest state: a.pth -> a.last.pth."""
    path = Path(path)
    return path.with_name(f"{path.stem}.last{path.suffix or '.pth'}")


def best_path(path: str | Path) -> Path:
    """Where the run that keeps its latest state in `path` writes its best model: a.last.pth -> a.pth."""
    path = Path(path)
    return path.with_name(f"{path.stem.removesuffix('.last')}{path.suffix or '.pth'}")


def find_checkpoint(name: str | Path) -> Path:
    """The file that a user means: a path, a folder (its newest best checkpoint), or a bare name in model_weights/.

    Raises FileNotFoundError, in one sentence, if none of them is there.
    """
    path = Path(name)
    places = [path, Path(f"{name}.pth")]
    if len(path.parts) == 1:
        folder = project_root() / "model_weights"
        places += [folder / path, folder / f"{name}.pth"]
    for place in places:
        if place.is_file():
            return place
        if place.is_dir():
            best = [p for p in place.glob("*.pth") if not p.stem.endswith(".last")]
            if best:
                return max(best, key=lambda p: p.stat().st_mtime)
    raise FileNotFoundError(
        f"There is no checkpoint '{name}', here or in model_weights/; `gptlib train` makes one, or check the name."
    )
