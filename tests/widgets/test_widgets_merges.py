"""The merge stepper: what it shows is what BPETokenizer learns and encodes, step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import HOSTILE, SVG, any_text, parsed, texts
from training_helpers import assert_helpful

from gptlib.tokenizers import BPETokenizer
from gptlib.widgets import step_merges
from gptlib.widgets.merges import LONGEST_TEXT, Merges, occurrences, place_chunks

TEXT = "the cat and the hat sat on the mat"


def frames(picture):
    """The places that are marked as merged next: (x, y, width)."""
    return [
        tuple(float(box.get(key)) for key in ("x", "y", "width"))
        for box in parsed(picture).iter(SVG + "rect")
        if box.get("fill") == "none"
    ]


@given(st.sampled_from([TEXT, *HOSTILE[:6], "aaaa aaa", "x\n" * 60]), st.integers(0, 30))
def test_a_step_is_what_the_tokenizer_with_so_many_merges_gives(text, k):
    merges = Merges(text, 30)
    k = min(k, len(merges.pairs))
    tokenizer = BPETokenizer(merges.pairs[:k])
    assert [i for chunk in merges.step(k).chunks for i in chunk] == tokenizer.encode(text)
    assert merges.pairs == BPETokenizer.train(text, 257 + 30).merges


def test_counts_are_those_of_the_pairs_when_they_were_merged():
    merges = Merges("ab ab abab", 3)
    assert merges.pairs[0] == (97, 98)
    assert merges.counts[0] == 4
    assert len(merges.counts) == len(merges.pairs)


def test_slider_and_buttons_move_through_the_steps():
    stepper = step_merges(TEXT, 5)
    assert stepper.step.max == 5
    assert (stepper.back.disabled, stepper.next.disabled) == (True, False)
    seen = [stepper.picture.words]
    for _ in range(5):
        stepper.next.click()
        seen.append(stepper.picture.words)
    assert len(set(seen)) == 6
    assert [words.split(":")[0] for words in seen[:3]] == ["After 0 merges", "After 1 merge", "After 2 merges"]
    assert (stepper.back.disabled, stepper.next.disabled) == (False, True)
    stepper.next.click()  # at the end, nothing happens
    assert stepper.step.value == 5
    stepper.back.click()
    assert stepper.picture.words == seen[4]
    stepper.step.value = 0
    assert stepper.picture.words == seen[0]


def test_the_next_pair_is_named_counted_and_framed_where_it_stands():
    stepper = step_merges(TEXT, 5)
    assert "Next: a + t becomes at, the commonest pair (4 times)" in stepper.picture.words
    assert len(frames(stepper.picture)) == 4
    stepper.step.value = 5
    assert frames(stepper.picture) == []
    assert "All 5 merges asked for are done" in stepper.picture.words


def test_the_table_lists_the_merges_so_far():
    stepper = step_merges(TEXT, 20)
    stepper.step.value = 3
    written = texts(stepper.picture)
    assert [text for text in written if "→" in text] == ["a + t → at", "h + e → he", "t + he → the"]
    assert "256" in written
    assert "4×" in written


def test_a_long_table_drops_its_beginning_and_says_so():
    stepper = step_merges(TEXT * 4 + "".join(chr(97 + i % 26) * 2 for i in range(200)), 50)
    stepper.step.value = stepper.step.max
    assert stepper.step.max == 50
    written = texts(stepper.picture)
    assert "(the first 30 are not shown)" in written
    assert len([text for text in written if "→" in text]) == stepper.step.max - 30


def test_typing_learns_anew_from_the_first_step():
    stepper = step_merges(TEXT, 20)
    stepper.step.value = 12
    stepper.text.value = "aaa"
    assert (stepper.step.value, stepper.step.max) == (0, 2)
    assert "Next: a + a becomes aa" in stepper.picture.words
    stepper.step.value = 2
    assert "No pair is left to merge" in stepper.picture.words
    stepper.text.value = "a b"
    assert stepper.step.max == 1
    stepper.text.value = ""
    assert "no two neighbouring bytes" in stepper.picture.words
    assert stepper.step.max == 0
    stepper.text.value = TEXT
    assert stepper.step.max == 17  # then no pair is left


@given(any_text)
def test_any_text_is_drawn_at_every_step(text):
    stepper = step_merges(TEXT, 6)
    stepper.text.value = text
    for k in range(stepper.step.max + 1):
        stepper.step.value = k
        parsed(stepper.picture)


def test_a_long_text_is_cut_and_a_sentence_says_so():
    stepper = step_merges("the cat " * 100, 5)
    assert f"Only the first {LONGEST_TEXT} of the text's 800 characters are used" in stepper.picture.words
    assert sum(map(len, stepper.merges.step(0).chunks)) == LONGEST_TEXT


def test_a_pair_is_framed_in_two_where_the_line_ends_between():
    stepper = step_merges("a" * 300, 1)
    assert len(frames(stepper.picture)) > 150


@given(st.lists(st.lists(st.floats(10, 80), min_size=1, max_size=30), max_size=10))
def test_places_follow_the_reading_order(widths):
    places = [place for chunk in place_chunks(widths, 10) for place in chunk]
    assert places == sorted(places, key=lambda place: (place[1], place[0]))
    assert len(set(places)) == sum(map(len, widths))


def test_occurrences_do_not_overlap():
    assert occurrences([1, 1, 1], (1, 1)) == {0}
    assert occurrences([1, 1, 1, 1, 2], (1, 1)) == {0, 2}
    assert occurrences([1, 2, 3, 1, 2], (1, 2)) == {0, 3}
    assert occurrences([1, 2], None) == set()


@pytest.mark.parametrize(
    ("text", "n_merges", "fragments"),
    [
        (None, 20, ["text=None"]),
        ("", 20, ["text=''", "a few words"]),
        ("a b", 0, ["n_merges=0", "at least 1"]),
        ("a b", 2.5, ["n_merges=2.5"]),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(text, n_merges, fragments):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        step_merges(text, n_merges)
    assert_helpful(caught.value, *fragments)
