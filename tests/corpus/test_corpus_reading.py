"""Texts in: files, folders, streams; and every way in which they fail."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.corpus import prepare_corpus, read_text, reading
from gptlib.corpus.reading import find_sources, in_chunks, joined


def stream(paths, size=1000):
    return in_chunks(joined(find_sources(paths)), size)


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("block", [1, 2, 3, 7, 2**20])
def test_marks_and_line_ends_are_cleaned_wherever_a_block_is_cut(tmp_path, monkeypatch, block):
    monkeypatch.setattr(reading, "BLOCK", block)
    file = write(tmp_path / "a.txt", b"\xef\xbb\xbf" + "a\r\nb\rc\r\r\n\u2028é🙂\ufeff\n\r".encode())
    assert read_text(file) == "a\nb\rc\r\n\u2028é🙂\ufeff\n\r"


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), min_size=1))
def test_any_text_comes_back_from_a_file(tmp_path_factory, text):
    assert read_text(write(tmp_path_factory.getbasetemp() / "any.txt", text)) == text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab\n")), st.integers(1, 9))
def test_chunks_are_the_text_and_end_where_lines_do(texts, size):
    whole, chunks = "".join(texts), list(in_chunks(texts, size))
    assert "".join(chunks) == whole
    assert all(0 < len(chunk) <= size for chunk in chunks)
    for chunk, following in pairwise(chunks):
        # Cut inside a line only where no line end was within reach.
        assert chunk.endswith("\n") or ("\n" not in chunk and len(chunk) == size), (chunk, following)


def test_a_stream_gives_what_read_text_gives(tmp_path):
    files = [write(tmp_path / f"{k}.txt", f"text {k}\r\n" * 300 + "end") for k in range(3)]
    assert "".join(stream(files, 100)) == read_text(files)
    assert "end\ntext 1\n" in read_text(files), "a newline is put between files that lack one"


def test_a_folder_is_its_txt_files_by_name(tmp_path):
    for name in ("b.txt", "a.TXT", "c.md", ".hidden.txt"):
        write(tmp_path / name, name)
    (tmp_path / "folder.txt").mkdir()
    write(tmp_path / "folder.txt" / "d.txt", "d")
    assert read_text(tmp_path) == "a.TXT\nb.txt"
    assert read_text([str(tmp_path), tmp_path / "c.md"]) == "a.TXT\nb.txt\nc.md"


def test_the_parts_of_a_split_are_not_read_again_with_their_folder(tmp_path):
    for name in ("train.txt", "valid.txt", "test.txt"):
        write(tmp_path / name, name)
    assert read_text(tmp_path) == "test.txt\ntrain.txt\nvalid.txt"
    write(tmp_path / "input.txt", "all of it")
    with pytest.warns(UserWarning, match=r"train\.txt, valid\.txt, test\.txt in .* are left out"):
        assert read_text(tmp_path) == "all of it"


LATIN, UTF16 = "caf\xe9 au lait".encode("latin-1"), "hello there".encode("utf-16")
BAD = {
    "missing": (lambda d: d / "no.txt", FileNotFoundError, ["no.txt", "check the path"]),
    "a text, not a path": (lambda d: "Once upon a time " * 99, FileNotFoundError, ["Once upon a", "check the path"]),
    "not UTF-8": (lambda d: write(d / "x.txt", LATIN), ValueError, ["0xE9 at offset 3", "x.txt", "iconv", "1252"]),
    "not UTF-8, far on": (lambda d: write(d / "x.txt", b"\xef\xbb\xbf" + b"ab\n" * 2**20 + b"\xff"), ValueError,
                          [f"0xFF at offset {3 + 3 * 2**20:,}", "iconv"]),
    "cut in a character": (lambda d: write(d / "x.txt", "aé".encode()[:-1]), ValueError, ["offset 1", "UTF-8"]),
    "UTF-16": (lambda d: write(d / "x.txt", UTF16), ValueError, ["offset 3", "-f UTF-16"]),
    "binary": (lambda d: write(d / "x.txt", b"PK\x03\x04\0\0"), ValueError, ["0x00 at offset 4", "plain text file"]),
    "empty": (lambda d: write(d / "x.txt", b""), ValueError, ["'x.txt' is empty", "put a text into it"]),
    "only a mark": (lambda d: write(d / "x.txt", b"\xef\xbb\xbf"), ValueError, ["'x.txt' is empty", "put a text"]),
    "one of two empty": (lambda d: [write(d / "y.txt", "y"), write(d / "x.txt", "")], ValueError, ["'x.txt' is empty"]),
    "empty folder": (lambda d: d, FileNotFoundError, ["has no .txt file", "put texts there"]),
    "nothing": (lambda d: [], ValueError, ["[]", "at least one"]),
    "a number": (lambda d: 7, ValueError, ["7 is no path", "give a file"]),
    "a number in a list": (lambda d: [7], ValueError, ["7 among the texts", "str or Path"]),
    "no regular file": (lambda d: "/dev/null", ValueError, ["/dev/null", "neither a file nor a folder"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_texts_are_refused_in_a_sentence_with_the_remedy(tmp_path, case):
    make, error, parts = BAD[case]
    paths = make(tmp_path)
    for use in (read_text, lambda p: list(stream(p)), lambda p: prepare_corpus(p, tmp_path / "out", "char")):
        with pytest.raises(error) as caught:
            use(paths)
        message = str(caught.value)
        assert all(part in message for part in parts), message
        assert message.endswith("."), message
        assert "\n" not in message
        assert len(message) < 400
    assert not (tmp_path / "out").exists()
