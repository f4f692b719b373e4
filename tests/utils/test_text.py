"""Foreign text in messages."""

from hypothesis import given
from hypothesis import strategies as st

from gptlib.utils.text import cut, shorten


def test_text_is_cut_in_the_end_or_in_the_middle():
    assert cut("abcdefgh", 8) == cut("abcdefgh", 8, end=2) == "abcdefgh"
    assert cut("abcdefghij", 8) == "abcdef …"
    assert cut("abcdefghij", 8, end=2) == "abc … ij"


def test_an_error_of_several_lines_becomes_one_without_its_full_stop():
    error = ValueError("Something\n\tis   wrong:\nit is broken.")
    assert shorten(error) == "Something is wrong: it is broken"
    assert shorten(error, 20) == "Something is wrong …"
    assert shorten(error, 20, end=6) == "Something i … broken"


@given(text=st.text(), length=st.integers(40, 100), end=st.integers(0, 30))
def test_it_is_one_line_of_bounded_length_and_nothing_is_made_up(text, length, end):
    short = shorten(text, length, end)
    assert len(short) <= length
    assert short.splitlines() in ([], [short])
    one_line = " ".join(text.split())
    assert one_line.startswith(short.split("…")[0].rstrip(" "))
