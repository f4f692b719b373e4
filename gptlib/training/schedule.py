"""The learning rate of each step.

Ours, since PyTorch's schedulers count their own calls: a function of the step needs no state to resume from.
"""

import math

SCHEDULES = ("cosine", "linear", "constant")


def learning_rate_at(
    step: int, *, schedule: str, peak: float, lowest: float, warmup_steps: int, decay_steps: int
) -> float:
    """The learning rate of optimizer step `step`, counted from 0.

    Linear from peak / warmup_steps up to peak over warmup_steps, then "constant", or half a "cosine" down to `lowest`
    at decay_steps and constant from there (Loshchilov & Hutter 2017, equation 5, without restarts), or "linear".
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    progress = min((step - warmup_steps) / max(decay_steps - warmup_steps, 1), 1.0)
    share = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return lowest + (peak - lowest) * share
