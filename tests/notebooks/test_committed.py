"""What the committed notebooks must be: the clean outputs of one full run."""

import re
import tempfile
from pathlib import Path

import nbformat
import pytest

from tools.refresh_notebooks import clean, is_progress_bar

ROOT = Path(__file__).resolve().parents[2]
LIVE = "application/vnd.jupyter.widget-view+json"
EXPLORER = re.compile(r"^widgets\.\w+\(", re.MULTILINE)
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


def test_explorers_are_committed_as_still_pictures(notebook):
    """A live view would be "model not found" to whoever opens the page before running it."""
    for cell in code_cells(notebook):
        bundles = [output.data for output in cell.outputs if "data" in output]
        assert not any(LIVE in data for data in bundles)
        if EXPLORER.search(cell.source):
            (data,) = [data for data in bundles if "image/svg+xml" in data]
            assert data["image/svg+xml"].startswith("<svg")
            assert re.match(r'<img src="data:image/svg\+xml;base64,[^"]+" alt=', data["text/html"])
            assert "Explorer" not in data["text/plain"]  # words, and not the name of a class


def test_cleaning_drops_the_live_view_and_keeps_the_picture():
    data = {LIVE: {"model_id": "1"}, "image/svg+xml": "<svg/>", "text/html": "<img/>", "text/plain": "words"}
    cell = nbformat.v4.new_code_cell("x", outputs=[nbformat.v4.new_output("display_data", data)])
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    clean(notebook)
    assert set(notebook.cells[0].outputs[0].data) == {"image/svg+xml", "text/html", "text/plain"}
    assert "widgets" not in notebook.metadata
