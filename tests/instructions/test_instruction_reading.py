"""Instructions from files: what is read, what is refused, and in which words."""

import json
import sys
import types
from dataclasses import asdict

import pytest

from gptlib.instructions import Instruction, read_instructions

HEN = {"instruction": "Name a hen.", "input": "", "output": "Aunt Pepper"}
FOX = {"instruction": "Name a fox.", "output": "Russet", "task": "names", "id": 7, "extra": {"a": [None]}}
READ = [Instruction("Name a hen.", "Aunt Pepper"), Instruction("Name a fox.", "Russet", task="names")]


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    return path


def test_json_json_lines_folders_and_lists_give_the_same(tmp_path):
    whole = write(tmp_path / "whole.json", json.dumps([HEN, FOX], indent=1))
    lines = write(tmp_path / "lines.JSONL", f"\n{json.dumps(HEN)}\r\n  \n{json.dumps(FOX)}")
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder / "b.json", json.dumps([FOX]))
    write(folder / "a.jsonl", json.dumps(HEN))
    write(folder / ".hidden.json", "no")
    write(folder / "notes.txt", "no")
    for source in (whole, str(whole), lines, folder, [HEN, FOX], iter([HEN, FOX]), READ):
        assert read_instructions(source) == (READ, [])


def test_a_mark_at_the_start_and_line_ends_of_windows_are_dropped(tmp_path):
    text = json.dumps([{**HEN, "output": "one\r\ntwo\rthree\n"}])
    file = write(tmp_path / "a.json", b"\xef\xbb\xbf" + text.replace(", ", ",\r\n").encode())
    assert read_instructions(file).entries[0].output == "one\ntwo\nthree\n"


@pytest.mark.parametrize("nothing", [{}, {"input": None}, {"input": ""}, {"input": " \n"}, {"input": "", "task": None}])
def test_an_input_may_be_missing_or_empty(nothing):
    assert read_instructions([{"instruction": "Say it.", "output": "It."} | nothing]).entries == [
        Instruction("Say it.", "It.")
    ]


def test_texts_stay_as_they_are(tmp_path):
    odd = " \tné {x} %s 🙂 \u200d\u202e <|endoftext|> \U0010fffd\n"
    file = write(tmp_path / "a.json", json.dumps([dict.fromkeys(("instruction", "input", "output"), odd)]))
    assert asdict(read_instructions(file).entries[0]) == {"instruction": odd, "input": odd, "output": odd, "task": ""}


BAD_ENTRIES = {
    "no object": ("text", "is a text, and an object with the keys 'instruction' and 'output' is needed"),
    "null": (None, "is null, and an object"),
    "a list": ([1], "is a list, and an object"),
    "no output": ({"instruction": "a"}, "has no 'output', and a text is needed there"),
    "wrong case": ({"Instruction": "a", "output": "b"}, "has no 'instruction', and a text is needed there"),
    "a number": ({**HEN, "output": 7}, "has a number as its 'output', and a text is needed"),
    "true": ({**HEN, "instruction": True}, "has true or false as its 'instruction'"),
    "null output": ({**HEN, "output": None}, "has null as its 'output'"),
    "an input of lists": ({**HEN, "input": []}, "has a list as its 'input'"),
    "a task of numbers": ({**HEN, "task": 1}, "has a number as its 'task'"),
    "an object inside": ({**HEN, "output": {}}, "has an object as its 'output'"),
    "empty": ({**HEN, "output": ""}, "has nothing to read in its 'output' ('')"),
    "white": ({**HEN, "output": " \n\t"}, "has nothing to read in its 'output' (' \\n\\t')"),
    "invisible": ({**HEN, "output": "\u200b\ufeff"}, "has nothing to read in its 'output' ('\\u200b\\ufeff')"),
    "too long": ({**HEN, "input": "a" * 100_001}, "has 100,001 characters in its 'input', and 100,000 are allowed"),
    "NUL": ({**HEN, "output": "a\0"}, "has the character U+0000 in its 'output', at place 2, which is in no"),
    "escape": ({**HEN, "output": "\x1b[2J"}, "has the character U+001B"),
    "half a pair": ({**HEN, "input": "a\ud83d"}, "has the character U+D83D"),
    "decoded wrongly": ({**HEN, "output": "caf\ufffd"}, "has the character U+FFFD in its 'output', at place 4,"),
    "no character": ({**HEN, "output": "\U0001ffff"}, "has the character U+1FFFF"),
}


