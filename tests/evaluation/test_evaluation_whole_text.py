"""The loss of a whole text: each token once, by the formula and by transformers' recipe; bits per byte."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib import loss as loss_module
from gptlib.evaluation import TextLoss, lost_bytes, sliding_nll, text_loss, whole_text
from gptlib.generation.quantization import with_precision
from gptlib.model import GPTModel
from gptlib.tokenizers import BPETokenizer, CharTokenizer, WordTokenizer

IDS = torch.randint(61, (150,), generator=torch.Generator().manual_seed(5)).tolist()
TEXT = "The heron stood in the reeds, and the miller's cat watched it.\n\nIt was 4 o'clock; the tide was out.\n" * 3


@pytest.fixture
def chars(make_model):
    """A character tokenizer, which has no end of text, and a model for it."""
    tokenizer = CharTokenizer.train(TEXT)
    return make_model(vocab_size=tokenizer.vocab_size), tokenizer


@pytest.fixture
def words(make_model):
    """A word tokenizer of the text's own words, and a model for it."""
    tokenizer = WordTokenizer.train(TEXT)
    return make_model(vocab_size=tokenizer.vocab_size), tokenizer


def log_probability(model, ids, target):
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0, -1].double().numpy()
    return logits[target] - logits.max() - np.log(np.exp(logits - logits.max()).sum())


def slow_nats(model, ids, context, stride):
    """Token by token: each is seen from the first window that reaches it, whose start is a multiple of the stride."""
    total = 0.0
    for t in range(1, len(ids)):
        start = max(0, math.ceil((t - context) / stride)) * stride
        total -= log_probability(model, ids[start:t], ids[t])
    return total


# Which tokens are scored, and from where


@settings(max_examples=300)
@given(n_ids=st.integers(1, 120), context=st.integers(1, 20), data=st.data())
def test_every_token_is_scored_once_with_as_much_context_as_the_windows_give(n_ids, context, data):
    stride = data.draw(st.integers(1, context))
    scored = []
    for start, first, end in whole_text.windows(n_ids, context, stride):
        assert start < first < end <= start + context + 1
        assert start == 0 or first - start >= context - stride + 1
        scored += range(first, end)
    assert scored == list(range(1, n_ids))


@pytest.mark.parametrize(("context", "stride"), [(16, 1), (16, 5), (16, 8), (16, 16), (7, 3), (1, 1)])
@pytest.mark.parametrize("n", [2, 16, 17, 18, 60])
def test_the_sum_is_that_of_the_slow_loop(tiny_model, context, stride, n):
    expected = slow_nats(tiny_model, IDS[:n], context, stride)
    assert sliding_nll(tiny_model, IDS[:n], context_length=context, stride=stride) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_change_nothing(tiny_model, batch_size):
    one = sliding_nll(tiny_model, IDS, stride=4, batch_size=1)
    assert sliding_nll(tiny_model, torch.tensor(IDS), stride=4, batch_size=batch_size) == pytest.approx(one, rel=1e-6)


def test_one_token_alone_has_no_loss(tiny_model):
    assert sliding_nll(tiny_model, [3]) == sliding_nll(tiny_model, []) == 0


@pytest.mark.filterwarnings("error")
def test_ids_of_a_prepared_file_are_taken_as_they_are(tiny_model, tmp_path):
    np.array(IDS, dtype=np.uint16).tofile(tmp_path / "test.bin")
    mapped = np.memmap(tmp_path / "test.bin", dtype=np.uint16, mode="r")
    assert sliding_nll(tiny_model, mapped) == sliding_nll(tiny_model, IDS)


def transformers_recipe(model, ids, max_length, stride, *, counts_all):
    """The loop of "Perplexity of fixed-length models"; the mean loss of a token.

    It weights each window's mean by its targets less one, though only the first window has one target fewer than
    labels. counts_all: with the number of tokens that were really scored.
    """
    ids, nats, count, before = torch.tensor([ids]), 0.0, 0, 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + max_length, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : -(end - before)] = -100
        with torch.no_grad():
            loss = model(ids[:, begin:end], labels=labels).loss
        scored = (labels[:, 1:] != -100).sum().item() if counts_all else (labels != -100).sum().item() - 1
        nats, count, before = nats + loss.item() * scored, count + scored, end
        if end == ids.shape[1]:
            return nats / count
    raise AssertionError


