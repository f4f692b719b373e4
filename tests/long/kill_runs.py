"""Kill training runs with SIGKILL, resume them, and compare with runs that were left alone: a table, bit for bit.

    python tests/long/kill_runs.py 30 [--seeds 5] [--width 64]

Half of the kills fall inside the writing of a checkpoint. A resumed run may be killed again. pytest does not collect
this; a short version is tests/training/test_killed.py.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training_helpers import differences, finish, outcome, run_and_kill, temporary_files

LINE = "{:>4}  {:>4}  {:>9}  {:<40}  {:>12}  {}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int, nargs="?", default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    start, rng = time.perf_counter(), random.Random(0)
    kills = inside = runs = failures = 0
    with tempfile.TemporaryDirectory() as folder:
        whole = [uninterrupted(Path(folder) / f"whole-{seed}", seed, options.width) for seed in range(options.seeds)]
        print(LINE.format("kill", "seed", "killed at", "inside the writing of", "resumed from", "identical"))
        while kills < options.kills:
            seed = runs % options.seeds
            rows, unlike = killed_run(Path(folder) / f"run-{runs}", seed, options.width, whole[seed], rng)
            runs, failures = runs + 1, failures + bool(unlike)
            for row in rows:
                kills, inside = kills + 1, inside + bool(row["inside"])
                resumed = "the start" if row["from"] is None else f"step {row['from']}"
                verdict = f"no: {', '.join(unlike)}" if unlike else "yes"
                print(LINE.format(kills, seed, f"step {row['step']}", row["inside"] or "-", resumed, verdict))
    print(
        f"{kills} kills in {runs} runs over {options.seeds} seeds, {inside} inside the writing of a checkpoint; "
        f"{runs - failures} of {runs} runs identical to the uninterrupted ones ({time.perf_counter() - start:.0f} s)."
    )
    return 1 if failures or 3 * inside < kills else 0


def uninterrupted(folder: Path, seed: int, width: int) -> dict:
    """What a run leaves that nobody killed."""
    folder.mkdir()
    finish(folder, seed, width)
    return outcome(folder)


def killed_run(folder: Path, seed: int, width: int, whole: dict, rng: random.Random) -> tuple[list[dict], list[str]]:
    """One run, killed once or more and then finished: a row for each kill, and what is not as in the `whole` run."""
    folder.mkdir()
    rows, again = [], True
    while again:
        seen = run_and_kill(folder, seed, rng, inside=rng.random() < 0.5, emb_dim=width)
        if rows:
            rows[-1]["from"] = seen["resumed from"]
        if "finished" not in seen:
            step = seen.get("step", seen["resumed from"])
            rows.append({"step": step or 0, "inside": seen["inside"]})
        again = not rows or ("finished" not in seen and rng.random() < 0.4)
    if "from" not in rows[-1]:
        rows[-1]["from"] = finish(folder, seed, width)["resumed from"]
    unlike = differences(outcome(folder), whole)
    return rows, unlike + ["temporary files"] * bool(temporary_files(folder))


if __name__ == "__main__":
    sys.exit(main())
