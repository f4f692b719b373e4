"""Freed memory stays with the process while it trains, and goes back to the system afterwards."""

import subprocess
import sys

import pytest
import torch

from gptlib.ops import allocator
from gptlib.ops.allocator import retain_freed_memory

CODE = """
import resource, psutil, torch
from gptlib.ops.allocator import retain_freed_memory

def faults(n=3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        torch.ones(25_000_000)  # 100 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(1)
plain = faults()
try:
    with retain_freed_memory():
        faults(20)  # where a tensor begins and ends differs a little, so that some rounds pass before one fits another
        kept = faults()
        held = psutil.Process().memory_info().rss
        raise KeyError
except KeyError:
    given_back = held - psutil.Process().memory_info().rss
print(plain, kept, given_back, faults())
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="needs glibc, whose malloc this is about")
def test_pages_are_asked_for_once_and_given_back_even_after_an_error():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    plain, kept, given_back, afterwards = map(int, run.stdout.split())
    assert kept < plain / 10 or plain < 100  # huge pages, where the system makes them, leave few to count
    assert given_back > 75e6
    assert afterwards > plain / 2


LENGTHS = """
import random, psutil, torch
from gptlib.ops.allocator import retain_freed_memory

rng, process, held = random.Random(0), psutil.Process(), []
with retain_freed_memory() as trim:
    before = process.memory_info().rss
    for _ in range(60):
        n = rng.randint(1_000_000, 25_000_000)
        tensors = [torch.ones(n + rng.randint(0, 100_000)) for _ in range(4)]  # 400 MB at most
        held.append(process.memory_info().rss - before)
        del tensors
        trim()
print(max(held))
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="needs glibc, whose malloc this is about")
def test_steps_of_any_length_do_not_pile_up_what_they_leave():
    run = subprocess.run([sys.executable, "-c", LENGTHS], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 800e6  # without trimming it is 1020 MB here (glibc 2.36), and more with more steps


def test_without_glibc_nothing_happens(monkeypatch):
    def of_windows(_):
        raise TypeError

    def of_musl_or_a_mac(_):
        return object()  # none of glibc's own functions

    for library in (of_windows, of_musl_or_a_mac):
        monkeypatch.setattr(allocator.ctypes, "CDLL", library)
        with retain_freed_memory() as trim:
            assert torch.ones(3).sum() == 3
            trim()


def test_an_error_inside_comes_out():
    with pytest.raises(KeyError), retain_freed_memory():
        raise KeyError


class Libc:
    """Remembers what it was told."""

    def __init__(self):
        self.settings, self.trimmed = {}, 0

    def mallopt(self, option, value):
        self.settings[option] = value

    def malloc_trim(self, _):
        self.trimmed += 1


def test_the_last_block_to_close_puts_the_settings_back(monkeypatch):
    libc = Libc()
    monkeypatch.setattr(allocator, "_glibc", lambda: libc)
    monkeypatch.setattr(allocator.os, "environ", {})
    inside, outside = {-4: 0, -1: 2**31 - 1}, {-4: 65536, -3: 32 * 2**20, -1: 64 * 2**20}
    first, second = retain_freed_memory(), retain_freed_memory()
    first.__enter__()
    second.__enter__()
    assert libc.settings == inside
    first.__exit__(None, None, None)  # not in order, as two threads may do
    assert libc.settings == inside
    second.__exit__(None, None, None)
    assert libc.settings == outside
    assert libc.trimmed == 1
    with retain_freed_memory():
        assert libc.settings == outside | inside
    with pytest.raises(KeyError), retain_freed_memory():
        raise KeyError
    assert libc.settings == outside


@pytest.mark.parametrize(
    ("environment", "changed"),
    [
        ({}, {}),
        ({"MALLOC_MMAP_MAX_": "7"}, {"mmap_max": 7}),
        (
            {"MALLOC_TRIM_THRESHOLD_": "1000", "MALLOC_MMAP_THRESHOLD_": "2000"},
            {"trim_threshold": 1000, "mmap_threshold": 2000},
        ),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=99999999999"},
            {"mmap_max": 0, "trim_threshold": 2**31 - 1},
        ),
        ({"GLIBC_TUNABLES": "glibc.malloc.check=1:glibc.mem.tagging=1", "MALLOC_MMAP_MAX_": "many"}, {}),
    ],
    ids=str,
)
def test_what_the_environment_has_set_is_what_is_put_back(environment, changed):
    usual = {"mmap_max": 65536, "mmap_threshold": 32 * 2**20, "trim_threshold": 64 * 2**20}
    assert allocator.settings_outside(environment) == usual | changed
