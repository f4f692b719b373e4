"""Exercises that check themselves, in the notebooks: `from gptlib.exercises import check, hint, solution, progress`."""

from gptlib.exercises.core import check, hint, progress, reset, solution
from gptlib.exercises.registry import reference

__all__ = ["check", "hint", "progress", "reference", "reset", "solution"]
