"""Project Gutenberg's wrapping comes off, in all its variants, and nothing else."""

import pytest

from gptlib.corpus import prepare_corpus, strip_gutenberg

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