@pytest.mark.parametrize("stride", [4, 8, 15])
def test_transformers_recipe_gives_the_same(make_twins, stride):
    """Their windows of 16 tokens have 15 inputs that predict anything."""
    ours, theirs = make_twins(weight_tying=True, qkv_bias=True)
    ids = torch.randint(61, (6000,), generator=torch.Generator().manual_seed(1)).tolist()
    mean = sliding_nll(ours, ids, context_length=15, stride=stride) / (len(ids) - 1)
    assert mean == pytest.approx(transformers_recipe(theirs.eval(), ids, 16, stride, counts_all=True), rel=1e-5)
    as_documented = transformers_recipe(theirs.eval(), ids, 16, stride, counts_all=False)
    assert mean == pytest.approx(as_documented, abs=1e-3)


# The loss of a text


def test_the_first_token_is_given_the_end_of_text(words):
    model, tokenizer = words
    ids = tokenizer.encode(TEXT)
    found = text_loss(model, tokenizer, TEXT, stride=3)
    assert found.nats == pytest.approx(slow_nats(model, [tokenizer.eos_id, *ids], 16, 3), rel=1e-5)
    assert (found.n_tokens, found.n_bytes, found.lost_bytes) == (len(ids), len(TEXT), 0)
    assert found.loss == pytest.approx(found.nats / len(ids))
    assert found.perplexity == pytest.approx(math.exp(found.nats / len(ids)))
    assert found.bits_per_byte == pytest.approx(found.nats / math.log(2) / len(TEXT))


def test_without_an_end_of_text_the_first_token_is_a_guess_among_equals(chars):
    model, tokenizer = chars
    ids = tokenizer.encode(TEXT)
    expected = math.log(tokenizer.vocab_size) + slow_nats(model, ids, 16, 8)
    assert text_loss(model, tokenizer, TEXT).nats == pytest.approx(expected, rel=1e-5)
    one = text_loss(model, tokenizer, "T")
    assert (one.n_tokens, one.nats) == (1, math.log(tokenizer.vocab_size))


@pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer, BPETokenizer])
def test_a_model_that_knows_nothing_pays_the_logarithm_of_its_vocabulary(make_model, kind):
    tokenizer = kind.train(TEXT, vocab_size=290) if kind is BPETokenizer else kind.train(TEXT)
    model = make_model(vocab_size=tokenizer.vocab_size)
    torch.nn.init.zeros_(model.output_head.weight)
    found = text_loss(model, tokenizer, TEXT)
    assert found.perplexity == pytest.approx(tokenizer.vocab_size, rel=1e-5)
    expected = found.n_tokens * math.log2(tokenizer.vocab_size) / len(TEXT.encode())
    assert found.bits_per_byte == pytest.approx(expected, rel=1e-5)


def test_other_ids_for_the_same_characters_cost_the_same(chars, make_model):
    model, tokenizer = chars
    other = CharTokenizer(reversed(tokenizer.characters))
    turned = GPTModel(model.config)
    weights = model.state_dict()
    for name in ("token_embedding.weight", "output_head.weight"):
        weights[name] = weights[name].flip(0)
    turned.load_state_dict(weights)
    a, b = text_loss(model, tokenizer, TEXT), text_loss(turned, other, TEXT)
    assert a.bits_per_byte == pytest.approx(b.bits_per_byte, rel=1e-6)


def test_bytes_are_counted_in_utf8(make_model):
    tokenizer = CharTokenizer.train("é中🐈a")
    model = make_model(vocab_size=tokenizer.vocab_size)
    assert text_loss(model, tokenizer, "é中🐈a").n_bytes == 2 + 3 + 4 + 1


