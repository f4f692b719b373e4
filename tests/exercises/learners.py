"""Learners' code, as a cell of a notebook would define it; and toy exercises to check it against."""

import linecache
import math
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.exercises import check
from gptlib.exercises.declaring import Choice, CodeExercise, Mistake, Prediction

CELLS = count(1)
NAMES = {"torch": torch, "nn": nn, "F": F, "Tensor": Tensor, "math": math}


def learn(source: str, name: str, **names):
    """What `name` is after a cell with this source has run; tracebacks find the cell's lines, as in Jupyter."""
    cell = f"<cell {next(CELLS)}>"
    linecache.cache[cell] = (len(source), None, source.splitlines(keepends=True), cell)
    namespace = {**NAMES, **names}
    exec(compile(source, cell, "exec"), namespace)
    return namespace[name]


def scale(x, factor):
    """x times factor."""
    return x * factor


def scale_forgotten(x, factor):
    return x


def scale_added(x, factor):
    return x + factor


def scale_in_place(x, factor):
    return x.mul_(factor)


def scale_nan(x, factor):
    return x / x * factor * x


def scale_cases(rng):
    return [(torch.tensor([1.0, 2.0]), 3), (torch.zeros(2, 1), 2), (torch.randn(2, 3), rng.randint(2, 9))]


TEXTS = {"title": "Toy", "minutes": 2, "task": "Do it.", "hints": ("One.", "Two.", "Three."), "why": "It is so."}

SCALE = CodeExercise(
    name="scale",
    **TEXTS,
    stub='''
        def scale(x, factor):
            """x times factor. Example: [1., 2.], 3 -> [3., 6.]"""
            ...
    ''',
    reference=scale,
    cases=scale_cases,
    mistakes=(
        Mistake(scale_forgotten, "You forget the factor."),
        Mistake(scale_added, "You add the factor."),
        Mistake(scale_in_place, "You write into `x`."),
        Mistake(scale_nan, "You divide by zero."),
    ),
    seconds=0.4,
)

SHAPE = Prediction(
    name="shape",
    **TEXTS,
    answer=(2, 3),
    form="a tuple of whole numbers, like (4, 5)",
    diagnoses={(3, 2): "Rows come first."},
)

LOSS = Prediction(
    name="loss",
    **TEXTS,
    answer=math.log(50257),
    form="a number",
    diagnoses={math.log2(50257): "That is in bits; the loss is in nats."},
)

LETTER = Choice(
    name="letter",
    **TEXTS,
    choices={"a": ("first", "The first is too early."), "b": ("second", "The second is just right.")},
    answer="b",
)


def scaled(body: str, signature: str = "x, factor"):
    """The verdict on a learner's `scale` with this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return check("scale", learn(f"def scale({signature}):\n{lines}\n", "scale"))


def wrong(verdict) -> str:
    """The whole text of a verdict that has to be "incorrect"."""
    assert verdict.outcome == "incorrect"
    return str(verdict)
