"""Drawing from the likeliest tokens only: the distribution of the plain formula, and the frequencies it promises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.generation import next_token_probabilities
from gptlib.generation.sampling import HEAD, filter_logits, sample, sample_index


def plain_formula(logits, temperature, top_k, top_p):
    """The whole distribution (B, V), written to be read: everything sorted, nothing saved."""
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        values, tokens = logits.topk(top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, tokens, values)
    probabilities = logits.softmax(dim=-1)
    if top_p is not None and top_p < 1:
        ordered, tokens = probabilities.sort(dim=-1, descending=True)
        ordered = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= top_p, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, tokens, ordered)
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities


@settings(max_examples=150)
@given(
    vocab_size=st.sampled_from([1, 2, 7, 300, HEAD, HEAD + 1, 5000]),
    spread=st.sampled_from([0.0, 0.01, 1.0, 8.0]),
    temperature=st.sampled_from([1e-30, 0.1, 1, 1.0, 3.7]),
    top_k=st.none() | st.sampled_from([1, 2, 50, HEAD, 10_000]),
    top_p=st.none() | st.sampled_from([1e-9, 0.3, 0.9, 0.999, 1.0]),
    seed=st.integers(0, 1000),
)
def test_it_is_the_distribution_of_the_plain_formula(vocab_size, spread, temperature, top_k, top_p, seed):
    logits = spread * torch.randn(3, vocab_size, generator=torch.Generator().manual_seed(seed))
    expected = plain_formula(logits, temperature, top_k, top_p)
    probabilities, tokens = filter_logits(logits, temperature, top_k, top_p)
    if tokens is not None:
        assert (tokens.sort(dim=-1).values.diff() > 0).all()  # each token once
        probabilities = torch.zeros_like(expected).scatter(-1, tokens, probabilities)
    assert torch.equal(next_token_probabilities(logits, temperature, top_k, top_p), probabilities)
    if spread == 0 or top_p is not None:
        # Of equal tokens either may stay, and rounding decides whether the last of the nucleus does.
        expected, probabilities = expected.sort(dim=-1).values, probabilities.sort(dim=-1).values
        torch.testing.assert_close(probabilities, expected, atol=2 / vocab_size if spread < 1 else 2e-3, rtol=0.02)
    else:
        torch.testing.assert_close(probabilities, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.9}, {"temperature": 0.5, "top_k": 4, "top_p": 0.95}])
def test_tokens_come_as_often_as_they_should(options):
    logits = torch.tensor([0.1, 2.0, -1.0, 0.5, 1.5, 0.4]).expand(20_000, -1)
    tokens = sample(logits, **{"temperature": 1.0} | options, generator=torch.Generator().manual_seed(1))
    expected = next_token_probabilities(logits[:1], **options)[0].double().numpy()
    counts = np.bincount(tokens.numpy(), minlength=6)
    deviation = np.sqrt(20_000 * expected * (1 - expected))
    assert (np.abs(counts - 20_000 * expected) <= 4 * deviation).all()  # exactly 0 where the probability is 0


def test_what_cannot_be_drawn_is_never_drawn_at_either_end():
    probabilities = torch.tensor([[0.0, 0.0, 0.3, 0.0, 0.7, 0.0]]).expand(5000, -1)
    assert set(sample_index(probabilities).tolist()) == {2, 4}


def test_the_first_number_and_the_last_are_within_the_vocabulary(monkeypatch):
    probabilities = torch.tensor([[0.25, 0.5, 0.25]])
    for point, expected in ((0.0, 0), (0.25, 1), (0.75, 2), (1 - 2**-53, 2)):
        monkeypatch.setattr(torch, "rand", lambda *_, p=point, **__: torch.tensor([[p]], dtype=torch.float64))
        assert sample_index(probabilities).item() == expected


def test_temperature_zero_takes_the_likeliest():
    logits = torch.randn(4, 100)
    assert torch.equal(sample(logits, 0), logits.argmax(-1))


@pytest.mark.parametrize("top_k", [None, 2])
def test_scores_that_are_no_numbers_are_refused(top_k):
    with pytest.raises(ValueError, match=r"nan or inf.*damaged"):
        sample(torch.tensor([[0.0, float("nan"), 1.0]]), top_k=top_k)
