"""Each test has a progress file of its own, and may put exercises of its own into the book."""

import sys
from types import ModuleType

import pytest

from gptlib.exercises import registry


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    """The folder where progress is stored, which does not exist yet."""
    folder = tmp_path / "data"
    monkeypatch.setenv("GPTLIB_DATA", str(folder))
    return folder


@pytest.fixture
def add_chapter(monkeypatch):
    """add_chapter(*exercises) makes them chapter 90, the only one of the book."""

    def add(*exercises):
        module = ModuleType("workbook.exercises.toys")
        module.EXERCISES = exercises
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(registry.content(), "CHAPTERS", (registry.Chapter(90, "Toys", "toys"),))

    return add
