"""What all five tokenizers promise: round trips, saving, special tokens, streaming, and errors that help."""

import json
import pickle
import re
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.tokenizers import (
    END_OF_TEXT,
    TOKENIZERS,
    BPETokenizer,
    CharTokenizer,
    GPT2Tokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordTokenizer,
    load_tokenizer,
    tokenizer_from_dict,
    train_tokenizer,
)
from gptlib.tokenizers.texts import whole_words

TEXT = (
    "The miller's cat sat by the window and watched the rain.  'It won't stop,' said Ann, 'not before 12.'\n\n"
    "\tThe café was shut — the river had come up to the mill; nobody minded.\n   Ann’s boots were wet, 3 times.\r\n"
) * 8
SIZES = {"word": None, "char": None, "bpe": 400, "sentencepiece": 310, "gpt2": None}
NAMES = list(SIZES)
ANY_TEXT = st.text(st.characters() | st.sampled_from(list(" \n\t▁'’ab\0é🙂\ufeff\u3000\ud83d\ude42")))


@cache
def made(name):
    return train_tokenizer(name, TEXT, SIZES[name])


def as_utf8(text):
    """What is left of a str once it has been through UTF-8: surrogate pairs joined, lone ones replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize("name", NAMES)
def test_the_training_text_comes_back_whole(name):
    tokenizer = made(name)
    ids = tokenizer.encode(TEXT)
    assert tokenizer.decode(ids) == TEXT
    assert all(type(i) is int for i in ids)
    assert b"".join(map(tokenizer.token_bytes, ids)) == TEXT.encode()
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("name", ["bpe", "sentencepiece", "gpt2"])
def test_byte_level_tokenizers_lose_nothing_of_any_text(name):
    tokenizer = made(name)

    @settings(max_examples=150, deadline=None)
    @given(ANY_TEXT)
    def check(text):
        assert tokenizer.decode(tokenizer.encode(text)) == as_utf8(text)
        for special in ("<unk>", "<s>", "<0x41>", END_OF_TEXT):
            assert tokenizer.decode(tokenizer.encode(text + special)) == as_utf8(text) + special

    check()


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT.filter(bool))
def test_words_and_characters_lose_nothing_of_a_text_they_know(text):
    for kind in (WordTokenizer, CharTokenizer):
        tokenizer = kind.train(text)
        assert tokenizer.decode(tokenizer.encode(as_utf8(text))) == as_utf8(text)


@pytest.mark.parametrize("name", NAMES)
def test_saved_loaded_and_pickled_tokenizers_are_the_same(name, tmp_path):
    tokenizer = made(name)
    tokenizer.save(tmp_path / "gptlib_tokenizer.json")
    plain = json.loads(json.dumps(tokenizer.to_dict()))
    for other in (
        load_tokenizer(tmp_path / "gptlib_tokenizer.json"),
        load_tokenizer(str(tmp_path)),
        tokenizer_from_dict(plain),
        type(tokenizer).from_dict(plain),
        pickle.loads(pickle.dumps(tokenizer)),  # a DataLoader's workers get it this way
    ):
        assert type(other) is TOKENIZERS[name]
        assert other.to_dict() == tokenizer.to_dict()
        assert other.encode(TEXT) == tokenizer.encode(TEXT)
        assert (other.vocab_size, other.eos_id) == (tokenizer.vocab_size, tokenizer.eos_id)
    assert [p.name for p in tmp_path.iterdir()] == ["gptlib_tokenizer.json"]


@pytest.mark.parametrize("name", ["word", "bpe", "sentencepiece", "gpt2"])
def test_end_of_text_is_plain_text_unless_allowed(name):
    tokenizer = made(name)
    eos, text = tokenizer.eos_id, f"The mill{END_OF_TEXT}{END_OF_TEXT} Ann"
    assert 0 <= eos < tokenizer.vocab_size
    assert eos not in tokenizer.encode(text)
    for allowed in ("all", {END_OF_TEXT}, (END_OF_TEXT,)):
        ids = tokenizer.encode(text, allowed_special=allowed)
        assert ids == [*tokenizer.encode("The mill"), eos, eos, *tokenizer.encode(" Ann")]
        assert tokenizer.decode(ids) == text


def test_end_of_text_is_the_last_id():
    for name in ("word", "bpe", "gpt2"):
        assert made(name).eos_id == made(name).vocab_size - 1
    assert made("char").eos_id is None


@pytest.mark.parametrize("name", ["word", "char", "bpe", "sentencepiece"])
@pytest.mark.parametrize("cut", ["lines", "characters", "sevens"])
def test_a_streamed_text_trains_the_same_tokenizer(name, cut):
    pieces = {
        "lines": TEXT.splitlines(keepends=True),
        "characters": TEXT,
        "sevens": [TEXT[i : i + 7] for i in range(0, len(TEXT), 7)],
    }[cut]
    streamed = train_tokenizer(name, iter(pieces), SIZES[name])
    assert streamed.to_dict() == made(name).to_dict()


def test_a_streamed_text_is_never_held_whole():
    lines = (f"line {i} of a text that has no end\n" for i in range(10**9))
    pieces = [piece for piece, _ in zip(whole_words(lines), range(1000), strict=False)]
    assert max(map(len, pieces)) < 100
    assert "".join(pieces).startswith("line 0 of a text that has no end\nline 1 of")
    assert max(map(len, whole_words("word " * 700_000))) <= 1_000_005


def test_a_sentencepiece_model_depends_on_the_words_and_not_on_their_order():
    lines = TEXT.splitlines()
    assert SentencePieceTokenizer.train("\n".join(reversed(lines)), 310).model == made("sentencepiece").model


@pytest.mark.parametrize("name", NAMES)
def test_decode_takes_lists_arrays_and_tensors(name):
    tokenizer = made(name)
    ids = tokenizer.encode("The cat sat")
    for same in (tuple(ids), iter(ids), np.array(ids, dtype=np.uint16), torch.tensor(ids)):
        assert tokenizer.decode(same) == "The cat sat"


def test_words_come_by_frequency_then_alphabet_and_unknown_ones_are_marked():
    tokenizer = WordTokenizer.train("x b b a a a c c", vocab_size=5)
    assert tokenizer.words == [" a", " b", " c"]
    assert tokenizer.decode(tokenizer.encode(" a zebra c")) == " a<|unk|> c"
    assert tokenizer.encode("a b") == tokenizer.encode(" a b")  # better a space too many than an unknown word
    assert WordTokenizer.train("Don't stop, Ann’s here.").words == [" Ann’s", " here", " stop", ",", ".", "Don't"]


def test_sentencepiece_models():
    for model_type in ("unigram", "bpe"):
        tokenizer = SentencePieceTokenizer.train(TEXT, 312, model_type=model_type)
        assert tokenizer.vocab_size == 312
        assert tokenizer.decode(tokenizer.encode("  two   spaces\n\n")) == "  two   spaces\n\n"
        # the words are learned with their space, so a known one is a few tokens, not a byte each
        assert len(tokenizer.encode(" the mill")) <= 5
    no_space = SentencePieceTokenizer.train("abcabcabc", 264)
    assert no_space.decode(no_space.encode("a b ▁")) == "a b ▁"


def test_training_sentencepiece_is_silent(capfd):
    SentencePieceTokenizer.train(TEXT, 310)
    assert capfd.readouterr() == ("", "")


def test_load_tokenizer_by_name(tmp_path, monkeypatch):
    assert load_tokenizer("gpt2").vocab_size == load_tokenizer("bpe").vocab_size == 50257
    assert load_tokenizer("char", text="abc").vocab_size == 3
    assert load_tokenizer("bpe", text=TEXT, vocab_size=300).vocab_size == 300
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "input.txt").write_text("\ufeff" + TEXT, encoding="utf-8")
    assert load_tokenizer("word").to_dict() == WordTokenizer.train(TEXT.replace("\r\n", "\n")).to_dict()
    assert load_tokenizer("bpe", vocab_size=260).vocab_size == 260


BPE = BPETokenizer([(97, 98)])
BAD_INPUTS = [
    # what is done, the error, what its message must say: the value and the remedy
    (lambda: load_tokenizer("bpee"), ValueError, ["'bpee'", "word, char, bpe, sentencepiece, gpt2"]),
    (lambda: load_tokenizer("no/such.json"), FileNotFoundError, ["no/such.json", "check the path"]),
    (lambda: train_tokenizer("llama", "a"), ValueError, ["'llama'", "word, char, bpe"]),
    (lambda: load_tokenizer("gpt2", vocab_size=300), ValueError, ["300", "50257", "use bpe"]),
    (lambda: BPETokenizer.train("abc", 256), ValueError, ["256", "at least 257"]),
    (lambda: BPETokenizer.train("abc", "512"), ValueError, ["'512'", "integer"]),
    (lambda: BPETokenizer.train("", 300), ValueError, ["0 characters", "check the file's path"]),
    (lambda: BPETokenizer.train(["", ""], 300), ValueError, ["empty", "pass a text"]),
    (lambda: BPETokenizer.train(b"abc", 300), TypeError, ["bytes", "encoding='utf-8'"]),
    (lambda: BPETokenizer.train(["a", 7], 300), TypeError, ["int", "must be a str"]),
    (lambda: BPETokenizer([(97, 256)]), ValueError, ["(97, 256)", "below 256"]),
    (lambda: BPETokenizer([(97, 98), (97, 98)]), ValueError, ["(97, 98)", "once only"]),
    (lambda: WordTokenizer.train("a", 2), ValueError, ["vocab_size is 2", "at least 3"]),
    (lambda: CharTokenizer.train("abcd", 3), ValueError, ["vocab_size is 3", "at least 4"]),
    (lambda: CharTokenizer.train("ab").encode("abäb"), ValueError, ["'ä'", "U+00E4", "position 2", "remove it"]),
    (lambda: CharTokenizer.train("ab").encode("a\ud800"), ValueError, ["U+D800", "position 1"]),
    (lambda: CharTokenizer.train("ab").encode("a", {END_OF_TEXT}), ValueError, [END_OF_TEXT, "none", "leave it out"]),
    (lambda: BPE.encode("a", allowed_special={"<|im_start|>"}), ValueError, ["<|im_start|>", END_OF_TEXT, "'all'"]),
    (lambda: BPE.encode("a", allowed_special=END_OF_TEXT), ValueError, [END_OF_TEXT, "a set"]),
    (lambda: BPE.encode(b"abc"), TypeError, ["bytes", "decode bytes"]),
    (lambda: BPE.encode(None), TypeError, ["NoneType", "str"]),
    (lambda: BPE.decode([97, 258]), ValueError, ["258", "position 1", "257"]),
    (lambda: BPE.decode([-1]), ValueError, ["-1", "0 to 257"]),
    (lambda: BPE.token_bytes(258), ValueError, ["258", "0 to 257"]),
    (lambda: BPE.decode("abc"), TypeError, ["str", "abc", "pass a list"]),
    (lambda: BPE.decode(7), TypeError, ["int", "7", "pass a list"]),
    (lambda: BPE.decode(np.array([1.5])), TypeError, ["1.5", "integer"]),
    (lambda: BPE.decode(torch.tensor([[1, 2]])), TypeError, ["(1, 2)", "one row"]),
    (lambda: SentencePieceTokenizer.train("abc def", 9999), ValueError, ["9999", "at most", "lower it"]),
    (lambda: SentencePieceTokenizer.train("abc def", 261), ValueError, ["261", "at least", "raise it"]),
    (lambda: SentencePieceTokenizer.train("abc def", 100), ValueError, ["100", "at least 260"]),
    (lambda: SentencePieceTokenizer.train(" \n ", 300), ValueError, ["white space", "needs words"]),
    (lambda: SentencePieceTokenizer.train("a b", 300, "wordpiece"), ValueError, ["'wordpiece'", "'unigram' or 'bpe'"]),
    (lambda: SentencePieceTokenizer(b"junk"), ValueError, ["4 bytes", "train it anew"]),
    (lambda: SentencePieceTokenizer(b""), ValueError, ["0 bytes", "train it anew"]),
    (lambda: CharTokenizer.from_dict(BPE.to_dict()), ValueError, ["'bpe'", "load_tokenizer"]),
]


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_is_refused_in_one_sentence_with_value_and_remedy(case):
    action, error, fragments = case
    with pytest.raises(error) as caught:
        action()
    message = str(caught.value)
    for fragment in fragments:
        assert fragment in message
    assert "\n" not in message
    assert message.endswith(".")


def bomb(doublings):
    return {
        "format": 1,
        "type": "bpe",
        "byte_order": "plain",
        "merges": ["97 97"] + [f"{i} {i}" for i in range(256, 256 + doublings)],
    }


HOSTILE = [
    [],
    "gpt2",
    None,
    {},
    {"type": "bpe", "merges": []},
    {"format": 2, "type": "bpe"},
    {"format": 1, "type": "pickle"},
    {"format": 1, "type": ["bpe"]},
    {"format": 1, "type": "bpe"},
    {"format": 1, "type": "bpe", "byte_order": "plain", "merges": "97 98"},
    {"format": 1, "type": "bpe", "byte_order": "plain", "merges": ["97 98 99"]},
    {"format": 1, "type": "bpe", "byte_order": "plain", "merges": [[97, 98]]},
    {"format": 1, "type": "bpe", "byte_order": "plain", "merges": ["97 256"]},
    {"format": 1, "type": "bpe", "byte_order": "plain", "merges": ["-1 97"]},
    {"format": 1, "type": "bpe", "byte_order": "plain", "merges": ["97 ٣"]},
    {"format": 1, "type": "bpe", "byte_order": "plain", "merges": ["9" * 10_000 + " 9"]},
    {"format": 1, "type": "bpe", "byte_order": {}, "merges": []},
    bomb(60),
    {"format": 1, "type": "char"},
    {"format": 1, "type": "char", "characters": ["a"]},
    {"format": 1, "type": "char", "characters": "aa"},
    {"format": 1, "type": "char", "characters": "a\ud800"},
    {"format": 1, "type": "word"},
    {"format": 1, "type": "word", "words": [1]},
    {"format": 1, "type": "word", "words": ["two words"]},
    {"format": 1, "type": "word", "words": ["a", "a"]},
    {"format": 1, "type": "word", "words": ["\ud800"]},
    {"format": 1, "type": "sentencepiece"},
    {"format": 1, "type": "sentencepiece", "model": 7},
    {"format": 1, "type": "sentencepiece", "model": "é"},
    {"format": 1, "type": "sentencepiece", "model": "anVuaw=="},
]  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: json.dumps(data)[:70])
def test_hostile_files_are_refused_in_one_sentence(data, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        load_tokenizer(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_files_that_are_no_json(tmp_path):
    path = tmp_path / "tokenizer.json"
    for content in (b"", b"{", b"\xff\xfe", b"\x80\x04K\x01.", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a tokenizer file"):
            load_tokenizer(path)
    with pytest.raises(FileNotFoundError, match=r"gptlib_tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_sentencepiece_model_from_elsewhere_lacks_what_we_need(tmp_path):
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["abc def"] * 9), model_writer=model, vocab_size=11, minloglevel=2
    )
    with pytest.raises(ValueError, match="lacks"):
        SentencePieceTokenizer(model.getvalue())


def test_no_text_to_train_on_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"'char' needs a text.*input\.txt.*pass text="):
        load_tokenizer("char")


def test_gpt2_takes_no_training():
    assert not hasattr(GPT2Tokenizer, "train")
    assert GPT2Tokenizer().to_dict() == {"format": 1, "type": "gpt2"}
