"""BLEU, variety, repetition and copies, each against its definition or the library that defines it."""

import random
import sys

import pytest
import sacrebleu
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.evaluation import (
    bleu,
    continuations,
    cut_prompts,
    distinct,
    evaluate_continuations,
    judge_continuations,
    longest_overlap,
    repetition,
    share_found,
    write_continuations,
)
from gptlib.tokenizers import CharTokenizer

WRITTEN = ["The cat sat on the mat.", "There is a drip above the stairs.", "Tobin was late, as always."]
REFERENCES = ["The cat lay on the mat.", "There was a drip above the stairs.", "Nell came home before him."]
TEXT = " ".join(
    f"The heron stood in reed {i}, and the cat watched it. It was four; the tide was out." for i in range(46)
)

few = st.lists(st.integers(0, 3), max_size=25)
strings = st.text("abc", max_size=25)


# BLEU


def test_bleu_is_sacrebleus():
    assert bleu(WRITTEN, REFERENCES) == sacrebleu.BLEU().corpus_score(WRITTEN, [REFERENCES]).score
    assert bleu(WRITTEN, WRITTEN) == pytest.approx(100)
    assert bleu(["qq ww ee rr"], ["a b c d"]) == 0
    # Matches of 1 to 4 words: 5/6, 4/5, 3/4 and 2/3 of "a b c d e x", of the same length as "a b c d e f".
    assert bleu(["a b c d e x"], ["a b c d e f"]) == pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_bleu_needs_pairs():
    with pytest.raises(ValueError, match="3 texts and 2 references do not pair up"):
        bleu(WRITTEN, REFERENCES[:2])
    with pytest.raises(ValueError, match="0 texts"):
        bleu([], [])
    with pytest.raises(ValueError, match="put it into a list"):
        bleu(WRITTEN[0], REFERENCES[0])


