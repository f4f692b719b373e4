"""Reading token data: a folder that `prepare_corpus` wrote, memory-mapped, or a short text encoded on the spot."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptlib.corpus.encoding import AnyTokenizer, encode_stream, ready_tokenizer, token_dtype, trained_tokenizer
from gptlib.corpus.reading import Texts, read_text
from gptlib.corpus.splitting import RATIOS, Ratios, split_text
from gptlib.tokenizers import TOKENIZER_FILE, Tokenizer, load_tokenizer
from gptlib.utils.files import read_json

FORMAT = "gptlib-corpus-1"  # in meta.json; a change that old readers would misread raises the number
META_FILE = "meta.json"
PARTS = ("train", "val", "test")
FILES = (*(f"{part}.bin" for part in PARTS), TOKENIZER_FILE, META_FILE)

_DTYPES = ("uint16", "uint32")
_MAKE = "`gptlib prepare TEXT --out FOLDER`"


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as tokens, split, with the tokenizer that made them."""

    train: np.ndarray
    """Token ids, 1-D, uint16 or uint32, read-only; a part may be empty."""
    val: np.ndarray
    test: np.ndarray
    tokenizer: Tokenizer
    meta: dict[str, Any]
    """What meta.json holds; for a text that was encoded on the spot, its sizes alone."""


def load_prepared(folder: str | Path) -> Corpus:
    """The corpus in a folder of `prepare_corpus`; its arrays are mapped, and read from disk only as they are used.

    Raises: FileNotFoundError if the folder or a file in it is missing; ValueError if one doesn't fit the rest.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder '{folder}': check the path, or make it with {_MAKE}.")
    meta = read_meta(folder)
    arrays = [load_tokens(folder / f"{part}.bin") for part in PARTS]
    if not (folder / TOKENIZER_FILE).is_file():
        raise FileNotFoundError(
            f"'{folder}' has no {TOKENIZER_FILE}, which its tokens need: make it again with {_MAKE}."
        )
    tokenizer = load_tokenizer(folder / TOKENIZER_FILE)
    if tokenizer.vocab_size != meta["vocab_size"]:
        raise ValueError(
            f"The tokenizer in '{folder}' has {tokenizer.vocab_size} tokens, but {META_FILE} says "
            f"{meta['vocab_size']}: files of two corpora are mixed; make the folder again with {_MAKE}."
        )
    return Corpus(*arrays, tokenizer, meta)


def load_tokens(bin_path: str | Path) -> np.ndarray:
    """The token ids of a .bin file as a read-only, memory-mapped 1-D array, of the dtype that meta.json beside it says.

    Raises: FileNotFoundError if the file or its meta.json is missing; ValueError if its size is another than
    meta.json says, as of a copy that broke off.
    """
    path = Path(bin_path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no token file at '{path}': check the path, or make it with {_MAKE}.")
    meta = read_meta(path.parent)
    dtype = np.dtype(meta["dtype"]).newbyteorder("<")
    if path.stem not in meta["tokens"] or path.suffix != ".bin":
        raise ValueError(
            f"'{path}' is not among the token files of {META_FILE} there, which are {', '.join(FILES[:3])}."
        )
    n = meta["tokens"][path.stem]
    size = path.stat().st_size
    if size != n * dtype.itemsize:
        raise ValueError(
            f"'{path}' has {size:,} bytes, but {META_FILE} says {n:,} tokens of {dtype.itemsize} bytes: it was cut off "
            f"or replaced; copy the folder again, or make it again with {_MAKE}."
        )
    if n:
        return np.memmap(path, dtype=dtype, mode="r")
    nothing = np.empty(0, dtype)  # np.memmap refuses empty files
    nothing.flags.writeable = False
    return nothing


def read_meta(folder: Path) -> dict[str, Any]:
    """The content of the folder's meta.json, checked. Raises: FileNotFoundError; ValueError if it isn't ours."""
    path = folder / META_FILE
    if not path.is_file():
        raise FileNotFoundError(f"'{folder}' has no {META_FILE}, so it is no prepared corpus: make one with {_MAKE}.")
    meta = read_json(path, "meta")
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else type(meta).__name__
        raise ValueError(f"'{path}' has format {found!r}, not {FORMAT!r}: it is not from {_MAKE} of this version.")
    tokens = meta.get("tokens")
    checks = {
        "dtype": meta.get("dtype") in _DTYPES,
        "vocab_size": _is_count(meta.get("vocab_size")),
        "tokens": isinstance(tokens, dict) and set(tokens) == set(PARTS) and all(map(_is_count, tokens.values())),
    }
    for key, good in checks.items():
        if not good:
            raise ValueError(f"{key!r} in '{path}' is {str(meta.get(key))[:80]!r}: make the folder again with {_MAKE}.")
    return meta


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def load_corpus(
    data: Texts | Mapping[str, Path],
    tokenizer: AnyTokenizer = "bpe",
    *,
    vocab_size: int | None = None,
    ratios: Ratios = RATIOS,
) -> Corpus:
    """Tokens to train on, whatever `data` is; writes nothing.

    data: a folder of `prepare_corpus`, which is loaded with its own tokenizer; the three paths that `split_text_file`
    returned; or texts, as `read_text` takes them, which are split in memory. tokenizer, vocab_size: for texts, as
    `prepare_corpus` takes them; with a prepared folder, a tokenizer object has to be the folder's own.

    Raises: ValueError and FileNotFoundError as `load_prepared`, `read_text`, `split_text` and the tokenizers do.
    """
    if isinstance(data, str | Path) and (Path(data).expanduser() / META_FILE).is_file():
        corpus = load_prepared(data)
        if isinstance(tokenizer, Tokenizer) and tokenizer.to_dict() != corpus.tokenizer.to_dict():
            raise ValueError(
                f"'{data}' was prepared with another tokenizer than this one: prepare the text with this one."
            )
        return corpus
    ready = ready_tokenizer(tokenizer, vocab_size)
    if isinstance(data, Mapping):
        texts = [_part_text(data, part) for part in ("train", "valid", "test")]
    else:
        texts = list(split_text(read_text(data), ratios))
    n_bytes = [len(text.encode()) for text in texts]
    if ready is None:
        ready = trained_tokenizer(str(tokenizer), vocab_size, lambda: texts[:1], lambda: texts, n_bytes[0])
    arrays = [_encoded(ready, text, f"the {part} part") for part, text in zip(PARTS, texts, strict=True)]
    meta = {
        "vocab_size": ready.vocab_size,
        "tokens": dict(zip(PARTS, map(len, arrays), strict=True)),
        "bytes": dict(zip(PARTS, n_bytes, strict=True)),
        "characters": dict(zip(PARTS, map(len, texts), strict=True)),
    }
    return Corpus(*arrays, ready, meta)


def _part_text(paths: Mapping[str, Path], part: str) -> str:
    if part not in paths:
        raise ValueError(f"The part {part!r} is missing, there are {list(paths)}: pass what split_text_file returned.")
    return read_text(paths[part]) if Path(paths[part]).stat().st_size else ""


def _encoded(tokenizer: Tokenizer, text: str, where: str) -> np.ndarray:
    pieces = list(encode_stream(tokenizer, [text], where)) if text else []
    ids = np.concatenate([np.empty(0, token_dtype(tokenizer.vocab_size)), *pieces])
    ids.flags.writeable = False
    return ids
