"""Finds exercises: by name, and chapter by chapter. A chapter's file is imported when it is first needed."""

import difflib
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from gptlib.exercises.declaring import Exercise


class Chapter(NamedTuple):
    """A chapter's number, its title, and the name of both its file here and its notebook (03_attention.ipynb)."""

    number: int
    title: str
    module: str

    @property
    def notebook(self) -> str:
        return f"{self.number:02}_{self.module}.ipynb"


CHAPTERS = (
    Chapter(0, "Welcome", "welcome"),
    Chapter(1, "Tokenizers", "tokenizers"),
    Chapter(2, "Datasets", "datasets"),
    Chapter(3, "Attention", "attention"),
    Chapter(4, "The GPT model", "gpt_model"),
    Chapter(5, "Training", "training"),
    Chapter(6, "Generation", "generation"),
    Chapter(7, "Pretrained weights", "pretrained_weights"),
    Chapter(8, "Fine-tuning", "finetuning"),
    Chapter(9, "Evaluation", "evaluation"),
    Chapter(10, "Speed", "speed"),
)


def exercises_of(chapter: Chapter) -> tuple[Exercise, ...]:
    """The chapter's exercises in its order; none where its file is not written yet."""
    module = f"{__package__}.{chapter.module}"
    try:
        return import_module(module).EXERCISES
    except ModuleNotFoundError as error:
        if error.name == module:
            return ()
        raise


def all_exercises() -> Iterator[tuple[Chapter, Exercise]]:
    """Every exercise with its chapter, in the order of the book."""
    for chapter in CHAPTERS:
        for exercise in exercises_of(chapter):
            yield chapter, exercise


def written_chapters() -> list[Chapter]:
    """The chapters that have exercises."""
    return [chapter for chapter in CHAPTERS if exercises_of(chapter)]


def chapter_numbered(number: Any) -> Chapter:
    """The chapter of that number, which has exercises.

    Raises: ValueError where there is none.
    """
    chapters = {chapter.number: chapter for chapter in written_chapters()}
    if not isinstance(number, int) or number not in chapters:
        numbers = ", ".join(str(n) for n in chapters)
        raise ValueError(f"Chapter {number!r} has no exercises; the chapters that have are {numbers}.")
    return chapters[number]


def find(name: Any) -> tuple[Chapter, Exercise]:
    """The exercise called `name`, and its chapter.

    Raises: ValueError where there is none, with the names that are close to it.
    """
    if not isinstance(name, str):
        raise ValueError(
            f"An exercise is named by a string, and a {type(name).__name__} came; the name goes first and in quotes, "
            'as in check("center_rows", center_rows).'
        )
    for chapter, exercise in all_exercises():
        if exercise.name == name:
            return chapter, exercise
    close = difflib.get_close_matches(name, [exercise.name for _, exercise in all_exercises()], n=3)
    meant = f"did you mean {' or '.join(map(repr, close))}?" if close else "`gptlib exercises` lists them all."
    raise ValueError(f"There is no exercise called {name!r}; {meant}")
