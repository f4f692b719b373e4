"""From logits to text: sampling, the generation loop, streaming; models in fewer bits; conversations."""

from gptlib.generation.generate import (
    check_tokenizer,
    encode_prompts,
    generate,
    generate_text,
    generate_tokens,
    next_logits,
    stream,
)
from gptlib.generation.sampling import check_sampling, filter_logits, next_token_probabilities, sample

__all__ = [
    "check_sampling",
    "check_tokenizer",
    "encode_prompts",
    "filter_logits",
    "generate",
    "generate_text",
    "generate_tokens",
    "next_logits",
    "next_token_probabilities",
    "sample",
    "stream",
]
