"""From text to arrays of ids: which tokenizer, how wide the numbers, and how to encode a stream piece by piece."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from gptlib.tokenizers import TOKENIZERS, Tokenizer, load_tokenizer, train_tokenizer
from gptlib.tokenizers.texts import whole_words

AnyTokenizer = str | Path | Tokenizer
"""A tokenizer, the path of a saved one, or a name: word, char, bpe, sentencepiece, gpt2."""

_LARGEST, _SMALLEST, _BYTES_PER_TOKEN = 4096, 512, 100


def ready_tokenizer(tokenizer: AnyTokenizer, vocab_size: int | None = None) -> Tokenizer | None:
    """The tokenizer, if it is one, a saved one, or "gpt2"; None for the name of one that is yet to be trained.

    Raises: ValueError for an unknown name or what is no tokenizer, and for a `vocab_size` that it doesn't have;
    FileNotFoundError for a path with nothing at it.
    """
    if isinstance(tokenizer, str) and tokenizer in TOKENIZERS and tokenizer != "gpt2":
        return None
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer)
    if not isinstance(tokenizer, Tokenizer):
        raise ValueError(f"{tokenizer!r} is no tokenizer: give one, a saved one's path, or {', '.join(TOKENIZERS)}.")
    if vocab_size not in (None, tokenizer.vocab_size):
        raise ValueError(
            f"vocab_size is {vocab_size!r}, but this tokenizer has {tokenizer.vocab_size} already: leave it out, or "
            "name a tokenizer that is trained on the text, such as bpe."
        )
    return tokenizer


def trained_tokenizer(
    name: str, vocab_size: int | None, train: Callable[[], Iterable[str]], whole: Callable[[], Iterable[str]], size: int
) -> Tokenizer:
    """Train `name` on the training part, or, if it is "char", on the whole text.

    train, whole: give those texts as streams. size: bytes of the training part. Without a `vocab_size`, "bpe" and
    "sentencepiece" have one token for 100 bytes, from 512 to 4096, so that each is seen often enough to be learned.
    """
    if vocab_size is None and name in ("bpe", "sentencepiece"):
        vocab_size = min(_LARGEST, max(_SMALLEST, size // _BYTES_PER_TOKEN))
    # A character that only the validation part has would otherwise have no id.
    return train_tokenizer(name, whole() if name == "char" else train(), vocab_size)


def token_dtype(vocab_size: int) -> np.dtype:
    """Two bytes a token, little-endian; four if ids go beyond 65535."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def encode_stream(tokenizer: Tokenizer, blocks: Iterable[str], where: str) -> Iterator[np.ndarray]:
    """The ids of a text that comes in blocks: joined, they are those of the whole text encoded at once.

    That holds because the text is cut only between a word and the white space after it. Our tokenizers never have a
    token across such a place. After the white space would be wrong: of "a\\n\\nb" GPT-2 makes "a", "\\n", "\\n", "b",
    but of "a\\n\\n" alone "a", "\\n\\n".

    where: what is encoded, for messages. Raises: ValueError if the tokenizer can't encode the text.
    """
    dtype, done = token_dtype(tokenizer.vocab_size), 0
    for piece in whole_words(blocks):
        try:
            ids = np.array(tokenizer.encode(piece), dtype=np.int64)
        except ValueError as error:
            raise ValueError(f"In {where}, in what follows character {done:,}: {error}") from None
        if ids.size and not (ids.min() >= 0 and ids.max() < tokenizer.vocab_size):
            raise ValueError(
                f"The tokenizer gave ids from {ids.min()} to {ids.max()}, which do not fit its vocab_size of "
                f"{tokenizer.vocab_size}: it is broken, use another one."
            )
        done += len(piece)
        yield ids.astype(dtype)
