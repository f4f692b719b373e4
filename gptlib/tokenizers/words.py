"""Words and punctuation marks as tokens: the simplest tokenizer whose tokens mean something.

The space before a word belongs to the word, so that decoding is joining. A word that the training text didn't hold
becomes `<|unk|>`: that loss is what characters and byte pairs avoid.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any, Self

import regex

from gptlib.tokenizers.base import END_OF_TEXT, BaseTokenizer, check_vocab_size, repair_surrogates
from gptlib.tokenizers.texts import whole_words

UNKNOWN = "<|unk|>"

# A word, with inner apostrophes, or one mark, each with the space before it; or one white-space character.
# Every character is one of \w, [^\w\s], \s, so nothing is lost: "".join(split_words(text)) == text.
_PIECE = regex.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]|\s")


def split_words(text: str) -> list[str]:
    """Example: "Don't stop, Ann." -> ["Don't", " stop", ",", " Ann", "."]"""
    return _PIECE.findall(text)


class WordTokenizer(BaseTokenizer):
    """Ids 0 … n-1 are the words, the most frequent first; then come `<|unk|>` and `<|endoftext|>`."""

    type = "word"

    def __init__(self, words: Iterable[str]) -> None:
        self.words = list(words)
        specials = {UNKNOWN: len(self.words), END_OF_TEXT: len(self.words) + 1}
        super().__init__([word.encode() for word in [*self.words, *specials]], specials)
        self._ids = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def train(cls, text: str | Iterable[str], vocab_size: int | None = None) -> Self:
        """The words of `text`, the most frequent first and, among equals, in alphabetical order.

        `vocab_size` keeps the most frequent ones only and counts the two special tokens; None keeps all.
        Raises: ValueError for a `vocab_size` below 3 or an empty text.
        """
        kept = None
        if vocab_size is not None:
            kept = check_vocab_size(vocab_size, 3, f"a word, {UNKNOWN} and {END_OF_TEXT}") - 2
        counts = Counter(chain.from_iterable(map(split_words, whole_words(text))))
        return cls(sorted(counts, key=lambda word: (-counts[word], word))[:kept])

    def _encode_ordinary(self, text: str) -> list[int]:
        known = self._ids
        return [known[word] if word in known else self._nearest(word) for word in split_words(repair_surrogates(text))]

    def _nearest(self, word: str) -> int:
        """The id for a word not in the vocabulary: the same word with or without its space, else `<|unk|>`.

        A prompt often begins with a word that the training text had only inside a line, with a space before it.
        """
        other = word[1:] if word.startswith(" ") else " " + word
        return self._ids.get(other, self.special_tokens[UNKNOWN])

    def _state(self) -> dict[str, Any]:
        return {"words": self.words}

    @classmethod
    def _from_state(cls, data: dict[str, Any]) -> Self:
        words = data.get("words")
        if not isinstance(words, list) or not words:
            raise ValueError("A saved word tokenizer needs 'words', a list of at least one; save it anew.")
        for word in words:
            if not isinstance(word, str) or split_words(word) != [word] or word != repair_surrogates(word):
                raise ValueError(f"{word!r} among 'words' is not one word or mark; save the tokenizer anew.")
        if len(set(words)) < len(words):
            twice = Counter(words).most_common(1)[0][0]
            raise ValueError(f"{twice!r} is among 'words' twice, each may be there once; save the tokenizer anew.")
        return cls(words)
