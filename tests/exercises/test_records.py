"""The progress file: in its place, whole, never lost, and right when several write to it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from learners import LETTER, SCALE

from gptlib.exercises import check, hint, progress, records
from gptlib.exercises.records import Record


@pytest.fixture(autouse=True)
def toys(add_chapter):
    add_chapter(SCALE, LETTER)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "home/.local/share/gptlib"),
        ("linux", {"XDG_DATA_HOME": "/xdg"}, "/xdg/gptlib"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "home/.local/share/gptlib"),
        ("darwin", {}, "home/Library/Application Support/gptlib"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/gptlib"),
        ("win32", {}, "home/AppData/Roaming/gptlib"),
        ("linux", {"GPTLIB_DATA": "/mine"}, "/mine"),
    ],
)
def test_the_folder_is_the_platforms_own(platform, environment, expected, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for name in ("GPTLIB_DATA", "XDG_DATA_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert records.data_folder() == Path(expected)


def test_what_is_stored_is_read_again(data_folder):
    check("letter", "a"), hint("letter"), hint("scale")
    assert records.load() == ({"letter": Record(1, 1, False), "scale": Record(0, 1, False)}, "")
    assert sorted(path.name for path in data_folder.iterdir()) == ["progress.json", "progress.lock"]


def test_records_of_exercises_that_are_not_known_are_kept(data_folder):
    data_folder.mkdir()
    foreign = {"later": {"attempts": 3, "hints": 1, "done": True}}
    (data_folder / "progress.json").write_text(json.dumps({"format": 1, "exercises": foreign}))
    check("letter", "b")
    assert set(records.load()[0]) == {"later", "letter"}
    assert str(progress()).splitlines()[-1].split() == ["All", "1", "0", "1", "0", "4"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b"3",
        b'{"scores": 1}',
        b'{"format": 2, "exercises": {}}',
        b'{"format": 1, "exercises": []}',
        b'{"format": 1, "exercises": {"letter": 3}}',
        b'{"format": 1, "exercises": {"letter": {"attempts": "1", "hints": 0, "done": true}}}',
        b'{"format": 1, "exercises": {"letter": {"attempts": 1}}}',
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:40]),
)
def test_a_file_that_is_not_ours_is_moved_aside_and_said_once(content, data_folder):
    data_folder.mkdir()
    for n in (1, 2):
        (data_folder / "progress.json").write_bytes(content)
        verdict = check("letter", "b")
        assert verdict.outcome == "correct"
        aside = data_folder / f"progress.damaged-{n}.json"
        assert str(verdict).endswith(f"could not be understood; it is now '{aside}', and a new one begins.")
        assert aside.read_bytes() == content
        assert "could not" not in str(check("letter", "b"))
    (data_folder / "progress.json").write_bytes(content)
    assert "could not be understood" in str(progress())


def test_where_nothing_can_be_stored_everything_else_works(data_folder):
    data_folder.write_text("a file where the folder should be")
    verdict = check("letter", "b")
    assert verdict.outcome == "correct"
    assert f"could not be stored in '{data_folder}'" in str(verdict)
    assert "GPTLIB_DATA" in str(verdict)
    assert str(hint("letter")).startswith("Hint 1 of 3. One.")
    assert "letter" in str(progress(90))


WRITER = """
import time
from pathlib import Path
from gptlib.exercises import records
Path("{name}").touch()
while not all(Path(name).exists() for name in "abc"):  # all begin at once
    time.sleep(0.001)
for i in range(40):
    def edit(all_records):
        all_records.setdefault("{name}", records.Record()).attempts += 1
        all_records.setdefault("shared", records.Record()).hints += 1
    assert records.change(edit) == ""
"""


def test_several_notebooks_write_at_once_and_nothing_is_lost(tmp_path):
    names = ["a", "b", "c"]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER.format(name=name)], cwd=tmp_path) for name in names]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found, note = records.load()
    assert note == ""
    assert {name: found[name].attempts for name in names} == dict.fromkeys(names, 40)
    assert found["shared"].hints == 120


def test_a_lock_that_is_never_given_back_only_delays(monkeypatch):
    check("letter", "a")
    monkeypatch.setattr(records, "LONGEST_WAIT", 0.2)
    with records._locked():
        begin = time.monotonic()
        check("letter", "b")
        assert time.monotonic() - begin < 5
    assert records.load()[0]["letter"] == Record(2, 0, True)
