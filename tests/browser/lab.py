"""The workbook in a JupyterLab of its own, and a browser that notes every request to anywhere else."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from playwright.sync_api import BrowserContext, Locator, Page

from tools.refresh_notebooks import ROOT, make_home

CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
WRITING = ["inference.ipynb", "inference_hf.ipynb"]
PICTURES = ROOT / "build" / "browser"  # where screenshots go, to be looked at
HERE = ("127.0.0.1", "localhost")
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
KERNEL_IS_IDLE = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
    return context?.isReady && context.session?.kernel?.status === "idle";
}"""


def find_browser() -> str | None:
    """The Chromium or Chrome of this machine: the one $BROWSER_PATH names, else the first that is found."""
    named = os.environ.get("BROWSER_PATH")
    return next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)


class Lab:
    """A JupyterLab server on a copy of the workbook, whose notebooks have no outputs yet."""

    def __init__(self, home: Path):
        self.home = home
        make_home(home)
        shutil.copytree(ROOT / "assets", home / "assets")
        for name in CHAPTERS + WRITING:
            notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            nbformat.write(notebook, home / "notebooks" / name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        settings = {f"JUPYTERLAB_{name}_DIR": str(home / name) for name in ("SETTINGS", "WORKSPACES")}
        options = {
            "ServerApp.root_dir": home,
            "ServerApp.port": port,
            "IdentityProvider.token": "",
            "ServerApp.ip": HERE[0],
        }
        with (home / "server.log").open("w") as log:
            self.server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                    "--LabApp.expose_app_in_browser=True",
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                env=os.environ | settings,
                stdout=log,
                stderr=log,
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        for _ in range(240):
            if self.server.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{self.url}/api", timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        raise RuntimeError(f"JupyterLab did not start:\n{(self.home / 'server.log').read_text()[-2000:]}")

    def stop(self) -> None:
        self.server.terminate()
        self.server.wait(timeout=30)


class OpenNotebook:
    """One notebook, opened in the browser, with its kernel running."""

    def __init__(self, lab: Lab, context: BrowserContext, name: str):
        self.name, self.path = name, lab.home / "notebooks" / name
        self.strangers: list[str] = []  # requests to any other host
        context.on("request", lambda request: self._note(request.url))
        self.page: Page = context.new_page()
        self.page.goto(f"{lab.url}/lab/tree/notebooks/{name}?reset", wait_until="domcontentloaded")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=120_000)
        self.page.wait_for_function(KERNEL_IS_IDLE, timeout=120_000)  # cells run before then would be dropped

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in HERE:
            self.strangers.append(url)

    def command(self, name: str, **arguments) -> None:
        """One of JupyterLab's own commands, as its menus call them."""
        self.page.evaluate(
            "([name, arguments]) => { window.jupyterapp.commands.execute(name, arguments); }", [name, arguments]
        )

    def saved(self) -> list[dict]:
        """The notebook's code cells, as JupyterLab has just saved them."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        cells = json.loads(self.path.read_text(encoding="utf-8"))["cells"]
        return [cell for cell in cells if cell["cell_type"] == "code"]

    def run_all(self, seconds: float = 300) -> list[dict]:
        """Run every cell; the code cells with their outputs, once the last one is through or one has failed."""
        self.command("notebook:run-all-cells")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.page.wait_for_timeout(1000)
            cells = self.saved()
            if self.errors(cells) or all(cell["execution_count"] for cell in cells if cell["source"]):
                return cells
        raise TimeoutError(f"{self.name} was not through after {seconds} s.")

    @staticmethod
    def errors(cells: list[dict]) -> list[str]:
        outputs = [output for cell in cells for output in cell["outputs"]]
        return [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]

    def cell(self, text: str) -> Locator:
        """The code cell whose source holds the text."""
        cells = self.page.locator(".jp-CodeCell", has=self.page.locator(".jp-InputArea-editor", has_text=text))
        cells.first.scroll_into_view_if_needed()
        return cells.first

    def type_into(self, cell: Locator, source: str) -> None:
        """Replace the cell's source from the keyboard, and run it with Shift+Enter."""
        cell.locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Shift+Enter")

    def picture(self, name: str, of: Locator | None = None) -> None:
        """Screenshots, in light and in dark, of the page or a part of it."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            self.command("apputils:change-theme", theme=theme)
            self.page.wait_for_timeout(1500)
            (of or self.page).screenshot(path=PICTURES / f"{name}-{theme.split()[1].lower()}.png")
