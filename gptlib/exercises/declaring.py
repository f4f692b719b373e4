"""What an exercise is: code to write, a value to predict, or a choice to make. Declarations only, nothing runs here.

A chapter's file is a list of these; `workbook/exercises/welcome.py` is a short example. A notebook shows an exercise in
two cells: `statement_of(exercise)` as Markdown, and `exercise.cell` as code.
"""

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, NamedTuple


def call(candidate: Callable, *case: Any) -> Any:
    """How a candidate is run where an exercise says nothing else: it is called with the case as its arguments."""
    return candidate(*case)


class Chapter(NamedTuple):
    """A chapter's number, its title, and the name of both its file and its notebook (03_attention.ipynb)."""

    number: int
    title: str
    module: str

    @property
    def notebook(self) -> str:
        return f"{self.number:02}_{self.module}.ipynb"


@dataclass(frozen=True)
class Mistake:
    """A wrong implementation that learners write, and the message for those who did."""

    implementation: Callable
    message: str


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What every kind has. Texts are Markdown; one of several lines begins on a new line, and the indentation
    that its lines share is taken off."""

    name: str
    """What `check` calls it; unique in the book, and a valid Python name."""
    title: str
    minutes: int
    """An honest time for somebody who has read the chapter so far."""
    task: str
    """What to do, as the notebook says it above the cell."""
    hints: tuple[str, ...]
    """Two or more, from a nudge to nearly the answer."""
    why: str
    """Why the solution is so; shown with it."""
    difficulty: int = 1
    """1 to 3 stars."""

    gap: ClassVar[str] = "\n"
    """What stands between the answer and the line with `check`."""

    def __post_init__(self):
        for text in ("task", "why", "stub"):
            if isinstance(getattr(self, text, None), str):
                object.__setattr__(self, text, textwrap.dedent(getattr(self, text)).strip())

    @property
    def variable(self) -> str:
        """The name of the learner's answer in the notebook."""
        return self.name

    @property
    def stub_source(self) -> str:
        """What stands in the notebook before the line with `check`; `form` says what kind of answer is wanted."""
        return f"{self.variable} = ...  # {self.form}"

    @property
    def solved_source(self) -> str:
        """What stands there when it is solved."""
        return f"{self.variable} = {self.answer!r}"

    @property
    def check_line(self) -> str:
        return f'check("{self.name}", {self.variable})'

    @property
    def cell(self) -> str:
        """The notebook's cell, untouched."""
        return f"{self.stub_source}{self.gap}{self.check_line}"

    @property
    def solved_cell(self) -> str:
        """The notebook's cell, solved with the reference."""
        return f"{self.solved_source}{self.gap}{self.check_line}"


@dataclass(frozen=True, kw_only=True)
class CodeExercise(Exercise):
    """A function or a class to write; it is right where it behaves as the reference does on every case."""

    stub: str
    """Source of the cell: signature, docstring with shapes and an example, `...` where the learner writes. What it
    defines last is the answer."""
    reference: Callable
    """The library's own function or class, or one of the chapter's file; defined under a name."""
    cases: Callable[[Random], Iterable[tuple]]
    """Tuples of arguments, the stub's visible example first, then edge cases and random ones. PyTorch's generator is
    seeded when it is called, so that torch.randn repeats itself; so is the `Random` that it gets."""
    mistakes: tuple[Mistake, ...]
    """Two or more."""
    run: Callable[..., Any] = call
    """run(candidate, *case) -> what is compared. Make another one where more than a call is needed, as for classes:
    see `adapters.py`."""
    tolerance: float = 1e-5
    """How far a floating-point number may be from the reference's, relative to it and at all."""
    may_change_inputs: bool = False
    """Where changing its arguments is the function's task, as in a training step."""
    seconds: float = 5.0
    """How long one case may take; far more than anybody needs."""
    shows: tuple[Callable, ...] = ()
    """What `solution` shows; by default the reference."""
    gap: ClassVar[str] = "\n\n\n"  # as formatters want it below a function

    @property
    def variable(self) -> str:
        return re.findall(r"^(?:def|class) +(\w+)", self.stub, re.MULTILINE)[-1]

    @property
    def stub_source(self) -> str:
        return self.stub

    @property
    def solved_source(self) -> str:
        return f'from gptlib.exercises import reference\n\n{self.variable} = reference("{self.name}")'


@dataclass(frozen=True, kw_only=True)
class Prediction(Exercise):
    """A value to say before it is computed: a number, a shape, a string, a list."""

    answer: Any
    form: str
    """What kind of value it is, in words: "a tuple of whole numbers, like (2, 3)"; the stub says it too."""
    diagnoses: Mapping[Any, str] = field(default_factory=dict)
    """Wrong values (lists as tuples), and the message for those who gave them."""
    accept: Callable[[Any], bool] | None = None
    """Whether a value is right, where being equal to the answer is too strict."""
    tolerance: float = 0.01
    """How far a number may be from an answer that is a float, relative to it and at all."""


@dataclass(frozen=True, kw_only=True)
class Choice(Exercise):
    """A multiple-choice question; every choice has an explanation, the right one too."""

    choices: Mapping[str, tuple[str, str]]
    """{"a": (text, explanation), ...}"""
    answer: str
    """The letter."""
    why: str = ""

    @property
    def form(self) -> str:
        """All letters as a learner types them: '"a", "b" or "c"'."""
        *others, last = (json.dumps(letter) for letter in self.choices)
        return f"{', '.join(others)} or {last}"

    @property
    def solved_source(self) -> str:
        return f'{self.variable} = "{self.answer}"'