def test_dropout_is_off_meanwhile_and_on_again(make_model):
    model, plain = make_model(drop_rate=0.5).train(), make_model(drop_rate=0.0)
    assert sliding_nll(model, IDS) == pytest.approx(sliding_nll(plain, IDS), rel=1e-6)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_only_what_is_scored_gets_logits_and_never_all_at_once(tiny_model, monkeypatch):
    monkeypatch.setattr(loss_module, "MANY_LOGITS", 10 * 61)
    whole = sliding_nll(tiny_model, IDS, stride=4)
    seen = []
    hook = tiny_model.output_head.register_forward_hook(lambda module, inputs, out: seen.append(out.numel() // 61))
    try:
        assert sliding_nll(tiny_model, IDS, stride=4) == whole
    finally:
        hook.remove()
    assert max(seen) <= 10
    assert sum(seen) == len(IDS) - 1


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_models_in_few_bits_can_be_judged(tiny_model, precision):
    smaller, _ = with_precision(tiny_model, precision)
    assert sliding_nll(smaller, IDS) / len(IDS) == pytest.approx(sliding_nll(tiny_model, IDS) / len(IDS), abs=0.1)


# What a tokenizer loses


@settings(max_examples=100)
@given(st.lists(st.sampled_from(["The", " heron", " zebra", " höhe", "cat", " cat", "\n", ".", "'", "🐈", " 4"])))
def test_the_bytes_of_every_unknown_word_are_lost(pieces):
    tokenizer = WordTokenizer.train(TEXT)
    text = "".join(pieces)
    known = {word.decode() for word in (tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size))}
    expected = sum(len(word.encode()) for word in whole_text.split_words(text) if word not in known)
    assert lost_bytes(tokenizer, text) == expected


@given(st.text())
def test_a_tokenizer_of_bytes_loses_nothing(text):
    assert lost_bytes(BPETokenizer([]), text) == 0


def test_what_is_lost_costs_eight_bits_a_byte(words):
    model, tokenizer = words
    found = text_loss(model, tokenizer, "The zebra höhe.")
    assert found.lost_bytes == len(" zebra höhe".encode())
    assert found.bits_per_byte == pytest.approx((found.nats / math.log(2) + 8 * found.lost_bytes) / found.n_bytes)
    assert TextLoss(nats=0.0, n_tokens=3, n_bytes=10, lost_bytes=10).bits_per_byte == 8


def test_throwing_words_away_does_not_pay(make_model):
    """The fewer words a tokenizer keeps, the lower the loss of a token, but not the bits per byte."""
    losses, bits = [], []
    for size in (4, 8, 16):
        tokenizer = WordTokenizer.train(TEXT, vocab_size=size)
        model = make_model(vocab_size=size)
        torch.nn.init.zeros_(model.output_head.weight)
        found = text_loss(model, tokenizer, TEXT)
        losses.append(found.loss)
        bits.append(found.bits_per_byte)
    assert losses == sorted(losses)
    assert bits == sorted(bits, reverse=True)


class Squeezing(WordTokenizer):
    """Drops empty lines, so that it loses something between words, and with a small vocabulary words as well."""

    def encode(self, text, allowed_special=()):
        return super().encode(text.replace("\n\n", "\n"), allowed_special)


@pytest.mark.parametrize("vocab_size", [None, 8])
def test_a_tokenizer_that_changes_what_is_between_words_is_charged_all(vocab_size):
    tokenizer = Squeezing.train(TEXT, vocab_size)
    assert lost_bytes(tokenizer, TEXT) == len(TEXT)
    line = TEXT[: TEXT.index("\n")]
    assert lost_bytes(tokenizer, line) == lost_bytes(WordTokenizer(tokenizer.words), line) < len(line)


# Bad inputs


BAD_INPUTS = {  # what is done: a part of the message with the value, and one with the remedy
    "no text": (lambda m, t: text_loss(m, t, ""), "The text is empty", "at least one character"),
    "stride 0": (lambda m, t: text_loss(m, t, TEXT, stride=0), "stride=0", "at least 1"),
    "stride too long": (lambda m, t: text_loss(m, t, TEXT, stride=17), "stride=17", "at most the window of 16"),
    "half a stride": (lambda m, t: text_loss(m, t, TEXT, stride=0.5), "stride=0.5", "whole number"),
    "no batch": (lambda m, t: text_loss(m, t, TEXT, batch_size=0), "batch_size=0", "at least 1"),
    "no context": (lambda m, t: sliding_nll(m, IDS, context_length=0), "context_length=0", "at least 1"),
    "context too long": (lambda m, t: sliding_nll(m, [1, 2], context_length=17), "context_length=17", "at most 16"),
    "a batch of ids": (lambda m, t: sliding_nll(m, torch.tensor([IDS])), "(1, 150)", "one row of integers"),
    "ids that are floats": (lambda m, t: sliding_nll(m, [1.5, 2.5]), "float64", "one row of integers"),
    "unknown character": (lambda m, t: text_loss(m, t, "The ✂"), "'✂'", "train on a text that has it"),
    "another tokenizer": (
        lambda m, t: text_loss(m, BPETokenizer([]), TEXT),
        "257 tokens",
        "the tokenizer that the model was trained with",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_named_with_the_remedy(chars, case):
    action, value, remedy = BAD_INPUTS[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is looked at below)
        action(*chars)
    assert value in str(error.value)
    assert remedy in str(error.value)
