"""The loss over a large vocabulary without all its logits in memory at once.

GPT-2's 50,257 logits for each of 2,048 tokens are 400 MB in float32, and computing the loss and its gradient passes
over them again and again. In chunks that stay near the processor it takes less memory and less time. The gradients are
computed with the loss, since the logits are gone afterwards (as in Wijmans et al. 2024, Cut Your Losses, section 4,
without its kernels).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gptlib.ops.backend import Backend
from gptlib.ops.linear import linear

ROWS = {"cpu": 512}
"""Tokens of a chunk, by device; elsewhere MANY_ROWS."""

MANY_ROWS = 4096

ALIGNMENT = {"cuda": 64}
"""Tokens of the vocabulary are padded to a multiple of this, by device: a GPU multiplies odd sizes far more slowly."""


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, ignored: int, backend: Backend | None = None
) -> Tensor:
    """The sum of the cross-entropies of the logits hidden W^T against the targets, in nats: a scalar in float32.

    hidden (N, C), weight (V, C), targets (N,); targets that equal `ignored` are left out. Under autocast the matmuls
    are in its type, and all else in float32. backend: whose kernels multiply; None is the default one.
    """
    if not torch.is_grad_enabled():  # forward can't see that, and would compute gradients for nobody
        hidden, weight = hidden.detach(), weight.detach()
    return _LinearCrossEntropy.apply(hidden, weight, targets, ignored, backend)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor, ignored: int, backend: Backend | None) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        wants_hidden, wants_weight, *_ = ctx.needs_input_grad
        d_hidden = torch.empty_like(hidden) if wants_hidden else None
        d_weight = torch.zeros_like(weight) if wants_weight else None
        total = torch.zeros((), device=hidden.device)
        rows = ROWS.get(device, MANY_ROWS)
        with torch.autocast(device, enabled=False):
            w, vocab_size = weight.to(dtype), len(weight)
            if surplus := -vocab_size % ALIGNMENT.get(device, 1):
                w = F.pad(w, (0, 0, 0, surplus))
            for start in range(0, len(hidden), rows):
                part = slice(start, start + rows)
                h, t = hidden[part].to(dtype), targets[part]
                logits = linear(h, w, None, backend)  # (rows, V), or a little more
                if surplus:
                    logits[:, vocab_size:] = -torch.inf  # with no share in the loss, and gradients of 0
                log_p = F.log_softmax(logits, dim=-1, dtype=torch.float32)
                counted = t != ignored
                index = t.masked_fill(~counted, 0)[:, None]
                total -= (log_p.gather(1, index)[:, 0] * counted).sum()
                if not (wants_hidden or wants_weight):
                    continue
                # The gradient of the loss by the logits: the probabilities, less 1 at the target.
                d_logits = log_p.exp_()
                d_logits.scatter_add_(1, index, torch.full_like(index, -1, dtype=d_logits.dtype))
                d_logits = d_logits.mul_(counted[:, None]).to(dtype)
                if wants_hidden:
                    d_hidden[part] = linear(d_logits, w.t(), None, backend)
                if wants_weight:
                    d_weight += linear(d_logits.t(), h.t(), None, backend)[:vocab_size]
        ctx.save_for_backward(*(d for d in (d_hidden, d_weight) if d is not None))
        ctx.wants = wants_hidden, wants_weight
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_loss: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        found = list(ctx.saved_tensors)
        d_hidden, d_weight = (found.pop(0) * d_loss if wants else None for wants in ctx.wants)
        return d_hidden, d_weight, None, None, None
