"""Calls as PEFT makes them: its TaskType.CAUSAL_LM calls every model by the names that transformers' models have."""

from collections.abc import Callable
from functools import wraps

from torch import Tensor

_ABSENT = ("inputs_embeds", "labels", "output_attentions", "output_hidden_states", "return_dict")
"""What PEFT passes on, as None where its caller has not given it."""


def callable_by_peft(forward: Callable) -> Callable:
    """Let `forward(self, ids, *, padding, …)` be called with input_ids and attention_mask, too.

    attention_mask (B, T), with a cache (B, S), is 0 where a row is padded, at its left or right. Raises ValueError for
    transformers' other names, with any value but None, for one thing given by two names, and where shapes differ.
    """

    @wraps(forward)
    def called(self, ids=None, *, input_ids=None, attention_mask=None, **options):
        for name in _ABSENT:
            if options.pop(name, None) is not None:
                raise ValueError(f"{name} is of no use to this model, which gives logits; leave it out.")
        pairs = (ids, input_ids), (options.get("padding"), attention_mask)
        if any(ours is not None and theirs is not None for ours, theirs in pairs):
            raise ValueError("ids are also input_ids, and padding is also attention_mask; give one of each pair.")
        ids = input_ids if ids is None else ids
        if attention_mask is not None:
            _check_shape(attention_mask, ids, options.get("cache"))
            padding = left_padding(attention_mask)
            options["padding"] = padding if padding.any() else None
        return forward(self, ids, **options)

    return called


def _check_shape(attention_mask: Tensor, ids: Tensor, cache) -> None:
    expected = (len(ids), ids.shape[1] + (cache.length if cache is not None else 0))
    if tuple(attention_mask.shape) != expected:
        raise ValueError(
            f"attention_mask has the shape {tuple(attention_mask.shape)}, and the tokens have {expected}; give a 1 for "
            "each token, and a 0 where it is padding."
        )


def left_padding(attention_mask: Tensor) -> Tensor:
    """How many zeros each row (B, T) begins with, (B,); those at its right end change nothing in a causal model.

    Raises ValueError where there are zeros in between, since every real token sees all that came before it.
    """
    real = attention_mask.bool()
    padding = (real.cumsum(dim=1) == 0).sum(dim=1)
    if ((real[:, 1:] & ~real[:, :-1]).sum(dim=1) > (padding > 0)).any():
        raise ValueError("attention_mask has zeros in the middle of a row; pad rows at their left or right end.")
    return padding
