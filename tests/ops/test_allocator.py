"""Freed memory stays with the process while it trains, and goes back to the system afterwards."""

import subprocess
import sys

import pytest
import torch

from gptlib.ops import allocator as memory
from gptlib.ops.allocator import freed_memory_kept

CODE = """
import resource, psutil, torch
from gptlib.ops.allocator import freed_memory_kept

def faults(n=3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        torch.ones(25_000_000)  # 100 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(1)
plain = faults()
try:
    with freed_memory_kept():
        faults(20)  # where a tensor begins and ends differs a little, so that some rounds pass before one fits another
        kept = faults()
        held = psutil.Process().memory_info().rss
        raise KeyError
except KeyError:
    given_back = held - psutil.Process().memory_info().rss
print(plain, kept, given_back, faults())
"""


@pytest.mark.skipif(memory._glibc() is None, reason="needs glibc, whose malloc this is about")
def test_pages_are_asked_for_once_and_given_back_even_after_an_error():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    plain, kept, given_back, afterwards = map(int, run.stdout.split())
    assert kept < plain / 10 or plain < 100  # huge pages, where the system makes them, leave few to count
    assert given_back > 75e6
    assert afterwards > plain / 2


LENGTHS = """
import random, psutil, torch
from gptlib.ops.allocator import freed_memory_kept

rng, process, held = random.Random(0), psutil.Process(), []
with freed_memory_kept() as tidy:
    before = process.memory_info().rss
    for _ in range(60):
        n = rng.randint(1_000_000, 25_000_000)
        tensors = [torch.ones(n + rng.randint(0, 100_000)) for _ in range(4)]  # 400 MB at most
        held.append(process.memory_info().rss - before)
        del tensors
        tidy()
print(max(held))
"""


@pytest.mark.skipif(memory._glibc() is None, reason="needs glibc, whose malloc this is about")
def test_steps_of_any_length_do_not_pile_up_what_they_leave():
    run = subprocess.run([sys.executable, "-c", LENGTHS], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 800e6  # without tidying up it is 1020 MB here (glibc 2.36), and more with more steps


def test_without_glibc_nothing_happens(monkeypatch):
    def of_windows(_):
        raise TypeError

    def of_musl_or_a_mac(_):
        return object()  # none of glibc's own functions

    for library in (of_windows, of_musl_or_a_mac):
        monkeypatch.setattr(memory.ctypes, "CDLL", library)
        with freed_memory_kept() as tidy:
            assert torch.ones(3).sum() == 3
            tidy()


def test_an_error_inside_comes_out():
    with pytest.raises(KeyError), freed_memory_kept():
        raise KeyError
