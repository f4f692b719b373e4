"""Texts on their way into training: one str, or many that together make one, in blocks of bounded size.

Training must give the same result for a text passed whole and passed in pieces, so that a text larger than memory can
be streamed. This file knows nothing of tokens.
"""

from collections.abc import Iterable, Iterator

import regex

from gptlib.tokenizers.base import repair_surrogates

BLOCK = 1_000_000  # characters

# (?r) searches from the end, so this is the last place where white space follows something else.
_LAST_WORD_END = regex.compile(r"(?r)(?<=\S)\s")


def blocks(texts: str | Iterable[str]) -> Iterator[str]:
    """The text in blocks, in order: a str is cut every million characters, an iterable's items come as they are.

    Raises: TypeError for what is no text; ValueError where there is no character at all.
    """
    if isinstance(texts, bytes | bytearray) or not isinstance(texts, Iterable):
        raise TypeError(
            f"train takes a str or an iterable of str, not {type(texts).__name__}; open a file with "
            f"open(path, encoding='utf-8') and pass that."
        )
    pieces = (texts[i : i + BLOCK] for i in range(0, len(texts), BLOCK)) if isinstance(texts, str) else texts
    empty = True
    for text in pieces:
        if not isinstance(text, str):
            raise TypeError(f"train got a {type(text).__name__} among its texts: each must be a str.")
        if text:
            empty = False
            yield repair_surrogates(text)
    if empty:
        raise ValueError("The text to train on is empty (0 characters): pass a text, or check the file's path.")


def whole_words(texts: str | Iterable[str]) -> Iterator[str]:
    """The same text, cut anew so that each piece ends at a word's end and begins with white space.

    No token of ours spans such a place, so the pieces can be split into tokens one by one.

    Example: ["one tw", "o three"] -> "one", " two", " three"
    """
    rest = ""
    for block in blocks(texts):
        rest += block
        if end := _LAST_WORD_END.search(rest):
            yield rest[: end.start()]
            rest = rest[end.start() :]
    if rest:
        yield rest
