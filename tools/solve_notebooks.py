"""Solve every exercise in the notebooks with its reference, run them, and print the scoreboard: `make solve`.

The solved notebooks run in a copy of the workbook's folder, with a scoreboard of their own; nothing of yours changes.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from gptlib.exercises import progress
from gptlib.exercises.declaring import Exercise
from gptlib.exercises.registry import Chapter, exercises_of, written_chapters
from tools.refresh_notebooks import ROOT, make_home


def solve(notebook: NotebookNode, exercises: tuple[Exercise, ...]) -> list[str]:
    """Put the reference into each exercise's cell, in place; the names of those that were found."""
    cells = {exercise.cell: exercise for exercise in exercises}
    found = []
    for cell in notebook.cells:
        if exercise := cells.get(cell.source):
            cell.source = exercise.solved_cell
            found.append(exercise.name)
    return found


def verdicts(notebook: NotebookNode) -> list[str]:
    """The first line of what each `check` of a notebook that has run said."""
    shown = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and "\ncheck(" in cell.source:
            shown += [output.data["text/plain"].splitlines()[0] for output in cell.outputs if "data" in output]
    return shown


def run_solved(chapter: Chapter) -> list[str]:
    """Solve a chapter's notebook and run it; its verdicts.

    Raises nbclient's CellExecutionError where a cell fails, and ValueError where an exercise is not in the notebook.
    """
    path = ROOT / "notebooks" / chapter.notebook
    notebook = nbformat.read(path, as_version=4)
    names = [exercise.name for exercise in exercises_of(chapter)]
    if missing := set(names) - set(solve(notebook, exercises_of(chapter))):
        raise ValueError(f"{path.name} does not hold the exercise {sorted(missing)[0]!r} as declared; build it again.")
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    return verdicts(notebook)


def main(numbers: list[str]) -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as home:
        make_home(Path(home))
        for chapter in written_chapters():
            if numbers and str(chapter.number) not in numbers:
                continue
            print(chapter.notebook, flush=True)
            said = [line for line in run_solved(chapter) if not line.startswith("Correct.")]
            wrong += len(said)
            for line in said:
                print(f"  {line}")
        print(progress())
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
