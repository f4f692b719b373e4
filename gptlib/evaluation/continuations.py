"""A model writes on from places in a held-out text, and what it writes is compared with what stands there."""

import re
from collections.abc import Sequence
from typing import Any

from tqdm.auto import tqdm

from gptlib.evaluation.memorisation import longest_overlap, share_found
from gptlib.evaluation.texts import bleu, distinct, repetition, require_sacrebleu
from gptlib.generation import generate_text
from gptlib.model import GPTModel
from gptlib.tokenizers import Tokenizer
from gptlib.utils.validation import whole_number

PROMPT, REFERENCE = 150, 200  # characters, about 27 and 36 English words
_SLACK = 40  # characters that a piece may move to begin or end at a space
_AT_ONCE = 16  # texts that are written in one batch


def cut_prompts(text: str, n: int) -> list[tuple[str, str]]:
    """n places spread evenly over the text: (a prompt of about PROMPT characters, the REFERENCE or so that follow).

    The cuts are at spaces, and by characters, so that they are the same for any tokenizer.
    Raises ValueError if the text is too short for n pieces that do not overlap.
    """
    whole_number("n", n, 1)
    length = PROMPT + REFERENCE + 2 * _SLACK
    room = len(text) // length
    if n > room:
        raise ValueError(
            f"The text of {len(text):,} characters has room for {room} continuations of {length} characters with "
            f"their prompts, not for {n}; give fewer, or a longer text."
        )
    pieces = []
    for i in range(n):
        start = _space(text, i * len(text) // n)
        cut = _space(text, start + PROMPT)
        prompt = text[start:cut]
        pieces.append((prompt.lstrip() or prompt, text[cut : _space(text, cut + REFERENCE)]))
    return pieces


def _space(text: str, place: int) -> int:
    """The next white space, or the place itself if none is near, as in Chinese."""
    found = re.compile(r"\s").search(text, place, place + _SLACK) if place else None
    return found.start() if found else place


def write_continuations(
    model: GPTModel,
    tokenizer: Tokenizer,
    pieces: Sequence[tuple[str, str]],
    *,
    temperature: float = 0.8,
    seed: int = 0,
    progress: bool = False,
) -> list[str]:
    """What the model writes after each prompt, cut to the length of what the text has there.

    It is less if the model ends its text, or takes shorter tokens than those of the text.
    """
    written = []
    for i in tqdm(range(0, len(pieces), _AT_ONCE), desc="writing", disable=not progress):
        prompts, references = zip(*pieces[i : i + _AT_ONCE], strict=True)
        n_tokens = max(len(tokenizer.encode(reference)) for reference in references)
        texts = generate_text(model, tokenizer, prompts, n_tokens, temperature=temperature, seed=seed + i)
        for prompt, reference, text in zip(prompts, references, texts, strict=True):
            written.append(text[len(prompt) :][: len(reference)])
    return written


def judge_continuations(
    written: Sequence[str], references: Sequence[str], training_text: str | None = None
) -> dict[str, Any]:
    """BLEU, and the same numbers for what was written and for the held-out text itself, which gives them a scale.

    With a training text, also what was copied from it. Of words (cut at white space): distinct_1, distinct_2, rep_4,
    copied_5 (the share of windows of 5 words that stand in the training text). Of characters: the longest_copy.
    """
    return {
        "bleu": bleu(written, references),
        "written": _numbers_of(written, training_text),
        "held_out": _numbers_of(references, training_text),
    }


def _numbers_of(texts: Sequence[str], training_text: str | None) -> dict[str, Any]:
    words = [text.split() for text in texts]
    numbers = {"distinct_1": distinct(words, 1), "distinct_2": distinct(words, 2), "rep_4": repetition(words, 4)}
    if training_text is not None:
        copy = longest_overlap(texts, training_text)
        copied = share_found(words, training_text.split(), 5)
        numbers |= {"copied_5": copied, "longest_copy": len(copy), "longest_copy_text": copy}
    return numbers


def evaluate_continuations(
    model: GPTModel,
    tokenizer: Tokenizer,
    text: str,
    n: int,
    *,
    training_text: str | None = None,
    temperature: float = 0.8,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """`judge_continuations` of what the model writes at n places of the text."""
    require_sacrebleu()  # before the long part
    pieces = cut_prompts(text, n)
    written = write_continuations(model, tokenizer, pieces, temperature=temperature, seed=seed, progress=progress)
    return judge_continuations(written, [reference for _, reference in pieces], training_text)
