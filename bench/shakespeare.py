"""A small model of tiny Shakespeare's characters, beside nanoGPT's own run: validation loss against the clock.

    python bench/shakespeare.py --nanogpt FOLDER [--text tinyshakespeare.txt]

The same model (0.8M parameters, a context of 64) on the same text, each with its own recipe: nanoGPT's for a CPU, from
its README, and configs/shakespeare_char.yaml, once whole and once short, with a higher learning rate. The clock begins
with the process, and start-up and evaluations count. Afterwards all are judged alike: over the whole last tenth of the
text, in windows that do not overlap. FOLDER is nanoGPT's checkout, its data/shakespeare_char prepared. Without --text
the text is downloaded.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from _tables import save, table

from gptlib import plots
from gptlib.checkpoints import load_checkpoint
from gptlib.corpus import load_corpus
from gptlib.datasets import create_dataloader
from gptlib.evaluation import evaluate_loss
from gptlib.ops.benchmark import describe, machine

THEIRS = (
    "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 "
    "--batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0"
)
OURS = "-m gptlib train --config shakespeare_char"
LOSS = re.compile(r"step (\d+)\b.*\bval(?: loss)? ([\d.]+)")


def timed_lines(command: list[str], folder: Path | None = None) -> Iterator[tuple[float, str]]:
    """Each line that a process writes, with the seconds since it was started; its end comes as an empty line."""
    start = time.perf_counter()
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as process:
        for line in process.stdout:
            yield time.perf_counter() - start, line
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    yield time.perf_counter() - start, ""


def watched(command: list[str], folder: Path | None = None) -> tuple[float, list[tuple[float, float]]]:
    """The seconds that a run took, and its (seconds, validation loss) as it said them."""
    curve, seconds = [], 0.0
    for seconds, line in timed_lines(command, folder):
        if found := LOSS.search(line):
            curve.append((seconds, float(found[2])))
    return seconds, curve


def loss_of_nanogpt(folder: Path, out: Path, loader) -> float:
    """The loss of nanoGPT's best model over all of a loader, in the windows that ours are judged by."""
    sys.path.insert(0, str(folder))
    from model import GPT, GPTConfig

    stored = torch.load(out / "ckpt.pt", weights_only=True)
    model = GPT(GPTConfig(**stored["model_args"])).eval()
    model.load_state_dict(stored["model"])
    total, count = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            total += model(x, y)[1].item() * y.numel()
            count += y.numel()
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, default=os.environ.get("BENCH_NANOGPT"), help="nanoGPT's checkout")
    parser.add_argument("--text", default="tiny-shakespeare", help="the text, where it is here already")
    parser.add_argument("--short", type=int, default=240, help="steps of our short run")
    options = parser.parse_args()
    corpus = load_corpus(options.text, "char", ratios=(0.9, 0.1, 0.0))
    sizes = {"batch_size": 64, "context_length": 64, "shuffle": False, "drop_last": False}
    last_tenth = create_dataloader(corpus.val, **sizes)
    found = machine()
    print(describe(found), "\n")
    curves, rows = {}, []
    with tempfile.TemporaryDirectory(prefix="gptlib-bench-") as name:
        folder = Path(name)
        if options.nanogpt:
            command = [sys.executable, "train.py", *THEIRS.split(), f"--out_dir={folder}"]
            seconds, curves["nanoGPT"] = watched(command, options.nanogpt)
            loss = loss_of_nanogpt(options.nanogpt, folder, last_tenth)
            rows.append({"run": "nanoGPT, 2000 steps", "seconds": seconds, "loss over the last tenth": loss})
        short = f"--training.max_steps {options.short} --training.learning_rate 0.02"
        for label, extra in (("gptlib, short", short), ("gptlib", "")):
            out = folder / f"{label[-3:]}.pth"
            command = [sys.executable, *OURS.split(), "--data", options.text, "--out", str(out), *extra.split()]
            seconds, curves[label] = watched(command)
            loss = evaluate_loss(load_checkpoint(out).model, last_tenth)
            rows.append({"run": label, "seconds": seconds, "loss over the last tenth": loss})
    for row in rows:
        row["share of nanoGPT's time"] = row["seconds"] / rows[0]["seconds"] if options.nanogpt else None
    print(table(rows))
    lines = {run: tuple(zip(*points, strict=True)) for run, points in curves.items()}
    labels = {"xlabel": "seconds", "ylabel": "validation loss", "title": "Tiny Shakespeare by characters"}
    ax = plots.plot_lines(lines, **labels, levels={"1.90": 1.9, "1.55": 1.55})
    points = [{"run": run, "seconds": at, "loss": loss} for run, curve in curves.items() for at, loss in curve]
    save("shakespeare", found, {"runs": rows, "curves": points}, ax.figure)


if __name__ == "__main__":
    main()
