"""Our byte-level tokenizers in the files that Hugging Face's libraries read.

There a token is a text: each byte is written as one printable character, as in GPT-2's own vocab.bpe (a space is "Ġ").
"""

import json
from typing import Any

from gptlib.tokenizers import BPETokenizer, GPT2Tokenizer, Tokenizer
from gptlib.tokenizers.base import END_OF_TEXT
from gptlib.tokenizers.vocabulary import BYTE_CHARACTERS, GPT2_BYTE_ORDER, gpt2_merges

_CHARACTERS = dict(zip(GPT2_BYTE_ORDER, BYTE_CHARACTERS, strict=True))


def vocabulary(tokenizer: GPT2Tokenizer | BPETokenizer) -> dict[str, int]:
    """Each token as a text, with its id. Example: b" the" of GPT-2 -> "Ġthe": 262

    Raises ValueError if two ids stand for the same bytes, which such a table can't say.
    """
    table: dict[str, int] = {}
    for i in range(tokenizer.vocab_size):
        token = _text(tokenizer, i)
        if token in table:
            raise ValueError(f"its tokens {table[token]} and {i} stand for the same bytes")
        table[token] = i
    return table


def _text(tokenizer: Tokenizer, token_id: int) -> str:
    return "".join(_CHARACTERS[byte] for byte in tokenizer.token_bytes(token_id))


def tokenizer_files(tokenizer: Tokenizer | None, context_length: int) -> dict[str, str]:
    """The files of a tokenizer by their names, for transformers' AutoTokenizer; the ids are the same on any text.

    As everywhere there, "<|endoftext|>" in a text counts as the special token (ours: allowed_special="all").
    Raises ValueError, with the reason, for a tokenizer that has no counterpart there.
    """
    if not isinstance(tokenizer, GPT2Tokenizer | BPETokenizer):
        kind = "no tokenizer is stored with the model" if tokenizer is None else f"a {type(tokenizer).__name__}"
        raise ValueError(kind if tokenizer is None else f"{kind} has no counterpart there")
    table = vocabulary(tokenizer)
    pairs = tokenizer.merges if isinstance(tokenizer, BPETokenizer) else gpt2_merges()
    merges = [f"{_text(tokenizer, first)} {_text(tokenizer, second)}" for first, second in pairs]
    settings = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
    }
    return {
        "vocab.json": json.dumps(table, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]),
        "tokenizer.json": json.dumps(_tokenizer_json(table, merges), ensure_ascii=False),
        "tokenizer_config.json": json.dumps(settings, indent=2),
    }


def _tokenizer_json(table: dict[str, int], merges: list[str]) -> dict[str, Any]:
    """What the library `tokenizers` needs: GPT-2's cut into chunks, then the merges."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": table[END_OF_TEXT], "content": END_OF_TEXT, **special}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level | {"trim_offsets": False},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": table,
            "merges": merges,
        },
    }
