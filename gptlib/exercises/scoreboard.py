"""Draws what is done and what is left: the whole book by chapters, or one chapter by exercises."""

from gptlib.exercises.markdown import Reply, aligned, table
from gptlib.exercises.records import Record, Records
from gptlib.exercises.registry import Chapter, exercises_of, written_chapters

SYMBOLS = {"done": "●", "tried": "◐", "open": "○"}
LETTERS = {"done": "x", "tried": "/", "open": "."}
"""The same for terminals, some of which lack the symbols."""


def state_of(record: Record | None) -> str:
    """ "done", "tried" or "open"."""
    if record is not None and record.done:
        return "done"
    return "tried" if record is not None and record.attempts else "open"


def stars(difficulty: int) -> str:
    return "★" * difficulty + "☆" * (3 - difficulty)


def book_scoreboard(records: Records, note: str = "") -> Reply:
    """A row for each chapter that has exercises, and their sum."""
    header = ("Chapter", "", "Done", "Tried", "Open", "Hints used", "Minutes")
    rows = [(f"{chapter.number} {chapter.title}", *_counted(chapter, records)) for chapter in written_chapters()]
    sums = [sum(column) for column in zip([0] * 5, *(counts for _, _, counts in rows), strict=True)]
    rows.append(("All", [], sums))

    def drawn(signs: dict[str, str]) -> list[tuple[str, ...]]:
        return [(name, "".join(map(signs.get, states)), *map(str, counts)) for name, states, counts in rows]

    right = (2, 3, 4, 5, 6)
    return _noted(table(header, drawn(SYMBOLS), right), aligned([header, *drawn(LETTERS)], right), note)


def _counted(chapter: Chapter, records: Records) -> tuple[list[str], list[int]]:
    """The state of each of the chapter's exercises; and [done, tried, open, hints used, minutes]."""
    exercises = exercises_of(chapter)
    states = [state_of(records.get(exercise.name)) for exercise in exercises]
    hints = sum(records[exercise.name].hints for exercise in exercises if exercise.name in records)
    counts = [states.count(state) for state in SYMBOLS]
    return states, [*counts, hints, sum(exercise.minutes for exercise in exercises)]


def chapter_scoreboard(chapter: Chapter, records: Records, note: str = "") -> Reply:
    """A row for each exercise of a chapter."""
    header = ("", "Exercise", "Name", "Difficulty", "Minutes", "State", "Attempts", "Hints used")
    pretty, simple = [], []
    for exercise in exercises_of(chapter):
        record = records.get(exercise.name, Record())
        state = state_of(record)
        numbers = (str(exercise.minutes), state, str(record.attempts), f"{record.hints} of {len(exercise.hints)}")
        pretty.append((SYMBOLS[state], exercise.title, f"`{exercise.name}`", stars(exercise.difficulty), *numbers))
        simple.append((LETTERS[state], exercise.title, exercise.name, "*" * exercise.difficulty, *numbers))
    right = (4, 6, 7)
    return _noted(table(header, pretty, right), aligned([header, *simple], right), note)


def _noted(markdown: str, text: str, note: str) -> Reply:
    return Reply(f"{markdown}\n\n{note}", f"{text}\n\n{note}") if note else Reply(markdown, text)
