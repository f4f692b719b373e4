"""Files that are either whole or not there: atomic writing, locks, reading JSON, finding the workbook's folder.

Everything that gptlib writes goes through `write_atomically`. It knows nothing of models or texts.
"""

import errno
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

_ANOTHER_HAS_IT = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # the last two are Windows' words


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


@contextmanager
def locked(
    path: str | Path,
    longest_wait: float | None = None,
    on_waiting: Callable[[], None] | None = None,
    *,
    tidy: bool = False,
) -> Iterator[bool]:
    """Hold the lock of the file `path`, which is made where it is missing; the system frees it if we are killed.

    While another process (or thread) holds it, wait for at most `longest_wait` seconds, or as long as it takes;
    `on_waiting` is called once when that begins. Yields whether the lock is held: not after the longest wait, nor on
    a file system that knows no locks. tidy: make the folder too, and leave nothing behind: at the end the file goes,
    and each folder that was made for it and is empty.
    """
    path, made, file, held = Path(path), [], None, None
    deadline = None if longest_wait is None else time.monotonic() + longest_wait
    try:
        while file is None:
            file = _open_lock(path, made if tidy else None)
            while (held := _try_lock(file)) is None and (deadline is None or time.monotonic() < deadline):
                if on_waiting:
                    on_waiting()
                    on_waiting = None
                time.sleep(0.01 if longest_wait else 0.1)
            if held and not _is_at(file, path):  # whoever had it has removed it: nobody else will meet this lock
                file.close()
                file = held = None
        yield bool(held)
    finally:
        if file and fcntl is None:
            if held:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
            file.close()  # since Windows removes no file that is open
        if tidy:  # elsewhere before it is closed: while it is ours, nobody can have locked what is removed
            _remove(path if held and _is_at(file, path) else None, made)
        if file:
            file.close()


def _open_lock(path: Path, made: list[Path] | None) -> IO:
    """The file, opened; where `made` is given, its folder is made first, and what was missing of it goes in there.

    The innermost folder comes first in `made`.
    """
    tries = 10
    while True:
        try:
            if made is not None:
                missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
                made += [folder for folder in missing if folder not in made]
                path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("a")
        except (FileNotFoundError, FileExistsError):  # another process has just tidied the folder away
            tries -= 1
            if made is None or tries == 0:
                raise


def _is_at(file: IO, path: Path) -> bool:
    """Whether the open file still is the one at `path`; on Windows an open one can't go."""
    try:
        return fcntl is None or os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove(file: Path | None, folders: list[Path]) -> None:
    """Remove the file, then the folders as far as they are empty; what can't be removed stays."""
    with suppress(OSError):
        if file is not None:
            file.unlink(missing_ok=True)
        for folder in folders:
            folder.rmdir()


def _try_lock(file: IO) -> bool | None:
    """True where we have the lock now, None where another has it, False where there are no locks; closing frees it."""
    try:
        if fcntl is None:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _ANOTHER_HAS_IT else False
    return True


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


def project_root() -> Path:
    """The workbook's folder, which holds data/ and model_weights/.

    The environment variable GPTLIB_HOME, where set; else the nearest folder with a `data` and a `notebooks` folder,
    from the current one upwards; else the checkout that gptlib was installed from; else the current folder.
    """
    if home := os.environ.get("GPTLIB_HOME"):
        return Path(home)
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "data").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return here
