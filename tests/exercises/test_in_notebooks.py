"""The notebooks hold every exercise once, as it is declared, and check nothing that is no exercise."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from gptlib.exercises.core import statement_of
from gptlib.exercises.registry import all_exercises, chapters, exercises_of

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
WRITTEN = [chapter for chapter in chapters() if (NOTEBOOKS / chapter.notebook).exists() and exercises_of(chapter)]
EXERCISES = [(chapter, exercise) for chapter in WRITTEN for exercise in exercises_of(chapter)]
CHECK = re.compile(r"^\s*check\(\s*(['\"])(.*?)\1", re.MULTILINE)


def cells_of(path: Path) -> list:
    return nbformat.read(path, as_version=4).cells


def checked_in(cell) -> list[str]:
    """The names in a cell's lines that call `check`; comments and prose do not count."""
    return [name for _, name in CHECK.findall(cell.source)] if cell.cell_type == "code" else []


@pytest.mark.parametrize(("chapter", "exercise"), EXERCISES, ids=lambda value: getattr(value, "name", None))
def test_it_is_in_its_chapter_once_as_declared(chapter, exercise):
    cells = cells_of(NOTEBOOKS / chapter.notebook)
    places = [i for i, cell in enumerate(cells) if exercise.name in checked_in(cell)]
    (place,) = places
    assert cells[place].source == exercise.cell
    assert statement_of(exercise) in cells[place - 1].source


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_checks_only_its_own_exercises(path):
    declared = [exercise.name for chapter, exercise in all_exercises() if chapter.notebook == path.name]
    names = [name for cell in cells_of(path) for name in checked_in(cell)]
    assert [name for name in names if name not in declared] == []
    assert [name for name, n in Counter(names).items() if n > 1] == []


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_committed_notebook_is_not_attempted(path):
    """Its outputs are those of somebody who has not begun."""
    for cell in cells_of(path):
        if checked_in(cell):
            texts = [output["data"]["text/plain"] for output in cell.outputs if "data" in output]
            assert [text.startswith("Not attempted yet.") for text in texts] == [True]


@pytest.mark.parametrize("chapter", WRITTEN, ids=lambda chapter: chapter.module)
def test_the_readme_counts_the_exercises(chapter):
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"\| \[`{chapter.notebook[:-6]}`\]\(notebooks/{chapter.notebook}\) \|.*\| (\d+) \|", readme)
    assert int(row) == len(exercises_of(chapter))
