"""A file split into three beside it: nothing lost, asked only where someone is, nobody's files overwritten."""

import io
import re
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.corpus import split_files, split_text_file

NAMES = ["train.txt", "valid.txt", "test.txt"]
TEXT = "".join(f"line {k}\n" for k in range(1000))

LINES = st.lists(st.text(st.characters() | st.sampled_from("\r\0é\x0b\u2028")), max_size=30).map("\n".join)
WEIGHTS = st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20))
RATIOS = WEIGHTS.map(lambda w: tuple(x / sum(w) for x in w))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def n_lines(text):
    newline = b"\n" if isinstance(text, bytes) else "\n"
    return text.count(newline) + (not text.endswith(newline) and len(text) > 0)


def split(path, *arguments, **options):
    """split_text_file's parts as bytes, checked to be the whole file."""
    paths = split_text_file(path, *arguments, **options)
    assert list(paths) == ["train", "valid", "test"]
    assert [p.name for p in paths.values()] == NAMES
    return [p.read_bytes() for p in paths.values()]


@settings(max_examples=60, deadline=None)
@given(text=LINES.filter(lambda t: n_lines(t) > 2), mark=st.booleans(), ratios=RATIOS)
def test_every_byte_of_a_file_is_in_one_part(tmp_path_factory, text, mark, ratios):
    text = text.encode("utf-8", "replace").replace(b"\0", b"")
    data = (b"\xef\xbb\xbf" if mark else b"") + text.replace(b"\n", b"\r\n") + b"\r\nend"
    folder = tmp_path_factory.mktemp("split")
    (folder / "input.txt").write_bytes(data)
    parts = split(folder / "input.txt", ratios)
    assert b"".join(parts) == data
    assert all(not part or part.endswith(b"\n") or not any(parts[k + 1 :]) for k, part in enumerate(parts))
    assert names_in(folder) == ["input.txt", "test.txt", "train.txt", "valid.txt"]


def test_it_tells_bytes_lines_and_shares(tmp_path, capsys):
    (tmp_path / "input.txt").write_text(TEXT)
    train, *_ = split(str(tmp_path / "input.txt"))
    said = capsys.readouterr().out
    assert "Nobody can be asked here, so input.txt is split." in said
    assert re.search(rf"train\.txt +{len(train):,} bytes +{n_lines(train)} lines +90\.0 %", said)
    assert str(tmp_path) not in said, "no machine's paths in a notebook's output"


def test_stripping_a_book_before_the_cut(tmp_path, capsys):
    ebook = "OF THE PROJECT GUTENBERG EBOOK X ***\r\n"
    book = f"\ufeffHeader\r\n*** START {ebook}{TEXT}*** END {ebook}"
    (tmp_path / "input.txt").write_bytes(book.encode())
    assert b"".join(split(tmp_path / "input.txt", strip_gutenberg=True)).decode() == TEXT
    assert "1 header(s), 1 footer(s)" in capsys.readouterr().out
    assert names_in(tmp_path) == ["input.txt", *sorted(NAMES)]


# Asking


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def person(monkeypatch):
    """Someone at a terminal: says person.answer (raises it, where it is an error), remembers the questions."""
    person = SimpleNamespace(answer="", questions=[])

    def fake_input(question):
        person.questions.append(question)
        if isinstance(person.answer, str):
            return person.answer
        raise person.answer

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", fake_input)
    return person


@pytest.fixture
def text_file(tmp_path):
    (tmp_path / "input.txt").write_text(TEXT)
    return tmp_path / "input.txt"


@pytest.mark.parametrize("answer", ["", "y", " YES "])
def test_yes_splits(person, text_file, answer):
    person.answer = answer
    split(text_file)
    assert person.questions == ["Split input.txt into train.txt, valid.txt, test.txt, next to it? [Y/n] "]


@pytest.mark.parametrize("answer", ["n", "No", "what?"])
def test_no_writes_nothing(person, text_file, capsys, answer):
    person.answer = answer
    assert split_text_file(text_file) == {}
    assert names_in(text_file.parent) == ["input.txt"]
    assert "Nothing was written" in capsys.readouterr().out


