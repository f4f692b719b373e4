"""Tokenizers by name: made, trained, or read from a file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gptlib.tokenizers.base import BaseTokenizer, check_header
from gptlib.tokenizers.bpe import BPETokenizer
from gptlib.tokenizers.characters import CharTokenizer
from gptlib.tokenizers.gpt2 import GPT2Tokenizer
from gptlib.tokenizers.sentencepiece import SentencePieceTokenizer
from gptlib.tokenizers.words import WordTokenizer
from gptlib.utils.files import read_json
from gptlib.utils.folders import project_root

TOKENIZERS: dict[str, type[BaseTokenizer]] = {
    kind.type: kind for kind in (WordTokenizer, CharTokenizer, BPETokenizer, SentencePieceTokenizer, GPT2Tokenizer)
}
TOKENIZER_FILE = "gptlib_tokenizer.json"  # its name in a folder of prepared data

_NAMES = ", ".join(TOKENIZERS)
_GPT2_SIZE = 50257


def load_tokenizer(
    name_or_path: str | Path, text: str | Iterable[str] | None = None, vocab_size: int | None = None
) -> BaseTokenizer:
    """A tokenizer by name, or a saved one by its path (a file, or a folder with a gptlib_tokenizer.json).

    "gpt2" is ready as it is, and so is "bpe" without a text, which is GPT-2's vocabulary in our own engine. The
    others, and "bpe" with a `vocab_size`, are trained on `text`, or on data/input.txt where none is given.
    Raises: ValueError for an unknown name or a bad file; FileNotFoundError for a path where nothing is.
    """
    name = str(name_or_path)
    if name not in TOKENIZERS:
        return _load_saved(Path(name_or_path))
    if name == "bpe" and text is None and vocab_size is None:
        return BPETokenizer.from_gpt2()
    if name != "gpt2" and text is None:
        text = _workbook_text(name)
    return train_tokenizer(name, text or "", vocab_size)


def train_tokenizer(name: str, text: str | Iterable[str], vocab_size: int | None = None) -> BaseTokenizer:
    """Train the tokenizer called `name` on `text`; without a `vocab_size` it has its own default. "gpt2" is fixed.

    Raises: ValueError for an unknown name or a `vocab_size` that is not possible.
    """
    if name not in TOKENIZERS:
        raise ValueError(f"{name!r} is no tokenizer: choose one of {_NAMES}.")
    if name == "gpt2":
        if vocab_size not in (None, _GPT2_SIZE):
            raise ValueError(f"vocab_size is {vocab_size}, but gpt2 has {_GPT2_SIZE} always: leave it out, or use bpe.")
        return GPT2Tokenizer()
    options = {} if vocab_size is None else {"vocab_size": vocab_size}
    return TOKENIZERS[name].train(text, **options)  # type: ignore[attr-defined]


def tokenizer_from_dict(data: Any) -> BaseTokenizer:
    """The tokenizer that `to_dict` described, of whatever type it is. Raises: ValueError for other data."""
    kind = check_header(data)
    if kind not in TOKENIZERS:
        raise ValueError(f"The tokenizer is of type {kind!r}, this gptlib knows {_NAMES}: update gptlib.")
    return TOKENIZERS[kind].from_dict(data)


def _load_saved(path: Path) -> BaseTokenizer:
    if path.is_dir():
        path = path / TOKENIZER_FILE
    if not path.is_file():
        message = (
            f"'{path}' is neither a saved tokenizer nor the name of one: choose one of {_NAMES}, or check the path."
        )
        looks_like_a_path = len(path.parts) > 1 or path.suffix
        raise FileNotFoundError(message) if looks_like_a_path else ValueError(message)
    data = read_json(path, "tokenizer")
    try:
        return tokenizer_from_dict(data)
    except ValueError as error:
        raise ValueError(f"'{path}' can't be loaded. {error}") from None


def _workbook_text(name: str) -> str:
    path = project_root() / "data" / "input.txt"
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The tokenizer {name!r} needs a text to train on and '{path}' can't be read ({error}): "
            f"put a text there, or pass text=…"
        ) from None
