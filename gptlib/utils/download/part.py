"""The unfinished file of a download, `NAME.part`, and the note beside it that says what it is a part of.

Bytes are added to a `.part` only if the server vouches that they belong to the same file: the note keeps what it called
the file (its ETag, or its date), and every later request names it.
"""

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from gptlib.utils.files import read_json, sync_folder, write_json


@dataclass(frozen=True)
class Note:
    """What a server said of the whole file: the URL, its validator for If-Range, its size and its digests (hex)."""

    url: str
    validator: str | None
    size: int | None
    digests: dict[str, str]


class Part:
    """The bytes of `path` that have come so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.with_name(f"{path.name}.part")
        self._note_file = path.with_name(f"{path.name}.part.json")

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.is_file() else 0

    @property
    def note(self) -> Note | None:
        """The note of the bytes that are there; None if there are none, or none that can be continued."""
        try:
            note = Note(**read_json(self._note_file, "download note"))
            fits = isinstance(note.url, str) and isinstance(note.digests, dict)
            fits = fits and isinstance(note.validator, str | None) and isinstance(note.size, int | None)
        except (OSError, ValueError, TypeError):
            return None
        return note if fits and 0 < self.size <= (note.size or self.size) else None

    def begin(self, note: Note) -> BinaryIO:
        """An empty file for the whole of what the note describes."""
        self._note_file.unlink(missing_ok=True)  # first, so that a note never stands beside bytes of another file
        file = self.file.open("wb")
        write_json(self._note_file, asdict(note))
        return file

    def resume(self) -> BinaryIO:
        return self.file.open("ab")

    def discard(self) -> None:
        self._note_file.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)

    def put_in_place(self) -> None:
        """Give the finished file its name, once its bytes have reached the disk."""
        with self.file.open("rb+") as file:
            os.fsync(file.fileno())
        self.file.replace(self.path)
        self._note_file.unlink(missing_ok=True)
        sync_folder(self.path.parent)


def differences(file: Path, size: int | None, digests: dict[str, str]) -> str:
    """How a file differs from the one expected: "its size is 17", "its md5 differs"; "" if it does not."""
    if size is not None and file.stat().st_size != size:
        return f"its size is {file.stat().st_size:,}"
    for name, expected in digests.items():
        with file.open("rb") as content:
            if hashlib.file_digest(content, name).hexdigest() != expected:
                return f"its {name} differs"
    return ""
