"""Says what is wrong with code that is: the mistake it makes, if it is a known one, and the case that shows it."""

import linecache
import math
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gptlib
from gptlib.exercises.adapters import UnfitError
from gptlib.exercises.comparing import Opaque, difference
from gptlib.exercises.declaring import CodeExercise
from gptlib.exercises.markdown import block, span
from gptlib.exercises.observing import Observation, contrast, described, observe_all

LARGEST = 100  # numbers of a tensor that are still shown
MOST_LINES = 10  # of what the learner's code printed
LONGEST = 1500  # characters of any value that are still shown
LIBRARIES = (
    str(Path(gptlib.__file__).parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<frozen",
)


@dataclass(frozen=True)
class Trial:
    """An answer that was wrong: what it did, and what the reference did, case by case."""

    exercise: CodeExercise
    answer: Callable
    cases: Sequence[tuple]
    expected: Sequence[Observation]
    observed: Sequence[Observation]
    """As many, or less where a case took too long and nothing was run after it."""
    first: int
    """The number of the first case that is wrong."""


def diagnose(trial: Trial) -> tuple[str, tuple[str, ...]]:
    """The message for the learner, and the details (Markdown paragraphs) that show it on the first wrong case."""
    exercise, want, got = trial.exercise, trial.expected[trial.first], trial.observed[trial.first]
    message = known_mistake(trial) or _general_message(exercise, want, got)
    details = [f"The input was {span(described(exercise, trial.cases[trial.first]))}."]
    if got.run.error is not None:
        details.insert(0, _where(got.run.error, trial.answer))
    elif not got.run.timed_out:
        details.append(_side_by_side(exercise, want, got))
    if got.run.printed:
        details.append(f"Your code printed:\n\n{block(_beginning(got.run.printed))}")
    return message, tuple(filter(None, details))


def known_mistake(trial: Trial) -> str:
    """The message of the mistake that does as the learner's code did; "" where none does.

    One that agrees on every case comes first. Else, since people make two mistakes at once, one that agrees wherever it
    differs from the reference, and explains the first wrong case.
    """
    if len(trial.observed) < len(trial.cases):  # it took too long, and so says nothing of the other cases
        return ""
    tolerance, partly = trial.exercise.tolerance, ""
    for mistake in trial.exercise.mistakes:
        theirs = observe_all(trial.exercise, mistake.implementation, trial.cases)
        if len(theirs) < len(trial.cases):
            continue
        agrees = [not contrast(*pair, tolerance, same_text=True) for pair in zip(theirs, trial.observed, strict=True)]
        wrong = [bool(contrast(*pair, tolerance)) for pair in zip(trial.expected, theirs, strict=True)]
        if all(agrees):
            return mistake.message
        if wrong[trial.first] and all(agree for agree, is_wrong in zip(agrees, wrong, strict=True) if is_wrong):
            partly = partly or mistake.message
    return partly


def _beginning(printed: str) -> str:
    lines = printed.splitlines()
    return "\n".join([*lines[:MOST_LINES], "..."] if len(lines) > MOST_LINES else lines)


def _general_message(exercise: CodeExercise, expected: Observation, got: Observation) -> str:
    name = f"`{exercise.variable}`"
    if got.run.timed_out:
        return f"{name} is not done after {exercise.seconds:g} s. Is there a loop that never ends?"
    error = got.run.error
    if isinstance(error, UnfitError):
        return str(error)
    if isinstance(error, RecursionError):
        return f"{name} calls itself without end: RecursionError. What should end it?"
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return f"{name} stops the program ({type(error).__name__}); let it return its result instead."
    if error is not None:
        return f"{name} raises {span(''.join(traceback.format_exception_only(error)).strip().rstrip('.'))}."
    if got.run.value is None and expected.run.value is not None:
        return f"{name} returns nothing (`None`). Is there a `return` at its end?"
    found = contrast(expected, got, exercise.tolerance)
    if not expected.run.error and found.startswith("it changes"):
        return f"{name} is right in what it returns, but {found}: make a new one instead of writing into it."
    return f"{found[0].upper()}{found[1:]}."


def _where(error: BaseException, answer: Callable) -> str:
    """The last line of the learner's own that was running, with its number in its cell or file."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(LIBRARIES)]
    if not lines:
        return ""
    own = [frame for frame in lines if frame.filename == _file_of(answer)] or lines
    source = linecache.getline(own[-1].filename, own[-1].lineno).strip()
    return f"It happens in line {own[-1].lineno}" + (f": {span(source)}" if source else ".")


def _file_of(answer: Any) -> str | None:
    """The file, or the cell, that a function or class is written in."""
    members = vars(answer).values() if isinstance(answer, type) else [answer]
    return next((member.__code__.co_filename for member in members if hasattr(member, "__code__")), None)


def _side_by_side(exercise: CodeExercise, expected: Observation, got: Observation) -> str:
    """Expected and returned values, where they differ and are small enough to be compared by eye."""
    if expected.run.error or not difference(expected.run.value, got.run.value, exercise.tolerance):
        return ""
    values = [_shown(expected.run.value), _shown(got.run.value)]
    return "Expected:\n\n{}\n\nYours:\n\n{}".format(*map(block, values)) if all(values) else ""


def _shown(value: Any) -> str:
    """The value as Python prints it; "" where that is long, or says nothing."""
    if isinstance(value, Opaque) or math.prod(getattr(value, "shape", ())) > LARGEST:
        return ""
    text = repr(value)
    return text if len(text) <= LONGEST else ""
