"""The explorer of tokens: what it shows is what the tokenizer gives, for any text."""

import pytest
from hypothesis import given
from pictures import HOSTILE, any_text, numbers, parsed, texts, titles
from training_helpers import assert_helpful

from gptlib.tokenizers import BPETokenizer, CharTokenizer, WordTokenizer
from gptlib.widgets import explore_tokens
from gptlib.widgets.drawing import token_label
from gptlib.widgets.tokens import LONGEST_TEXT, MOST_TOKENS

TEXT = "the cat and the hat, the naïve 日本 <b>"
BPE = BPETokenizer.train(TEXT * 5, vocab_size=280)
TOKENIZERS = {"BPE": BPE, "words": WordTokenizer.train(TEXT), "characters": CharTokenizer.train(TEXT)}


def shown(picture):
    """[(label, id), ...] of the tokens drawn."""
    pairs = [title.split(": ", 1)[1].rsplit(", id ", 1) for title in titles(picture)]
    return [(text, int(number)) for text, number in pairs]


def test_tokens_ids_and_counts_are_the_tokenizers():
    explorer = explore_tokens(TEXT, TOKENIZERS)
    for name, tokenizer in TOKENIZERS.items():
        explorer.tokenizer.value = name
        ids = tokenizer.encode(TEXT)
        assert shown(explorer.picture) == [(token_label(tokenizer.token_bytes(i)), i) for i in ids]
        heading = texts(explorer.picture)[-1]
        assert heading.startswith(f"{name}: {len(ids)} tokens for {len(TEXT)} characters")
        assert numbers(heading)[-1] == pytest.approx(len(TEXT) / len(ids), abs=0.005)
        for i in ids:
            assert f"({i})" in explorer.picture.words


def test_the_first_tokenizer_is_shown_first():
    assert explore_tokens(TEXT, TOKENIZERS).tokenizer.value == "BPE"


def test_typing_changes_the_picture():
    explorer = explore_tokens(TEXT, TOKENIZERS)
    explorer.text.value = "hat"
    assert "".join(text for text, _ in shown(explorer.picture)) == "hat"
    explorer.text.value = ""
    assert "0 tokens for 0 characters" in explorer.picture.words
    assert shown(explorer.picture) == []


@given(any_text)
def test_any_text_is_drawn(text):
    explorer = explore_tokens(text, {"BPE": BPE})
    parsed(explorer.picture)
    assert len(shown(explorer.picture)) == min(len(BPE.encode(text[:LONGEST_TEXT])), MOST_TOKENS)


def test_what_the_tokenizer_refuses_is_a_sentence_and_the_next_text_is_drawn():
    explorer = explore_tokens("zzz", {"characters": TOKENIZERS["characters"]})
    with pytest.raises(ValueError, match=r"\.$") as caught:
        TOKENIZERS["characters"].encode("zzz")
    assert explorer.picture.words == str(caught.value)
    parsed(explorer.picture)
    explorer.text.value = "cat"
    assert "3 tokens" in explorer.picture.words


def test_a_character_that_nobody_can_see_may_be_what_is_refused():
    for text in HOSTILE[:5]:
        parsed(explore_tokens(text, {"characters": TOKENIZERS["characters"]}).picture)


def test_a_long_text_is_cut_and_a_sentence_says_so():
    explorer = explore_tokens("the cat " * 1000, {"BPE": BPE})
    assert len(shown(explorer.picture)) == MOST_TOKENS
    for note in ("Only the first 4,000 of the text's 8,000 characters", f"Only the first {MOST_TOKENS} tokens"):
        assert note in explorer.picture.words
        assert note in " ".join(texts(explorer.picture))
    explorer.text.value = "the cat"
    assert "Only" not in explorer.picture.words


def test_a_very_long_token_is_cut():
    long = WordTokenizer.train("a" * 500 + " b")
    explorer = explore_tokens("a" * 500, {"words": long})
    assert shown(explorer.picture)[0][0].endswith("…")


@pytest.mark.parametrize(
    ("text", "tokenizers", "fragments"),
    [
        (b"bytes", TOKENIZERS, ["text=b'bytes'", "str"]),
        (TEXT, {}, ["tokenizers={}"]),
        (TEXT, BPE, ["tokenizers=BPETokenizer", '{"name": tokenizer']),
        (TEXT, {"BPE": None}, ["'BPE'", "None"]),
        (TEXT, {1: BPE}, ["1"]),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(text, tokenizers, fragments):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        explore_tokens(text, tokenizers)
    assert_helpful(caught.value, *fragments)
