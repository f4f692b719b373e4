"""What a candidate does with one case: its result, its error, what it changed. And how two of them differ."""

import copy
import inspect
import math
import reprlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor

from gptlib.exercises.comparing import difference, frozen, kind_of
from gptlib.exercises.declaring import CodeExercise, call
from gptlib.exercises.running import Run, run_limited

SMALL = 8  # numbers of a tensor that are shown with it


@dataclass(frozen=True)
class Observation:
    """How one case went. `run.value` is frozen; `changed` names the arguments that are not what they were."""

    run: Run
    changed: tuple[str, ...] = ()


def cases_of(exercise: CodeExercise) -> list[tuple]:
    """The exercise's cases, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return [tuple(case) for case in exercise.cases(Random(0))]


def observe(exercise: CodeExercise, candidate: Callable, case: tuple) -> Observation:
    """Run the candidate on a copy of the case, within the exercise's time limit. Raises nothing of the candidate's."""
    arguments = copy.deepcopy(case)
    # Frozen within the limit: even looking at a learner's object may run the learner's code.
    run = run_limited(lambda: frozen(exercise.run(candidate, *arguments)), exercise.seconds)
    if exercise.may_change_inputs or run.timed_out:
        return Observation(run)
    names = argument_names(exercise, len(case))
    changed = (name for name, old, new in zip(names, case, arguments, strict=True) if _differ(old, new))
    return Observation(run, tuple(changed))


def _differ(before: Any, after: Any) -> bool:
    before, after = frozen(before), frozen(after)
    is_data = difference(before, before) is None  # a list of models, say, is not, and nobody can tell
    return is_data and difference(before, after) is not None


def observe_all(exercise: CodeExercise, candidate: Callable, cases: Sequence[tuple]) -> list[Observation]:
    """The observations of all cases, but none after one that took too long."""
    observations = []
    for case in cases:
        observations.append(observe(exercise, candidate, case))
        if observations[-1].run.timed_out:
            break
    return observations


def contrast(expected: Observation, got: Observation, tolerance: float, same_text: bool = False) -> str | None:
    """How `got` differs from `expected`, as a sentence without its full stop; None if it doesn't.

    same_text: whether errors have to have the same text too, not only the same type.
    """
    if got.run.timed_out or expected.run.timed_out:
        return None if got.run.timed_out and expected.run.timed_out else "it takes too long"
    want, have = expected.run.error, got.run.error
    if want is not None or have is not None:
        if type(want) is type(have) and (not same_text or _text_of(want) == _text_of(have)):
            return None
        return f"it raises {type(have).__name__}" if have else f"{type(want).__name__} is to be raised, and nothing was"
    if found := difference(expected.run.value, got.run.value, tolerance):
        return found
    if expected.changed != got.changed:
        return f"it changes {', '.join(f'`{name}`' for name in got.changed)}, which is the caller's"
    return None


def _text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error))  # str(error) may itself raise, if the class is a learner's


def argument_names(exercise: CodeExercise, count: int) -> list[str]:
    """Names for the parts of a case: the adapter's `names`, or those of its parameters, or of the reference's."""
    is_plain = exercise.run is call
    try:
        parameters = list(inspect.signature(exercise.reference if is_plain else exercise.run).parameters.values())
    except (TypeError, ValueError):  # some functions written in C have no signature
        parameters = []
    parameters = parameters if is_plain else parameters[1:]
    names = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    names = getattr(exercise.run, "names", names)[:count]
    return names + [f"argument {i + 1}" for i in range(len(names), count)]


class _Brief(reprlib.Repr):
    """Values in one line: long ones cut, tensors by dtype and shape, with their numbers where they are few."""

    def repr_Tensor(self, value: Tensor, level: int) -> str:  # noqa: N802 - reprlib finds it by the type's name
        few = 0 < math.prod(value.shape) <= SMALL
        return kind_of(value) + (f": {self.repr1(_rounded(value.tolist()), level)}" if few else "")

    repr_Parameter = repr_ndarray = repr_Tensor  # noqa: N815

    def repr_instance(self, value: Any, level: int) -> str:
        return repr(value) if value is None or isinstance(value, bool | float | bytes) else kind_of(value)


BRIEF = _Brief()
BRIEF.maxstring = BRIEF.maxlong = 60  # characters
BRIEF.maxdict = 8


def described(exercise: CodeExercise, case: tuple) -> str:
    """The case in one line: "x = a float32 tensor of shape (2, 3), n = 4"."""
    names = argument_names(exercise, len(case))
    return ", ".join(f"{name} = {BRIEF.repr(value)}" for name, value in zip(names, case, strict=True))


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