@pytest.mark.parametrize("error", [EOFError(), NotImplementedError("no stdin in this frontend"), OSError()])
def test_a_question_that_fails_counts_as_nobody_there(person, text_file, capsys, error):
    person.answer = error
    split(text_file)
    assert "Nobody can be asked" in capsys.readouterr().out


def test_a_notebooks_frontend_is_asked(person, text_file, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # no terminal
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    person.answer = "n"
    assert split_text_file(text_file) == {}


def test_ask_false_asks_nobody(person, text_file):
    split(text_file, ask=False)
    assert person.questions == []


# Parts that are there already


def test_parts_that_are_right_are_kept_without_a_question(person, text_file, capsys):
    first = split(text_file)
    stamps = [(text_file.parent / name).stat().st_mtime_ns for name in NAMES]
    assert split(text_file) == first
    assert len(person.questions) == 1
    assert stamps == [(text_file.parent / name).stat().st_mtime_ns for name in NAMES]
    assert "is split already" in capsys.readouterr().out


@pytest.mark.parametrize("ask", [True, False])
def test_a_part_made_by_hand_is_put_aside_and_not_lost(text_file, capsys, ask):
    mine = text_file.with_name("train.txt")
    for k in range(3):
        mine.write_text(f"by hand {k}")
        split(text_file, ask=ask)
    kept = [p for p in text_file.parent.iterdir() if p.name.startswith("train.txt.") and p.suffix == ".bak"]
    assert sorted(p.read_text() for p in kept) == ["by hand 0", "by hand 1", "by hand 2"]
    assert "Kept the old train.txt as train.txt.20" in capsys.readouterr().out


def test_a_person_is_asked_before_parts_are_put_aside(person, text_file):
    mine = text_file.with_name("valid.txt")
    mine.write_text("by hand")
    assert split_text_file(text_file) == {"valid": mine}, "an empty answer is a no here"
    assert "valid.txt, which differ" in person.questions[0]
    assert person.questions[0].endswith("[y/N] ")
    assert mine.read_text() == "by hand"


def test_parts_of_an_older_text_are_written_anew(text_file):
    split(text_file)
    text_file.write_text(TEXT * 2)
    assert b"".join(split(text_file)) == TEXT.encode() * 2


def test_a_full_disk_costs_no_earlier_part(text_file, monkeypatch):
    before = split(text_file)
    text_file.write_text(TEXT * 2)
    blocks = split_files.blocks_in

    def full(file, span):
        yield from blocks(file, span)
        if span[0]:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(split_files, "blocks_in", full)
    with pytest.raises(OSError, match="No space"):
        split_text_file(text_file)
    assert [(text_file.parent / name).read_bytes() for name in NAMES] == before
    assert names_in(text_file.parent) == ["input.txt", *sorted(NAMES)]


BAD_FILES = {
    "two lines": ("a\nb", "3 bytes has fewer lines than parts.*ratios="),
    "one line": ("a" * 5000, "5,000 bytes has fewer lines than parts.*ratios="),
    "empty": ("", "'input.txt' is empty: put a text"),
    "binary": ("a\n\0\nb\nc\n", "0x00 at offset 2.*plain text"),
    "latin-1": (b"\xe9t\xe9\n" * 9, "0xE9 at offset 0.*iconv"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_and_nothing_is_written(tmp_path, case):
    content, message = BAD_FILES[case]
    (tmp_path / "input.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        split_text_file(tmp_path / "input.txt")
    assert names_in(tmp_path) == ["input.txt"]


def test_what_is_not_one_file_is_refused(tmp_path, text_file):
    named = text_file.rename(tmp_path / "Train.TXT")
    cases = {
        named: "has the name that a part will get: rename it",
        tmp_path: "is a folder: name one text file",
        "python-docs": "not one file",
        5: "5 is no path",
    }
    for path, message in cases.items():
        with pytest.raises(ValueError, match=message):
            split_text_file(path)
    with pytest.raises(FileNotFoundError, match="check the path"):
        split_text_file(tmp_path / "missing.txt")
