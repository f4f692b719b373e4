"""Run notebooks from top to bottom in a fresh kernel and keep their outputs, cleaned: `make notebooks`.

They run in a copy of the workbook's folder (data/input.txt, model_weights/), so that nothing of yours is changed.
Those that download weights get small random ones from a mirror on this machine.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]


def make_home(home: Path) -> None:
    """What chapters read of a fresh clone, in another folder, with GPTLIB_HOME pointing at it."""
    for folder in ("data", "model_weights", "configs", "bench/results", "workbook"):
        shutil.copytree(ROOT / folder, home / folder, ignore=ignore_untracked, dirs_exist_ok=True)
    (home / "notebooks").mkdir(exist_ok=True)
    os.environ["GPTLIB_HOME"] = str(home)
    os.environ["GPTLIB_DATA"] = str(home / "progress")  # an empty scoreboard, not yours


def ignore_untracked(folder: str, names: list[str]) -> list[str]:
    """Of data/ and model_weights/, only what the repository itself brings."""
    tracked = {
        "input.txt",
        "instructions.json",
        "instructions_held_out.json",
        "choices.jsonl",
        "README.md",
        "LICENSE",
        "tales.pth",
    }
    named = [n for n in names if Path(folder).name in ("data", "model_weights") and n not in tracked]
    return [*named, *(n for n in names if n == "__pycache__")]


def clean(notebook: NotebookNode) -> None:
    """Drop what differs from run to run and machine to machine: times, versions, progress bars."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code":
            cell.outputs = joined(output for output in cell.outputs if not is_progress_bar(output))
            for output in cell.outputs:
                if "metadata" in output:
                    output.metadata = {}
                # A live widget needs its kernel; whoever only reads the page sees the still picture beside it.
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def joined(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """The outputs with neighbouring pieces of one stream made one, as a person sees them."""
    result = []
    for output in outputs:
        if result and output.output_type == "stream" and output.name == result[-1].get("name"):
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def is_progress_bar(output: NotebookNode) -> bool:
    """A tqdm bar, which only says how long it took; its first state, all that a page would show, says less."""
    if output.get("name") == "stderr":
        return "it/s" in output.text or "step/s" in output.text or "B/s" in output.text
    text = output.get("data", {}).get("text/plain", "")
    return "%|" in text or "?B/s]" in text


def refresh(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    clean(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def main(paths: list[str]) -> None:
    from tools.stand_ins import served_to

    with tempfile.TemporaryDirectory() as home:
        make_home(Path(home))
        with served_to(Path(home), [Path(path).name for path in paths]):
            for path in paths:
                print(path, flush=True)
                refresh(Path(path).resolve())


if __name__ == "__main__":
    sys.path.append(str(ROOT))  # run as a file, it finds only what is in tools/
    main(sys.argv[1:])
