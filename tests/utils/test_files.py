"""Files that are whole or not there: exceptions, kills and rivals while writing, and what reading says of bad ones."""

import errno
import json
import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_helpers import child, files_in, temporary_files

from gptlib.utils.files import read_json, remove_leftovers, write_atomically, write_folder_atomically, write_json
from gptlib.utils.folders import project_root
from gptlib.utils.locks import locked


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), write_atomically(path) as file:  # noqa: PT012 - the block is what is tested
        file.write(b"half of the n")
        raise error
    assert path.read_text() == "old"
    assert files_in(tmp_path) == ["a.txt"]


def test_nobody_sees_the_new_content_before_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    with write_atomically(path) as file:
        file.write(b"12")
        file.flush()
        assert not path.exists()
        file.write(b"34")
    assert path.read_bytes() == b"1234"
    assert files_in(path.parent) == ["a.bin"]


def test_the_bytes_reach_the_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    path, events = tmp_path / "a.bin", []
    fsync = os.fsync

    def watched(descriptor):
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append((target == tmp_path, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with write_atomically(path) as file:
        file.write(b"1")
    assert events == [(False, False), (True, True)]  # the file while it has no name, the folder when it has


def test_an_error_of_the_disk_itself_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), write_atomically(path) as file:
        file.write(b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == ["a.bin"]


def test_text_is_utf8_with_plain_line_ends_whatever_the_locale(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    with write_atomically(tmp_path / "a.txt", "w") as file:
        file.write("gefühlt 🦉\nzwei")
    assert (tmp_path / "a.txt").read_bytes() == "gefühlt 🦉\nzwei".encode()


def test_writers_at_the_same_time_each_write_a_whole_file(tmp_path):
    path = tmp_path / "a.bin"
    begun = threading.Barrier(4)

    def writer(letter):
        for _ in range(10):
            with write_atomically(path) as file:
                begun.wait(10)  # all four are in the middle of it
                for _ in range(50):
                    file.write(letter * 1000)

    threads = [threading.Thread(target=writer, args=(letter,)) for letter in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = path.read_bytes()
    assert len(content) == 50_000
    assert len(set(content)) == 1
    assert files_in(tmp_path) == ["a.bin"]


def write_half_and_wait(connection, path):
    with write_atomically(path) as file:
        file.write(b"half")
        file.flush()
        connection.send("in the middle")
        connection.recv()


def test_a_killed_writer_leaves_the_old_file_and_a_temporary_one_that_can_be_told(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with child(write_half_and_wait, str(path)) as (process, connection):
        connection.recv()
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(temporary_files(tmp_path)) == 1
    remove_leftovers(path)
    assert files_in(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("name", ["gpt.pth", "run[1].pth", "a*b.pth", "what?.pth", "trained", "größe.pth"])
def test_leftovers_of_any_name_go_and_those_of_others_stay(tmp_path, name):
    """Square brackets and stars are part of a name here, not a pattern."""
    leftover = tmp_path / f".{name}.0123abcd.tmp"
    other = [
        tmp_path / f".{name}.pth.0123abcd.tmp",
        tmp_path / ".run1.pth.0123abcd.tmp",
        tmp_path / ".axb.pth.01234567.tmp",
    ]
    other += [tmp_path / f"{name}.tmp", tmp_path / f".{name}.notes.tmp", tmp_path / name]
    for path in (leftover, *other):
        path.write_text("x")
    remove_leftovers(tmp_path / name)
    assert not leftover.exists()
    assert [path.name for path in other if not path.exists()] == []


def test_remove_leftovers_needs_no_folder(tmp_path):
    remove_leftovers(tmp_path / "not" / "there.pth")
    assert files_in(tmp_path) == []


def hold_the_lock(connection, path):
    with locked(path) as held:
        connection.send(held)
        connection.recv()


def test_a_lock_is_one_processs_at_a_time_and_free_when_that_one_is_killed(tmp_path):
    path, waited = tmp_path / "a.lock", []
    with child(hold_the_lock, str(path)) as (process, connection):
        assert connection.recv() is True
        with locked(path, 0.05, on_waiting=lambda: waited.append(1)) as held:
            assert not held
        assert waited == [1]
        killing = threading.Timer(0.2, process.kill)
        killing.start()
        with locked(path) as held:  # as long as it takes
            assert held
        killing.join()


def test_a_lock_excludes_threads_too_and_is_free_after_an_error(tmp_path):
    path = tmp_path / "a.lock"
    with pytest.raises(ValueError, match="inside"), locked(path):  # noqa: PT012 - the block is what is tested
        with locked(path, 0.02) as held:
            assert not held
        raise ValueError("inside")
    with locked(path, 0.02) as held:
        assert held


def test_a_tidy_lock_leaves_nothing_that_was_not_there(tmp_path):
    (tmp_path / "there").mkdir()
    for folder in ("there", "new/and/deep"):
        with pytest.raises(ValueError, match="inside"), locked(tmp_path / folder / "a.lock", tidy=True) as held:  # noqa: PT012
            assert held
            assert (tmp_path / folder / "a.lock").exists()
            raise ValueError("inside")
        assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    with locked(tmp_path / "new" / "and" / "deep" / "a.lock", tidy=True):
        (tmp_path / "new" / "file").write_text("kept")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "new", "there"]


def test_whoever_gives_up_waiting_leaves_the_lock_of_the_other(tmp_path):
    path = tmp_path / "new" / "a.lock"
    with locked(path, tidy=True):
        for _ in range(2):
            with locked(path, 0.02, tidy=True) as held:
                assert not held
        assert path.exists()
    assert files_in(tmp_path) == []


def test_a_tidy_lock_that_was_removed_by_hand_does_not_take_that_of_another(tmp_path):
    path = tmp_path / "a.lock"
    with locked(path, tidy=True):
        path.unlink()
        with locked(path, 0.02) as held:
            assert held
    assert path.exists()


def count_up(connection, path, n):
    """Add one n times, in a way that loses count where two do it at once."""
    path = Path(path)
    for _ in range(n):
        with locked(path.with_name("a.lock"), 60, tidy=True) as held:
            assert held
            so_far = int(path.read_text()) if path.exists() else 0
            path.write_text("")
            path.write_text(str(so_far + 1))
    connection.send("done")


def test_processes_exclude_each_other_though_the_lock_is_removed_each_time(tmp_path):
    path = tmp_path / "count"
    with ExitStack() as stack:
        connections = [stack.enter_context(child(count_up, str(path), 150))[1] for _ in range(3)]
        for connection in connections:
            assert connection.recv() == "done"
    assert path.read_text() == "450"
    assert files_in(tmp_path) == ["count"]


def come_and_go(connection, path, n):
    inside = Path(path).parent / "inside"
    for _ in range(n):
        with locked(path, 60, tidy=True) as held:
            assert held
            inside.mkdir()  # fails where another is in
            inside.rmdir()
    connection.send("done")


def test_processes_exclude_each_other_though_the_folder_is_removed_each_time(tmp_path):
    with ExitStack() as stack:
        path = tmp_path / "new" / "deep" / "a.lock"
        connections = [stack.enter_context(child(come_and_go, str(path), 150))[1] for _ in range(3)]
        for connection in connections:
            assert connection.recv() == "done"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file systems")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_reason_to_wait(tmp_path, monkeypatch, code):
    def none_here(file, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", none_here)
    for _ in range(2):  # nothing that the first leaves is taken for a lock
        with locked(tmp_path / "a.lock", on_waiting=lambda: pytest.fail("waited")) as held:
            assert not held


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_in_the_place_of_a_lock_does_not_hang_and_a_link_is_not_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe.lock")
    with locked(tmp_path / "pipe.lock", 1, tidy=True) as held:
        assert held
    (tmp_path / "link.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), locked(tmp_path / "link.lock", 1, tidy=True):  # noqa: PT011 - which one, platforms say
        pytest.fail("followed")
    assert files_in(tmp_path) == ["link.lock"]


def test_whoever_would_wait_for_himself_is_told_at_once(tmp_path):
    with locked(tmp_path / "a.lock"), pytest.raises(RuntimeError, match=r"a\.lock"), locked(tmp_path / "a.lock"):
        pytest.fail("two have it")


# Folders.


def everything(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_text() for path in folder.rglob("*")}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("there", [True, False], ids=["in place of an earlier one", "in a new folder"])
def test_an_exception_while_a_folder_is_written_leaves_all_as_it_was(tmp_path, there, error):
    folder = tmp_path / "new" / "deep" / "a"
    if there:
        folder.mkdir(parents=True)
        (folder / "file").write_text("old")
    before = everything(tmp_path)
    with pytest.raises(error), write_folder_atomically(folder) as temporary:  # noqa: PT012 - the block is what is tested
        (temporary / "file").write_text("half of the n")
        raise error
    assert everything(tmp_path) == before


def test_a_folder_is_seen_whole_and_replaces_an_earlier_one_with_all_that_was_in_it(tmp_path):
    folder = tmp_path / "new" / "a"
    for names in (["a", "b"], ["b", "c"]):
        before = everything(folder)
        with write_folder_atomically(folder) as temporary:
            for name in names:
                (temporary / name).write_text("1")
            assert everything(folder) == before
        assert everything(tmp_path / "new") == {"a": False} | {f"a/{name}": "1" for name in names}


def test_a_renaming_that_fails_brings_the_earlier_folder_back(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("old")
    rename = Path.rename

    def refuse(path, target):
        if path.suffix == ".tmp":
            raise PermissionError("refused")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError, match="refused"), write_folder_atomically(tmp_path / "a") as temporary:
        (temporary / "file").write_text("new")
    assert everything(tmp_path) == {"a": False, "a/file": "old"}


def test_leftovers_of_a_folder_go_its_earlier_self_returns_and_those_of_others_stay(tmp_path):
    for name in (".a.0123abcd.tmp", ".a.0123abcd.old", ".a.b.0123abcd.tmp", ".a.b.0123abcd.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("kept")
    (tmp_path / ".a.89abcdef.tmp").symlink_to(tmp_path / "mine")
    remove_leftovers(tmp_path / "a")
    assert files_in(tmp_path) == [".a.b.0123abcd.old", ".a.b.0123abcd.tmp", "a", "mine"]
    assert (tmp_path / "a" / "file").read_text() == ".a.0123abcd.old"
    (tmp_path / ".a.0123abcd.old").mkdir()  # of one that was killed when the new one was in its place
    remove_leftovers(tmp_path / "a")
    assert (tmp_path / "a" / "file").read_text() == ".a.0123abcd.old"
    assert (tmp_path / "mine" / "file").read_text() == "kept"


def write_slowly(connection, folder, letter):
    with write_folder_atomically(folder, on_waiting=lambda: connection.send("waiting")) as temporary:
        connection.send("writing")
        connection.recv()
        (temporary / "file").write_text(letter)
    connection.send("done")


def test_two_who_write_one_folder_wait_for_each_other_unless_the_first_is_killed(tmp_path):
    folder = tmp_path / "a"
    with child(write_slowly, str(folder), "1") as (_, first):
        assert first.recv() == "writing"
        with child(write_slowly, str(folder), "2") as (_, second):
            assert second.recv() == "waiting"
            assert len(temporary_files(tmp_path)) == 1
            first.send("go on")
            assert [first.recv(), second.recv()] == ["done", "writing"]
            assert (folder / "file").read_text() == "1"
            second.send("go on")
            assert second.recv() == "done"
    assert everything(tmp_path) == {"a": False, "a/file": "2"}
    with child(write_slowly, str(folder), "3") as (process, connection):
        assert connection.recv() == "writing"
        process.kill()
        process.join()
        with write_folder_atomically(folder, on_waiting=lambda: pytest.fail("waited")) as temporary:
            (temporary / "file").write_text("4")
    assert everything(tmp_path) == {"a": False, "a/file": "4"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(data=JSON)
def test_json_comes_back_as_it_was(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "data.json"
    write_json(path, data)
    assert read_json(path) == data == json.loads(path.read_text(encoding="utf-8"))


def test_data_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"fine": 1, "not": {1, 2}})
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert files_in(tmp_path) == ["a.json"]


BAD_JSON = {
    "empty": b"",
    "cut off": b'{"a": [1, 2',
    "not utf-8": b'{"a": "\xff\xfe"}',
    "a zip": b"PK\x03\x04" + bytes(40),
    "very deep": b"[" * 100_000,
    "two": b"{}{}",
    "too long a number": b"1" * 5000,
}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_what_is_not_json_is_told_with_its_name_and_what_it_should_be(tmp_path, content):
    path = tmp_path / "meta.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="it should hold JSON") as error:
        read_json(path, "meta")
    assert f"'{path}' is not a meta file" in str(error.value)
    assert "\n" not in str(error.value)


def a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.mark.parametrize("make", [lambda folder: folder / "missing.json", a_folder], ids=["missing", "a folder"])
def test_a_path_without_a_file_is_told_with_what_to_do(tmp_path, make):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer file at '.*(missing.json|folder)'; check the path"):
        read_json(make(tmp_path), "tokenizer")


@pytest.mark.parametrize(
    "make", [a_folder, lambda folder: folder / "file" / "below.txt"], ids=["a folder", "below a file"]
)
def test_a_place_where_no_file_can_be_is_an_os_error_and_costs_nothing(tmp_path, make):
    (tmp_path / "file").write_text("content")
    with pytest.raises(OSError, match=r"folder|file"), write_atomically(make(tmp_path)) as file:
        file.write(b"x")
    assert (tmp_path / "file").read_text() == "content"
    assert temporary_files(tmp_path) == []


def test_the_workbook_is_found_by_variable_then_by_place(tmp_path, monkeypatch):
    deep = tmp_path / "book" / "data" / "my texts"
    deep.mkdir(parents=True)
    (tmp_path / "book" / "notebooks").mkdir()
    monkeypatch.chdir(deep)
    monkeypatch.delenv("GPTLIB_HOME", raising=False)
    assert project_root() == tmp_path / "book"
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path / "elsewhere"))
    assert project_root() == tmp_path / "elsewhere"
    monkeypatch.setenv("GPTLIB_HOME", "")
    assert project_root() == tmp_path / "book"


def test_outside_of_a_workbook_it_is_the_checkout_that_gptlib_comes_from(tmp_path, monkeypatch):
    import gptlib.utils.folders

    checkout = tmp_path / "checkout"
    for name in ("data", "notebooks", "gptlib"):
        (checkout / name).mkdir(parents=True)
    (tmp_path / "home" / "data").mkdir(parents=True)  # data without notebooks is anybody's
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.delenv("GPTLIB_HOME", raising=False)
    monkeypatch.setattr(gptlib.utils.folders, "__file__", str(checkout / "gptlib" / "utils" / "folders.py"))
    assert project_root() == checkout
    monkeypatch.setattr(gptlib.utils.folders, "__file__", str(tmp_path / "site" / "gptlib" / "utils" / "folders.py"))
    assert project_root() == tmp_path / "home"
