"""Multiple choice as HellaSwag asks it (Zellers et al. 2019): which ending of a text does the model find likeliest?

Nothing is generated, and the model is told no letters: each ending is scored as a continuation, so that a model that
has never seen a question can answer. As EleutherAI's lm-evaluation-harness does it (output_type: multiple_choice).
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from gptlib.datasets import collate_padded
from gptlib.generation import check_tokenizer
from gptlib.loss import token_losses
from gptlib.model import GPTModel, eval_mode
from gptlib.model.attention import KVCache
from gptlib.tokenizers import Tokenizer
from gptlib.utils.text import cut
from gptlib.utils.validation import whole_number


@dataclass(frozen=True)
class Question:
    """A text, endings that could follow it after a space, and which of them does."""

    context: str
    endings: tuple[str, ...]
    label: int


class Encoded(NamedTuple):
    context: list[int]
    endings: list[list[int]]


@dataclass(frozen=True)
class ChoiceScores:
    """How a model answered, question by question."""

    nats: tuple[tuple[float, ...], ...]
    """What each ending of each question costs."""
    correct: tuple[bool, ...]
    """Whether the right ending costs least."""
    correct_by_length: tuple[bool, ...]
    """Whether it costs least by character."""

    @property
    def acc(self) -> float:
        return sum(self.correct) / len(self.correct)

    @property
    def acc_norm(self) -> float:
        return sum(self.correct_by_length) / len(self.correct)

    @property
    def chance(self) -> float:
        """What blind guessing is expected to reach."""
        return sum(1 / len(nats) for nats in self.nats) / len(self.nats)


def standard_error(share: float, n: int) -> float:
    """Of a share of n answers: how far another n questions of the kind would typically move it; 0 for n = 1."""
    return math.sqrt(share * (1 - share) / max(n - 1, 1))


def read_questions(path: str | Path) -> list[Question]:
    """The questions of a JSONL file, an object on each line, with "endings" (a list of texts), "label" (the place of
    the right one, from 0) and "ctx" or "context".

    HellaSwag's own files are of this form; what else they hold is left aside, and their texts are taken as they are.
    White space around a text is dropped. Raises FileNotFoundError if there is none; ValueError, naming the line, at
    the first that is not a question.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of questions at '{path}'; check the path.")
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path.name}' is not UTF-8 (at byte {error.start:,}); save it as UTF-8.") from None
    questions = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                questions.append(_question(json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"Line {number} of '{path.name}' is no question: {error}.") from None
    if not questions:
        raise ValueError(f"'{path.name}' has no question; it needs an object with ctx, endings and label on each line.")
    return questions


def _question(entry: Any) -> Question:
    """Raises ValueError, without a full stop, if the entry is none."""
    if not isinstance(entry, dict):
        raise ValueError("it should be an object with ctx, endings and label")
    context, endings, label = entry.get("ctx", entry.get("context")), entry.get("endings"), entry.get("label")
    if not _is_text(context):
        raise ValueError(f"ctx (or context) is {_shown(context)} and should be a text that is not empty")
    if not isinstance(endings, list) or len(endings) < 2 or not all(map(_is_text, endings)):
        raise ValueError(f"endings is {_shown(endings)} and should be a list of two texts or more, none of them empty")
    if isinstance(label, str) and label.isascii() and label.isdigit() and len(label) < 10:
        label = int(label)  # as on Hugging Face's hub
    if type(label) is not int or not 0 <= label < len(endings):
        raise ValueError(
            f"label is {_shown(label)} and should be the place of the right ending, 0 to {len(endings) - 1}"
        )
    endings = tuple(ending.strip() for ending in endings)
    if endings.count(endings[label]) > 1:
        raise ValueError(f"the right ending, {_shown(endings[label])}, is among the endings twice")
    return Question(context.strip(), endings, label)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _shown(value: Any) -> str:
    return cut(repr(value), 60)


def score_choices(
    model: GPTModel, tokenizer: Tokenizer, questions: Sequence[Question], *, batch_size: int = 4, progress: bool = False
) -> ChoiceScores:
    """Answer each question with the ending that costs least (acc), and that costs least by character (acc_norm).

    acc_norm is the harness's: an ending's nats divided by its number of characters, so that short ones are not
    preferred for being short. batch_size: questions at once; the context of each is computed once for all its endings.
    Raises ValueError if there are none, or an ending has more tokens than the model's context.
    """
    check_tokenizer(model, tokenizer)
    whole_number("batch_size", batch_size, 1)
    if not questions:
        raise ValueError("There are no questions; give at least one.")
    encoded = [encode_question(tokenizer, question, model.config.context_length) for question in questions]
    nats: list[tuple[float, ...]] = [()] * len(questions)
    with eval_mode(model), tqdm(total=len(nats), desc="choosing", unit="question", disable=not progress) as bar:
        for places in _batches(encoded, batch_size, model.config.context_length):
            for place, costs in zip(places, ending_nll(model, [encoded[i] for i in places]), strict=True):
                nats[place] = tuple(costs)
            bar.update(len(places))
    if not np.isfinite(np.concatenate(nats)).all():
        raise ValueError("The model's losses are not finite, so it prefers no ending; use weights without nan and inf.")
    lengths = [[len(ending) for ending in question.endings] for question in questions]
    by_length = [np.divide(costs, n) for costs, n in zip(nats, lengths, strict=True)]
    return ChoiceScores(tuple(nats), _correct(questions, nats), _correct(questions, by_length))


def _correct(questions: Sequence[Question], costs: Sequence[Sequence[float]]) -> tuple[bool, ...]:
    """Of each question, whether the right ending is the cheapest (the first, among equals)."""
    return tuple(int(np.argmin(c)) == question.label for c, question in zip(costs, questions, strict=True))


def encode_question(tokenizer: Tokenizer, question: Question, context_length: int) -> Encoded:
    """The ids of the context and of each ending after it and a space.

    An ending's ids are those of the whole text from the end of the context's on. If context and longest ending are
    more than the model can see, the context's beginning is cut off, for all endings alike (the harness cuts less for
    the shorter ones). Raises ValueError if the context or an ending has no token, or an ending too many.
    """
    context = tokenizer.encode(question.context)
    endings = [tokenizer.encode(f"{question.context} {ending}")[len(context) :] for ending in question.endings]
    if not context or not endings or not all(endings):
        raise ValueError(
            f"Of the question {_shown(question.context)} the context or an ending has no token of its own; give texts "
            "that are not empty."
        )
    longest = max(map(len, endings))
    if longest > context_length:
        raise ValueError(
            f"An ending of the question {_shown(question.context)} has {longest} tokens and the model sees "
            f"{context_length}; leave this question out."
        )
    return Encoded(context[-(context_length + 1 - longest) :], endings)


def _batches(encoded: list[Encoded], batch_size: int, context_length: int) -> Iterator[list[int]]:
    """Places of questions whose contexts are of like length and, padded, still fit before their longest ending."""
    batch, longest = [], 0
    for i in sorted(range(len(encoded)), key=lambda i: len(encoded[i].context)):
        context, ending = len(encoded[i].context), max(map(len, encoded[i].endings))
        if batch and (len(batch) == batch_size or context - 1 + max(longest, ending) > context_length):
            yield batch
            batch, longest = [], 0
        batch.append(i)
        longest = max(longest, ending)
    yield batch


@torch.no_grad()
def ending_nll(model: GPTModel, batch: list[Encoded]) -> list[list[float]]:
    """What each ending costs after its context, question by question.

    A context but for its last token goes through the model once; the last token and an ending follow, on one row each.
    """
    rows = torch.tensor([i for i, question in enumerate(batch) for _ in question.endings])
    items = [([question.context[-1], *e[:-1]], e) for question in batch for e in question.endings]
    padded = collate_padded(items)
    inputs, targets = (padded[name].to(model.device) for name in ("inputs", "targets"))  # (rows, T)
    cache, pad_lengths = _read_contexts(model, [question.context[:-1] for question in batch], rows, inputs.shape[1])
    costs = token_losses(model, inputs, targets, cache=cache, pad_lengths=pad_lengths).sum(dim=1)
    return [part.tolist() for part in costs.split([len(question.endings) for question in batch])]


def _read_contexts(
    model: GPTModel, contexts: list[list[int]], rows: Tensor, room: int
) -> tuple[KVCache | None, Tensor | None]:
    """The cache of the contexts, padded on the left and repeated for `rows`, with room for more; and pad_lengths."""
    longest = max(map(len, contexts))
    if longest == 0:
        return None, None
    ids = torch.tensor([[0] * (longest - len(context)) + context for context in contexts], device=model.device)
    pad_lengths = torch.tensor([longest - len(context) for context in contexts], device=model.device)
    read, cache = model.new_cache(len(contexts), longest), model.new_cache(len(rows), longest + room)
    model(ids, cache=read, pad_lengths=pad_lengths, return_hidden=True)
    rows = rows.to(model.device)
    cache.keys[..., :longest, :], cache.values[..., :longest, :] = read.keys[:, rows], read.values[:, rows]
    cache.advance(longest)
    return cache, pad_lengths[rows]
