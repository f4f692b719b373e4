"""Texts in: files, folders, streams, named corpora, Project Gutenberg's wrapping; and every way in which they fail."""

import hashlib
import http.server
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.corpus import corpus_text, iter_text, named, prepare_corpus, read_text, reading, strip_gutenberg
from gptlib.corpus.reading import in_chunks

BOOK = """The Project Gutenberg EBook of Pebbles, by A. Nobody

This eBook is for the use of anyone anywhere.

*** START OF THE PROJECT GUTENBERG EBOOK PEBBLES ***



PEBBLES


One pebble.

*** not a marker ***
Two pebbles.


End of the Project Gutenberg EBook of Pebbles, by A. Nobody

*** END OF THE PROJECT GUTENBERG EBOOK PEBBLES ***
The licence goes on and on.
"""
STORY = "PEBBLES\n\nOne pebble.\n\n*** not a marker ***\nTwo pebbles.\n"


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


def test_iter_text_gives_what_read_text_gives(tmp_path):
    files = [write(tmp_path / f"{k}.txt", f"text {k}\r\n" * 300 + "end") for k in range(3)]
    assert "".join(iter_text(files, chunk_chars=100)) == read_text(files)
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
    for use in (read_text, lambda p: list(iter_text(p)), lambda p: prepare_corpus(p, tmp_path / "out", "char")):
        with pytest.raises(error) as caught:
            use(paths)
        message = str(caught.value)
        assert all(part in message for part in parts), message
        assert message.endswith("."), message
        assert "\n" not in message
        assert len(message) < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [0, -1, 2.5, None])
def test_a_chunk_has_to_have_a_size(size):
    with pytest.raises(ValueError, match=rf"chunk_chars is {size}.*at least 1"):
        iter_text("python-docs", size)


# Project Gutenberg


def test_a_books_wrapping_goes_and_the_report_says_how_much():
    text, report = strip_gutenberg(BOOK)
    assert text == STORY
    assert f"{len(BOOK) - len(STORY):,} of {len(BOOK):,} characters" in report
    assert "1 header" in report
    assert "6 surplus blank lines" in report


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("***START OF THIS PROJECT GUTENBERG EBOOK PEBBLES***", "***END OF THIS PROJECT GUTENBERG EBOOK PEBBLES***"),
        (
            "*** START OF THE PROJECT GUTENBERG EBOOK, PEBBLES\nAND OTHER STONES ***",
            "End of Project Gutenberg's Pebbles",
        ),
        (
            "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
            "End of the Project Gutenberg Etext of P.",
        ),
        ("*** start of this ebook ***", "*** end of this ebook ***"),
    ],
)
def test_variants_of_the_markers(start, end):
    assert strip_gutenberg(f"A header\n{start}\n\n{STORY}\n{end}\nthe licence\n")[0] == STORY


def test_books_one_after_another_and_half_wrapped_ones():
    assert strip_gutenberg(BOOK + BOOK)[0] == f"{STORY}\n{STORY}"
    assert strip_gutenberg("Just a\n\n\n\ntext.") == ("Just a\n\ntext.", strip_gutenberg("Just a\n\n\n\ntext.")[1])
    assert strip_gutenberg(BOOK[: BOOK.index("End of")])[0] == STORY
    assert strip_gutenberg(BOOK[BOOK.index("PEBBLES\n\n\nOne") :])[0] == STORY
    chapter = "*** END OF CHAPTER ONE ***\nmore\n"
    assert strip_gutenberg(chapter)[0] == chapter, "only a book's end is an end"
    assert strip_gutenberg("x\n" * 60_000 + BOOK)[0].startswith("x\n" * 60_000), "no header is that long"


def test_stripping_file_by_file_in_prepare_corpus(tmp_path):
    files = [write(tmp_path / f"{k}.txt", BOOK) for k in range(3)]
    meta = prepare_corpus(files, tmp_path / "out", "char", strip_gutenberg=True, progress=False)
    assert sum(meta["characters"].values()) == 3 * len(STORY)
    assert "3 header(s)" in meta["stripped"]
    with pytest.raises(ValueError, match=r"Nothing of '0\.txt' is left"):
        prepare_corpus(write(files[0], BOOK.split("\n\n\n")[0]), tmp_path / "out", "char", strip_gutenberg=True)


# Corpora by name


def test_python_docs_are_there_offline_and_always_the_same():
    text = corpus_text("python-docs")
    assert text == corpus_text("python-docs") == read_text("python-docs") == "".join(iter_text("python-docs", 999))
    assert text.startswith('The "assert" statement')
    assert len(text) > 300_000


def test_an_unknown_corpus_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'moby-dick' is no corpus: choose python-docs or tiny-shakespeare"):
        corpus_text("moby-dick")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A loopback server in the place of the real one; it answers with server.content."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.content)

        def log_message(self, *_):
            pass

    content = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.content = 0, content
    url = f"http://127.0.0.1:{server.server_port}/input.txt"
    download = named._Download(url, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(named, "_TINY_SHAKESPEARE", download)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_tiny_shakespeare_is_fetched_once_and_again_only_where_it_is_damaged(server, tmp_path):
    file = tmp_path / "data" / "tiny-shakespeare.txt"
    assert corpus_text("tiny-shakespeare").encode() == server.content == file.read_bytes()
    assert read_text(["tiny-shakespeare"]).startswith("First")
    assert server.requests == 1
    write(file, server.content[:-5])
    assert corpus_text("tiny-shakespeare").encode() == server.content == file.read_bytes()
    assert server.requests == 2


@pytest.mark.parametrize("change", [lambda c: c.upper(), lambda c: c[:-1], lambda c: c + b"!", lambda c: b""])
def test_a_wrong_download_is_not_kept(server, tmp_path, change):
    server.content = change(server.content)
    with pytest.raises(FileNotFoundError, match=r"is not the 61 bytes expected.*save it as '.*tiny-shakespeare\.txt'"):
        corpus_text("tiny-shakespeare")
    assert not list(tmp_path.rglob("*.txt*"))


def test_without_a_network_the_message_says_where_to_put_the_file(server, monkeypatch):
    nowhere = named._Download("http://127.0.0.1:9/input.txt", 1, "")
    monkeypatch.setattr(named, "_TINY_SHAKESPEARE", nowhere)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched.*save it as '.*data.tiny-shakespeare\.txt'"):
        read_text("tiny-shakespeare")
