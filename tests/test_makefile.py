"""The set-up's own errors: each is one sentence, before anything is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", "-s", *arguments], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def clone(tmp_path):
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_no_python_that_fits(clone):
    result = make(clone, "lab", "PYTHON=")
    assert result.returncode
    assert result.stdout == (
        "Python 3.11, 3.12 or 3.13 is needed, and none is on the PATH: install one, then run make again.\n"
    )
    assert not (clone / ".venv").exists()


def test_no_venv_module(clone):
    (clone / "python").write_text("#!/bin/sh\nexit 1\n")
    (clone / "python").chmod(0o755)
    result = make(clone, "test", "PYTHON=./python")
    assert result.returncode
    assert "has no venv module: install it" in result.stdout
    assert not (clone / ".venv").exists()


def test_help_lists_every_target(clone):
    listed = {line.split()[0] for line in make(clone).stdout.splitlines()}
    assert listed == {"help", "lab", "test", "test-browser", "train", "model", "bench", "notebooks", "solve", "lint"}


def test_a_second_run_installs_nothing(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / "ready").touch()
    assert "pip" not in make(clone, "--dry-run", "train").stdout
    (clone / "requirements.txt").touch()
    assert "pip" in make(clone, "--dry-run", "train").stdout