def test_where_sacrebleu_is_missing_it_is_said_before_anything_is_written(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(RuntimeError, match="pip install sacrebleu"):
        evaluate_continuations(None, None, TEXT, 1)


# Variety and repetition


@given(st.lists(few, max_size=4), st.integers(1, 5))
def test_distinct_and_repetition_by_definition(texts, n):
    all_grams, shares = [], []
    for text in texts:
        grams = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
        all_grams += grams
        if grams:
            seen_before = sum(gram in grams[:i] for i, gram in enumerate(grams))
            shares.append(seen_before / len(grams))
    first_times = sum(gram not in all_grams[:i] for i, gram in enumerate(all_grams))
    assert distinct(texts, n) == pytest.approx(first_times / len(all_grams) if all_grams else 0)
    assert repetition(texts, n) == pytest.approx(sum(shares) / len(shares) if shares else 0)


def test_the_extremes():
    assert distinct([["a", "b"], ["c", "d"]], 1) == 1
    assert distinct([["a"] * 10], 1) == 0.1
    assert repetition([["a"] * 13], 4) == 0.9
    assert repetition([list("abcdefg")], 4) == 0


@pytest.mark.parametrize("measure", [distinct, repetition, lambda texts, n: share_found(texts, "ab", n)])
def test_windows_of_no_words_are_refused(measure):
    with pytest.raises(ValueError, match="n=0 is out of range; give a whole number of at least 1"):
        measure(["ab"], 0)
    assert measure(["ab"], 10**12) == 0


# Copies


def brute_longest(texts, source):
    pieces = [t[i:j] for t in texts for i in range(len(t)) for j in range(i + 1, len(t) + 1)]
    return max((len(p) for p in pieces if contains(source, p)), default=0)


def contains(source, piece):
    return any(source[i : i + len(piece)] == piece for i in range(len(source) - len(piece) + 1))


@settings(max_examples=300)
@given(st.lists(strings, min_size=1, max_size=3), strings)
def test_the_longest_overlap_is_that_of_brute_force(texts, source):
    found = longest_overlap(texts, source)
    assert found in source
    assert any(found in text for text in texts)
    assert len(found) == brute_longest(texts, source)


@settings(max_examples=100)
@given(st.lists(few, min_size=1, max_size=3), few)
def test_overlaps_of_lists_too(texts, source):
    found = longest_overlap(texts, source)
    assert contains(source, found)
    assert len(found) == brute_longest(texts, source)


@settings(max_examples=300)
@given(st.lists(strings, max_size=3), strings, st.integers(1, 7))
def test_the_share_found_is_that_of_brute_force(texts, source, n):
    grams = [text[i : i + n] for text in texts for i in range(len(text) - n + 1)]
    expected = sum(gram in source for gram in grams) / len(grams) if grams else 0
    assert share_found(texts, source, n) == pytest.approx(expected)
    as_lists = share_found([list(text) for text in texts], list(source), n)
    assert as_lists == pytest.approx(expected)


@settings(max_examples=200)
@given(st.lists(strings, min_size=2, max_size=3), strings)
def test_of_several_longest_overlaps_it_is_the_first(texts, source):
    found = longest_overlap(texts, source)
    pieces = (text[i : i + len(found)] for text in texts for i in range(len(text) - len(found) + 1))
    assert found == next((piece for piece in pieces if piece in source), "")


def test_a_text_that_is_nearly_all_repetition_takes_no_longer():
    text = "ab" * 20_000 + "c"
    assert longest_overlap([text, "x"], "b" + text[::-1] + text) == text


def test_arrays_and_tensors_of_ids_are_looked_up_by_value():
    texts, source = torch.tensor([[1, 2, 3, 4], [7, 3, 4, 9]]), torch.tensor([3, 4, 9, 1])
    assert longest_overlap(list(texts), source).tolist() == [3, 4, 9]
    assert longest_overlap(list(texts.numpy()), source.numpy()).tolist() == [3, 4, 9]
    assert share_found(list(texts), source, 2) == 3 / 6


def test_nothing_is_no_copy():
    assert longest_overlap([], "abc") == longest_overlap(["", ""], "abc") == longest_overlap(["abc"], "") == ""
    assert longest_overlap([[]], ["a"]) == []


@pytest.mark.parametrize(("texts", "source"), [(["a b".split()], "a b"), (["a b"], "a b".split()), ("a b", "a b")])
@pytest.mark.parametrize("measure", [longest_overlap, lambda texts, source: share_found(texts, source, 1)])
def test_words_are_not_compared_with_characters(measure, texts, source):
    with pytest.raises(ValueError, match="give a list of str and a str, or a list of lists and a list"):
        measure(texts, source)


def test_a_copy_is_found_in_a_long_text():
    chosen = random.Random(3)
    source = "".join(chosen.choices("abcdefgh ", k=200_000))
    copy = source[123_456 : 123_456 + 777]
    written = ["".join(chosen.choices("abcdefgh ", k=3000)) + "X" + copy + "é🐈\ud800", "none"]
    assert longest_overlap(written, source) == copy


# Continuations


@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_places_are_spread_over_the_text_and_cut_at_spaces(n):
    end = 0
    for prompt, reference in cut_prompts(TEXT, n):
        start = TEXT.index(prompt + reference, end)
        end = start + len(prompt + reference)
        assert prompt[0] != " "
        assert reference[0] == " "
        assert end == len(TEXT) or TEXT[end] == " "
        assert abs(len(prompt) - 150) <= 80
        assert abs(len(reference) - 200) <= 80
    assert end > len(TEXT) * (n - 1) / n


def test_a_text_without_spaces_is_cut_anywhere():
    assert [(len(prompt), len(rest)) for prompt, rest in cut_prompts("中" * 2000, 4)] == [(150, 200)] * 4


def test_where_a_text_has_only_white_space_the_prompt_is_that(writer):
    pieces = cut_prompts(TEXT[:430] + " " * 2000, 4)
    assert all(prompt for prompt, _ in pieces)
    assert pieces[3][0].isspace()
    assert len(write_continuations(*writer, pieces)) == 4


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["a", "bb", "ccccc", "d" * 38, "e" * 39, "f" * 41]), min_size=240, max_size=400))
def test_pieces_never_overlap(words):
    text, end = " ".join(words), 0
    for prompt, reference in cut_prompts(text, len(text) // 430):
        start = text.index(prompt + reference, end)
        end = start + len(prompt + reference)
        assert len(reference) >= 200


def test_more_places_than_there_is_room_for_are_refused():
    with pytest.raises(ValueError, match=r"characters has room for 8 continuations .* not for 9; give fewer"):
        cut_prompts(TEXT, 9)
    with pytest.raises(ValueError, match="n=0"):
        cut_prompts(TEXT, 0)


@pytest.fixture
def writer(make_model):
    tokenizer = CharTokenizer.train(TEXT)
    return make_model(vocab_size=tokenizer.vocab_size, context_length=400), tokenizer


def test_as_much_is_written_as_stands_there_and_the_same_with_the_same_seed(writer, monkeypatch):
    monkeypatch.setattr(continuations, "_AT_ONCE", 2)  # several batches
    pieces = cut_prompts(TEXT, 3)
    written = write_continuations(*writer, pieces, seed=4)
    assert [len(text) for text in written] == [len(reference) for _, reference in pieces]
    assert write_continuations(*writer, pieces, seed=4) == written
    assert write_continuations(*writer, pieces, seed=5) != written
    assert len(set(written)) == 3


def test_a_model_that_has_the_text_by_heart_is_caught(monkeypatch):
    pieces = cut_prompts(TEXT, 3)
    references = [reference for _, reference in pieces]
    found = judge_continuations(references, references, training_text=TEXT)
    assert found["bleu"] == pytest.approx(100)
    assert found["written"] == found["held_out"]
    assert found["written"]["copied_5"] == 1
    assert found["written"]["longest_copy"] == max(map(len, references))
    assert found["written"]["longest_copy_text"] in references


def test_without_a_training_text_nothing_is_said_of_copies(writer):
    found = evaluate_continuations(*writer, TEXT, 2, temperature=0)
    assert set(found["written"]) == set(found["held_out"]) == {"distinct_1", "distinct_2", "rep_4"}
    torch.manual_seed(1)  # at temperature 0 nothing is drawn
    assert evaluate_continuations(*writer, TEXT, 2, temperature=0, seed=9) == found
