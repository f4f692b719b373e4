"""What a learner has done, kept in one JSON file in the user's data folder; two notebooks may write at once.

Every change reads the file again under a lock and writes it whole. A file that can't be read is moved aside, and one at
the place of earlier versions is moved here; nothing is lost.
"""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
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
    """All records, and a sentence for the learner if there was something wrong with the file, else ""."""
    try:
        if not progress_file().is_file() and _earlier_file() is None:
            return {}, ""
        with _locked():
            return _read()
    except OSError as error:
        return {}, f"Your progress could not be read from '{progress_file()}' ({error.strerror})."


def change(edit: Callable[[Records], None]) -> str:
    """Let `edit` change the records as they are now, and store them; a sentence if that went wrong, else ""."""
    try:
        data_folder().mkdir(parents=True, exist_ok=True)
        with _locked():
            records, note = _read()
            edit(records)
            _write(records)
        return note
    except OSError as error:
        return (
            f"Your progress could not be stored in '{data_folder()}' ({error.strerror}); set the environment "
            "variable GPTLIB_DATA to a folder that can be written to."
        )


def _read() -> tuple[Records, str]:
    """The records, with those of an earlier place, and a sentence for the learner if a file was moved."""
    records, damaged = _read_file(progress_file())
    earlier = _earlier_file()
    if earlier is None:
        return records, damaged
    found, note = _read_file(earlier)
    if not note:
        records = _joined(records, found)
        _write(records)  # before the other goes; whoever is killed in between joins them again
        with suppress(OSError):  # a folder that can't be written to keeps it, and it is joined each time
            earlier.replace(earlier.with_name("progress.moved.json"))
            note = f"Your progress has moved from '{earlier}' to '{progress_file()}'."
    return records, f"{damaged} {note}".strip()


def _read_file(path: Path) -> tuple[Records, str]:
    """A file's records. One that is damaged, or not ours, is moved aside, and the second value says so."""
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


def _write(records: Records) -> None:
    exercises = {name: asdict(record) for name, record in sorted(records.items())}
    write_json(progress_file(), {"format": FORMAT, "exercises": exercises})


def _joined(records: Records, others: Records) -> Records:
    """Both: of an exercise that is in both, the larger counts. Joining once more changes nothing."""
    joined = dict(records)
    for name, other in others.items():
        mine = joined.get(name, Record())
        joined[name] = Record(max(mine.attempts, other.attempts), max(mine.hints, other.hints), mine.done or other.done)
    return joined


def _earlier_file() -> Path | None:
    """The file in the folder of earlier versions, if there is one there and that is another folder than today's."""
    if os.environ.get("GPTLIB_DATA"):
        return None
    path = earlier_folder() / progress_file().name
    return path if path.is_file() and path.resolve() != progress_file().resolve() else None


def earlier_folder() -> Path:
    """The folder in which earlier versions kept progress; platformdirs heeds a few more of the system's variables."""
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", ""))
        base = base if base.is_absolute() else Path.home() / ".local" / "share"
    return Path(base) / "gptlib"


def _understood(data: Any) -> Records:
    """The records in the file's data, with those of exercises that this version does not have.

    Raises: ValueError if it is not what `change` writes.
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
    """Hold the data folder's lock; go on without it if there is none."""
    return locked(data_folder() / "progress.lock", LONGEST_WAIT)
