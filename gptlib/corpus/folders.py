"""A folder that is either whole or not there, as files.py does it for files."""

import glob
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


def check_replaceable(out: Path, names: Collection[str], marker: str, check: Callable[[Path], object]) -> None:
    """Refuse to replace anything but nothing, an empty folder, or a folder of ours.

    A folder is ours where it has no files but those called `names`, `marker` is one of them, and `check(out)` raises
    nothing. Raises: ValueError, with what stands in the way.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"'{out}' is a file, and the prepared corpus is a folder: choose another name for it.")
    there = {path.name for path in out.iterdir()}
    if not there:
        return
    # Replacing the folder would delete what is not ours with it.
    if strange := sorted(there - set(names)):
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise ValueError(
            f"The folder '{out}' holds '{strange[0]}'{more}, which is no part of a prepared corpus: choose a new "
            "folder, or move that elsewhere."
        )
    try:
        check(out)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"The folder '{out}' is not empty and no prepared corpus: choose a new one, or delete it ({error})"
        ) from None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out`; it takes the name `out` only when the block ends without an error.

    What was at `out` until then is deleted after that. What killed runs left is cleared away first, so only one
    process at a time may make the same folder.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(out)
    unique = secrets.token_hex(4)
    folder, old = out.with_name(f".{out.name}.{unique}.tmp"), out.with_name(f".{out.name}.{unique}.old")
    try:
        folder.mkdir()
        yield folder
        # A folder can't be renamed onto one that isn't empty, so there are two steps, and an instant without `out`.
        if out.exists():
            out.rename(old)
        try:
            folder.rename(out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)


def _clear_leftovers(out: Path) -> None:
    """Bring back what a run had moved aside if it was killed just then, and delete what was half done."""
    name = glob.escape(out.name)
    for old in out.parent.glob(f".{name}.*.old"):
        if not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    for folder in out.parent.glob(f".{name}.*.tmp"):
        shutil.rmtree(folder, ignore_errors=True)
