"""Drawing the next token from its logits in a fraction of the time that the whole vocabulary would take.

`generation.next_token_probabilities` is what is computed here, written to be read. The same distribution, but only for
the tokens that can be drawn at all, is in `likeliest`; and one random number in place of one per token draws from it.
"""

import torch
from torch import Tensor

HEAD = 1024
"""So many of the likeliest tokens nearly always hold top_p; sorting the whole vocabulary takes ten times as long."""


def draw(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One token of each row of logits (B, V) -> (B,) int64; temperature 0 takes the likeliest."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities, tokens = likeliest(logits, temperature, top_k, top_p)
    chosen = draw_index(probabilities, generator)
    return chosen if tokens is None else tokens.gather(1, chosen[:, None])[:, 0]


def likeliest(
    logits: Tensor, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> tuple[Tensor, Tensor | None]:
    """The probabilities (B, K) of the tokens (B, K) that may be drawn, likeliest first; None for tokens: all, in order.

    temperature is above 0; the options are those of `next_token_probabilities`, which gives the same numbers.
    """
    logits = logits.float()
    vocab_size = logits.shape[-1]
    nucleus = top_p is not None and top_p < 1
    if top_k is not None and top_k < vocab_size:
        values, tokens = logits.topk(top_k, dim=-1)
        probabilities = softmax(values, temperature)
    elif not nucleus:
        return softmax(logits, temperature), None
    else:
        everything = softmax(logits, temperature)
        probabilities, tokens = everything.topk(min(HEAD, vocab_size), dim=-1)
        if (probabilities.double().sum(dim=-1) <= top_p).any():
            probabilities, tokens = everything.sort(dim=-1, descending=True)
    if nucleus:
        before = probabilities.cumsum(dim=-1) - probabilities  # probability of all that is likelier
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities, tokens


def softmax(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / temperature), for any temperature above 0."""
    # Only differences count; with the largest at 0, a tiny temperature can't overflow. It must not become 0 in float32.
    temperature = max(temperature, torch.finfo(logits.dtype).tiny)
    return ((logits - logits.amax(dim=-1, keepdim=True)) / temperature).softmax(dim=-1)


def draw_index(probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """An index of each row (B, K), drawn by its probability -> (B,) int64, with one random number a row.

    Inverse transform sampling (Devroye 1986, section III.2): the probabilities side by side on a line, and a point
    thrown onto it. torch.multinomial takes a random number for each of the K. ValueError where one is nan.
    """
    dtype = torch.float32 if probabilities.device.type == "mps" else torch.float64
    ends = probabilities.cumsum(dim=-1, dtype=dtype)  # where each one's stretch of the line ends
    u = torch.rand(len(ends), 1, dtype=dtype, device=ends.device, generator=generator)
    if not ends[:, -1].isfinite().all():
        raise ValueError("The model's scores hold nan or inf, so nothing can be drawn; its weights are damaged.")
    # To the right: a stretch of no length is never hit.
    return torch.searchsorted(ends, u * ends[:, -1:], right=True).clamp(max=ends.shape[-1] - 1)[:, 0]
