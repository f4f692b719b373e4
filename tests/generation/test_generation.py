"""Sampling against its exact distribution, generation against transformers and explicit loops, text in and out."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gptlib.generation import (
    encode_prompts,
    generate,
    generate_text,
    generate_tokens,
    next_token_probabilities,
    stream,
)
from gptlib.model import GPTModel
from gptlib.tokenizers import BPETokenizer, CharTokenizer

slides = pytest.mark.filterwarnings("ignore:The prompt of .* is longer than the model's context")

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;:!?-'"  # 61 characters, as many as TINY's tokens
CHARS = CharTokenizer(ALPHABET)
BYTES = BPETokenizer([])  # the 256 bytes, and <|endoftext|>


def random_ids(*shape, seed=0, vocab_size=61):
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def expected_probabilities(logits, temperature, top_k, top_p):
    """One row, in float64, by sorting and counting; the logits must differ from one another."""
    logits = np.asarray(logits, dtype=np.float64)
    order = np.argsort(-logits)
    if temperature == 0:
        return (np.arange(len(logits)) == order[0]).astype(float)
    p = np.exp((logits - logits.max()) / temperature)
    if top_k is not None:
        p[order[top_k:]] = 0
    p /= p.sum()
    if top_p is not None:
        total = 0.0
        for i in order:
            if total >= top_p:
                p[i] = 0
            total += p[i]
        p /= p.sum()
    return p


def p_value(counts, probabilities):
    """Pearson's chi-square: how likely counts at least as far from their expectation are."""
    expected = counts.sum() * probabilities
    assert counts[probabilities == 0].sum() == 0  # what is left out is never drawn
    counts, expected = counts[expected > 0], expected[expected > 0]
    rare = expected < 5  # too few for the approximation: counted together
    counts, expected = (np.append(x[~rare], x[rare].sum()) for x in (counts, expected))
    if expected[-1] == 0:
        counts, expected = counts[:-1], expected[:-1]
    statistic = ((counts - expected) ** 2 / expected).sum()
    half_df = torch.tensor((len(counts) - 1) / 2, dtype=torch.float64)
    return torch.special.gammaincc(half_df, torch.tensor(statistic / 2, dtype=torch.float64)).item()


# The distribution


LOGITS = hnp.arrays(  # all different, by 1/64 or more; ties have tests of their own
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.integers(-1280, 1280).map(lambda i: i / 64),
    unique=True,
)


@settings(max_examples=300)
@given(
    logits=LOGITS,
    temperature=st.sampled_from([0, 0.01, 0.3, 1, 1.0, 2.5, 1e6]) | st.floats(0.05, 10),
    top_k=st.none() | st.integers(1, 15),
    top_p=st.none() | st.sampled_from([1e-9, 0.5, 0.999, 1.0, 1]) | st.floats(0.01, 1),
)
def test_probabilities_equal_brute_force(logits, temperature, top_k, top_p):
    if top_p is not None:
        assume(temperature < 1e3)  # so hot, all probabilities are the same but for rounding
        # and a sum very near to p falls to one side or the other by rounding
        for row in logits:
            p = np.sort(expected_probabilities(row, temperature, top_k, None))[::-1]
            assume(top_p == 1 or np.abs(p.cumsum() - top_p).min() > 1e-5)
    got = next_token_probabilities(torch.tensor(logits), temperature, top_k, top_p)
    assert got.dtype == torch.float32
    for row, values in zip(got.numpy(), logits, strict=True):
        np.testing.assert_allclose(row, expected_probabilities(values, temperature, top_k, top_p), atol=1e-5)


@given(logits=hnp.arrays(np.float32, (2, 9), elements=st.sampled_from([-1.0, 0.0, 1.0])), top_k=st.integers(1, 12))
def test_of_equal_logits_exactly_k_stay(logits, top_k):
    got = next_token_probabilities(torch.tensor(logits), top_k=top_k).numpy()
    for row, values in zip(got, logits, strict=True):
        kept = row > 0
        assert kept.sum() == min(top_k, 9)
        assert kept.all() or values[kept].min() >= values[~kept].max()
        weights = np.exp(values[kept].astype(float))
        np.testing.assert_allclose(row[kept], weights / weights.sum(), rtol=1e-5)


