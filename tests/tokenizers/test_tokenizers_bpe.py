"""Our BPE against slow and simple versions of itself, and against Hugging Face's `tokenizers`."""

import json
import random
import string
import time
from collections import Counter
from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.tokenizers import BPETokenizer
from gptlib.tokenizers import bpe as bpe_module
from gptlib.tokenizers.merging import PairIndex, learn_merges, merge_all

# As in OpenAI's encoder.py, written out once more so that the tests have a source of their own.
GPT2_SPLIT = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")


def replace_pair(ids, pair, new_id):
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def slow_training(text, n_merges):
    chunks = [list(chunk.encode()) for chunk in GPT2_SPLIT.findall(text)]
    merges = []
    for k in range(n_merges):
        counts = Counter(pair for chunk in chunks for pair in pairwise(chunk))
        if not counts:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(pair)
        chunks = [replace_pair(chunk, pair, 256 + k) for chunk in chunks]
    return merges, [i for chunk in chunks for i in chunk]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("aaab cd\n'sé1"), min_size=1, max_size=80), st.integers(0, 40))
def test_training_and_encoding_equal_the_slow_way(text, n_merges):
    merges, ids = slow_training(text, n_merges)
    tokenizer = BPETokenizer.train(text, 257 + n_merges)
    assert tokenizer.merges == merges
    # the training text, encoded, is what training has left
    assert tokenizer.encode(text) == ids


def test_training_on_prose_equals_the_slow_way():
    sentence = "the a miller's daughter went over hill and stream, singing; nobody knew 1207 songs like hers!"
    text = " ".join(random.Random(0).choices(sentence.split(), k=1500))
    merges, ids = slow_training(text, 120)
    tokenizer = BPETokenizer.train(text, 257 + 120)
    assert tokenizer.merges == merges
    assert tokenizer.encode(text) == ids


@pytest.mark.parametrize("seed", [0, 1])
def test_training_equals_hugging_face(seed):
    """Without white space and beyond ASCII, where their numbering of the bytes, and so their ties, differ from ours."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    source = random.Random(seed)
    words = ["".join(source.choices("abcdefgh", k=source.randint(1, 7))) for _ in range(300)]
    text = "".join(source.choice(words) + source.choice("123;.") for _ in range(4000))
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    theirs.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=556, initial_alphabet=alphabet, show_progress=False)
    )
    expected = json.loads(theirs.to_str())["model"]["merges"]
    ours = BPETokenizer.train(text, 557)
    assert [[ours.token_bytes(i).decode() for i in pair] for pair in ours.merges] == expected
    assert len(ours.merges) == 300
    tokens = [ours.token_bytes(i).decode() for i in ours.encode(text)]
    assert tokens == theirs.encode(text).tokens


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([97, 97, 97, 98, 99]), max_size=60), st.binary(min_size=1, max_size=60))
def test_long_chunks_are_merged_as_short_ones_are(ids, other):
    merges = learn_merges({bytes(ids): 2, other: 1, b"aabaabcc": 3}, 40)
    new_ids = {pair: 256 + k for k, pair in enumerate(merges)}
    expected = ids
    for pair, new_id in new_ids.items():
        expected = replace_pair(expected, pair, new_id)
    assert merge_all(ids, merges, new_ids) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("aab"), max_size=12), min_size=1, max_size=4), st.data())
def test_pair_index_keeps_its_counts_true(words, data):
    """After any merges, in any order, counts and ids are those of a fresh index over what is left."""
    index = PairIndex([word.encode() for word in words], range(1, len(words) + 1))
    for new_id in range(256, 262):
        live = sorted(pair for pair, count in index.counts.items() if count > 0)
        if not live:
            break
        index.merge(data.draw(st.sampled_from(live)), new_id)
        rows = [[]]
        for i in index.ids[1:]:
            if i == -1:
                rows.append([])
            elif i >= 0:
                rows[-1].append(i)
        fresh = PairIndex(rows[:-1], range(1, len(words) + 1))
        assert {p: c for p, c in index.counts.items() if c} == dict(fresh.counts)


@pytest.mark.parametrize("letters", ["a", string.ascii_lowercase])
def test_time_grows_with_the_length_of_a_chunk_and_not_with_its_square(letters):
    tokenizer = BPETokenizer.train(" ".join("".join(random.Random(1).choices(letters, k=8)) for _ in range(900)), 600)
    random.seed(0)

    def seconds(n):
        text = "".join(random.choices(letters, k=n))
        start = time.perf_counter()
        assert tokenizer.decode(tokenizer.encode(text)) == text
        return time.perf_counter() - start

    seconds(10_000)
    # sixteen times the text: 256 times the time if it were quadratic
    assert seconds(320_000) < 64 * max(min(seconds(20_000) for _ in range(3)), 0.005)


def test_one_long_word_trains_fast():
    text = "".join(random.Random(0).choices("ACGT", k=200_000))
    start = time.perf_counter()
    tokenizer = BPETokenizer.train(text, 400)
    assert time.perf_counter() - start < 10  # some 0.4 s; a walk over the text for each merge takes minutes
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_vocabulary_ends_where_there_is_nothing_to_merge():
    tokenizer = BPETokenizer.train("ab ab", 1000)
    assert tokenizer.merges == [(97, 98), (32, 256)]
    assert tokenizer.vocab_size == 259
    assert tokenizer.eos_id == 258
    assert BPETokenizer.train("abc", 257).merges == []


def test_merges_by_name():
    tokenizer = BPETokenizer.train("low lower lowest low low", 260)
    names = [tuple(tokenizer.token_bytes(i).decode() for i in pair) for pair in tokenizer.merges]
    assert names == [("l", "o"), ("lo", "w"), (" ", "low")]
    assert [tokenizer.token_bytes(i) for i in tokenizer.encode(" lower")] == [b" low", b"e", b"r"]


def test_the_cache_of_chunks_is_bounded(monkeypatch):
    monkeypatch.setattr(bpe_module, "_CACHE_CHUNKS", 100)
    tokenizer = BPETokenizer.train("one two three", 260)
    text = " ".join(f"w{chr(97 + i % 26)}{i}x" for i in range(2000)) + " " + "y" * 500
    first = tokenizer.encode(text)
    assert len(tokenizer._cache) <= 100
    assert max(map(len, tokenizer._cache)) <= 64
    assert tokenizer.encode(text) == first
    first.append(0)  # what a caller does to a result must not reach the cache
    assert tokenizer.encode(text) == first[:-1]
