"""One instruction with its answer, and what makes the data of a file a good one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 100_000  # characters of a text; far more than any model here can see at once

# Control characters but tab and newline, halves of surrogate pairs, and what is left where bytes were decoded wrongly.
_NO_TEXT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffd-\uffff"
    + "".join(chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)


@dataclass(frozen=True)
class Instruction:
    """What is asked, what it is asked of ("" where nothing is given), and the answer.

    task: the kind of task, where the file names it, for scores by task.
    """

    instruction: str
    output: str
    input: str = ""
    task: str = ""


@dataclass(frozen=True)
class Unreadable:
    """Stands for an entry that could not be read as data at all; `why` goes on after "Entry 3 of 'x.json'"."""

    why: str


def check_entry(data: Any) -> Instruction:
    """`data`, an object as Alpaca's files have them, as an Instruction; its other keys are left alone.

    `instruction` and `output` are needed, `input` and `task` may be missing or null. Line ends become "\\n".
    Raises: ValueError that goes on after "Entry 3 of 'x.json'", where something is wrong with it.
    """
    if isinstance(data, Unreadable):
        raise ValueError(data.why)
    if not isinstance(data, Mapping):
        raise ValueError(f"is {kind(data)}, and an object with the keys 'instruction' and 'output' is needed")
    return Instruction(
        instruction=_text(data, "instruction"),
        output=_text(data, "output"),
        input=_text(data, "input", needed=False),
        task=_text(data, "task", needed=False),
    )


def _text(data: Mapping, key: str, needed: bool = True) -> str:
    if key not in data and needed:
        raise ValueError(f"has no '{key}', and a text is needed there")
    text = data.get(key)
    if text is None and not needed:
        return ""
    if not isinstance(text, str):
        raise ValueError(f"has {kind(text)} as its '{key}', and a text is needed")
    if len(text) > LONGEST:
        raise ValueError(f"has {len(text):,} characters in its '{key}', and {LONGEST:,} are allowed")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if found := _NO_TEXT.search(text):
        raise ValueError(
            f"has the character U+{ord(found[0]):04X} in its '{key}', at place {found.start() + 1:,}, which is in no "
            "proper text"
        )
    if any(character.isprintable() and not character.isspace() for character in text):
        return text
    if needed:
        raise ValueError(f"has nothing to read in its '{key}' ({text[:20]!r}), and a text is needed")
    return ""


def kind(value: Any) -> str:
    """What a value is, in JSON's words."""
    kinds = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else kinds.get(type(value), f"a {type(value).__name__}")
