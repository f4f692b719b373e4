"""The loss that training and evaluation share: of a batch, of a loader, of single tokens.

Large vocabularies go through `gptlib.ops.cross_entropy`, in chunks: ours, since PyTorch's own keeps all logits, or
(`F.linear_cross_entropy`) saves memory on GPUs alone and takes longer on a CPU.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import RandomSampler, SequentialSampler

from gptlib.datasets import IGNORE_INDEX, BatchSampler, SlidingWindowDataset, begin_pass
from gptlib.model import GPTModel, eval_mode, unwrap
from gptlib.ops.cross_entropy import linear_cross_entropy
from gptlib.ops.devices import autocast
from gptlib.ops.linear import Linear
from gptlib.tokenizers import Tokenizer

Batch = tuple[Tensor, Tensor] | Mapping[str, Tensor]

MANY_LOGITS = 2**24  # 64 MB in float32


def next_token_loss(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of logits (B, T, V) against targets (B, T), in nats; targets of -100 are left out.

    reduction: "mean" over the tokens that count, or "sum". A mean over no tokens is 0, not NaN.
    """
    loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")
    return loss if reduction == "sum" else loss / (targets != IGNORE_INDEX).sum().clamp(min=1)


def batch_loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """`next_token_loss(model(inputs), targets, "sum")`, in chunks if the logits are too many to hold at once.

    model: a GPTModel, or one that is compiled or wrapped in `DistributedDataParallel`.
    """
    hidden, plain = model(inputs, return_hidden=True), unwrap(model)  # (B, T, C)
    head, n_logits = plain.output_head, targets.numel() * plain.config.vocab_size
    device = hidden.device.type
    # In fp16 the loss is scaled up so that gradients don't vanish; here they would be computed before.
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    if n_logits < MANY_LOGITS or type(head) is not Linear or half:
        return next_token_loss(head(hidden), targets, "sum")
    return linear_cross_entropy(hidden.flatten(0, 1), head.weight, targets.flatten(), IGNORE_INDEX, head.backend)


def inputs_and_targets(batch: Batch, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """The two tensors of a batch, on the device; a batch is a pair, or a dict as `collate_padded` makes it."""
    inputs, targets = (batch["inputs"], batch["targets"]) if isinstance(batch, Mapping) else batch[:2]
    if torch.device(device).type == "cuda" and inputs.device.type == "cpu":  # from pinned memory the copy need not wait
        inputs, targets = inputs.pin_memory(), targets.pin_memory()
    return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def evaluation_batches(loader: Iterable[Batch], n_batches: int | None = None) -> Iterator[Batch]:
    """The same batches at every call: all of the loader's text, or n_batches spread evenly over it.

    Items of our own loaders and datasets are taken in reading order, whatever the loader's own order is, and those that
    do not fill a last batch come too. Of any other loader, the first n_batches of a pass are taken.
    """
    dataset, sampler = getattr(loader, "dataset", None), getattr(loader, "sampler", None)
    ours = isinstance(dataset, SlidingWindowDataset) and isinstance(sampler, SequentialSampler | RandomSampler)
    if not ours and not isinstance(sampler, BatchSampler):
        yield from islice(begin_pass(loader), n_batches)
        return
    # Not by a pass over the loader, which would move a BatchSampler on to its next epoch.
    windows = np.arange(len(dataset))
    batch_size = sampler.batch_size if isinstance(sampler, BatchSampler) else loader.batch_size or 1
    if n_batches is not None and n_batches * batch_size < len(windows):
        windows = np.linspace(0, len(windows) - 1, n_batches * batch_size).astype(int)
    for start in range(0, len(windows), batch_size):
        yield dataset[windows[start : start + batch_size]]


@torch.no_grad()
def evaluate_loss(
    model: nn.Module, loader: Iterable[Batch], n_batches: int | None = None, *, precision: str = "fp32"
) -> float:
    """The mean loss, in nats, of the tokens of `evaluation_batches(loader, n_batches)`, each counting the same.

    Dropout is off meanwhile. Raises ValueError if the loader has no target at all.
    """
    model, total, count = unwrap(model), 0.0, 0
    with eval_mode(model):
        for batch in evaluation_batches(loader, n_batches):
            inputs, targets = inputs_and_targets(batch, model.device)
            with autocast(model.device, precision):
                total += batch_loss(model, inputs, targets).item()
            count += (targets != IGNORE_INDEX).sum().item()
    if count == 0:
        raise ValueError("The loader holds no target token, so there is no loss; check the data.")
    return total / count


def perplexity(loss: float) -> float:
    """exp(loss): among how many equally likely tokens the model is, on average, undecided."""
    return math.inf if loss >= 700 else math.exp(loss)


@torch.no_grad()
def token_losses(model: GPTModel, inputs: Tensor, targets: Tensor, **options) -> Tensor:
    """-ln p(target) at each position, (B, T) in float32, and 0 for targets of -100.

    inputs, targets (B, T) int64. options: `cache` and `pad_lengths`, as the model takes them. Only positions with
    a target get logits, and only so many at a time that these stay below MANY_LOGITS numbers.
    """
    hidden = model(inputs, return_hidden=True, **options)  # (B, T, C)
    counted = targets != IGNORE_INDEX
    rows = max(1, MANY_LOGITS // model.config.vocab_size)
    chunks = zip(hidden[counted].split(rows), targets[counted].split(rows), strict=True)
    losses = torch.zeros(targets.shape, device=hidden.device)
    losses[counted] = torch.cat([F.cross_entropy(model.output_head(h).float(), t, reduction="none") for h, t in chunks])
    return losses


def text_token_losses(model: GPTModel, tokenizer: Tokenizer, text: str) -> list[tuple[str, float]]:
    """Each token of the text but the first, with its loss in nats: how little it was expected after those before it.

    A guess at random costs log(vocab_size). Raises ValueError for a text of less than two tokens.
    """
    ids = torch.tensor([tokenizer.encode(text)], device=model.device)  # (1, T)
    if ids.numel() < 2:
        raise ValueError(f"text={text!r} has {ids.numel()} tokens; give a text of at least two.")
    losses = token_losses(model, ids[:, :-1].long(), ids[:, 1:].long())[0].tolist()
    return [(tokenizer.decode([i]), loss) for i, loss in zip(ids[0, 1:].tolist(), losses, strict=True)]
