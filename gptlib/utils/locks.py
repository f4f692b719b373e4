"""One process at a time: filelock's locks, which the system frees when their holder is killed.

Ours are two habits around them: work goes on without a lock on a file system that knows none (a marker file in its
place would outlive a killed holder), and whoever wants it tidy finds the folder afterwards as it was, without the
lock's file and without folders that were made for it.
"""

import errno
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_TRIES = 100  # to get into a folder that others remove as soon as they are done with it


@contextmanager
def locked(
    path: str | Path,
    longest_wait: float | None = None,
    on_waiting: Callable[[], None] | None = None,
    *,
    tidy: bool = False,
) -> Iterator[bool]:
    """Hold the lock of the file `path`, which is made if it is missing, as is its folder.

    While another process (or thread) holds it, wait for at most `longest_wait` seconds, or as long as it takes;
    `on_waiting` is called once when that begins. Yields whether the lock is held: not after the longest wait, nor on a
    file system that knows no locks. tidy: leave nothing behind: at the end the file goes, and each folder that was made
    for it and is empty.

    Raises: OSError if the file can't be made, or is a link; RuntimeError if this thread holds the lock already and
    would wait for itself forever.
    """
    path = Path(path)
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    made: list[Path] = []  # the innermost folder first
    held, file = False, None
    try:
        held = _acquire(lock, path, longest_wait, on_waiting, made)
        file = _identity(path) if held else None
        yield held
    finally:
        if tidy and file is not None and file == _identity(path):
            # Before the release: while it is ours, nobody can have locked what is removed. Windows removes no open
            # file, but there filelock does so itself.
            with suppress(OSError):
                path.unlink()
        if held:
            lock.release()
        for folder in made if tidy else ():
            with suppress(OSError):  # it stays if there is something in it
                folder.rmdir()


def _acquire(
    lock: FileLock,
    path: Path,
    longest_wait: float | None,
    on_waiting: Callable[[], None] | None,
    made: list[Path],
) -> bool:
    """Whether we have the lock now; what was missing of its folder goes into `made`."""
    deadline, tries = None if longest_wait is None else time.monotonic() + longest_wait, 0
    while True:
        folders = [folder for folder in path.parents if not folder.exists()]
        made += [folder for folder in folders if folder not in made]
        try:
            with suppress(Timeout):
                lock.acquire(blocking=False)
                return True
            if on_waiting:
                on_waiting()
                on_waiting = None
            rest = -1 if deadline is None else max(0.0, deadline - time.monotonic())
            lock.acquire(rest, poll_interval=0.1 if longest_wait is None else 0.01)
            return True
        except Timeout:
            return False
        except (FileNotFoundError, FileExistsError):  # another process has just tidied the folder away
            tries += 1
            if tries == _TRIES:
                raise
            time.sleep(random.uniform(0, 0.01))  # so that those who wait don't all come back at once
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:
                return False
            raise


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells the file at `path` from one that takes its name later."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
