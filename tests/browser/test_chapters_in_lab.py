"""The chapters as a learner meets them: in JupyterLab, in a browser, without any other host (`make test-browser`)."""

import pytest
from lab import CHAPTERS, WRITING, Lab, OpenNotebook, find_browser
from playwright.sync_api import expect, sync_playwright

from tools.stand_ins import served_to

WIDGETS = {  # the cell that shows it, how many sliders it has
    "01_tokenizers.ipynb": "step_merges(",
    "03_attention.ipynb": "explore_attention(",
    "06_generation.ipynb": "explore_sampling(",
    "inference.ipynb": "explore_sampling(",
    "inference_hf.ipynb": "explore_sampling(",
}
SOLUTION = "def center_rows(x):\n    return x - x.mean(dim=1, keepdim=True)\n\n\ncheck('center_rows', center_rows)"


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        pytest.skip("There is no Chromium or Chrome here; install one, or name it in BROWSER_PATH.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("GPTLIB_HOME", "GPTLIB_DATA"):
            patch.setenv(variable, "")  # Lab sets them; this takes them back afterwards
        home = tmp_path_factory.mktemp("workbook")
        with served_to(home, CHAPTERS + WRITING):  # the server and its kernels inherit where the mirror is
            lab = Lab(home)
            yield lab
            lab.stop()


@pytest.fixture
def open_notebook(lab, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield lambda name: OpenNotebook(lab, context, name)
    context.close()


@pytest.mark.parametrize("name", CHAPTERS + WRITING)
def test_a_notebook_runs_without_errors_and_without_other_hosts(open_notebook, name):
    notebook = open_notebook(name)
    cells = notebook.run_all()
    assert notebook.errors(cells) == []
    notebook.picture(name.removesuffix(".ipynb"))
    if name in WRITING:
        look_at_what_it_wrote(notebook)
    if name in WIDGETS:
        move_a_slider(notebook, WIDGETS[name])
    if name == "00_welcome.ipynb":
        solve_by_typing(notebook)
    assert notebook.strangers == []


def look_at_what_it_wrote(notebook: OpenNotebook) -> None:
    """The weights came from the mirror, through the real client, and it is said that they are not OpenAI's."""
    output = notebook.cell("choose(").locator(".jp-OutputArea")
    expect(output).to_contain_text("These are not OpenAI's weights")
    expect(output).to_contain_text("from a mirror at 127.0.0.1")
    notebook.picture(notebook.name.removesuffix(".ipynb") + "-chosen", notebook.cell("choose("))
    cell = notebook.cell("plot_bars(")
    expect(cell.locator("img").first).to_be_visible()
    notebook.picture(notebook.name.removesuffix(".ipynb") + "-surprise", cell)


def move_a_slider(notebook: OpenNotebook, call: str) -> None:
    """From the keyboard: the picture is another one afterwards."""
    output = notebook.cell(call).locator(".jp-OutputArea")
    handle = output.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    expect(output.locator("svg").first).to_be_visible()
    before = output.inner_html()
    handle.focus()
    for _ in range(3):
        notebook.page.keyboard.press("ArrowRight")
    expect(output).not_to_have_text("")
    notebook.page.wait_for_timeout(1000)
    svgs = output.locator("svg").first.inner_html()
    assert svgs not in before
    notebook.picture(notebook.name.removesuffix(".ipynb") + "-widget", output)


def solve_by_typing(notebook: OpenNotebook) -> None:
    cell = notebook.cell("def center_rows")
    expect(cell.locator(".jp-OutputArea")).to_contain_text("Not attempted yet.")
    notebook.type_into(cell, SOLUTION)
    expect(notebook.cell("def center_rows").locator(".jp-OutputArea")).to_contain_text("Correct.", timeout=30_000)
    notebook.picture("00_welcome-solved", notebook.cell("def center_rows"))
