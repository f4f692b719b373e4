"""GPT-2's tokenizer through tiktoken, OpenAI's engine in Rust: the ids of BPETokenizer.from_gpt2(), only faster."""

from typing import Any, Self

import regex

from gptlib.tokenizers.base import END_OF_TEXT, BaseTokenizer
from gptlib.tokenizers.bpe import BYTE_ORDERS, token_table
from gptlib.tokenizers.vocabulary import gpt2_merges

# The chunks of splitting.py, as tiktoken writes them (tiktoken_ext/openai_public.py) for its own regex engine.
_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

# That engine runs out of stack on some 700,000 spaces before a word. All but the last of them are one chunk, so the
# text can be cut there.
_TOO_LONG = regex.compile(r"\s{100000,}+")


class GPT2Tokenizer(BaseTokenizer):
    """The vocabulary of 50257 that the official weights were trained with; there is nothing to train.

    Raises: FileNotFoundError where the vocabulary is nowhere to be had, saying what to do.
    """

    type = "gpt2"

    def __init__(self) -> None:
        import tiktoken  # here, because whoever trains on characters should not have to wait for it

        tokens = token_table(gpt2_merges(), BYTE_ORDERS["gpt2"])
        specials = {END_OF_TEXT: len(tokens)}
        super().__init__([*tokens, END_OF_TEXT.encode()], specials)
        # Not get_encoding("gpt2"): that wants the network where its cache folder is empty.
        self._encoding = tiktoken.Encoding(
            "gpt2",
            pat_str=_PATTERN,
            mergeable_ranks={token: i for i, token in enumerate(tokens)},
            special_tokens=specials,
        )

    def _encode_ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        start = 0
        for run in _TOO_LONG.finditer(text):
            if (cut := run.end() - 1) < len(text) - 1:  # a word follows
                ids += self._encoding.encode_ordinary(text[start:cut])
                start = cut
        return ids + self._encoding.encode_ordinary(text[start:])

    def _state(self) -> dict[str, Any]:
        return {}  # the name says it all

    @classmethod
    def _from_state(cls, data: dict[str, Any]) -> Self:
        return cls()
