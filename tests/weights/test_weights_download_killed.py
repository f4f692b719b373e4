"""Downloads in processes of their own: killed with SIGKILL and continued, and two of them at once."""

import os
import subprocess
import sys
import time

import pytest
from mirror_faults import cut
from test_weights_download import DATA, assert_right, store

from tools.mirror import Mirror

DOWNLOAD = """
import sys
from gptlib.utils.download import RetryPolicy
from gptlib.weights.download import fetch_openai_files
print("begun", flush=True)
fetch_openai_files("124M", sys.argv[1], retry=RetryPolicy(first_wait=0.01))
"""
PATH = f"124M/{DATA}"


@pytest.fixture
def mirror(monkeypatch):
    files = store() | {PATH: os.urandom(2_000_000)}
    with Mirror(files) as mirror:
        monkeypatch.setenv("GPTLIB_OPENAI_URL", mirror.url)
        monkeypatch.setenv("no_proxy", "*")
        yield mirror


def downloading(folder):
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)


def hold_at(mirror, n_bytes):
    """The mirror sends so much of the data in the next answer, and nothing more to whoever asked."""

    def fault(handler, content):
        cut(n_bytes)(handler, content)
        handler.wfile.flush()
        mirror.ended.wait(60)
        return True

    mirror.faults[PATH] = [fault]


def test_killed_and_continued_by_another_process_only_the_rest_is_fetched(mirror, tmp_path):
    part = tmp_path / "124M" / f"{DATA}.part"
    for n, n_bytes in enumerate((700_000, 500_000), start=1):
        hold_at(mirror, n_bytes)
        process = downloading(tmp_path)
        wait_for(lambda: part.is_file() and part.stat().st_size >= (700_000, 1_200_000)[n - 1])  # noqa: B023
        process.kill()
        process.communicate()
        assert process.returncode == -9
        assert not (tmp_path / PATH).exists()
    process = downloading(tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert_right(tmp_path / "124M", mirror.files)
    assert mirror.served[PATH] == 2_000_000
    asked = [asked for _, path, asked in mirror.requests if path == PATH]
    assert asked == ["", "bytes=700000-", "bytes=1200000-"]


def test_two_processes_at_once_are_served_once_and_both_are_content(mirror, tmp_path):
    hold = []

    def pace(path, served):
        if path == PATH and not hold:
            wait_for(lambda: len(begun) == 2)
            hold.append(mirror.ended.wait(0.3))  # the second one has had time to come to the lock

    begun = []
    mirror.pace = pace
    processes = [downloading(tmp_path), downloading(tmp_path)]
    for process in processes:
        begun.append(process.stdout.readline())
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert_right(tmp_path / "124M", mirror.files)
    assert mirror.served[PATH] == 2_000_000
    assert len(mirror.requests) == 7


def test_whoever_waits_goes_on_where_the_killed_one_stopped(mirror, tmp_path):
    hold_at(mirror, 1_500_000)
    first = downloading(tmp_path)
    part = tmp_path / "124M" / f"{DATA}.part"
    wait_for(lambda: part.is_file() and part.stat().st_size >= 1_500_000)
    second = downloading(tmp_path)
    words = second.stdout.readline() + second.stdout.readline()
    assert "Another process is fetching into '124M'; waiting for it." in words
    first.kill()
    first.communicate()
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert_right(tmp_path / "124M", mirror.files)
    assert mirror.served[PATH] == 2_000_000
