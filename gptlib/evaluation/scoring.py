"""What single tokens cost a model, in nats: what the losses of whole texts and of answers are summed from."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gptlib.datasets import IGNORED
from gptlib.evaluation.losses import MANY_LOGITS
from gptlib.model import GPTModel


@torch.no_grad()
def token_losses(model: GPTModel, inputs: Tensor, targets: Tensor, **options) -> Tensor:
    """-ln p(target) at each position, (B, T) in float32, and 0 where the target is -100.

    inputs, targets (B, T) int64. options: `cache` and `padding`, as the model takes them. Only positions with a target
    get logits, and only so many at a time that these stay below MANY_LOGITS numbers.
    """
    hidden = model(inputs, head=False, **options)  # (B, T, C)
    counted = targets != IGNORED
    rows = max(1, MANY_LOGITS // model.config.vocab_size)
    chunks = zip(hidden[counted].split(rows), targets[counted].split(rows), strict=True)
    losses = torch.zeros(targets.shape, device=hidden.device)
    losses[counted] = torch.cat([F.cross_entropy(model.output_head(h).float(), t, reduction="none") for h, t in chunks])
    return losses
