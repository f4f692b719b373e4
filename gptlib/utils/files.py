"""Files that are either whole or not there: atomic writing and JSON.

Everything that gptlib writes goes through `write_atomically`. It knows nothing of models or texts.
"""

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def write_atomically(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file beside `path`; it takes the name `path` only when the block ends without an error.

    A killed process, a full disk or an exception leaves the old file, if there was one, as it was. Text modes
    write UTF-8 with "\\n" line ends on every platform.

    Raises: OSError, with the name of `path` in it, where the folder can't be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same folder, because a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
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


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows has no handle on a folder and does without."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(path: str | Path) -> None:
    """Delete the temporary files that a killed `write_atomically(path)` has left in the folder of `path`."""
    path = Path(path)
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")  # not glob: a name may hold [ and *
    for leftover in path.parent.iterdir() if path.parent.is_dir() else ():
        if name.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, atomically."""
    with write_atomically(path, "w") as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
        file.write("\n")


def read_json(path: str | Path, what: str = "file") -> Any:
    """The data of a JSON file; `what` names its kind in messages ("tokenizer", "meta").

    Raises: FileNotFoundError where nothing is at `path`; ValueError where it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {what} file at '{path}'; check the path.")
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is not a {what} file: it should hold JSON ({error}).") from None
