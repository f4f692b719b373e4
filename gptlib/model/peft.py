"""The edge at which PEFT meets our model: its TaskType.CAUSAL_LM calls every model as transformers' are called.

The model reads, and works, without this module; one line in gpt.py makes it usable.
"""

from functools import wraps
from typing import TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=type[nn.Module])

_ABSENT = ("inputs_embeds", "labels", "output_attentions", "output_hidden_states", "return_dict")
"""What PEFT passes on, as None if its caller has not given it."""


def usable_by_peft(model_class: Model) -> Model:
    """Class decorator: what PEFT needs of a model whose `forward(ids, *, cache, pad_lengths, …)` gives logits.

    The model can be called with input_ids and attention_mask, too. attention_mask (B, T), with a cache (B, S), is 0
    where a row is padded, at its left or right. Raises ValueError for transformers' other names, with any value but
    None, for one thing given by two names, and for shapes that differ.
    """
    forward = model_class.forward

    @wraps(forward)
    def called(self, ids=None, *, input_ids=None, attention_mask=None, **options):
        for name in _ABSENT:
            if options.pop(name, None) is not None:
                raise ValueError(f"{name} is of no use to this model, which gives logits; leave it out.")
        pairs = (ids, input_ids), (options.get("pad_lengths"), attention_mask)
        if any(ours is not None and theirs is not None for ours, theirs in pairs):
            raise ValueError("ids are also input_ids, and pad_lengths say what attention_mask says; give one of each.")
        ids = input_ids if ids is None else ids
        if attention_mask is not None:
            _check_shape(attention_mask, ids, options.get("cache"))
            lengths = left_padding(attention_mask)
            options["pad_lengths"] = lengths if lengths.any() else None
        return forward(self, ids, **options)

    model_class.forward = called
    model_class.prepare_inputs_for_generation = prepare_inputs_for_generation
    model_class.config_class.model_type = "gptlib"  # PEFT asks every config; so called, it is none that PEFT knows
    return model_class


def prepare_inputs_for_generation(model: nn.Module, input_ids: Tensor, **options) -> dict:
    """What a step of transformers' generation would call the model with; PEFT asks for it and uses `forward`."""
    return {"input_ids": input_ids, **options}


def _check_shape(attention_mask: Tensor, ids: Tensor, cache) -> None:
    expected = (len(ids), ids.shape[1] + (cache.length if cache is not None else 0))
    if tuple(attention_mask.shape) != expected:
        raise ValueError(
            f"attention_mask has the shape {tuple(attention_mask.shape)}, and the tokens have {expected}; give a 1 for "
            "each token, and a 0 where it is padding."
        )


def left_padding(attention_mask: Tensor) -> Tensor:
    """How many zeros each row (B, T) begins with, (B,); those at its right end change nothing in a causal model.

    Raises ValueError if there are zeros in between, since every real token sees all that came before it.
    """
    real = attention_mask.bool()
    lengths = (real.cumsum(dim=1) == 0).sum(dim=1)
    if ((real[:, 1:] & ~real[:, :-1]).sum(dim=1) > (lengths > 0)).any():
        raise ValueError("attention_mask has zeros in the middle of a row; pad rows at their left or right end.")
    return lengths
