"""Judges an answer: not attempted, correct, or incorrect with a diagnosis."""

from dataclasses import dataclass
from typing import Any

from gptlib.exercises.comparing import difference, frozen, kind_of
from gptlib.exercises.declaring import Choice, CodeExercise, Exercise, Prediction
from gptlib.exercises.diagnosing import Trial, diagnose
from gptlib.exercises.markdown import span
from gptlib.exercises.observing import cases_of, contrast, observe, observe_all
from gptlib.exercises.untouched import is_untouched

NOT_ATTEMPTED, CORRECT, INCORRECT = "not attempted", "correct", "incorrect"


@dataclass(frozen=True)
class Judgement:
    """An outcome, the message for the learner, and what shows it (Markdown paragraphs)."""

    outcome: str
    message: str = ""
    details: tuple[str, ...] = ()


def judge(exercise: Exercise, answer: Any) -> Judgement:
    """Judge an answer to any kind of exercise; whatever the answer is or does, nothing is raised."""
    match exercise:
        case CodeExercise():
            return judge_code(exercise, answer)
        case Prediction():
            return judge_prediction(exercise, answer)
        case Choice():
            return judge_choice(exercise, answer)
    raise TypeError(f"{exercise!r} is of no known kind; use CodeExercise, Prediction or Choice.")


def judge_code(exercise: CodeExercise, answer: Any) -> Judgement:
    if is_untouched(exercise.stub, exercise.variable, answer):
        return Judgement(NOT_ATTEMPTED, f"Replace the `...` in `{exercise.variable}`, then run the cell again.")
    is_class = isinstance(exercise.reference, type)
    if not callable(answer) or isinstance(answer, type) != is_class:
        word = "class" if is_class else "function"
        return Judgement(
            INCORRECT,
            f"`check` got {kind_of(answer)}; give it the {word} itself, without calling it: `{exercise.check_line}`.",
        )
    cases = cases_of(exercise)
    observed = observe_all(exercise, answer, cases)
    if observed[0].run.value is ...:
        return Judgement(NOT_ATTEMPTED, f"`{exercise.variable}` still returns `...`; replace it, then run again.")
    expected = [observe(exercise, exercise.reference, case) for case in cases]
    for i, (want, have) in enumerate(zip(expected, observed, strict=False)):
        if contrast(want, have, exercise.tolerance):
            return Judgement(INCORRECT, *diagnose(Trial(exercise, answer, cases, expected, observed, i)))
    return Judgement(CORRECT)


def judge_prediction(exercise: Prediction, answer: Any) -> Judgement:
    if answer is ... or answer is None:
        return Judgement(NOT_ATTEMPTED, f"Put your answer in place of the `...`: {exercise.form}.")
    value = frozen(answer)
    value = value.strip() if isinstance(value, str) else value
    if _is_accepted(exercise, value):
        return Judgement(CORRECT)
    for wrong, message in exercise.diagnoses.items():
        if difference(frozen(wrong), value, exercise.tolerance) is None:
            return Judgement(INCORRECT, message)
    if _looks_alike(exercise.answer, value):
        return Judgement(INCORRECT, f"It is not {span(repr(value))}.")
    return Judgement(INCORRECT, f"Your answer is {kind_of(value)}; what is asked for is {exercise.form}.")


def _is_accepted(exercise: Prediction, value: Any) -> bool:
    if exercise.accept is None:
        return difference(frozen(exercise.answer), value, exercise.tolerance) is None
    try:
        return bool(exercise.accept(value))
    except Exception:  # a value of a type that it was not made for
        return False


def _looks_alike(right: Any, value: Any) -> bool:
    """Whether a wrong value is at least of the right kind, so that there is no use in speaking of its form."""
    kinds = ((bool,), (int, float), (list, tuple), (str,))
    return any(isinstance(right, k) and isinstance(value, k) for k in kinds)


def judge_choice(exercise: Choice, answer: Any) -> Judgement:
    if answer is ... or answer is None:
        return Judgement(NOT_ATTEMPTED, f"Put a letter in place of the `...`: {exercise.form}.")
    letter = answer.strip().strip("()").lower() if isinstance(answer, str) else answer
    if not isinstance(letter, str) or letter not in exercise.choices:
        shown = repr(answer) if isinstance(answer, str | int | float) else kind_of(answer).strip("`")
        return Judgement(INCORRECT, f"{span(shown[:80])} is none of the choices; give {exercise.form}.")
    if letter == exercise.answer:
        return Judgement(CORRECT, exercise.choices[letter][1])
    return Judgement(INCORRECT, exercise.choices[letter][1])
