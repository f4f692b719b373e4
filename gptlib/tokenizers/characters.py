"""Characters as tokens: the smallest vocabulary, nothing to learn, and the longest sequences."""

from collections.abc import Iterable
from itertools import chain
from typing import Any, Self

from gptlib.tokenizers.base import BaseTokenizer, check_vocab_size, repair_surrogates
from gptlib.tokenizers.texts import blocks


class CharTokenizer(BaseTokenizer):
    """The id of a character is its place among the training text's characters, sorted. There are no special tokens.

    Example: CharTokenizer("abc").encode("cab") -> [2, 0, 1]
    """

    type = "char"

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = "".join(characters)
        super().__init__([character.encode() for character in self.characters], {})
        self._ids = {character: i for i, character in enumerate(self.characters)}

    @classmethod
    def train(cls, text: str | Iterable[str], vocab_size: int | None = None) -> Self:
        """All characters of `text`; `vocab_size` is an upper limit, for a caller who has room for no more.

        Raises: ValueError where the text has more characters than `vocab_size`, or none.
        """
        characters = set(chain.from_iterable(blocks(text)))
        if vocab_size is not None:
            check_vocab_size(vocab_size, len(characters), "every different character of the text")
        return cls(sorted(characters))

    def _encode_ordinary(self, text: str) -> list[int]:
        try:
            return list(map(self._ids.__getitem__, text))
        except KeyError as error:
            unknown = error.args[0]
        raise ValueError(
            f"{unknown!r} (U+{ord(unknown):04X}) at position {text.index(unknown)} is not among the "
            f"{self.vocab_size} characters of this tokenizer: remove it from the text, or train on a text that has it."
        )

    def _state(self) -> dict[str, Any]:
        return {"characters": self.characters}

    @classmethod
    def _from_state(cls, data: dict[str, Any]) -> Self:
        characters = data.get("characters")
        if not isinstance(characters, str) or not characters or characters != repair_surrogates(characters):
            raise ValueError(
                f"A saved char tokenizer needs 'characters', a str of at least one; it has {characters!r}."
            )
        if len(set(characters)) < len(characters):
            raise ValueError(f"'characters' has a character twice ({characters[:40]!r}); save the tokenizer anew.")
        return cls(characters)
