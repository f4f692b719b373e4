"""What goes wrong with token folders: killed and failed runs, damaged files, bad arguments."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_helpers import CLEAN, names_in

from gptlib.corpus import load_prepared, load_tokens, prepare_corpus, preparing, split_text
from gptlib.tokenizers import CharTokenizer

# Whole or not there


def test_a_failed_run_leaves_the_old_corpus_and_nothing_else(prepared, text_file, monkeypatch):
    old = (prepared / "train.bin").read_bytes()
    with pytest.raises(ValueError, match=r"In the train part, in what follows character 0: '0' .* is not among the 3"):
        prepare_corpus(text_file, prepared, CharTokenizer("abc"), progress=False)
    monkeypatch.setattr(preparing, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare_corpus(text_file, prepared, "bpe", progress=False)
    assert load_prepared(prepared).meta["tokenizer"] == "char"
    assert (prepared / "train.bin").read_bytes() == old
    assert names_in(prepared.parent) == ["input.txt", "out"]


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from gptlib.corpus import prepare_corpus

text, out, moment = sys.argv[1], sys.argv[2], int(sys.argv[3])
def counted(function):
    def call(*arguments, **options):
        global moment
        moment -= 1
        if moment < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for name in ("rename", "replace", "mkdir"):
    setattr(Path, name, counted(getattr(Path, name)))
os.fsync, shutil.rmtree = counted(os.fsync), counted(shutil.rmtree)
prepare_corpus(text, out, "word", progress=False)
print("whole")
"""


def test_a_killed_run_leaves_the_old_corpus_the_new_one_or_none(tmp_path, prepared, text_file):
    prepared.rename(tmp_path / "backup")
    found = []
    for moment in (0, 2, 4, 8, *range(12, 30)):
        # The old corpus is in its place, and an earlier run was killed as well.
        shutil.rmtree(prepared, ignore_errors=True)
        shutil.copytree(tmp_path / "backup", prepared)
        for leftover in tmp_path.glob(".out.????????.*"):
            shutil.rmtree(leftover)
        (tmp_path / ".out.0123abcd.tmp").mkdir()
        command = [sys.executable, "-c", KILLED, str(text_file), str(prepared), str(moment)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == (0 if run.stdout else -9), run.stderr
        try:
            corpus = load_prepared(prepared)
        except FileNotFoundError:
            found.append("none")
        else:
            found.append(corpus.meta["tokenizer"])
            assert corpus.tokenizer.encode(split_text(CLEAN)[0]) == corpus.train.tolist()
        if run.stdout:
            break
    assert run.stdout == "whole\n"
    assert set(found) == {"char", "none", "word"}
    assert found.count("none") == 1, "there is one instant only, between the two renames"
    assert found.count("word") > 1, "it may be killed when all but the clearing away is done"
    assert names_in(tmp_path) == ["backup", "input.txt", "out"], "what killed runs left is cleared away"


def test_what_was_moved_aside_by_a_killed_run_comes_back(prepared, text_file):
    prepared.rename(prepared.with_name(".out.0123abcd.old"))
    with pytest.raises(ValueError, match="ratio"):
        prepare_corpus(text_file, prepared, "char", ratios=(1, 1, 1))
    with pytest.raises(ValueError, match="is not among the 1 "):
        prepare_corpus(text_file, prepared, CharTokenizer("a"), progress=False)
    assert load_prepared(prepared).meta["tokenizer"] == "char"


def test_two_who_prepare_the_same_folder_at_once_are_both_content(tmp_path, text_file):
    code = "import sys; from gptlib.corpus import prepare_corpus as p; p(sys.argv[1], 'out', 'char', progress=False)"
    command = [sys.executable, "-c", code, str(text_file)]
    runs = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(run.communicate(timeout=120)[1], run.returncode) for run in runs] == [("", 0)] * 3
    assert load_prepared(tmp_path / "out").meta["tokenizer"] == "char"
    assert [name for name in names_in(tmp_path) if name.startswith(".")] == []


# Bad inputs


def cut(path, n):
    path.write_bytes(path.read_bytes()[:n])


def edit(folder, **changes):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | changes))


