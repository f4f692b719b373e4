"""What the committed notebooks must be: the clean outputs of one full run."""

import re
import tempfile
from pathlib import Path

import nbformat
import pytest

from tools.refresh_notebooks import is_progress_bar

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_ran_once_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_error_and_no_bar_among_the_outputs(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert not is_progress_bar(output)


def test_no_trace_of_a_machine(notebook):
    text = nbformat.writes(notebook)
    for place in (str(Path.home()) + "/", str(ROOT.parent) + "/", tempfile.gettempdir() + "/"):
        assert place not in text
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}


def test_pictures_and_links_are_local_and_there(notebook):
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", prose):
        assert (ROOT / "notebooks" / target).is_file(), target
    assert "![](" not in prose  # a picture without words is none for those who can't see it


def test_figures_are_in_the_outputs():
    """The workbench shows its loss curve, token counts, learning rate and attention without being run."""
    notebook = nbformat.read(ROOT / "notebooks" / "train.ipynb", as_version=4)
    figures = [o for cell in code_cells(notebook) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(figures) >= 4
