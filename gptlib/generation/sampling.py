"""The distribution of the next token, as temperature, top-k and top-p make it, and tokens drawn from it.

`filter_logits` is all the mathematics. It looks only at the tokens that can be drawn at all, since sorting a
vocabulary of 50,257 at every step would take as long as a good part of a fast model.
"""

import torch
from torch import Tensor

from gptlib.utils.validation import is_number, whole_number

HEAD = 1024
"""So many of the likeliest tokens nearly always hold top_p; sorting them all takes ten times as long."""


def filter_logits(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> tuple[Tensor, Tensor | None]:
    """The tokens (B, K) that may come next, likeliest first, and their probabilities (B, K).

    logits (B, V). Returns (probabilities, tokens); tokens is None if nothing was filtered: all V, in order.
    temperature, above 0, divides the logits: below 1 the likely become likelier. top_k keeps the k likeliest tokens
    (Fan et al. 2018, section 5.4). top_p keeps the fewest likeliest tokens whose probabilities sum to at least p
    (Holtzman et al. 2020, section 3.1). They act in this order, and what is left sums to 1.
    """
    logits, tokens = logits.float(), None
    if top_k is not None and top_k < logits.shape[-1]:
        logits, tokens = logits.topk(top_k, dim=-1)  # (B, K), sorted
    probabilities = softmax(logits, temperature)
    if top_p is not None and top_p < 1:
        if tokens is None:
            probabilities, tokens = sorted_head(probabilities, top_p)
        before = probabilities.cumsum(dim=-1) - probabilities  # probability of all that is likelier
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)  # the first has 0 before it and always stays
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities, tokens


def next_token_probabilities(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Logits (B, V) -> the distribution (B, V) that the next token is drawn from, 0 for what `filter_logits` drops.

    temperature 0 leaves the likeliest token alone.
    """
    everywhere = torch.zeros_like(logits, dtype=torch.float32)  # (B, V)
    if temperature == 0:
        return everywhere.scatter(-1, logits.argmax(dim=-1, keepdim=True), 1.0)
    probabilities, tokens = filter_logits(logits, temperature, top_k, top_p)
    return probabilities if tokens is None else everywhere.scatter(-1, tokens, probabilities)


def sample(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One token of each row of logits (B, V) -> (B,) int64; temperature 0 takes the likeliest."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities, tokens = filter_logits(logits, temperature, top_k, top_p)
    index = sample_index(probabilities, generator)
    return index if tokens is None else tokens.gather(1, index[:, None])[:, 0]


def softmax(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / temperature), for any temperature above 0."""
    # Only differences count; with the largest at 0, a tiny temperature can't overflow. It must not become 0 in float32.
    temperature = max(temperature, torch.finfo(logits.dtype).tiny)
    return ((logits - logits.amax(dim=-1, keepdim=True)) / temperature).softmax(dim=-1)


def sorted_head(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The likeliest tokens with their probabilities, (B, K) each: at least as many as hold top_p."""
    head = probabilities.topk(min(HEAD, probabilities.shape[-1]), dim=-1)
    if (head.values.double().sum(dim=-1) > top_p).all():
        return head.values, head.indices
    return probabilities.sort(dim=-1, descending=True)


def sample_index(probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """An index of each row (B, K), drawn by its probability -> (B,) int64, with one random number a row.

    Inverse transform sampling (Devroye 1986, section III.2): the probabilities side by side on a line, and a point
    thrown onto it. torch.multinomial takes a random number for each of the K. ValueError if one is nan.
    """
    dtype = torch.float32 if probabilities.device.type == "mps" else torch.float64
    ends = probabilities.cumsum(dim=-1, dtype=dtype)  # where each one's stretch of the line ends
    u = torch.rand(len(ends), 1, dtype=dtype, device=ends.device, generator=generator)
    if not ends[:, -1].isfinite().all():
        raise ValueError("The model's scores hold nan or inf, so nothing can be drawn; its weights are damaged.")
    # To the right: a stretch of no length is never hit.
    return torch.searchsorted(ends, u * ends[:, -1:], right=True).clamp(max=ends.shape[-1] - 1)[:, 0]


def check_sampling(max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ValueError, naming the parameter, if one of them makes no sense."""
    whole_number("max_new_tokens", max_new_tokens, 0)
    if not is_number(temperature) or temperature < 0:
        raise ValueError(f"temperature={temperature!r} is out of range; give 0 (always the likeliest token) or more.")
    if top_k is not None:
        whole_number("top_k", top_k, 1, ", or None for all tokens")
    if top_p is not None and not (is_number(top_p) and 0 < top_p <= 1):
        raise ValueError(f"top_p={top_p!r} is out of range; give a number above 0 and at most 1, or None.")
