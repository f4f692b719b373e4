"""What a learner calls: check, hint, solution, progress, reset; and `statement_of`, a cell of the notebooks."""

import inspect
from typing import Any

from gptlib.exercises import records
from gptlib.exercises.declaring import Choice, CodeExercise, Exercise, Prediction
from gptlib.exercises.judging import CORRECT, NOT_ATTEMPTED, Judgement, judge
from gptlib.exercises.markdown import Reply, block, span
from gptlib.exercises.records import Record, Records
from gptlib.exercises.registry import chapter_numbered, exercises_of, find
from gptlib.exercises.scoreboard import book_scoreboard, chapter_scoreboard, stars, state_of

HEADLINES = {"not attempted": "○ **Not attempted yet.**", "correct": "✓ **Correct.**", "incorrect": "✗ **Not yet.**"}


class Verdict(Reply):
    """What `check` says: its `outcome` ("not attempted", "correct" or "incorrect"), its `message`, and `details`."""

    def __init__(self, judgement: Judgement, more: str = ""):
        self.outcome, self.message, self.details = judgement.outcome, judgement.message, judgement.details
        first = f"{HEADLINES[self.outcome]} {self.message}".strip()
        super().__init__("\n\n".join(filter(None, (first, *self.details, more))))
        # A terminal may not have the symbol, and does not need it.
        self.text = self.text[2:]


def check(name: str, answer: Any) -> Verdict:
    """Judge the learner's answer to the exercise, and remember that it was tried.

    answer: the function or class; the predicted value; the letter of a choice; or `...`. Whatever it is and does, the
    verdict comes back: nothing is raised, and nothing runs for long. Raises: ValueError where no exercise has the name.
    """
    chapter, exercise = find(name)
    judgement = judge(exercise, answer)
    if judgement.outcome == NOT_ATTEMPTED:
        return Verdict(judgement)
    done = judgement.outcome == CORRECT

    def edit(all_records: Records) -> None:
        record = all_records.setdefault(name, Record())
        record.attempts += 1
        record.done = record.done or done

    note = records.change(edit)
    if not done:
        return Verdict(judgement, note or f'`hint("{name}")` gives a hint.')
    known, _ = records.load()
    exercises = exercises_of(chapter)
    n_done = sum(state_of(known.get(other.name)) == "done" for other in exercises)
    return Verdict(judgement, note or f"{n_done} of {len(exercises)} exercises of this chapter are done.")


def hint(name: str) -> Reply:
    """The next hint, each time; after the last one, the last one again.

    Raises: ValueError where no exercise has the name.
    """
    _, exercise = find(name)
    given = 0

    def edit(all_records: Records) -> None:
        nonlocal given
        record = all_records.setdefault(name, Record())
        record.hints = given = min(record.hints + 1, len(exercise.hints))

    note = records.change(edit)
    given = given or 1  # where nothing can be stored, the first one is still given
    text = f"**Hint {given} of {len(exercise.hints)}.** {exercise.hints[given - 1]}"
    last = f'That is the last one; `solution("{name}")` shows the solution.' if given == len(exercise.hints) else ""
    return Reply("\n\n".join(filter(None, (text, last, note))))


def solution(name: str, now: bool = False) -> Reply:
    """The solution and why it is so: after an attempt, or with now=True at once.

    Raises: ValueError where no exercise has the name.
    """
    _, exercise = find(name)
    known, note = records.load()
    if not now and state_of(known.get(name)) == "open":
        return Reply(
            f"Give it a try first: any answer counts, and `check` says what is missing. "
            f'`hint("{name}")` helps on the way; `solution("{name}", now=True)` shows the solution at once.'
            + (f"\n\n{note}" if note else "")
        )
    return Reply("\n\n".join(filter(None, (*_solution_of(exercise), exercise.why))))


def _solution_of(exercise: Exercise) -> list[str]:
    match exercise:
        case CodeExercise():
            shows = exercise.shows or (exercise.reference,)
            return [f"From `{shown.__module__}`:\n\n{block(inspect.getsource(shown), 'python')}" for shown in shows]
        case Prediction():
            return [f"The answer is {span(repr(exercise.answer))}."]
        case Choice():
            right, others = exercise.answer, [letter for letter in exercise.choices if letter != exercise.answer]
            lines = [f"The answer is **{right}**: {exercise.choices[right][0]}. {exercise.choices[right][1]}"]
            return lines + [f"Not **{letter}**: {' – '.join(exercise.choices[letter])}" for letter in others]
    raise TypeError(f"{exercise!r} is of no known kind; use CodeExercise, Prediction or Choice.")


def progress(chapter: int | None = None) -> Reply:
    """The scoreboard of the whole book, or of one chapter.

    Raises: ValueError where the chapter has no exercises.
    """
    known, note = records.load()
    if chapter is None:
        return book_scoreboard(known, note)
    return chapter_scoreboard(chapter_numbered(chapter), known, note)


def reset(name: str | None = None) -> Reply:
    """Forget what was done in one exercise, or in all of them.

    Raises: ValueError where no exercise has the name.
    """
    if name is None:
        note = records.change(Records.clear)
        return Reply(note or "All exercises are open again.")
    find(name)
    note = records.change(lambda all_records: all_records.pop(name, None))
    return Reply(note or f"`{name}` is open again.")


def statement_of(exercise: Exercise) -> str:
    """The Markdown cell of an exercise: title, difficulty and time, task, and the choices where it has some."""
    unit = "minute" if exercise.minutes == 1 else "minutes"
    parts = [f"### Exercise: {exercise.title}", f"{stars(exercise.difficulty)} · {exercise.minutes} {unit}"]
    parts.append(exercise.task)
    if isinstance(exercise, Choice):
        parts.append("\n".join(f"- **{letter})** {text}" for letter, (text, _) in exercise.choices.items()))
    return "\n\n".join(parts)
