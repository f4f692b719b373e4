"""Files and folders that are either whole or not there, and JSON.

Everything that gptlib writes goes through here. It is ours because Python has nothing of the kind, and packages such
as atomicwrites (no longer maintained) cover single files only: what takes thought is the order of events (flush, sync,
rename, sync the folder), what becomes of an earlier folder, and of what a killed process has left.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gptlib.utils.locks import locked


@contextmanager
def write_atomically(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file beside `path`; it takes that name only if the block ends without an error.

    A killed process, a full disk or an exception leaves the old file, if there was one, as it was.
    Text modes write UTF-8 with "\\n" line ends on every platform.

    Raises: OSError, with the name of `path` in it, if the folder can't be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "tmp")
    text_options = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with temporary.open(mode, **text_options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the bytes reach the disk before the name does
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def write_folder_atomically(folder: str | Path, on_waiting: Callable[[], None] | None = None) -> Iterator[Path]:
    """Make a temporary folder beside `folder`; it takes that name only if the block ends without an error.

    What was at `folder` stays until then, and is deleted afterwards: whoever calls this has made sure that it may be.
    One process at a time: while another writes the same folder, wait for it; `on_waiting` is called once when that
    begins. What killed processes have left is cleared away.

    Raises: OSError if the folder can't be made or written to.
    """
    folder = Path(folder)
    with locked(folder.with_name(f".{folder.name}.lock"), on_waiting=on_waiting, tidy=True):
        folder.parent.mkdir(parents=True, exist_ok=True)  # if the file system knows no locks, it is not there yet
        remove_leftovers(folder)
        temporary = _beside(folder, "tmp")
        try:
            temporary.mkdir()
            yield temporary
            _put_in_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename the complete folder; an earlier one steps aside first, and back if that fails.

    A folder can't be renamed onto one that isn't empty, so there are two steps, and an instant without `folder`;
    whoever is killed just then leaves it to `remove_leftovers` to bring it back.
    """
    aside = _beside(folder, "old")
    if folder.exists():
        folder.rename(aside)
    try:
        temporary.rename(folder)
    except BaseException:
        if aside.exists():
            aside.rename(folder)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _beside(path: Path, suffix: str) -> Path:
    """A new name in the same folder, since renaming is atomic only within one file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{suffix}")


def remove_leftovers(path: str | Path) -> None:
    """Delete what killed processes that wrote the file or folder `path` have left beside it.

    An earlier folder that had stepped aside returns if nothing has taken its place.
    """
    path = Path(path)
    # Not glob: a name may hold [ and *.
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.(tmp|old)")
    for leftover in list(path.parent.iterdir()) if path.parent.is_dir() else ():
        if not name.fullmatch(leftover.name):
            continue
        if leftover.suffix == ".old" and not path.exists():
            leftover.rename(path)
        elif leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a renaming itself durable; Windows has no handle on a folder and does without."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, atomically."""
    with write_atomically(path, "w") as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
        file.write("\n")


def read_json(path: str | Path, what: str = "file") -> Any:
    """The data of a JSON file; `what` names its kind in messages ("tokenizer", "meta").

    Raises: FileNotFoundError if nothing is at `path`; ValueError if it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {what} file at '{path}'; check the path.")
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is not a {what} file: it should hold JSON ({error}).") from None
