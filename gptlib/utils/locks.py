"""Locks that the system frees when their holder is killed."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

_ANOTHER_HAS_IT = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # the last two are Windows' words


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
