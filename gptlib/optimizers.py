"""AdamW with GPT-2's decay groups, and the learning rate of each step."""

import math

import torch
from torch import nn


def create_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), fused into one kernel where the device has that.

    Matrices decay; biases, LayerNorm's scales and shifts do not, since a penalty on them only biases the model.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda", "mps") and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=fused)


def learning_rate_at(
    step: int, *, schedule: str, peak: float, lowest: float, warmup_steps: int, decay_steps: int
) -> float:
    """The learning rate of optimizer step `step`, counted from 0.

    Linear from peak / warmup_steps up to peak over warmup_steps, then "constant", or half a "cosine" down to `lowest`
    at decay_steps and constant from there (Loshchilov & Hutter 2017, equation 5, without restarts).
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    progress = min((step - warmup_steps) / max(decay_steps - warmup_steps, 1), 1.0)
    return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * progress))