DAMAGE = {
    "truncated": (lambda d: cut(d / "train.bin", 1001), ["1,001 bytes", "cut off", "gptlib prepare"]),
    "emptied": (lambda d: cut(d / "train.bin", 0), ["has 0 bytes", "gptlib prepare"]),
    "no bin": (lambda d: (d / "train.bin").unlink(), ["train.bin", "gptlib prepare"]),
    "no meta": (lambda d: (d / "meta.json").unlink(), ["no meta.json", "gptlib prepare"]),
    "meta cut": (lambda d: cut(d / "meta.json", 50), ["meta.json", "JSON"]),
    "meta a list": (lambda d: (d / "meta.json").write_text("[]"), ["format 'list'", "gptlib prepare"]),
    "another format": (lambda d: edit(d, format="nano"), ["'nano'", "gptlib-corpus-1", "gptlib prepare"]),
    "a hostile dtype": (lambda d: edit(d, dtype="object"), ["'dtype'", "'object'", "gptlib prepare"]),
    "tokens no dict": (lambda d: edit(d, tokens=[1]), ["'tokens'", "[1]", "gptlib prepare"]),
    "negative": (lambda d: edit(d, tokens={"train": -1, "val": 0, "test": 0}), ["'tokens'", "-1", "gptlib prepare"]),
    "another width": (lambda d: edit(d, dtype="uint32"), ["tokens of 4 bytes", "gptlib prepare"]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_folders_are_named_with_the_remedy(prepared, case):
    damage, parts = DAMAGE[case]
    damage(prepared)
    for load in (load_prepared, lambda d: load_tokens(d / "train.bin")):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            load(prepared)
        assert all(part in str(caught.value) for part in parts), caught.value


def test_a_folder_whose_files_do_not_fit_together_is_refused(prepared):
    edit(prepared, vocab_size=7)
    with pytest.raises(ValueError, match=r"tokens, but meta.json says 7.*make the folder again"):
        load_prepared(prepared)
    (prepared / "gptlib_tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no gptlib_tokenizer\.json.*make it again"):
        load_prepared(prepared)
    (prepared / "other.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"other\.bin' is not among.*train\.bin, val\.bin, test\.bin"):
        load_tokens(prepared / "other.bin")
    with pytest.raises(FileNotFoundError, match=r"no folder .*check the path.*gptlib prepare"):
        load_prepared(prepared / "nowhere")


class Broken:
    vocab_size, eos_id = 5, None

    def encode(self, text, allowed_special=()):
        return [5]

    def decode(self, ids):
        return ""

    def token_bytes(self, token_id):
        return b""

    def save(self, path):
        Path(path).write_text("{}")

    def to_dict(self):
        return {}


BAD_ARGUMENTS = {
    "unknown name": ({"tokenizer": "bqe"}, ["'bqe'", "choose one of word, char, bpe"]),
    "no tokenizer": ({"tokenizer": 3}, ["3 is no tokenizer", "word, char, bpe"]),
    "missing file": ({"tokenizer": "x/tok.json"}, ["tok.json", "check the path"]),
    "size of gpt2": ({"tokenizer": "gpt2", "vocab_size": 400}, ["400", "50257", "leave it out"]),
    "size too small": ({"tokenizer": "bpe", "vocab_size": 100}, ["100", "at least 257"]),
    "size of an object": ({"tokenizer": CharTokenizer("ab"), "vocab_size": 3}, ["3", "2 already", "leave it out"]),
    "wrong ids": ({"tokenizer": Broken()}, ["from 5 to 5", "vocab_size of 5", "use another"]),
    "ratios": ({"ratios": (1, 1, 1)}, ["(1, 1, 1)", "add up to 1"]),
    "too few lines": ({"texts": "one.txt"}, ["3 bytes has fewer lines than parts", "(1, 0, 0)"]),
    "out is a file": ({"out": "input.txt"}, ["input.txt' is a file", "choose another name"]),
    "out has others' files": ({"out": "others"}, ["holds 'a.md' and 1 more", "choose a new folder"]),
    "out was ours, with more": ({"out": "more"}, ["holds 'notes.md'", "move that elsewhere"]),
    "out looks like ours": ({"out": "alike"}, ["no prepared corpus", "no meta.json", "choose a new one"]),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_named_with_the_remedy_and_change_nothing(tmp_path, prepared, case, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.txt").write_text("a\nb")
    shutil.copytree(prepared, "more")
    for name in ("more/notes.md", "others/a.md", "others/b.md", "alike/train.bin"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    changes, parts = BAD_ARGUMENTS[case]
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        prepare_corpus(**{"texts": "input.txt", "out": "new", "progress": False} | changes)
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message
    assert sorted(tmp_path.rglob("*")) == before