@pytest.mark.parametrize(("entry", "said"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_a_bad_entry_is_refused_or_skipped_by_its_number(tmp_path, entry, said):
    whole = write(tmp_path / "a.json", json.dumps([HEN, entry, FOX]))
    lines = write(tmp_path / "a.jsonl", "\n".join(["", *map(json.dumps, (HEN, entry, FOX))]))
    for source, where in (
        (whole, f"Entry 2 of '{whole}' "),
        (lines, f"Line 3 of '{lines}' "),
        ([HEN, entry], "Entry 2 "),
    ):
        with pytest.raises(ValueError, match=r"; mend it, or have bad entries skipped\.$") as caught:
            read_instructions(source)
        assert str(caught.value).startswith(where + said)
        entries, skipped = read_instructions(source, bad="skip")
        assert entries == READ[: len(entries)]
        assert len(skipped) == 1
        assert skipped[0].startswith(where + said)


def test_a_key_twice_not_a_number_and_broken_lines_are_entries_faults(tmp_path):
    file = write(
        tmp_path / "a.jsonl",
        '{"instruction": "a", "output": "b", "output": "c"}\n'
        '{"instruction": "a", "output": NaN}\n'
        '{"instruction": "a", "output": "cut of\n'
        '{"instruction": "a", "output": "b"} {}\n' + "[" * 99_999 + "\n" + json.dumps(HEN) + "\n"
        '{"instruction": "a", "output": ' + "9" * 5000 + "}",
    )
    entries, skipped = read_instructions(file, bad="skip")
    assert entries == READ[:1]
    where = [sentence.removeprefix("Line ").replace(f" of '{file}'", "") for sentence in skipped]
    assert where == [
        "1 has the key 'output' twice, and each may be there once.",
        "2 has a number as its 'output', and a text is needed.",
        "3 is not JSON at column 32 (Unterminated string starting at).",
        "4 is not JSON at column 37 (Extra data).",
        "5 is not JSON of entries, since lists or objects in it are nested too deeply.",
        "7 has a number as its 'output', and a text is needed.",
    ]


def test_the_report_counts_and_shows_the_first(tmp_path):
    reading = read_instructions([HEN, *[{}] * 7], bad="skip")
    assert reading.report(most=2).splitlines() == [
        "Skipped 7 of 8 entries:",
        "  Entry 2 has no 'instruction', and a text is needed there.",
        "  Entry 3 has no 'instruction', and a text is needed there.",
        "  and 5 more.",
    ]
    assert read_instructions([HEN]).report() == ""


BAD_FILES = {
    "empty": (b"", "is empty"),
    "a mark only": (b"\xef\xbb\xbf", "is empty"),
    "white": (b" \n", "is not JSON at line 2, column 1 (Expecting value)"),
    "no entries": (b"[]", "has no entry"),
    "cut off": (b'[{"instruction": "a"', "is not JSON at column 21 (Expecting ',' delimiter)"),
    "lines": (b'{"a": 1}\n{"a": 2}', "(Extra data); if each of its lines is an entry, name it .jsonl."),
    "an object": (b'{"version": 1, "data": []}', "holds an object with the keys 'version', 'data', and a list"),
    "a text": (b'"hello"', "holds a text, and a list of entries is needed"),
    "NaN": (b"NaN", "holds a number, and a list of entries is needed"),
    "a key twice": (b'{"a": 1, "a": 2}', "has the key 'a' twice"),
    "deep": (b"[" * 99_999, "nested too deeply"),
    "deep objects": (b'{"a":' * 99_999, "nested too deeply"),
    "UTF-16": ("[]".encode("utf-16"), "is not a UTF-8 text"),
    "Latin-1": (b'[{"instruction": "caf\xe9"}]', "byte 0xE9 at offset 21 is not UTF-8"),
    "NUL": (b"[]\0", "byte 0x00 at offset 2 is a NUL"),
    "Python": (b"[{'instruction': 'a'}]", "is not JSON at column 3"),
}


@pytest.mark.parametrize(("data", "said"), BAD_FILES.values(), ids=BAD_FILES)
@pytest.mark.parametrize("bad", ["refuse", "skip"])
def test_a_file_that_holds_no_entries_is_refused_whole(tmp_path, data, said, bad):
    file = write(tmp_path / "a.json", data)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are below
        read_instructions(file, bad=bad)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_place_to_read_from(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file or folder of instructions at '.*none\.json'"):
        read_instructions(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="There is no file or folder"):
        read_instructions("Once upon a time\0 " * 999)
    with pytest.raises(FileNotFoundError, match=r"instructions at '~nobody-of-this-name.a\.json'"):
        read_instructions("~nobody-of-this-name/a.json")
    with pytest.raises(FileNotFoundError, match=r"has no \.json or \.jsonl or \.ndjson file; put one there"):
        read_instructions(tmp_path)
    with pytest.raises(ValueError, match=r"is no \.json, \.jsonl, \.ndjson file; give one"):
        read_instructions(write(tmp_path / "a.csv", "a,b"))
    with pytest.raises(ValueError, match="Instructions can't be read from a dict; give a file"):
        read_instructions(HEN)
    with pytest.raises(ValueError, match="read from a int"):
        read_instructions(3)
    with pytest.raises(ValueError, match="bad='ignore' is not known; give 'refuse' or 'skip'"):
        read_instructions([HEN], bad="ignore")


@pytest.mark.parametrize("bad", ["refuse", "skip"])
def test_nothing_at_all_is_refused(bad):
    with pytest.raises(ValueError, match=r"The list of entries is empty"):
        read_instructions([], bad=bad)
    with pytest.raises(ValueError, match=r"Entry 1 is null"):
        read_instructions([None, None], bad=bad)
    with pytest.raises(ValueError, match=r"None of 2 entries can be used, .*; Entry 1 is null"):
        read_instructions([None, None], bad="skip")


@pytest.fixture
def saved(tmp_path):
    """A folder as `datasets` saves it, as far as we look at it."""
    write(tmp_path / "state.json", "{}")
    write(tmp_path / "data-00000-of-00001.arrow", b"\0")
    return tmp_path


def test_a_dataset_of_hugging_face_says_what_it_needs(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # as where it is not installed
    with pytest.raises(ValueError, match=r"which is not installed; run `pip install datasets`, or give a \.json"):
        read_instructions(saved)


def test_the_rows_of_a_dataset_of_hugging_face_are_checked_as_others(saved, monkeypatch):
    """`datasets` is not installed for the tests: a stand-in gives what load_from_disk does, rows or a dict of parts."""
    module = types.SimpleNamespace(load_from_disk=lambda folder: [HEN, {"instruction": None}, FOX])
    monkeypatch.setitem(sys.modules, "datasets", module)
    entries, skipped = read_instructions(saved, bad="skip")
    assert entries == READ
    assert skipped[0].startswith(f"Entry 2 of '{saved}' has null")
    module.load_from_disk = lambda folder: {"train": [HEN], "test": [FOX]}
    with pytest.raises(ValueError, match=r"has the parts train, test; give one of them, such as '.*test'"):
        read_instructions(saved)

    def broken(folder):
        raise ValueError("not an Arrow file\nmore of it")

    module.load_from_disk = broken
    with pytest.raises(ValueError, match=r"can't be read \(not an Arrow file\); save it anew"):
        read_instructions(saved)