@given(logits=hnp.arrays(np.float32, (2, 8), elements=st.sampled_from([-2.0, 0.0, 1.0])), top_p=st.floats(0.01, 0.99))
def test_of_equal_logits_top_p_keeps_the_fewest_that_suffice(logits, top_p):
    got = next_token_probabilities(torch.tensor(logits), top_p=top_p).numpy()
    for row, values in zip(got, logits, strict=True):
        likeliest = np.sort(np.exp(values.astype(float)) / np.exp(values.astype(float)).sum())[::-1]
        assume(np.abs(likeliest.cumsum() - top_p).min() > 1e-5)
        fewest = int((likeliest.cumsum() < top_p).sum()) + 1
        kept = row > 0
        assert kept.sum() == fewest
        assert kept.all() or values[kept].min() >= values[~kept].max()
        assert row.sum() == pytest.approx(1, abs=1e-5)


def test_top_p_reached_exactly_keeps_no_more():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    for top_p, kept in ((0.5, 1), (0.75, 2), (0.76, 3), (0.4, 1)):
        assert (next_token_probabilities(logits, top_p=top_p) > 0).sum() == kept


def test_top_k_acts_before_top_p():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    # of the two that top_k leaves, the first has 4/7 = 0.57: enough for 0.55, which of all four it would not be
    torch.testing.assert_close(next_token_probabilities(logits, 1, 2, 0.55), torch.tensor([[1.0, 0, 0, 0]]))


