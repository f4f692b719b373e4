"""Chapter 0: one exercise of each common kind, to learn how exercises work."""

from random import Random

import torch
from torch import Tensor

from gptlib.exercises.declaring import Choice, CodeExercise, Mistake


def center_rows(x: Tensor) -> Tensor:
    """x (rows, columns) minus each row's own mean -> (rows, columns)."""
    return x - x.mean(dim=1, keepdim=True)  # (rows, columns) - (rows, 1)


def _center_columns(x: Tensor) -> Tensor:
    return x - x.mean(dim=0)


def _center_all(x: Tensor) -> Tensor:
    return x - x.mean()


def _forget_keepdim(x: Tensor) -> Tensor:
    return x - x.mean(dim=1)


def _center_in_place(x: Tensor) -> Tensor:
    x -= x.mean(dim=1, keepdim=True)
    return x


def _cases(rng: Random) -> list[tuple]:
    shapes = [(1, 4), (4, 1), (3, 3), (rng.randint(4, 6), 7)]
    return [(torch.tensor([[1.0, 3.0], [5.0, 9.0]]),), *((torch.randn(shape),) for shape in shapes)]


EXERCISES = (
    CodeExercise(
        name="center_rows",
        title="Centre the rows",
        minutes=3,
        task="""
            Subtract from each row of a matrix its own mean, so that each row sums to 0. `x.mean` takes the dimension
            to average over; broadcasting does the rest.
        """,
        stub='''
            def center_rows(x):
                """x (rows, columns) minus each row's own mean -> (rows, columns).

                Example: [[1., 3.], [5., 9.]] -> [[-1., 1.], [-2., 2.]]
                """
                ...
        ''',
        reference=center_rows,
        cases=_cases,
        mistakes=(
            Mistake(_center_columns, "You average over the rows (`dim=0`); each row's mean is over its columns."),
            Mistake(_center_all, "You subtract one mean of all numbers; each row has a mean of its own."),
            Mistake(
                _forget_keepdim,
                "The means have the shape `(rows,)`, and broadcasting lines that up with the columns. Does `keepdim` "
                "help?",
            ),
            Mistake(
                _center_in_place,
                "The result is right, but `-=` writes into the caller's `x`; make a new tensor, `x - ...`.",
            ),
        ),
        hints=(
            "`x.mean(dim=...)` averages over one dimension. Which one is within a row?",
            "The means need the shape `(rows, 1)`, so that each is subtracted along its row: see `keepdim=True`.",
        ),
        why="Broadcasting stretches the `(rows, 1)` means along the columns. LayerNorm (chapter 4) begins like this.",
    ),
    Choice(
        name="broadcast_shape",
        title="What broadcasting makes",
        minutes=1,
        task="`a` has the shape `(3, 1)` and `b` the shape `(4,)`. What is `a + b`?",
        choices={
            "a": ("of shape `(3, 4)`", "`b` counts as `(1, 4)`; each dimension of size 1 is stretched to the other's."),
            "b": ("of shape `(3, 1)`", "The result is as large as the larger one in every dimension, so 4, not 1."),
            "c": ("of shape `(4,)`", "The result keeps the dimensions of the tensor that has more of them."),
            "d": (
                "an error",
                "Sizes may differ where one of them is 1: here they are 1 and 4, and 3 and a missing one.",
            ),
        },
        answer="a",
        hints=(
            "Write the shapes below each other, lined up at the right.",
            "A missing dimension counts as 1, and a 1 is stretched to whatever the other has.",
        ),
    ),
)
