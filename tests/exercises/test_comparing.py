"""Results are the same, or the first difference is said: numbers, tensors, texts, and what holds them."""

import collections
import math

import numpy as np
import pytest
import torch

from gptlib.exercises.comparing import difference, frozen

Pair = collections.namedtuple("Pair", "left right")


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (3, 3.0),
        (3, np.int32(3)),
        (3, torch.tensor(3)),
        (2.5, 2.500001),
        (math.nan, math.nan),
        (math.inf, math.inf),
        (None, None),
        (True, np.True_),
        ("ab", "ab"),
        (b"ab", b"ab"),
        ([1, 2], (1, 2)),
        ((1, "a"), Pair(1, "a")),
        ({(1, 2): 3}, collections.Counter({(1, 2): 3})),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
        ({1, 2}, frozenset({2, 1})),
        (torch.ones(2), torch.nn.Parameter(torch.ones(2) + 1e-7)),
        (torch.ones(2), torch.ones(2, dtype=torch.float64)),
        (torch.ones(2), torch.ones(2, dtype=torch.bfloat16)),
        (torch.tensor([1, 2]), torch.tensor([1, 2], dtype=torch.int32)),
        (torch.tensor([math.nan, -math.inf]), torch.tensor([math.nan, -math.inf])),
        (torch.zeros(0, 3), torch.zeros(0, 3)),
        (np.arange(3, dtype=np.uint16), np.arange(3)),
        ([torch.ones(1), {"a": [1.0]}], [torch.ones(1), {"a": [1.0]}]),
    ],
)
def test_the_same(expected, got):
    assert difference(frozen(expected), frozen(got), 1e-5) is None


@pytest.mark.parametrize(
    ("expected", "got", "found"),
    [
        (3, 3.01, "the result is 3.01, and 3 is right"),
        (1, True, "the result is a truth value, and a whole number is right"),
        (True, 1, "the result is a whole number, and `True` is right"),
        (True, False, "the result is `False`, and `True` is right"),
        (2.5, math.nan, "the result is nan, and 2.5 is right"),
        (math.inf, 1e300, "the result is 1e+300, and inf is right"),
        (3, "3", "the result is a string, and a whole number is right"),
        (3, ..., "the result is still `...`, and a whole number is right"),
        (None, 3, "the result is a whole number, and `None` is right"),
        ("ab", "aB", "the result is `'aB'`, and `'ab'` is right"),
        ("x" * 99, "x" * 90, "the result goes on with `''` from character 90, and `'xxxxxxxxx'` is right"),
        ([1, 2], [1, 3], "item 1 of the result is 3, and 2 is right"),
        ([1, 2], [1], "the result has 1 item, and 2 are right"),
        ([1, [2]], [1, [[]]], "item 0 of item 1 of the result is a list, and a whole number is right"),
        ([1], {1}, "the result is a set, and a list is right"),
        ({"a": 1}, {"b": 1}, "the result lacks the key 'a'"),
        ({"a": 1}, {"a": 1, "b": 1}, "the result should not have the key 'b'"),
        ({"a": [1]}, {"a": [2]}, "item 0 of ['a'] of the result is 2, and 1 is right"),
        (torch.ones(2), 1.0, "the result is a float, and a float32 tensor of shape (2,) is right"),
        (torch.ones(()), 1.0, "the result is a float, and a float32 tensor of shape () is right"),
        (torch.ones(2, 2), torch.eye(2), "the result is 0 at [0, 1], and 1 is right (2 of 4 differ)"),
        (torch.ones(2), torch.ones(2) + 1e-3, "the result is 1.001 at [0], and 1 is right (2 of 2 differ)"),
        (torch.ones(2), torch.ones(2) / 0, "the result is inf at [0], and 1 is right (2 of 2 differ)"),
        (torch.ones(1), torch.ones(2), "the result has the shape (2,), and (1,) is right"),
        (
            torch.ones(1, dtype=torch.bool),
            torch.ones(1),
            "the result holds floating-point numbers (float32), and True and False (bool) are right",
        ),
        (object(), object(), "the result is `<an object>`, and `<an object>` is right"),
    ],
)
def test_the_first_difference_is_said(expected, got, found):
    assert difference(frozen(expected), frozen(got), 1e-5) == found


def test_what_is_frozen_cannot_be_changed_any_more():
    value = {"a": [torch.zeros(2), np.zeros(2)]}
    kept = frozen(value)
    value["a"][0] += 1
    value["a"][1] += 1
    value["a"].append(1)
    assert difference({"a": [torch.zeros(2), np.zeros(2)]}, kept) is None
