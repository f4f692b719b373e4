"""What a learner has done, kept in one JSON file in the user's data folder; two notebooks may write at once.

Every change reads the file anew under a lock and writes it whole. A file that can't be read is moved aside, never lost.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gptlib.utils.files import read_json, write_json
from gptlib.utils.folders import data_folder
from gptlib.utils.locks import locked

FORMAT = 1
LONGEST_WAIT = 2.0  # seconds for another process's lock, which is held for milliseconds


@dataclass
class Record:
    """One exercise: how often it was checked, how many hints were given, whether it was ever right."""

    attempts: int = 0
    hints: int = 0
    done: bool = False


Records = dict[str, Record]


def progress_file() -> Path:
    return data_folder() / "progress.json"


def load() -> tuple[Records, str]:
    """All records, and a sentence for the learner where there was something wrong with the file, else ""."""
    try:
        if not progress_file().is_file():
            return {}, ""
        with _locked():
            return _read()
    except OSError as error:
        return {}, f"Your progress could not be read from '{progress_file()}' ({error.strerror})."


def change(edit: Callable[[Records], None]) -> str:
    """Let `edit` change the records as they are now, and store them; a sentence where that went wrong, else ""."""
    try:
        data_folder().mkdir(parents=True, exist_ok=True)
        with _locked():
            records, note = _read()
            edit(records)
            exercises = {name: asdict(record) for name, record in sorted(records.items())}
            write_json(progress_file(), {"format": FORMAT, "exercises": exercises})
        return note
    except OSError as error:
        return (
            f"Your progress could not be stored in '{data_folder()}' ({error.strerror}); set the environment variable "
            "GPTLIB_DATA to a folder that can be written to."
        )


def _read() -> tuple[Records, str]:
    """The file's records. One that is damaged, or not ours, is moved aside, and the second value says so."""
    path = progress_file()
    if not path.exists():
        return {}, ""
    try:
        return _understood(read_json(path, "progress")), ""
    except ValueError:
        n = 1
        while (aside := path.with_name(f"progress.damaged-{n}.json")).exists():
            n += 1
        path.rename(aside)
        return {}, f"The file with your progress could not be understood; it is now '{aside}', and a new one begins."


def _understood(data: Any) -> Records:
    """The records in the file's data, with those of exercises that this version does not have.

    Raises: ValueError where it is not what `change` writes.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("exercises"), dict):
        raise ValueError("not a progress file")
    records = {}
    for name, entry in data["exercises"].items():
        types = {key: type(value) for key, value in entry.items()} if isinstance(entry, dict) else None
        if types != {"attempts": int, "hints": int, "done": bool}:
            raise ValueError(f"no record: {entry!r}")
        records[name] = Record(**entry)
    return records


def _locked() -> AbstractContextManager[bool]:
    """Hold the data folder's lock; go on without it where there is none."""
    return locked(data_folder() / "progress.lock", LONGEST_WAIT)
