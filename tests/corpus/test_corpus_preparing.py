"""Token folders: a stream gives the ids of the whole, nothing half done is ever loaded, damage is named."""

import hashlib
import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from corpus_helpers import CLEAN, names_in
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.corpus import (
    Corpus,
    encoding,
    load_corpus,
    load_prepared,
    load_tokens,
    prepare_corpus,
    read_text,
    reading,
    split_text,
    split_text_file,
    splitting,
)
from gptlib.corpus.encoding import encode_stream, token_dtype
from gptlib.tokenizers import CharTokenizer, train_tokenizer

FILES = ["gptlib_tokenizer.json", "meta.json", "test.bin", "train.bin", "val.bin"]
SPACES = st.text(st.sampled_from(list(" \n\t\r\x0b\x1c\x1f\x85\xa0\u2028\u3000ab1'.é中🙂")), max_size=60)


@pytest.mark.parametrize("name", ["word", "char", "bpe", "sentencepiece", "gpt2"])
def test_a_stream_in_small_blocks_gives_the_ids_of_each_whole_part(tmp_path, text_file, monkeypatch, name):
    for module in (reading, splitting):
        monkeypatch.setattr(module, "BLOCK", 101)
    out = tmp_path / "new" / "out"
    meta = prepare_corpus([text_file], out, name, progress=False)
    corpus = load_prepared(out)
    for part, text in zip(("train", "val", "test"), split_text(CLEAN), strict=True):
        ids = getattr(corpus, part)
        assert ids.tolist() == corpus.tokenizer.encode(text)
        if name != "word":  # which doesn't know all words of the other parts
            assert corpus.tokenizer.decode(ids) == text
        assert (meta["tokens"][part], meta["characters"][part]) == (len(ids), len(text))
        assert meta["bytes"][part] == len(text.encode())
    assert names_in(out) == FILES
    assert names_in(out.parent) == ["out"]
    assert corpus.meta == meta == json.loads((out / "meta.json").read_bytes())


@cache
def tokenizer(name):
    return train_tokenizer(
        name, CLEAN + " \n\t\r\x0b\x1c\x1f\x85\xa0\u2028\u3000ab1'.é中🙂", 600 if name == "bpe" else None
    )


@pytest.mark.parametrize("name", ["word", "char", "bpe", "gpt2"])
def test_wherever_blocks_are_cut_the_ids_are_the_same(name):
    @settings(max_examples=200, deadline=None)
    @given(st.lists(SPACES, max_size=6).filter(any))
    def check(blocks):
        ids = np.concatenate(list(encode_stream(tokenizer(name), blocks, "a test")))
        assert ids.tolist() == tokenizer(name).encode("".join(blocks))

    check()


def test_meta_tells_the_source_and_no_path(tmp_path, text_file):
    meta = prepare_corpus([text_file, "python-docs"], tmp_path / "out", "bpe", vocab_size=300, progress=False)
    source = text_file.read_bytes() + read_text("python-docs").encode()
    assert meta["source_sha256"] == hashlib.sha256(source).hexdigest()
    assert meta["sources"] == ["input.txt", "python-docs"]
    assert meta["source_bytes"] == len(source)
    assert meta["python"] == sys.version.split()[0]
    assert (meta["tokenizer"], meta["vocab_size"], meta["dtype"]) == ("bpe", 300, "uint16")
    assert str(tmp_path) not in (tmp_path / "out" / "meta.json").read_text()


def test_a_vocabulary_beyond_65536_takes_four_bytes_a_token(tmp_path):
    characters = "".join(chr(0x10000 + k) for k in range(70_000))
    (tmp_path / "x.txt").write_text(characters + "\na\nb\n", encoding="utf-8")
    meta = prepare_corpus(tmp_path / "x.txt", tmp_path / "out", "char", progress=False)
    corpus = load_prepared(tmp_path / "out")
    assert meta["dtype"] == "uint32"
    assert corpus.train.max() == meta["vocab_size"] - 1 == 70_002
    assert [token_dtype(n).str for n in (65536, 65537)] == ["<u2", "<u4"]


