"""gptlib on a CUDA GPU, in at most eight minutes: training, decoding, fp16, resuming, the same tokens as on the CPU.

    python bench/gpu.py --out gpu.json [--nanogpt FOLDER]    # on the GPU; FOLDER holds nanoGPT's model.py
    python bench/gpu.py --toy                                # all of it at tiny size on a CPU, in seconds

Nothing has to be installed but torch (2.11 or later), numpy, tiktoken and transformers, gptlib included: it is taken
from the checkout. Each job is a process of its own (with --toy they share one): one that fails or runs out of memory
leaves the others as they are, and memory is counted for it alone. The most telling come first. None is begun that could
not end within the budget, and the results are written after each. What a job does is in `_gpu_jobs.py`.

The exit status is 1 if a job failed or found something wrong, and 0 where there is no GPU, which it says.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
NEEDED = ("torch", "numpy", "tiktoken", "transformers", "regex", "tqdm", "filelock")
"""What is imported on the way; the last three come with the first four."""

BATCHES = (16, 32, 64, 128)
PAYS = 1.02
"""A larger batch pays if it makes training faster by so much."""

PATIENCE = 2
"""A job is stopped after so many times as long as it should take."""

HARMLESS = ("", "not begun", "needs CUDA", "too large")
"""How problems begin that are none of gptlib's."""

Row = dict[str, Any]


def jobs(options: argparse.Namespace, rows: list[Row]) -> Iterator[Row]:
    """What to do, the most telling first; `rows` are the results so far, which decide how large batches become.

    A job is the function's name with its arguments; `seconds` is what it should take at most.
    """
    first = BATCHES[0]
    yield {"job": "training", "who": "gptlib", "compiled": True, "batch": first, "seconds": 100}
    yield {"job": "training", "who": "gptlib", "compiled": False, "batch": first, "seconds": 45}
    if options.nanogpt:
        theirs = {"job": "training", "who": "nanoGPT", "nanogpt": str(options.nanogpt), "batch": first}
        yield theirs | {"compiled": True, "seconds": 90}
    yield {"job": "tokens", "seconds": 45}
    yield {"job": "fp16", "seconds": 45}
    yield {"job": "resuming", "compiled": False, "seconds": 60}
    yield {"job": "decoding", "who": "gptlib", "seconds": 45}
    yield {"job": "decoding", "who": "transformers", "seconds": 150}
    for batch in BATCHES[1:]:
        tried = [row for row in rows if row["job"] == "training" and row["who"] == "gptlib" and row["compiled"]]
        speeds = [row.get("tok/s", 0) for row in tried]
        if not speeds or not speeds[-1] or (len(speeds) > 1 and speeds[-1] < PAYS * speeds[-2]):
            break
        yield {"job": "training", "who": "gptlib", "compiled": True, "batch": batch, "seconds": 80}
    if options.nanogpt:
        yield theirs | {"compiled": False, "seconds": 45}
    yield {"job": "resuming", "compiled": True, "seconds": 100}


def run(options: argparse.Namespace, job: Row, limit: float) -> list[Row]:
    """The results of a job, here if it is a toy, else in a process of its own that has `limit` seconds."""
    if options.toy:
        return do(job, "cpu", toy=True)
    # With this setting cuBLAS adds in the same order each time; on some GPUs it costs speed.
    environment = os.environ | ({"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if job["job"] == "resuming" else {})
    command = [sys.executable, __file__, "--do", json.dumps(job)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment)
    except subprocess.TimeoutExpired:
        return [{"problem": f"stopped after {limit:.0f} seconds"}]
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            return json.loads(line)["rows"]
    return [{"problem": (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1], "log": done.stderr}]


def do(job: Row, device: str, toy: bool = False) -> list[Row]:
    """Do the job in this process. What goes wrong becomes its result, with the traceback as its log."""
    import traceback

    import _gpu_jobs

    arguments = {name: value for name, value in job.items() if name not in ("job", "seconds")}
    try:
        return getattr(_gpu_jobs, job["job"])(_gpu_jobs.Place(device, toy), **arguments)
    except Exception as error:  # the next job has its own life
        text = " ".join(str(error).split())
        return [{"problem": f"{type(error).__name__}: {text[:300]}", "log": traceback.format_exc()}]


def run_all(options: argparse.Namespace) -> list[Row]:
    """The results of all jobs for which there is time, printed and written as they come."""
    end, rows = time.monotonic() + options.budget, []
    for job in jobs(options, rows):
        named = {name: job[name] for name in ("job", "who", "compiled", "batch") if name in job}
        left, start = end - time.monotonic(), time.monotonic()
        if left < job["seconds"] and not options.toy:
            found = [{"problem": f"not begun: it may take {job['seconds']} seconds, and {max(left, 0):.0f} are left"}]
        else:
            found = run(options, job, min(left, PATIENCE * job["seconds"]))
        rows += [named | row for row in found]
        print(f"\n{' '.join(map(str, named.values()))}, {time.monotonic() - start:.0f} seconds", flush=True)
        show(rows[-len(found) :])
        if options.out:
            write(options, rows)
    return rows


def show(rows: list[Row]) -> None:
    """The results of one job as a table, and the logs of what failed."""
    from _tables import table

    print(table([{name: value for name, value in row.items() if name not in ("job", "log")} for row in rows]))
    for row in rows:
        if "log" in row:
            print(row["log"], flush=True)


def write(options: argparse.Namespace, rows: list[Row]) -> None:
    """All results so far, as JSON, with what they were measured on."""
    import torch

    device = "CPU" if options.toy else torch.cuda.get_device_name()
    machine = {
        "device": device,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": sys.version.split()[0],
    }
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, help="a folder with nanoGPT's model.py, to take part")
    parser.add_argument("--budget", type=float, default=480, help="seconds for all jobs")
    parser.add_argument("--out", type=Path, help="a file for the results, as JSON")
    parser.add_argument("--toy", action="store_true", help="everything at tiny size on the CPU")
    parser.add_argument("--do", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        print(f"This needs the package {missing[0]!r}: pip install torch numpy tiktoken transformers.")
        return 1
    os.environ.setdefault("GPTLIB_DATA", tempfile.gettempdir())  # else platformdirs would be asked
    import torch

    if options.do:
        print("\n" + json.dumps({"rows": do(json.loads(options.do), "cuda")}))
        return 0
    if not options.toy and not torch.cuda.is_available():
        print("There is no CUDA GPU here, so nothing is measured; --toy does all of it at tiny size on the CPU.")
        return 0
    rows = run_all(options)
    wrong = [row for row in rows if row.get("problem", "").partition(":")[0] not in HARMLESS]
    print(f"\n{len(rows)} results, {len(wrong)} with a problem." + (f" Written: {options.out}" if options.out else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
