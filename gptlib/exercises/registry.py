"""Finds exercises: by name, and chapter by chapter, in the workbook's package `workbook.exercises`.

The engine knows no exercise: what the chapters ask is content, which the library does not ship. A chapter's file is
imported when it is first needed.
"""

import difflib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from gptlib.exercises.declaring import Chapter, CodeExercise, Exercise
from gptlib.utils.folders import project_root


def content() -> ModuleType:
    """The package `workbook.exercises` of the workbook that is worked in.

    A workbook's own package comes first, so that a copy of the workbook brings its own exercises.
    Raises: ValueError where there is no workbook.
    """
    folder = project_root() / "workbook"
    if "workbook" not in sys.modules and (folder / "__init__.py").is_file():
        found = {"location": folder / "__init__.py", "submodule_search_locations": [str(folder)]}
        spec = importlib.util.spec_from_file_location("workbook", **found)
        package = importlib.util.module_from_spec(spec)
        sys.modules["workbook"] = package
        spec.loader.exec_module(package)
    try:
        return import_module("workbook.exercises")
    except ModuleNotFoundError as error:
        if error.name not in ("workbook", "workbook.exercises"):
            raise
        raise ValueError(
            f"The exercises are in the workbook's folder, and '{project_root()}' has no folder workbook; start in the "
            "workbook's folder, or set GPTLIB_HOME to it."
        ) from None


def chapters() -> tuple[Chapter, ...]:
    """The chapters of the book, in its order."""
    return content().CHAPTERS


def exercises_of(chapter: Chapter) -> tuple[Exercise, ...]:
    """The chapter's exercises in its order; none where its file is not written yet."""
    module = f"{content().__name__}.{chapter.module}"
    try:
        return import_module(module).EXERCISES
    except ModuleNotFoundError as error:
        if error.name == module:
            return ()
        raise


def all_exercises() -> Iterator[tuple[Chapter, Exercise]]:
    """Every exercise with its chapter, in the order of the book."""
    return ((chapter, exercise) for chapter in chapters() for exercise in exercises_of(chapter))


def written_chapters() -> list[Chapter]:
    """The chapters that have exercises."""
    return [chapter for chapter in chapters() if exercises_of(chapter)]


def chapter_numbered(number: Any) -> Chapter:
    """The chapter of that number, which has exercises.

    Raises: ValueError where there is none.
    """
    written = {chapter.number: chapter for chapter in written_chapters()}
    if not isinstance(number, int) or number not in written:
        numbers = ", ".join(str(n) for n in written)
        raise ValueError(f"Chapter {number!r} has no exercises; the chapters that have are {numbers}.")
    return written[number]


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


def reference(name: str) -> Callable[..., Any] | type:
    """The function or class that the code exercise called `name` takes for right: what `solution` shows, to be used.

    Raises: ValueError where there is no such exercise, or it asks for no code.
    """
    _, exercise = find(name)
    if not isinstance(exercise, CodeExercise):
        raise ValueError(
            f"The exercise {name!r} asks for no code, so there is nothing to use; solution({name!r}) has its answer."
        )
    return exercise.reference