def test_arrays_are_mapped_read_only_and_an_empty_part_is_empty(tmp_path, text_file):
    prepare_corpus(text_file, tmp_path / "out", "char", ratios=(0.9, 0.1, 0), progress=False)
    corpus = load_prepared(str(tmp_path / "out"))
    assert isinstance(corpus.train, np.memmap)
    assert corpus.train.dtype == np.uint16
    assert corpus.test.shape == (0,)
    for ids in (corpus.train, corpus.test, load_tokens(tmp_path / "out" / "val.bin")):
        assert not ids.flags.writeable
        assert ids.ndim == 1


def test_a_saved_tokenizer_or_an_object_is_used_as_it_is(tmp_path, text_file, prepared):
    mine = CharTokenizer([*sorted(set(CLEAN)), "z"])
    mine.save(tmp_path / "mine.json")
    for given_one in (mine, tmp_path / "mine.json", str(tmp_path / "mine.json")):
        meta = prepare_corpus(text_file, prepared, given_one, progress=False)
        assert meta["vocab_size"] == mine.vocab_size == load_prepared(prepared).tokenizer.vocab_size


def test_progress_bars_run_over_all_bytes(tmp_path, text_file, capsys):
    prepare_corpus(text_file, tmp_path / "out", "bpe", vocab_size=300)
    said = capsys.readouterr().err
    for bar in ("reading", "learning the vocabulary", "encoding"):
        assert f"{bar}: 100%" in said


# load_corpus: in memory, or whatever is there


@pytest.mark.parametrize("name", ["char", "bpe"])
def test_load_corpus_gives_the_same_from_text_from_parts_and_from_a_folder(tmp_path, text_file, name):
    prepare_corpus(text_file, tmp_path / "out", name, progress=False)
    before = names_in(tmp_path)
    corpora = [load_corpus(data, name) for data in (text_file, str(text_file), tmp_path / "out")]
    assert names_in(tmp_path) == before, "nothing is written"
    corpora.append(load_corpus(split_text_file(text_file, ask=False), name))
    for corpus in corpora:
        assert isinstance(corpus, Corpus)
        assert corpus.tokenizer.to_dict() == corpora[0].tokenizer.to_dict()
        for part in ("train", "val", "test"):
            ids = getattr(corpus, part)
            assert np.array_equal(ids, getattr(corpora[0], part))
            assert (ids.dtype, ids.flags.writeable) == (np.uint16, False)
            assert corpus.meta["tokens"][part] == len(ids)


def test_load_corpus_refuses_a_folder_of_another_tokenizer(prepared):
    assert load_corpus(prepared, load_prepared(prepared).tokenizer).meta["tokenizer"] == "char"
    with pytest.raises(ValueError, match="was prepared with another tokenizer"):
        load_corpus(prepared, CharTokenizer("abc"))


# Memory, and the default size


MEMORY = """
import resource, sys
from gptlib.corpus import prepare_corpus
def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
prepare_corpus("python-docs", sys.argv[2], "char", progress=False)
before = used()
prepare_corpus(sys.argv[1], sys.argv[2], "char", progress=False)
print(used() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the module resource is Unix's")
def test_peak_memory_of_a_process_stays_far_below_the_size_of_the_text(tmp_path):
    with (tmp_path / "big.txt").open("w") as file:
        for _ in range(64):
            file.write(CLEAN * 25 + "\n")  # a megabyte or so
    size = (tmp_path / "big.txt").stat().st_size
    assert size > 40e6
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "big.txt"), str(tmp_path / "out")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 30e6, f"{grown:,} bytes for a text of {size:,}"  # whole, its ids alone would take 8 bytes each


@pytest.mark.parametrize(("size", "expected"), [(100, 512), (110_000, 1100), (10**9, 4096)])
def test_the_default_vocabulary_grows_with_the_text(monkeypatch, size, expected):
    monkeypatch.setattr(encoding, "train_tokenizer", lambda name, text, vocab_size: vocab_size)
    assert encoding.trained_tokenizer("bpe", None, list, list, size) == expected
    assert encoding.trained_tokenizer("word", None, list, list, size) is None
