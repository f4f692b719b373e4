"""The loss of a whole text with a sliding context, and bits per byte, by which models of any tokenizer compare."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from gptlib.datasets import IGNORE_INDEX, collate_padded
from gptlib.generation import check_tokenizer
from gptlib.loss import perplexity, token_losses
from gptlib.model import GPTModel, eval_mode
from gptlib.tokenizers import Tokenizer
from gptlib.tokenizers.words import split_words
from gptlib.utils.validation import whole_number

Window = tuple[int, int, int]
"""(start, first, end): the model reads ids[start : end - 1], and of what comes next ids[first : end] is scored."""


@dataclass(frozen=True)
class TextLoss:
    """What a text costs a model."""

    nats: float
    """The loss of all tokens, summed."""
    n_tokens: int
    n_bytes: int
    """Length of the text in UTF-8."""
    lost_bytes: int = 0
    """Those of them that the tokens do not give back."""

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / self.n_tokens

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss)

    @property
    def bits_per_byte(self) -> float:
        """(nats / ln 2 + 8 lost_bytes) / n_bytes: bits a byte costs (Gao et al. 2020, section 3.1).

        A byte that the tokens lose is charged 8 bits, as if `<|unk|>` were an escape after which the word is spelled
        by a model that takes all bytes for equally likely. That is how compressors charge what their model can't say
        (PPM's escape to order -1, Cleary & Witten 1984). Without it, the more a tokenizer threw away, the better.
        Where such a word ends is not charged; a code that has to say it needs up to 8 bits a lost word more.
        """
        return (self.nats / math.log(2) + 8 * self.lost_bytes) / self.n_bytes


def text_loss(
    model: GPTModel,
    tokenizer: Tokenizer,
    text: str,
    *,
    stride: int | None = None,
    batch_size: int = 8,
    progress: bool = False,
) -> TextLoss:
    """What the text costs the model: each token is scored once, given what stands before it in its window.

    The first token is given the end-of-text token. If the tokenizer has none, nothing stands before it, and it is
    charged as a guess among equals, ln(vocab_size). stride, batch_size: those of `sliding_nll`.
    Raises ValueError if the text is empty, or the tokenizer can't encode it or isn't the model's.
    """
    check_tokenizer(model, tokenizer)
    ids = tokenizer.encode(text)
    if not ids:
        raise ValueError("The text is empty, so there is no loss; give a text of at least one character.")
    known = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    nats = 0.0 if known else math.log(tokenizer.vocab_size)
    nats += sliding_nll(model, known + ids, stride=stride, batch_size=batch_size, progress=progress)
    return TextLoss(nats, len(ids), n_bytes(text), lost_bytes(tokenizer, text))


def sliding_nll(
    model: GPTModel,
    ids: Sequence[int] | np.ndarray | Tensor,
    *,
    context_length: int | None = None,
    stride: int | None = None,
    batch_size: int = 8,
    progress: bool = False,
) -> float:
    """The sum of the losses of ids[1:], in nats, with a context that slides over them.

    Windows of `context_length` inputs (default: the model's) begin `stride` tokens apart (default: half a window) and
    score what no earlier one has. A token so has at least context_length - stride tokens before it, but for those of
    the first window; a smaller stride gives more context and takes longer. This is the recipe of transformers'
    documentation ("Perplexity of fixed-length models"), whose windows of max_length tokens have one input fewer.
    Raises ValueError for sizes that make no sense, and for ids that are not one row of integers.
    """
    longest = model.config.context_length
    context_length = whole_number("context_length", longest if context_length is None else context_length, 1)
    if context_length > longest:
        raise ValueError(f"context_length={context_length} is more than the model sees; give at most {longest}.")
    stride = whole_number("stride", (context_length + 1) // 2 if stride is None else stride, 1)
    if stride > context_length:
        raise ValueError(f"stride={stride} would leave tokens out; give at most the window of {context_length} tokens.")
    whole_number("batch_size", batch_size, 1)
    ids, total = _one_row(ids), 0.0
    todo = list(windows(len(ids), context_length, stride))
    with eval_mode(model), tqdm(total=len(todo), desc="reading", unit="window", disable=not progress) as bar:
        for i in range(0, len(todo), batch_size):
            batch = collate_padded([_inputs_and_targets(ids, window) for window in todo[i : i + batch_size]])
            inputs, targets = (batch[name].to(model.device) for name in ("inputs", "targets"))
            total += token_losses(model, inputs, targets).sum().item()
            bar.update(len(inputs))
    return total


def _one_row(ids: Sequence[int] | np.ndarray | Tensor) -> Tensor:
    """The ids as (n,) int64."""
    row = ids if isinstance(ids, Tensor) else torch.from_numpy(np.array(ids))  # a copy: mapped files are read-only
    if row.ndim != 1 or (row.is_floating_point() and len(row)):  # an empty list has no integers
        raise ValueError(
            f"The ids have the shape {tuple(row.shape)} and the type {row.dtype}; give one row of integers, (n,)."
        )
    return row.long()


def windows(n_ids: int, context_length: int, stride: int) -> Iterator[Window]:
    """The windows over n_ids tokens, of which the first is only read.

    Example, 7 tokens, context_length 4, stride 2: (0, 1, 5), (2, 5, 7)
    """
    first = 1
    for start in range(0, n_ids - 1, stride):
        end = min(start + context_length + 1, n_ids)
        yield start, first, end
        if end == n_ids:
            return
        first = end


def _inputs_and_targets(ids: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    start, first, end = window
    targets = ids[start + 1 : end].clone()
    targets[: first - start - 1] = IGNORE_INDEX
    return ids[start : end - 1], targets


def lost_bytes(tokenizer: Tokenizer, text: str) -> int:
    """How many bytes of the text (UTF-8) can't be had back from its tokens; 0 for a tokenizer that loses nothing.

    Counted by words, each encoded by itself, as the word tokenizer does. A tokenizer that does something else with the
    whole text than with its words, such as to drop a space between two, loses all of it: nobody can say which.
    """
    restored = tokenizer.decode(tokenizer.encode(text))
    if restored == text:
        return 0
    words = split_words(text)
    found = {word: tokenizer.decode(tokenizer.encode(word)) for word in set(words)}
    if "".join([found[word] for word in words]) != restored:
        return n_bytes(text)
    return sum(n_bytes(word) for word in words if found[word] != word)


def n_bytes(text: str) -> int:
    """The length of the text in UTF-8; of any str, even one that no file can hold."""
    return len(text.encode("utf-8", "surrogatepass"))
