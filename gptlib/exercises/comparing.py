"""Whether two results are the same, and if not, where they first differ, in words."""

import math
import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gptlib.exercises.markdown import span
from gptlib.utils.text import cut

LONGEST = 80  # characters of a value in a sentence
KINDS = {"b": "True and False", "i": "whole numbers", "u": "whole numbers", "f": "floating-point numbers"}


class Opaque:
    """Stands for an object that is no data; it is equal to nothing."""

    def __init__(self, kind: str):
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def frozen(value: Any) -> Any:
    """A copy of `value` in plain types, which the code that made it can't change any more.

    Tensors and arrays are copied, subclasses of Python's own types become these, what is no data becomes Opaque.
    Tuples that are shapes become tuples; a bfloat16 tensor, which NumPy has not, a float32 one.
    """
    if value is None or value is ... or isinstance(value, bool):
        return value
    if isinstance(value, Tensor):
        plain = value.detach().cpu().clone()
        return plain.float() if plain.dtype == torch.bfloat16 else plain
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, np.generic):
        return value.item()
    for kind in (int, float, complex, str, bytes):
        if isinstance(value, kind):
            return kind(value)
    for kind in (list, tuple):
        if isinstance(value, kind):
            return kind([frozen(item) for item in value])
    if isinstance(value, set | frozenset):
        return {frozen(item) for item in value}
    if isinstance(value, dict):
        return {frozen(key): frozen(item) for key, item in value.items()}
    return Opaque(kind_of(value))


def kind_of(value: Any) -> str:
    """What a value is, with an article: "a float32 tensor of shape (2, 3)", "a list"."""
    if isinstance(value, Tensor | np.ndarray):
        word = "tensor" if isinstance(value, Tensor) else "NumPy array"
        return _with_article(f"{str(value.dtype).removeprefix('torch.')} {word} of shape {tuple(value.shape)}")
    if isinstance(value, Opaque):
        return value.kind
    if value is None or value is ...:
        return "`None`" if value is None else "still `...`"
    name = type(value).__name__
    name = {"int": "whole number", "str": "string", "bool": "truth value"}.get(name, name)
    return _with_article(name)


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiouAEIOU' else 'a'} {words}"


def difference(expected: Any, got: Any, tolerance: float = 0.0, subject: str = "the result") -> str | None:
    """Where `got` first differs from `expected`, as a sentence about `subject` without a full stop; else None.

    Both are as `frozen` makes them. Lists and tuples count as the same, as do numbers of all kinds and tensors of one
    number; NaN equals NaN. Floating-point numbers may be off by `tolerance`, relative and absolute.

    Example: difference([1, 2], [1, 3]) -> "item 1 of the result is 3, and 2 is right"
    """
    if _is_number(expected) and (number := _as_number(got)) is not None:
        if _close(expected, number, tolerance):
            return None
        return f"{subject} is {_short(number)}, and {_short(expected)} is right"
    for kinds, compare in (
        (Tensor, _array_difference),
        (np.ndarray, _array_difference),
        ((list, tuple), _sequence_difference),
        (dict, _dict_difference),
    ):
        if isinstance(expected, kinds) and isinstance(got, kinds):
            return compare(expected, got, tolerance, subject)
    if type(expected) is not type(got):
        right = span(repr(expected)) if isinstance(expected, bool) else kind_of(expected)
        return f"{subject} is {kind_of(got)}, and {right} is right"
    if not isinstance(expected, Opaque) and expected == got:
        return None
    if isinstance(expected, str) and max(len(expected), len(got)) > LONGEST:
        return _text_difference(expected, got, subject)
    return f"{subject} is {span(_short(got))}, and {span(_short(expected))} is right"


def _text_difference(expected: str, got: str, subject: str) -> str:
    """Of long texts, the place where they part."""
    first = next(
        (i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), min(len(expected), len(got))
    )
    have, want = (span(repr(text[first : first + 20])) for text in (got, expected))
    return f"{subject} goes on with {have} from character {first}, and {want} is right"


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def _as_number(value: Any) -> numbers.Number | None:
    if isinstance(value, Tensor) and value.ndim == 0 and value.dtype != torch.bool:
        return value.item()
    return value if _is_number(value) else None


def _close(expected: Any, number: Any, tolerance: float) -> bool:
    if expected != expected:  # NaN
        return number != number
    if isinstance(expected, int) or expected in (math.inf, -math.inf):
        return number == expected
    return abs(number - expected) <= tolerance * (1 + abs(expected))


def _array_difference(expected: Any, got: Any, tolerance: float, subject: str) -> str | None:
    if expected.shape != got.shape:
        return f"{subject} has the shape {tuple(got.shape)}, and {tuple(expected.shape)} is right"
    want, have = np.asarray(expected), np.asarray(got)
    kinds = [KINDS.get(array.dtype.kind, str(array.dtype)) for array in (have, want)]
    if kinds[0] != kinds[1]:
        return f"{subject} holds {kinds[0]} ({have.dtype}), and {kinds[1]} ({want.dtype}) are right"
    if want.dtype.kind in "fc":
        same = np.isclose(have, want, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        same = np.asarray(have == want)
    if same.all():
        return None
    first = tuple(int(i) for i in np.argwhere(~same)[0])
    place = f" at {list(first)}" if first else ""
    count = f" ({(~same).sum():,} of {same.size:,} differ)" if same.size > 1 else ""
    return f"{subject} is {_short(have[first].item())}{place}, and {_short(want[first].item())} is right{count}"


def _sequence_difference(expected: Any, got: Any, tolerance: float, subject: str) -> str | None:
    for i, (want, have) in enumerate(zip(expected, got, strict=False)):
        if found := difference(want, have, tolerance, f"item {i} of {subject}"):
            return found
    if len(expected) != len(got):
        items = "1 item" if len(got) == 1 else f"{len(got)} items"
        return f"{subject} has {items}, and {len(expected)} are right"
    return None


def _dict_difference(expected: dict, got: dict, tolerance: float, subject: str) -> str | None:
    for word, keys in (("lacks", expected.keys() - got.keys()), ("should not have", got.keys() - expected.keys())):
        if keys:
            return f"{subject} {word} the key {_short(min(keys, key=repr))}"
    found = (difference(expected[key], got[key], tolerance, f"[{_short(key)}] of {subject}") for key in expected)
    return next(filter(None, found), None)


def _short(value: Any) -> str:
    """A value in one line of at most 80 characters; floating-point numbers with six digits."""
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return cut(text, LONGEST, end=25)
