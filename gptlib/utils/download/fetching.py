"""`fetch`: one file from the first of several addresses that gives it, whole and right, or not at all."""

import errno
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from gptlib.utils.download import request
from gptlib.utils.download.part import Part, differences
from gptlib.utils.download.request import Answer, ChangedError, InterruptionError, RefusalError, UnreachableError
from gptlib.utils.errors import DownloadError
from gptlib.utils.locks import locked

_PIECE = 1 << 18
_PROGRESS = 1 << 20  # bytes after which a connection that breaks again counts as broken for the first time
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class RetryPolicy:
    """When to try again, and when to give up: seconds without a byte, tries in a row that bring nothing, pauses."""

    timeout: float = 20.0
    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def wait(self, failures: int, wanted: float | None) -> float:
        """The server's wish, else twice as long after each failure, give or take, so that not all come back at once."""
        if wanted is not None:
            return wanted
        return min(self.longest_wait, self.first_wait * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)


RETRY = RetryPolicy()


@dataclass(frozen=True)
class _Wanted:
    """What is known of a file before it is there; `check` says what is wrong with a file's content, "" for nothing."""

    size: int | None
    sha256: str | None
    check: Callable[[Path], str]

    def is_at(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_size > 0 and not self.fault_of(path)

    def fault_of(self, file: Path) -> str:
        fault = differences(file, self.size, {"sha256": self.sha256} if self.sha256 else {})
        return fault or self.check(file)

    def __str__(self) -> str:
        return f"the {self.size:,} bytes expected" if self.size is not None else "the file expected"


def fetch(
    urls: Sequence[str],
    path: str | Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    check: Callable[[Path], str] = lambda file: "",
    otherwise: str = "check the network, or put the file there by other means",
    retry: RetryPolicy = RETRY,
    progress: bool = True,
) -> Path:
    """Make sure that the file at `path` is what the urls give, each asked only if those before it failed.

    A file that is there and right is left alone. What comes goes into `NAME.part`, which a later call continues, in
    any process; it takes the name `path` when its size and digests are what the server stated and what is known here.
    Two processes don't fetch into a folder at once: the second waits. `otherwise` ends the message of an error. If
    nothing has come, nothing is left, not even a folder.

    Raises: DownloadError.
    """
    path = Path(path)
    wanted = _Wanted(size, sha256, check)
    try:
        if wanted.is_at(path):
            return path
        busy = f"Another process is fetching into '{path.parent.name}'; waiting for it."
        with locked(path.parent / ".fetching.lock", on_waiting=lambda: tqdm.write(busy), tidy=True):
            if not wanted.is_at(path):  # another process may have made it so meanwhile
                _fetch_from_any(urls, Part(path), wanted, otherwise, retry, progress)
    except OSError as error:
        raise _of_the_disk(error, path) from None
    return path


def ensure_room(folder: Path, n_bytes: int) -> None:
    """Raises: DownloadError if the folder's disk has no room for that many bytes."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise DownloadError(
            f"'{folder}' needs {n_bytes / 1e6:,.1f} MB more and its disk has {free / 1e6:,.1f} MB free: free some "
            "space, or choose a folder on another disk."
        )


def _of_the_disk(error: OSError, path: Path) -> DownloadError:
    if error.errno in _FULL:
        return DownloadError(
            f"The disk is full, so '{path}' could not be written: free some space and try again; what has come stays, "
            "and the download goes on from there."
        )
    return DownloadError(
        f"'{path}' could not be written ({error.strerror or error}): give a folder that can be written to, or put the "
        "file there by other means."
    )


def _fetch_from_any(urls, part: Part, wanted: _Wanted, otherwise: str, retry: RetryPolicy, progress: bool) -> None:
    begun = part.note.url if part.note else None
    failures = []
    with tqdm(desc=part.path.name, unit="B", unit_scale=True, disable=not progress) as bar:
        for url in sorted(urls, key=lambda url: url != begun):  # the one that the part came from comes first
            try:
                _fetch_from(url, part, wanted, retry, bar)
                part.put_in_place()
                return
            except RefusalError as refusal:
                failures.append(f"{urlsplit(url).hostname or url}: {refusal}")
    fault = f"is there, but {wanted.fault_of(part.path)}, and " if part.path.is_file() else ""
    came = f"; the first {part.size / 1e6:,.1f} MB are kept for the next try" if part.note else ""
    raise DownloadError(f"'{part.path.name}' {fault}could not be fetched ({'; '.join(failures)}){came}: {otherwise}.")


def _fetch_from(url: str, part: Part, wanted: _Wanted, retry: RetryPolicy, bar: tqdm) -> None:
    """Ask one address, again if that may help, until the part is the whole and right file. Raises: RefusalError."""
    failures, at_first = 0, part.size
    before = at_first
    while True:
        try:
            resumed = _receive(url, part, wanted, retry.timeout, bar)
            _verify(part, wanted, resumed)
            return
        except (InterruptionError, UnreachableError) as trouble:
            if isinstance(trouble, UnreachableError) and part.size <= at_first:
                raise  # it has never answered
            if part.size >= before + _PROGRESS:
                failures, before = 0, part.size
            failures += 1
            wait = retry.wait(failures, getattr(trouble, "wait", None))
            if failures >= retry.attempts or wait > retry.longest_wait:
                raise RefusalError(str(trouble)) from None
            bar.set_postfix_str(f"{trouble}; again in {wait:.0f} s")
            time.sleep(wait)
            bar.set_postfix_str("")


def _receive(url: str, part: Part, wanted: _Wanted, timeout: float, bar: tqdm) -> bool:
    """Fill the part from the address, from where it stands if possible; whether bytes of an earlier request are in it.

    Raises: RefusalError, InterruptionError; OSError of the disk.
    """
    note = part.note
    if note and note.url == url and note.size == part.size:
        return True  # all is there, and was not verified any more
    start = part.size if note and note.url == url and note.validator else 0
    try:
        answer = request.ask(url, start, note.validator if start else None, timeout)
    except ChangedError:
        part.discard()
        raise
    with answer.body:
        total = answer.note.size
        if answer.start and total != note.size:
            part.discard()
            raise ChangedError("sent a part of another file than before", wait=0)
        if total is None and not (answer.body.chunked or wanted.size or wanted.sha256):
            raise RefusalError("does not say how long the file is, so nobody could tell whether it is whole")
        if wanted.size is not None and total is not None and total != wanted.size:
            raise RefusalError(f"has {total:,} bytes and not {wanted}")
        ensure_room(part.path.parent, (total or 0) - part.size)
        bar.initial = 0
        bar.reset(total)
        bar.initial = bar.n = answer.start  # so that the rate is that of what comes now
        with part.resume() if answer.start else part.begin(answer.note) as file:
            _copy(answer, file, wanted.size if total is None else total, bar)
    return answer.start > 0


def _copy(answer: Answer, file: BinaryIO, total: int | None, bar: tqdm) -> None:
    n = answer.start
    while True:
        try:
            piece = answer.body.read1(_PIECE)  # what has come, and not first all of the piece
        except Exception as error:
            raise _while_reading(error) from None
        if not piece:
            break
        _write(file, piece)
        bar.update(len(piece))
        n += len(piece)
        if total is not None and n > total:
            break
    if total is not None and n < total and answer.note.size is not None:
        raise InterruptionError(f"broke the connection after {n:,} of {total:,} bytes")


def _while_reading(error: Exception) -> Exception:
    """Whoever has sent bytes is there: the same error that refuses a request is then one that passes."""
    told = request.classify_error(error)
    return InterruptionError(str(told)) if isinstance(told, RefusalError) else told


def _write(file: BinaryIO, piece: bytes) -> None:
    file.write(piece)
    file.flush()  # a process that is killed while it waits for the next piece loses nothing


def _verify(part: Part, wanted: _Wanted, resumed: bool) -> None:
    """Raises: RefusalError, or InterruptionError if joining two parts may be at fault; a wrong part is then deleted."""
    note = part.note
    fault = "it is empty" if note is None else differences(part.file, note.size, note.digests)
    fault = wanted.fault_of(part.file) or fault if part.file.is_file() else fault
    if fault:
        part.discard()
        message = f"what it sent is not {wanted} ({fault})"
        raise InterruptionError(message, wait=0) if resumed else RefusalError(message)
