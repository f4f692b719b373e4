"""Splitting: nothing is lost, and cuts are at line ends, near the ratios."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.corpus import split_text, split_text_file
from gptlib.corpus.splitting import check_ratios, spans

NAMES = ["train.txt", "valid.txt", "test.txt"]
TEXT = "".join(f"line {k}\n" for k in range(1000))

LINES = st.lists(st.text(st.characters() | st.sampled_from("\r\0é\x0b\u2028")), max_size=30).map("\n".join)
WEIGHTS = st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20))
RATIOS = WEIGHTS.map(lambda w: tuple(x / sum(w) for x in w))


def n_lines(text):
    newline = b"\n" if isinstance(text, bytes) else "\n"
    return text.count(newline) + (not text.endswith(newline) and len(text) > 0)


@settings(max_examples=400, deadline=None)
@given(LINES, RATIOS)
def test_the_parts_of_any_text_are_the_text(text, ratios):
    if n_lines(text) < sum(ratio > 0 for ratio in ratios):
        with pytest.raises(ValueError, match="fewer lines than parts"):
            split_text(text, ratios)
        return
    parts = split_text(text, ratios)
    assert "".join(parts) == text
    assert [len(part) > 0 for part in parts] == [ratio > 0 for ratio in ratios]
    for k, part in enumerate(parts):
        assert not part or part.endswith("\n") or not any(parts[k + 1 :])


@settings(max_examples=200, deadline=None)
@given(st.binary(), RATIOS)
def test_any_bytes_are_cut_at_line_ends_near_the_ratios(noise, ratios):
    data = noise + b"0123456\n" * 5000
    cuts = spans(data, ratios)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == len(data)
    for (_, end), (start, _), share in zip(cuts, cuts[1:], (ratios[0], ratios[0] + ratios[1]), strict=False):
        assert end == start
        assert end == len(data) or data[end - 1 : end] == b"\n"
        assert abs(end - share * len(data)) <= 8 + len(noise)


def test_exact_cuts():
    assert split_text("a\nb\nc\nd\n", (0.5, 0.25, 0.25)) == ("a\nb\n", "c\n", "d\n")
    assert split_text("a\nb\nc", (0.9, 0.05, 0.05)) == ("a\n", "b\n", "c")
    assert split_text("a\n" * 10, (0.9, 0.1, 0)) == ("a\n" * 9, "a\n", "")
    assert split_text("a\n" * 10, (0.9, 0, 0.1)) == ("a\n" * 9, "", "a\n")
    assert split_text("no line end", (1, 0, 0)) == ("no line end", "", "")
    assert split_text("x" * 100 + "\ny\nz\n", (0.1, 0.1, 0.8)) == ("x" * 100 + "\n", "y\n", "z\n")


BAD_RATIOS = [(0.9, 0.1), (0.9, 0.05, 0.06), (0, 0.5, 0.5), (1.1, -0.1, 0), (float("nan"), 0, 1), "abc", "100", None,
              0.9, (0.9, 0.05, None)]  # fmt: skip


@pytest.mark.parametrize("ratios", BAD_RATIOS)
def test_bad_ratios_are_named_with_what_is_allowed(tmp_path, ratios):
    text_file = tmp_path / "input.txt"
    text_file.write_text(TEXT)
    for use in (check_ratios, lambda r: split_text(TEXT, r), lambda r: split_text_file(text_file, r)):
        with pytest.raises(ValueError, match=r"three numbers that add up to 1.*as \(0\.9, 0\.05, 0\.05\)") as caught:
            use(ratios)
        assert repr(ratios) in str(caught.value)
