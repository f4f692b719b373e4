"""Instructions in Alpaca's format, from files, with each entry checked: what is no good is reported, never passed on.

The format is a list of objects with the keys `instruction`, `input` (may be missing or empty) and `output`
(https://github.com/tatsu-lab/stanford_alpaca).
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gptlib.corpus.reading import Source, decoded
from gptlib.instructions.entries import Instruction, Unreadable, check_entry, kind

LINES = (".jsonl", ".ndjson")
SUFFIXES = (".json", *LINES)
_OF_A_DATASET = ("dataset_dict.json", "state.json")  # what Hugging Face's save_to_disk writes beside the data

Numbered = Iterator[tuple[str, Any]]
"""Where each entry is ("Entry 3 of 'x.json'"), and its data."""


class Reading(NamedTuple):
    """The good entries of what was read, and a sentence for each that was skipped."""

    entries: list[Instruction]
    skipped: list[str]

    def report(self, most: int = 5) -> str:
        """What was skipped, a line each for the first `most`; "" where nothing was."""
        if not self.skipped:
            return ""
        n = len(self.skipped)
        lines = [f"Skipped {n:,} of {n + len(self.entries):,} entries:", *self.skipped[:most]]
        return "\n  ".join(lines + [f"and {n - most:,} more."] * (n > most))


def read_instructions(
    source: str | os.PathLike | Iterable[Mapping | Instruction], bad: Literal["refuse", "skip"] = "refuse"
) -> Reading:
    """The entries of a .json file (one list), of a .jsonl file (one object a line), of all such files in a folder, of
    a folder that Hugging Face's `datasets` saved (where that is installed), or of a list of dicts, checked one by one.

    bad: "refuse" raises at the first bad entry; "skip" leaves bad ones out, and says so in what it returns.
    Raises: FileNotFoundError where nothing is; ValueError, with the file's name and the entry's number, for a bad entry
    that is refused, for a file that cannot be read as a whole, and where no good entry is left.

    Example: entries, skipped = read_instructions("data/instructions.json")
    """
    if bad not in ("refuse", "skip"):
        raise ValueError(f"bad={bad!r} is not known; give 'refuse' or 'skip'.")
    entries, skipped = [], []
    for where, data in _numbered(source):
        try:
            entries.append(check_entry(data))
        except ValueError as error:
            if bad == "refuse":
                raise ValueError(f"{where} {error}; mend it, or have bad entries skipped.") from None
            skipped.append(f"{where} {error}.")
    if skipped and not entries:
        raise ValueError(f"None of {len(skipped):,} entries can be used, and at least one is needed; {skipped[0]}")
    if not entries:
        raise ValueError("The list of entries is empty ([]); give at least one, with 'instruction' and 'output'.")
    return Reading(entries, skipped)


def _numbered(source: Any) -> Numbered:
    if isinstance(source, str | os.PathLike):
        yield from _at(Path(source))
        return
    if not isinstance(source, Iterable) or isinstance(source, Mapping | bytes | bytearray):
        raise ValueError(
            f"Instructions can't be read from a {type(source).__name__}; give a file, a folder or a list of dicts."
        )
    for number, data in enumerate(source, start=1):
        yield f"Entry {number}", asdict(data) if isinstance(data, Instruction) else data


def _at(path: Path) -> Numbered:
    """The entries of a file, a folder of files, or a saved dataset."""
    try:
        path = path.expanduser()
        is_folder, found = path.is_dir(), path.exists()
    except (OSError, ValueError, RuntimeError):  # too long to be a name, with a NUL, in the home of nobody
        is_folder = found = False
    if not found:
        raise FileNotFoundError(f"There is no file or folder of instructions at {str(path)[:200]!r}; check the path.")
    if is_folder and any((path / name).is_file() for name in _OF_A_DATASET):
        yield from _saved_dataset(path)
        return
    for file in _files_in(path) if is_folder else [path]:
        yield from _entries_of(file)


def _files_in(folder: Path) -> list[Path]:
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file()]
    if not files:
        raise FileNotFoundError(
            f"The folder '{folder}' has no {' or '.join(SUFFIXES)} file; put one there, or give another folder."
        )
    return sorted(files, key=lambda p: p.name)


def _entries_of(file: Path) -> list[tuple[str, Any]]:
    if file.suffix.lower() not in SUFFIXES or not file.is_file():
        raise ValueError(f"'{file}' is no {', '.join(SUFFIXES)} file; give one, or a folder of them.")
    text = "".join(decoded(Source(str(file), file)))
    if file.suffix.lower() in LINES:
        lines = enumerate(text.split("\n"), start=1)
        entries = [(f"Line {number} of '{file}'", _parsed(line)) for number, line in lines if line.strip()]
    else:
        entries = [(f"Entry {number} of '{file}'", data) for number, data in enumerate(_listed(file, text), start=1)]
    if not entries:
        raise ValueError(f"'{file}' has no entry; put at least one there, with 'instruction' and 'output'.")
    return entries


def _listed(file: Path, text: str) -> list:
    """The list that the JSON is. Raises: ValueError where it is none."""
    data = _parsed(text)
    if isinstance(data, Unreadable):
        raise ValueError(f"'{file}' {data.why}; if each of its lines is an entry, name it .jsonl.")
    if not isinstance(data, list):
        keys = f" with the keys {', '.join(map(repr, list(data)[:4]))}"[:80] if isinstance(data, dict) else ""
        raise ValueError(f"'{file}' holds {kind(data)}{keys}, and a list of entries is needed.")
    return data


def _parsed(text: str) -> Any:
    """The data of JSON, with an Unreadable for what is none, and for an object that has a key twice."""
    try:
        # int() refuses thousands of digits; no entry has a number that matters.
        return json.loads(text, object_pairs_hook=_object, parse_int=float)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        return Unreadable(f"is not JSON at {line}column {error.colno} ({error.msg})")
    except RecursionError:
        return Unreadable("is not JSON of entries, since lists or objects in it are nested too deeply")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Unreadable:
    data = dict(pairs)
    if len(data) == len(pairs):
        return data
    seen: set[str] = set()
    twice = next(key for key, _ in pairs if key in seen or seen.add(key))
    return Unreadable(f"has the key {twice[:40]!r} twice, and each may be there once")


def _saved_dataset(folder: Path) -> Numbered:
    try:
        from datasets import load_from_disk
    except ImportError:
        raise ValueError(
            f"'{folder}' is a dataset of Hugging Face's `datasets`, which is not installed; "
            "run `pip install datasets`, or give a .json or .jsonl file."
        ) from None
    try:
        rows = load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"The dataset '{folder}' can't be read ({reason}); save it anew with save_to_disk.") from None
    if isinstance(rows, Mapping):
        raise ValueError(
            f"'{folder}' has the parts {', '.join(rows)}; give one of them, such as '{folder / min(rows)}'."
        )
    for number, data in enumerate(rows, start=1):
        yield f"Entry {number} of '{folder}'", data
