"""Freed memory stays with the process while it trains, and goes back to the system afterwards."""

import subprocess
import sys

import pytest
import torch

from gptlib import memory
from gptlib.memory import freed_memory_kept

CODE = """
import resource, psutil, torch
from gptlib.memory import freed_memory_kept

def faults(n=3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        torch.ones(50_000_000)  # 200 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(1)
plain = faults()
with freed_memory_kept():
    faults(20)  # where a tensor begins and ends differs a little, so that some rounds pass before one fits the other
    kept = faults()
    held = psutil.Process().memory_info().rss
print(plain, kept, held - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(memory._glibc() is None, reason="needs glibc, whose malloc this is about")
def test_pages_are_asked_for_once_and_given_back():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    plain, kept, given_back = map(int, run.stdout.split())
    assert kept < plain / 10 or plain < 100  # huge pages, where the system makes them, leave few to count
    assert given_back > 150e6


def test_without_glibc_nothing_happens(monkeypatch):
    for missing in (OSError, TypeError):

        def refuse(_, missing=missing):
            raise missing

        monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
        with freed_memory_kept():
            assert torch.ones(3).sum() == 3


def test_an_error_inside_comes_out():
    with pytest.raises(KeyError), freed_memory_kept():
        raise KeyError
