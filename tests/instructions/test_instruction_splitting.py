"""A split with nothing of one side on the other in other words."""

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptlib.instructions import Instruction, prompt_key, split_entries

ENTRIES = [Instruction(f"Say {n}", "yes", "please" * (n % 2)) for n in range(100)]


def spelled(text, seed):
    """The same words in other letters, spaces and marks."""
    rng = random.Random(seed)
    letters = [rng.choice([c, c.upper(), c.lower(), c + rng.choice("  ,.!-\n\t…'\"")]) for c in text]
    return "".join(letters)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Upper case!", "a cat"), ("upper  CASE", "A cat.")),
        (("Say ‘it’", ""), ("say it…", "")),
        (("Count: one two", ""), ("Count", "one two")),
        (("ﬁne Straße", ""), ("FINE STRASSE", "")),
        (("café", ""), ("cafe\u0301", "")),
    ],
)
def test_the_same_in_other_words_has_the_same_key(one, other):
    assert prompt_key(Instruction(one[0], "a", one[1])) == prompt_key(Instruction(other[0], "b", other[1]))


def test_what_asks_something_else_has_another_key():
    asked = ["+", "-", "+-", "a", "b", "1", "2", "中", "文", "é", "e", "🙂", "🙃"]
    assert len({prompt_key(Instruction(text, "x")) for text in asked}) == len(asked)


@given(st.lists(st.sampled_from("abcdefgh "), min_size=2), st.floats(0.01, 0.99), st.integers(0, 2**40))
def test_no_near_duplicates_on_both_sides(letters, ratio, seed):
    entries = [Instruction(spelled(f"say {c} and", i), str(i), spelled(c * 2, -i)) for i, c in enumerate(letters)]
    plain = [re.sub(r"[\W_]", "", unicodedata.normalize("NFC", f"{e.instruction}{e.input}").lower()) for e in entries]
    if len(set(plain)) < 2:
        with pytest.raises(ValueError, match=f"different things, and 1 of {len(entries)} do"):
            split_entries(entries, ratio, seed)
        return
    training, held_out = split_entries(entries, ratio, seed)
    assert training
    assert held_out
    assert sorted(e.output for e in training + held_out) == sorted(e.output for e in entries), "none lost, none twice"
    sides = [{plain[int(entry.output)] for entry in side} for side in (training, held_out)]
    assert not sides[0] & sides[1]
    for side in (training, held_out):
        assert [int(e.output) for e in side] == sorted(int(e.output) for e in side)


@given(st.sampled_from([0.05, 0.1, 0.5, 0.99]), st.integers(0, 99))
def test_the_share_is_held_out_and_the_seed_says_which(ratio, seed):
    training, held_out = split_entries(ENTRIES, ratio, seed)
    assert len(held_out) == round(100 * ratio)
    assert split_entries(ENTRIES, ratio, seed) == (training, held_out)
    assert split_entries(ENTRIES, ratio, seed + 1)[1] != held_out


def test_a_large_group_is_not_held_out_for_a_small_share():
    entries = [Instruction("same", str(n)) for n in range(50)] + ENTRIES[:50]
    for seed in range(20):
        held_out = split_entries(entries, 0.1, seed)[1]
        assert len(held_out) == 10 or held_out[0].instruction == "same"  # unless it came first


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5, float("nan"), "0.1", None, True])
def test_ratios_and_seeds_that_make_no_sense(ratio):
    with pytest.raises(ValueError, match=r"ratio=.* is out of range; give the share to hold out"):
        split_entries(ENTRIES, ratio)
    with pytest.raises(ValueError, match="seed=-1 is out of range"):
        split_entries(ENTRIES, 0.1, -1)