@pytest.mark.parametrize("temperature", [0, 1e-300, 1e-50, 1e-45, 1e-40, 1e-10, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_colder_the_greedier(temperature, dtype):
    logits = torch.tensor([[1.0, 3.0, -2.0], [-100.0, -300.0, 1000.0]], dtype=dtype)
    got = next_token_probabilities(logits, temperature)
    assert torch.equal(got, torch.tensor([[0.0, 1, 0], [0, 0, 1]]))


def test_the_hotter_the_more_even():
    got = next_token_probabilities(torch.tensor([[5.0, -5.0, 0.0, 1.0]]), 1e30, top_k=3)
    torch.testing.assert_close(got, torch.tensor([[1 / 3, 0, 1 / 3, 1 / 3]]))


def test_what_cannot_be_stays_so():
    logits = torch.tensor([[0.0, -math.inf, 1.0, -math.inf]])
    for options in ({}, {"temperature": 100}, {"top_k": 3}, {"top_p": 1.0}, {"top_k": 3, "top_p": 0.99}):
        got = next_token_probabilities(logits, **options)
        assert got[0, [1, 3]].tolist() == [0, 0]
        assert got.sum() == pytest.approx(1)


# Sampling


SAMPLING = [{}, {"temperature": 0.4}, {"temperature": 3.0}, {"top_k": 5}, {"top_p": 0.6}]
SAMPLING += [{"temperature": 2.0, "top_k": 6, "top_p": 0.8}]


@pytest.mark.parametrize("options", SAMPLING, ids=str)
@pytest.mark.parametrize("use_cache", [True, False])
def test_two_tokens_are_drawn_from_their_exact_distribution(make_model, options, use_cache):
    """20,000 continuations at once: the counts of all pairs of tokens against the product of both steps."""
    model = make_model(vocab_size=9, emb_dim=12)
    prompt = torch.tensor([[2, 7, 1]])
    filters = [options.get(name, default) for name, default in (("temperature", 1.0), ("top_k", None), ("top_p", None))]
    with torch.no_grad():
        first = expected_probabilities(model(prompt)[0, -1], *filters)
        second = [
            expected_probabilities(model(torch.cat((prompt, torch.tensor([[token]])), dim=1))[0, -1], *filters)
            for token in range(9)
        ]
    joint = np.array([first[i] * second[i] for i in range(9)])  # (9, 9)
    out = generate(model, prompt.expand(20_000, 3), 2, seed=0, use_cache=use_cache, **options)
    assert torch.equal(out[:, :3], prompt.expand(20_000, 3))
    pairs = out[:, 3] * 9 + out[:, 4]
    assert p_value(np.bincount(pairs, minlength=81), joint.ravel()) > 1e-3
    # and neighbouring rows know nothing of each other
    neighbours = out[0::2, 3] * 9 + out[1::2, 3]
    assert p_value(np.bincount(neighbours, minlength=81), np.outer(first, first).ravel()) > 1e-3


def test_the_chi_square_above_would_notice():
    p = np.array([0.5, 0.3, 0.2])
    rng = np.random.default_rng(0)
    assert p_value(rng.multinomial(20_000, p), p) > 1e-3
    assert p_value(rng.multinomial(20_000, [0.48, 0.31, 0.21]), p) < 1e-3


def test_seeds(tiny_model):
    ids = random_ids(2, 5)
    state = torch.get_rng_state()
    one, again, other = (generate(tiny_model, ids, 10, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)  # a seed leaves the global state alone

    torch.manual_seed(3)
    first, second = (generate(tiny_model, ids, 10) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(generate(tiny_model, ids, 10), first)  # without one, the global state decides


# Against transformers


@pytest.mark.parametrize("changes", [{}, {"qkv_bias": True, "weight_tying": True}, {"n_heads": 1, "n_layers": 3}])
def test_greedy_equals_transformers(make_twins, changes):
    ours, theirs = make_twins(context_length=48, **changes)
    ids = random_ids(4, 6)
    options = {"max_new_tokens": 30, "do_sample": False, "pad_token_id": 0}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)
    assert expected.shape == (4, 36)
    assert torch.equal(generate(ours, ids, 30, temperature=0), expected)

    # the same on prompts of different lengths, padded on the left
    pad_lengths = torch.tensor([0, 2, 5, 3])
    real = (torch.arange(6) >= pad_lengths[:, None]).long()
    expected = theirs.generate(ids, attention_mask=real, **options)
    assert torch.equal(generate(ours, ids, 30, temperature=0, pad_lengths=pad_lengths), expected)


def test_end_of_text_as_transformers(make_twins):
    ours, theirs = make_twins(context_length=48)
    ids = random_ids(6, 5)
    # a token that some rows come upon early, some late, and some never
    eos_id = generate(ours, ids, 20, temperature=0)[:, 5:].flatten().mode().values.item()
    options = {"max_new_tokens": 20, "do_sample": False, "eos_token_id": eos_id, "pad_token_id": eos_id}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)
    assert (expected[:, 5:] == eos_id).any()
    assert torch.equal(generate(ours, ids, 20, temperature=0, eos_id=eos_id), expected)


# Against explicit loops


@torch.no_grad()
def explicit_loop(model, ids, max_new_tokens, seed=None):
    """As nanoGPT's generate: crop to the context, run the model on all of it, take the last position."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for _ in range(max_new_tokens):
        logits = model(ids[:, -model.config.context_length :])[:, -1]
        if seed is None:
            token = logits.argmax(-1, keepdim=True)
        else:
            points = torch.rand(len(ids), 1, dtype=torch.float64, generator=generator)
            ends = logits.softmax(-1).double().cumsum(-1)
            token = (ends <= points * ends[:, -1:]).sum(-1, keepdim=True)  # how many stretches end before the point
        ids = torch.cat((ids, token), dim=1)
    return ids


@slides
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("n", [1, 9, 15, 16, 17, 30])  # context_length is 16
def test_generation_is_an_explicit_loop_also_past_the_context(make_model, n, seed, use_cache, positions):
    model = make_model(positions=positions)
    ids = random_ids(2, n, seed=n)
    options = {"temperature": 0} if seed is None else {"seed": seed}
    out = generate(model, ids, 20, use_cache=use_cache, **options)
    assert torch.equal(out, explicit_loop(model, ids, 20, seed))


def test_a_context_of_one_token(make_model):
    model = make_model(context_length=1)
    with pytest.warns(UserWarning, match="context of 1"):
        out = generate(model, random_ids(2, 1), 5, temperature=0)
    assert torch.equal(out, explicit_loop(model, random_ids(2, 1), 5))


# Prompts of different lengths


@slides
@settings(max_examples=25)
@given(
    prompts=st.lists(st.text(ALPHABET, min_size=1, max_size=20), min_size=1, max_size=5),
    max_new_tokens=st.integers(0, 24),
    use_cache=st.booleans(),
)
def test_a_batch_of_prompts_equals_each_alone(tiny_model, prompts, max_new_tokens, use_cache):
    """Also past the context of 16, where some rows slide and others do not yet."""
    options = {"temperature": 0, "use_cache": use_cache}
    together = generate_text(tiny_model, CHARS, prompts, max_new_tokens, **options)
    assert together == [generate_text(tiny_model, CHARS, prompt, max_new_tokens, **options) for prompt in prompts]
    for prompt, text in zip(prompts, together, strict=True):
        assert text.startswith(prompt)
        assert len(text) == len(prompt) + max_new_tokens


@slides
def test_a_batch_of_prompts_equals_each_alone_with_sinusoidal_positions(make_model):
    model = make_model(positions="sinusoidal")
    prompts = ["a", "some words", "a prompt longer than the context"]
    together = generate_text(model, CHARS, prompts, 20, temperature=0)
    assert together == [generate_text(model, CHARS, prompt, 20, temperature=0) for prompt in prompts]


def test_prompts_are_padded_on_the_left():
    ids, pad_lengths = encode_prompts(BYTES, ["abc", "", "de"])
    assert pad_lengths.tolist() == [0, 2, 1]
    assert ids[0].tolist() == [97, 98, 99]
    assert ids[1, 2:].tolist() == [256]  # behind <|endoftext|> a new text begins
    assert ids[2, 1:].tolist() == [100, 101]


# The end of a text


def test_finished_rows_are_filled_and_generation_ends_early(tiny_model):
    ids = random_ids(5, 4, seed=1)
    free = generate(tiny_model, ids, 12, temperature=0)[:, 4:]
    tokens = sorted(set(free.flatten().tolist()))
    widths = set()
    for eos_id in tokens:
        expected = free.clone()
        ends = []
        for row in expected:
            found = (row == eos_id).nonzero().flatten().tolist()
            if found:
                row[found[0] :] = eos_id
            ends.append(found[0] + 1 if found else 12)
        out = generate(tiny_model, ids, 12, temperature=0, eos_id=eos_id)
        assert torch.equal(out, torch.cat((ids, expected[:, : max(ends)]), dim=1))
        alone = generate(tiny_model, ids[:1], 12, temperature=0, eos_id=eos_id)
        assert alone.shape[1] == 4 + ends[0]
        widths.add(alone.shape[1])
    assert len(widths) > 3  # some ended early, at different places


def test_a_text_ends_before_its_end_of_text(tiny_model):
    prompts = ["hello", "It was"]
    free = generate_text(tiny_model, CHARS, prompts, 9, temperature=0)
    for end in sorted(set(free[0][5:])):
        cut = generate_text(tiny_model, CHARS, prompts, 9, temperature=0, eos_id=CHARS.encode(end)[0])
        for prompt, text, whole in zip(prompts, cut, free, strict=True):
            assert text == prompt + whole[len(prompt) :].split(end)[0]


class Scripted(GPTModel):
    """Always continues with the tokens of its `script`, whatever the prompt of `prompt_length` tokens says."""

    def __init__(self, script=(), prompt_length=1, vocab_size=257):
        super().__init__({"vocab_size": vocab_size, "context_length": 400, "emb_dim": 2, "n_heads": 1, "n_layers": 1})
        self.script, self.prompt_length, self.calls = list(script), prompt_length, 0

    def forward(self, ids, *, cache=None, pad_lengths=None, last_only=False):
        seen = ids.shape[1]
        if cache is not None:
            seen += cache.length
            cache.advance(ids.shape[1])
        self.calls += 1
        logits = torch.full((len(ids), 1, self.config.vocab_size), -100.0)
        logits[:, :, self.script[seen - self.prompt_length]] = 100.0
        return logits


def test_the_tokenizers_own_end_of_text_ends():
    model = Scripted([*b"Hi.", 256, *b"more"])
    assert generate_text(model, BYTES, ">", 7, temperature=0) == ">Hi."
    assert "".join(stream(model, BYTES, ">", 7, temperature=0)) == "Hi."
    model.calls = 0
    assert generate_text(model, BYTES, [">", "?"], 7, temperature=0) == [">Hi.", "?Hi."]
    assert model.calls == 4  # nothing is computed behind the end
    assert generate_text(model, BYTES, ">", 5, temperature=0, eos_id=None) == ">Hi.<|endoftext|>m"  # switched off


# Samples


def test_samples_of_a_prompt_stand_side_by_side(tiny_model):
    texts = generate_text(tiny_model, CHARS, ["ab", "Hello"], 8, num_samples=3, seed=1)
    assert [text[:2] for text in texts[:3]] == ["ab"] * 3
    assert [text[:5] for text in texts[3:]] == ["Hello"] * 3
    assert len(set(texts)) == 6  # each drawn anew
    assert generate_text(tiny_model, CHARS, ["ab", "Hello"], 8, num_samples=3, seed=1) == texts
    greedy = generate_text(tiny_model, CHARS, "ab", 8, num_samples=2, temperature=0)
    assert greedy == [generate_text(tiny_model, CHARS, "ab", 8, temperature=0)] * 2


def test_what_comes_back_is_as_what_went_in(tiny_model):
    options = {"max_new_tokens": 2, "temperature": 0}
    assert isinstance(generate_text(tiny_model, CHARS, "ab", **options), str)
    assert isinstance(generate_text(tiny_model, CHARS, ["ab"], **options), list)
    assert isinstance(generate_text(tiny_model, CHARS, ("ab", "c"), **options), list)
    assert isinstance(generate_text(tiny_model, CHARS, "ab", num_samples=1, **options), list)
    ids = random_ids(2, 3)
    out = generate(tiny_model, ids, 0)
    assert torch.equal(out, ids)
    out = generate(tiny_model, ids, 4)
    assert (out.shape, out.dtype, out.requires_grad) == ((2, 7), torch.int64, False)
    assert torch.equal(out[:, :3], ids)
    assert ids.shape == (2, 3)


def test_a_model_may_know_more_tokens_than_the_tokenizer(make_model):
    """A vocabulary padded to a round number, say: what the tokenizer has no text for is never drawn."""
    model, tokenizer = make_model(vocab_size=64), CharTokenizer("ab")
    for seed in range(5):
        text = generate_text(model, tokenizer, "a", 10, seed=seed, temperature=2.0)
        assert set(text) <= set("ab")
        assert len(text) == 11
        assert "a" + "".join(stream(model, tokenizer, "a", 10, seed=seed, temperature=2.0)) == text


# An empty prompt


def test_an_empty_prompt_begins_a_new_text():
    model = Scripted(b"Once")
    assert generate_text(model, BYTES, "", 4, temperature=0) == "Once"
    assert "".join(stream(model, BYTES, "", 4, temperature=0)) == "Once"
    assert generate_text(model, BYTES, ["", "x"], 4, temperature=0) == ["Once", "xOnce"]


# Streaming


@slides
@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {"seed": 1}, {"seed": 2, "top_k": 5, "temperature": 2.0}], ids=str
)
def test_pieces_put_together_are_the_text(tiny_model, options):
    pieces = list(stream(tiny_model, CHARS, "Hello", 30, **options))
    assert "Hello" + "".join(pieces) == generate_text(tiny_model, CHARS, "Hello", 30, **options)
    assert [len(piece) for piece in pieces] == [1] * 30


def test_an_emoji_over_several_tokens_comes_whole():
    text = "a 😀é\u0301漢👩‍👩‍👧 z"
    model = Scripted(text.encode())
    pieces = list(stream(model, BYTES, ">", len(model.script), temperature=0))
    assert pieces == list(text)  # each character, as soon as its last byte is there
    merges = [(0xF0, 0x9F), (256, 0x98), (0x20, 256)]  # a token with a space and the beginning of an emoji
    tokenizer = BPETokenizer(merges)
    model = Scripted(tokenizer.encode(text), vocab_size=tokenizer.vocab_size)
    assert len(model.script) < len(text.encode())
    pieces = list(stream(model, tokenizer, ">", len(model.script), temperature=0))
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_a_character_comes_without_delay():
    model = Scripted("é!".encode())
    pieces = stream(model, BYTES, ">", 3, temperature=0)
    assert model.calls == 0
    assert next(pieces) == "é"
    assert model.calls == 2
    assert next(pieces) == "!"
    assert list(pieces) == []


SCRIPTED = Scripted()


@settings(max_examples=200)
@given(st.lists(st.one_of(st.text(max_size=4).map(str.encode), st.binary(max_size=3), st.just("\ufffd".encode()))))
def test_pieces_put_together_are_the_text_whatever_the_bytes(parts):
    """Broken and half characters included, in the middle and at the end."""
    script = [*b"".join(parts)][:300]
    SCRIPTED.script = script
    text = generate_text(SCRIPTED, BYTES, ">", len(script), temperature=0)
    assert text == ">" + bytes(script).decode(errors="replace")
    assert ">" + "".join(stream(SCRIPTED, BYTES, ">", len(script), temperature=0)) == text


# The model afterwards


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_its_mode(make_model, training):
    model = make_model(drop_rate=0.5).train(training)

    def modes():
        return {module.training for module in model.modules()}

    plain = make_model(drop_rate=0.0)
    ids = random_ids(2, 5)
    assert torch.equal(generate(model, ids, 8, temperature=0), generate(plain, ids, 8, temperature=0))  # no dropout
    assert modes() == {training}
    generate_text(model, CHARS, "ab", 3)
    assert modes() == {training}
    list(stream(model, CHARS, "ab", 3))
    assert modes() == {training}
    for _ in stream(model, CHARS, "ab", 3):
        break
    assert modes() == {training}
    with pytest.raises(ValueError, match="Token id 99"):
        generate(model, torch.tensor([[99]]), 3)
    assert modes() == {training}


def test_the_model_is_in_its_mode_between_two_pieces(make_model):
    """A stream that is held and not read to its end must not leave a training without dropout."""
    model = make_model(drop_rate=0.5).train()
    pieces = stream(model, CHARS, "ab", 5)
    next(pieces)
    assert model.training


def test_generation_keeps_no_graph(make_model):
    model = make_model()
    token = next(generate_tokens(model, random_ids(1, 3), 1))
    assert not token.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_half_precision(make_model):
    model = make_model().to(torch.bfloat16)
    ids = random_ids(2, 5)
    for options in ({"temperature": 0}, {"seed": 1, "top_p": 0.9}):
        out = generate(model, ids, 8, **options)
        assert out.shape == (2, 13)
        assert out.max() < 61


# Said once


@pytest.mark.parametrize("call", ["generate", "generate_text", "stream"])
def test_a_slide_is_said_once(tiny_model, call):
    def run(n, max_new_tokens):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if call == "generate":
                generate(tiny_model, random_ids(2, n), max_new_tokens)
            elif call == "generate_text":
                generate_text(tiny_model, CHARS, "a" * n, max_new_tokens)
            else:
                list(stream(tiny_model, CHARS, "a" * n, max_new_tokens))
        return [str(warning.message) for warning in caught]

    assert run(10, 6) == []
    assert run(10, 7) == []  # the last token is drawn from a full context, and nothing slid
    assert run(16, 1) == []
    for n, new in ((10, 8), (10, 20), (17, 1), (40, 3)):
        (message,) = run(n, new)
        assert f"The prompt of {n} tokens with {new} new ones" in message
        assert "context of 16" in message
        assert "only the last 16 tokens are seen" in message


# Bad inputs


TINY = {"vocab_size": 61, "context_length": 16, "emb_dim": 4, "n_heads": 1, "n_layers": 1}
MODEL = GPTModel(TINY)
IDS = torch.ones(1, 3, dtype=torch.long)


def call(ids=IDS, max_new_tokens=3, **options):
    return lambda: generate(MODEL, ids, max_new_tokens, **options)


def text(prompt="ab", tokenizer=CHARS, **options):
    return lambda: generate_text(MODEL, tokenizer, prompt, 3, **options)


BAD_INPUTS = {  # what is done: a part of the message with the value, and one with the remedy
    "tokens below 0": (call(max_new_tokens=-1), "max_new_tokens=-1", "a whole number of at least 0"),
    "half a token": (call(max_new_tokens=2.5), "max_new_tokens=2.5", "a whole number of at least 0"),
    "tokens as text": (call(max_new_tokens="9"), "max_new_tokens='9'", "a whole number of at least 0"),
    "temperature below 0": (call(temperature=-0.5), "temperature=-0.5", "give 0 (always the likeliest token) or more"),
    "temperature NaN": (call(temperature=math.nan), "temperature=nan", "give 0 (always the likeliest"),
    "temperature infinite": (call(temperature=math.inf), "temperature=inf", "give 0 (always the likeliest"),
    "temperature as text": (call(temperature="hot"), "temperature='hot'", "give 0 (always the likeliest"),
    "temperature None": (call(temperature=None), "temperature=None", "give 0 (always the likeliest"),
    "top_k of 0": (call(top_k=0), "top_k=0", "at least 1, or None for all tokens"),
    "top_k below 0": (call(top_k=-3), "top_k=-3", "at least 1, or None for all tokens"),
    "top_k of 1.5": (call(top_k=1.5), "top_k=1.5", "a whole number of at least 1"),
    "top_k True": (call(top_k=True), "top_k=True", "a whole number of at least 1"),
    "top_p of 0": (call(top_p=0), "top_p=0", "above 0 and at most 1, or None"),
    "top_p in percent": (call(top_p=90), "top_p=90", "above 0 and at most 1, or None"),
    "top_p NaN": (call(top_p=math.nan), "top_p=nan", "above 0 and at most 1, or None"),
    "top_p as text": (call(top_p="0.9"), "top_p='0.9'", "above 0 and at most 1, or None"),
    "bad even if greedy": (call(temperature=0, top_k=0), "top_k=0", "at least 1"),
    "ids of one row": (call(IDS[0]), "shape (3,)", "a tensor of ids (batch, n)"),
    "no ids": (call(IDS[:, :0]), "shape (1, 0)", "n of at least 1"),
    "no rows": (call(IDS[:0]), "not (0, 3)", "at least one each"),
    "ids as a list": (call([[1, 2]]), "not [[1, 2]]", "a tensor of ids (batch, n)"),
    "id not in the vocabulary": (call(IDS * 61), "Token id 61", "the tokenizer that the model was trained with"),
    "no prompts": (text([]), "list of prompts is empty", "pass at least one prompt"),
    "empty prompt, no end of text": (text(""), "The prompt '' is empty", "give at least one character"),
    "one of them empty": (text(["a", ""]), "The prompt '' is empty", "give at least one character"),
    "no samples": (text(num_samples=0), "num_samples=0", "a whole number of at least 1"),
    "samples as text": (text(num_samples="3"), "num_samples='3'", "a whole number of at least 1"),
    "unknown character": (text("naïve"), "'ï'", "train on a text that has it"),
    "another tokenizer": (text(tokenizer=BYTES), "257 tokens and the model knows 61", "the model was trained with"),
    "bad option by text": (text(top_p=2), "top_p=2", "above 0 and at most 1"),
    "streaming several": (lambda: next(stream(MODEL, CHARS, ["a", "b"], 3)), "not ['a', 'b']", "use generate_text"),
    "streaming, another tokenizer": (lambda: next(stream(MODEL, BYTES, "a", 3)), "257 tokens", "was trained with"),
    "streaming, bad option": (lambda: next(stream(MODEL, CHARS, "a", 3, top_k=0)), "top_k=0", "at least 1"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_named_with_the_remedy(case):
    action, value, remedy = BAD_INPUTS[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is looked at below)
        action()
    assert value in str(error.value)
    assert remedy in str(error.value)
