"""What every tokenizer shares: a table of tokens, special tokens, decoding, saving.

A tokenizer is a table, id -> bytes, and a way to cut a text into entries of that table. The table and what follows
from it (`decode`, `vocab_size`, `eos_id`) live here; how a text is cut is each subclass's own `_encode_ordinary`.
This file does not train anything.
"""

import operator
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from gptlib.utils.files import write_json

END_OF_TEXT = "<|endoftext|>"
FORMAT = 1  # of the saved JSON; a change that old readers would misread raises it

AllowedSpecial = Literal["all"] | Collection[str]


@runtime_checkable
class Tokenizer(Protocol):
    """What the rest of the library relies on; anything with these seven can stand in for a tokenizer."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def eos_id(self) -> int | None: ...
    def encode(self, text: str, allowed_special: AllowedSpecial = ()) -> list[int]: ...
    def decode(self, ids: Iterable[int]) -> str: ...
    def token_bytes(self, token_id: int) -> bytes: ...
    def save(self, path: str | Path) -> None: ...
    def to_dict(self) -> dict[str, Any]: ...


class BaseTokenizer:
    """A table of tokens. Subclasses give `type`, `_encode_ordinary`, `_state` and `_from_state`.

    `tokens[i]` is what id i decodes to, as bytes; `special_tokens` maps names such as "<|endoftext|>" to ids.
    """

    type: ClassVar[str]  # its name in load_tokenizer and in saved files

    def __init__(self, tokens: Sequence[bytes], special_tokens: dict[str, int]) -> None:
        self._tokens = list(tokens)
        self.special_tokens = dict(special_tokens)

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included; ids run from 0 to vocab_size - 1."""
        return len(self._tokens)

    @property
    def eos_id(self) -> int | None:
        """The id of "<|endoftext|>", or None where the tokenizer has no such token."""
        return self.special_tokens.get(END_OF_TEXT)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one id stands for. A token may end in the middle of a character, so bytes, not str."""
        return self._tokens[as_ids([token_id], self.vocab_size)[0]]

    def encode(self, text: str, allowed_special: AllowedSpecial = ()) -> list[int]:
        """The ids of `text`.

        A special token written in the text, such as "<|endoftext|>", counts as plain text unless `allowed_special`
        names it: a set of names, or "all" for all that this tokenizer has.

        Raises: ValueError for a name in `allowed_special` that the tokenizer doesn't have; TypeError for a
        `text` that is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"encode takes a str, not {type(text).__name__}: decode bytes or read the file first.")
        allowed = self._allowed(allowed_special)
        if not allowed:
            return self._encode_ordinary(text)
        ids: list[int] = []
        # The brackets make re.split keep the special tokens: at odd places, between the plain parts.
        longest_first = sorted(allowed, key=len, reverse=True)
        parts = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
        for k, part in enumerate(parts):
            ids.extend([self.special_tokens[part]] if k % 2 else self._encode_ordinary(part))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`: a list, a 1-D NumPy array or a 1-D tensor of integers.

        Bytes that are no whole character (a token may hold half of one) become U+FFFD.
        Raises: ValueError for an id out of range; TypeError for what is not a sequence of integers.
        """
        tokens = self._tokens
        return b"".join([tokens[i] for i in as_ids(ids, len(tokens))]).decode("utf-8", errors="replace")

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain JSON data; `from_dict` is the way back. Stored in files and in checkpoints."""
        return {"format": FORMAT, "type": self.type, **self._state()}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """The tokenizer that `to_dict` described. Raises: ValueError where `data` isn't what `to_dict` gives."""
        found = check_header(data)
        if found != cls.type:
            raise ValueError(
                f"The data is of a tokenizer of type {found!r}, not {cls.type!r}; load it with load_tokenizer."
            )
        return cls._from_state(data)

    def save(self, path: str | Path) -> None:
        """Write the tokenizer as JSON; `load_tokenizer(path)` reads it."""
        write_json(path, self.to_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    def _encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`, all of it plain text."""
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        """What `to_dict` stores besides the header."""
        raise NotImplementedError

    @classmethod
    def _from_state(cls, data: dict[str, Any]) -> Self:
        """A tokenizer from what `_state` stored; must check what it reads, files can be anybody's."""
        raise NotImplementedError

    def _allowed(self, allowed_special: AllowedSpecial) -> Collection[str]:
        if allowed_special == "all":
            return self.special_tokens
        if isinstance(allowed_special, str):
            raise ValueError(f"allowed_special is {allowed_special!r}: pass 'all' or a set, {{{allowed_special!r}}}.")
        for name in allowed_special:
            if name not in self.special_tokens:
                has = ", ".join(map(repr, self.special_tokens)) or "none"
                raise ValueError(
                    f"{name!r} in allowed_special is no special token of this {type(self).__name__}, which has {has}; "
                    f"leave it out, or pass 'all' for those it has."
                )
        return allowed_special


def as_ids(ids: Any, vocab_size: int) -> list[int]:
    """`ids` (list, 1-D array or tensor) as a list of int, each checked to be in 0 … vocab_size - 1."""
    values = ids.tolist() if hasattr(ids, "tolist") else ids
    try:
        result = [operator.index(i) for i in values]
    except TypeError:
        shape = f" of shape {tuple(ids.shape)}" if hasattr(ids, "shape") else ""
        raise TypeError(
            f"decode takes one row of integer ids, not {type(ids).__name__}{shape} ({str(ids)[:40]}): "
            f"pass a list, or one row of a batch."
        ) from None
    if result and not (min(result) >= 0 and max(result) < vocab_size):
        place, bad = next((k, i) for k, i in enumerate(result) if not 0 <= i < vocab_size)
        raise ValueError(
            f"Id {bad} at position {place} is not in this vocabulary of {vocab_size}, whose ids run from 0 to "
            f"{vocab_size - 1}: decode with the tokenizer that made the ids."
        )
    return result


def check_header(data: Any) -> str:
    """The type in a saved tokenizer's header. Raises: ValueError where `data` is no tokenizer or too new a one."""
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise ValueError("This is not a saved gptlib tokenizer, which is an object with 'format' and 'type'.")
    version = data.get("format")
    if version != FORMAT:
        raise ValueError(f"The tokenizer has format {version!r}, this gptlib reads {FORMAT}: update gptlib.")
    return data["type"]


def repair_surrogates(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates, which no UTF-8 can hold, made U+FFFD, as tiktoken does.

    Example: "a\\ud800b" -> "a\\ufffdb"
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def check_vocab_size(vocab_size: Any, least: int, because: str) -> int:
    """`vocab_size` as int, where it is an integer of at least `least`. Raises: ValueError, saying `because`."""
    try:
        size = operator.index(vocab_size)
    except TypeError:
        raise ValueError(f"vocab_size is {vocab_size!r}: an integer of {least} or more is needed.") from None
    if size < least:
        raise ValueError(f"vocab_size is {size}: at least {least} are needed, for {because}.")
    return size
