"""The progress file: in its place, whole, never lost, and right when several write to it."""

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import platformdirs
import pytest
from learners import LETTER, SCALE
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from gptlib.exercises import check, hint, progress, records
from gptlib.exercises.records import Record


@pytest.fixture(autouse=True)
def toys(add_chapter):
    add_chapter(SCALE, LETTER)


PLACES = [
    ("linux", {}, "home/.local/share/gptlib"),
    ("linux", {"XDG_DATA_HOME": "/xdg"}, "/xdg/gptlib"),
    ("linux", {"XDG_DATA_HOME": "relative"}, "home/.local/share/gptlib"),
    ("darwin", {}, "home/Library/Application Support/gptlib"),
    ("win32", {"APPDATA": "/roaming"}, "/roaming/gptlib"),
    ("win32", {}, "home/AppData/Roaming/gptlib"),
]
PLATFORMS = {"linux": Unix, "darwin": MacOS, "win32": Windows}


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """at_home(platform, **variables): what a user's system says; a home of its own for each test."""

    def on(platform="linux", **variables):
        home = tmp_path / "home"
        for name in ("GPTLIB_DATA", "XDG_DATA_HOME", "APPDATA"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"HOME": str(home)} | variables).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(Path, "home", lambda: home)
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setattr(platformdirs, "PlatformDirs", PLATFORMS[platform])
        # Windows itself is asked, so here its answer has to be given.
        roaming = variables.get("APPDATA", str(home / "AppData" / "Roaming"))
        monkeypatch.setattr("platformdirs.windows.get_win_folder", {"CSIDL_APPDATA": roaming}.__getitem__)
        return home

    return on


@pytest.mark.parametrize(("platform", "variables", "expected"), PLACES)
def test_the_folder_is_the_platforms_own_and_the_one_of_earlier_versions(platform, variables, expected, at_home):
    expected = at_home(platform, **variables).parent / expected
    assert records.data_folder() == records.earlier_folder() == expected


def test_the_users_own_choice_comes_first(at_home, monkeypatch):
    at_home(XDG_DATA_HOME="/xdg", GPTLIB_DATA="/mine")
    assert records.data_folder() == Path("/mine")


MANY, FEW = Record(5, 0, True), Record(2, 1, False)


def store(path, **entries):
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"format": 1, "exercises": {name: asdict(entry) for name, entry in entries.items()}}))
    return path


@pytest.mark.parametrize(
    "first", [records.load, lambda: records.change(lambda all_records: None)], ids=["load", "change"]
)
@pytest.mark.parametrize("both", [False, True], ids=["only there", "in both places"])
def test_what_earlier_versions_stored_elsewhere_is_moved_and_joined(both, first, at_home, tmp_path):
    """On a Mac, platformdirs heeds a variable that we have not."""
    home = at_home("darwin", XDG_DATA_HOME=str(tmp_path / "xdg"))
    old = store(home / "Library" / "Application Support" / "gptlib" / "progress.json", scale=MANY, letter=FEW)
    new = tmp_path / "xdg" / "gptlib" / "progress.json"
    if both:
        store(new, scale=FEW, later=MANY)
    note = f"Your progress has moved from '{old}' to '{new}'."
    assert note in first()
    expected = {"scale": Record(5, 1, True), "letter": FEW, "later": MANY} if both else {"scale": MANY, "letter": FEW}
    assert records.load() == (expected, "")  # and it is said once only
    assert [path.name for path in old.parent.iterdir()] == ["progress.moved.json"]


def test_a_damaged_file_at_the_earlier_place_is_kept_and_the_new_one_counts(at_home, tmp_path):
    home = at_home("darwin", XDG_DATA_HOME=str(tmp_path / "xdg"))
    old = store(home / "Library" / "Application Support" / "gptlib" / "progress.json")
    old.write_text("{")
    store(tmp_path / "xdg" / "gptlib" / "progress.json", scale=MANY)
    found, note = records.load()
    assert found == {"scale": MANY}
    assert "progress.damaged-1.json" in note
    assert records.load() == ({"scale": MANY}, "")


def test_an_earlier_place_that_is_closed_is_read_and_nothing_stands_still(at_home, tmp_path, monkeypatch):
    home = at_home("darwin", XDG_DATA_HOME=str(tmp_path / "xdg"))
    old = store(home / "Library" / "Application Support" / "gptlib" / "progress.json", scale=FEW)
    replace = Path.replace

    def closed(path, target):
        if path == old:
            raise PermissionError("closed")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", closed)
    for n in (1, 2):
        assert check("letter", "a") is not None
        assert records.load() == ({"scale": FEW, "letter": Record(n, 0, False)}, "")


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
