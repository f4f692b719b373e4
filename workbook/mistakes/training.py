"""What goes wrong in chapter 5's exercises: each function here is a mistake that learners make."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gptlib.datasets import IGNORE_INDEX
from gptlib.loss import next_token_loss
from gptlib.training.schedule import learning_rate_at

MicroBatches = Sequence[tuple[Tensor, Tensor]]

# --- Cross-entropy ----------------------------------------------------------------------------------------------------


def _mean_of_targets(log_p: Tensor, targets: Tensor) -> Tensor:
    counts = targets != IGNORE_INDEX
    return -log_p.gather(-1, targets.where(counts, 0)[..., None]).squeeze(-1)[counts].mean()


def exp_overflows(logits: Tensor, targets: Tensor) -> Tensor:
    p = logits.exp() / logits.exp().sum(dim=-1, keepdim=True)
    return _mean_of_targets(p.log(), targets)


def sum_overflows(logits: Tensor, targets: Tensor) -> Tensor:
    return _mean_of_targets(logits - logits.exp().sum(dim=-1, keepdim=True).log(), targets)


def log_of_zero(logits: Tensor, targets: Tensor) -> Tensor:
    return _mean_of_targets(logits.softmax(dim=-1).log(), targets)


def log_of_nearly_zero(logits: Tensor, targets: Tensor) -> Tensor:
    return _mean_of_targets((logits.softmax(dim=-1) + 1e-9).log(), targets)


def flat_maximum(logits: Tensor, targets: Tensor) -> Tensor:
    shifted = logits - logits.max(dim=-1).values
    return _mean_of_targets(shifted - shifted.exp().sum(dim=-1).log(), targets)


def every_target_everywhere(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(dim=-1)[:, :, targets].mean()


def one_maximum(logits: Tensor, targets: Tensor) -> Tensor:
    shifted = logits - logits.max()
    return _mean_of_targets(shifted - shifted.exp().sum(dim=-1, keepdim=True).log(), targets)


def over_positions(logits: Tensor, targets: Tensor) -> Tensor:
    return _mean_of_targets(logits.log_softmax(dim=1), targets)


def sign_forgotten(logits: Tensor, targets: Tensor) -> Tensor:
    return -next_token_loss(logits, targets)


def summed(logits: Tensor, targets: Tensor) -> Tensor:
    return next_token_loss(logits, targets, "sum")


def ignored_in_the_count(logits: Tensor, targets: Tensor) -> Tensor:
    return next_token_loss(logits, targets, "sum") / targets.numel()


def ignored_not_ignored(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(dim=-1).gather(-1, targets[..., None]).mean()


def ignored_as_token_0(logits: Tensor, targets: Tensor) -> Tensor:
    return next_token_loss(logits, targets.clamp(min=0))


def mean_of_rows(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.stack([next_token_loss(row[None], ids[None]) for row, ids in zip(logits, targets, strict=True)]).mean()


# --- The learning rate ------------------------------------------------------------------------------------------------


def _schedule(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    return learning_rate_at(
        step, schedule="cosine", peak=peak, lowest=lowest, warmup_steps=warmup_steps, decay_steps=decay_steps
    )


def _with_progress(progress: float, step: int, peak: float, lowest: float, warmup_steps: int) -> float:
    """The schedule, with another idea of how far along the cosine is."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * progress))


def from_zero(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    if step < warmup_steps:
        return peak * step / warmup_steps
    return _schedule(step, peak, lowest, warmup_steps, decay_steps)


def one_step_too_long(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    if 0 < warmup_steps == step:
        return peak * (step + 1) / warmup_steps
    return _schedule(step, peak, lowest, warmup_steps, decay_steps)


def warmup_counts_as_decay(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    return _with_progress(min(step / decay_steps, 1), step, peak, lowest, warmup_steps)


def too_long_a_cosine(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    return _with_progress(min((step - warmup_steps) / decay_steps, 1), step, peak, lowest, warmup_steps)


def too_long_and_cut(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    if step >= decay_steps:
        return lowest
    return _with_progress((step - warmup_steps) / decay_steps, step, peak, lowest, warmup_steps)


def a_quarter_of_a_wave(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min((step - warmup_steps) / (decay_steps - warmup_steps), 1)
    return lowest + (peak - lowest) * math.cos(math.pi / 2 * progress)


def in_degrees(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    if step >= decay_steps:
        return lowest
    progress = (step - warmup_steps) / (decay_steps - warmup_steps)
    return _with_progress(180 / math.pi * progress, step, peak, lowest, warmup_steps)


def warmup_from_lowest(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    if step < warmup_steps:
        return lowest + (peak - lowest) * (step + 1) / warmup_steps
    return _schedule(step, peak, lowest, warmup_steps, decay_steps)


def rises_again(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    return _with_progress((step - warmup_steps) / (decay_steps - warmup_steps), step, peak, lowest, warmup_steps)


def down_to_zero(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    return _schedule(step, peak, 0.0, warmup_steps, decay_steps)


def on_top_of_lowest(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    falling = 0.0 if step < warmup_steps else lowest
    return falling + _schedule(step, peak, 0.0, warmup_steps, decay_steps)


def half_forgotten(step: int, peak: float, lowest: float, warmup_steps: int, decay_steps: int) -> float:
    right = _schedule(step, peak, lowest, warmup_steps, decay_steps)
    return right if step < warmup_steps else 2 * right - lowest


# --- Clipping ---------------------------------------------------------------------------------------------------------


def _factor(norm: Tensor, max_norm: float) -> float:
    return min(1.0, max_norm / float(norm)) if norm else 1.0


def each_alone(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    return [gradient * _factor(gradient.norm(), max_norm) for gradient in gradients]


def always_scaled(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    return [gradient * (max_norm / norm) for gradient in gradients]


def values_clamped(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    return [gradient.clamp(-max_norm, max_norm) for gradient in gradients]


def clamped_in_place(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    return [gradient.clamp_(-max_norm, max_norm) for gradient in gradients]


def unchanged(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    return list(gradients)


def norms_added(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    norm = sum(gradient.norm() for gradient in gradients)
    return [gradient * _factor(norm, max_norm) for gradient in gradients]


def root_forgotten(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    norm = sum((gradient**2).sum() for gradient in gradients)
    return [gradient * _factor(norm, max_norm) for gradient in gradients]


def brought_to_1(gradients: Sequence[Tensor], max_norm: float) -> list[Tensor]:
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    return [gradient / norm if norm > max_norm else gradient for gradient in gradients]


# --- A training step --------------------------------------------------------------------------------------------------


def not_divided(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        next_token_loss(model(inputs), targets).backward()
    optimizer.step()


def sums_not_divided(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        next_token_loss(model(inputs), targets, "sum").backward()
    optimizer.step()


def mean_of_means(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        (next_token_loss(model(inputs), targets) / len(micro_batches)).backward()
    optimizer.step()


def padding_counted(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    n_targets = sum(targets.numel() for _, targets in micro_batches)
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        (next_token_loss(model(inputs), targets, "sum") / n_targets).backward()
    optimizer.step()


def divided_by_micro_batches(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        (next_token_loss(model(inputs), targets, "sum") / len(micro_batches)).backward()
    optimizer.step()


def all_at_once(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    inputs, targets = (torch.cat(part) for part in zip(*micro_batches, strict=True))
    next_token_loss(model(inputs), targets).backward()
    optimizer.step()
    optimizer.zero_grad()


def zeroed_in_the_loop(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    n_targets = sum((targets != IGNORE_INDEX).sum() for _, targets in micro_batches)
    for inputs, targets in micro_batches:
        optimizer.zero_grad()
        (next_token_loss(model(inputs), targets, "sum") / n_targets).backward()
    optimizer.step()


def step_in_the_loop(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    n_targets = sum((targets != IGNORE_INDEX).sum() for _, targets in micro_batches)
    for inputs, targets in micro_batches:
        optimizer.zero_grad()
        (next_token_loss(model(inputs), targets, "sum") / n_targets).backward()
        optimizer.step()


def steps_add_up(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    n_targets = sum((targets != IGNORE_INDEX).sum() for _, targets in micro_batches)
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        (next_token_loss(model(inputs), targets, "sum") / n_targets).backward()
        optimizer.step()


def never_zeroed(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    n_targets = sum((targets != IGNORE_INDEX).sum() for _, targets in micro_batches)
    for inputs, targets in micro_batches:
        (next_token_loss(model(inputs), targets, "sum") / n_targets).backward()
    optimizer.step()


def no_step(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        next_token_loss(model(inputs), targets).backward()


def counted_on_the_way(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    n_targets = 0
    optimizer.zero_grad()
    for inputs, targets in micro_batches:
        n_targets += (targets != IGNORE_INDEX).sum()
        (next_token_loss(model(inputs), targets, "sum") / n_targets).backward()
    optimizer.step()


# The same faults in a loop that also averages means: people make two mistakes at once.


def zeroed_in_a_loop_of_means(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    for inputs, targets in micro_batches:
        optimizer.zero_grad()
        (next_token_loss(model(inputs), targets) / len(micro_batches)).backward()
    optimizer.step()


def last_mean_alone(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    for inputs, targets in micro_batches:
        optimizer.zero_grad()
        next_token_loss(model(inputs), targets).backward()
    optimizer.step()


def step_after_each_mean(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    for inputs, targets in micro_batches:
        optimizer.zero_grad()
        next_token_loss(model(inputs), targets).backward()
        optimizer.step()


def step_after_each_share(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    for inputs, targets in micro_batches:
        optimizer.zero_grad()
        (next_token_loss(model(inputs), targets) / len(micro_batches)).backward()
        optimizer.step()


def means_never_zeroed(model: nn.Module, optimizer: torch.optim.Optimizer, micro_batches: MicroBatches) -> None:
    for inputs, targets in micro_batches:
        (next_token_loss(model(inputs), targets) / len(micro_batches)).backward()
    optimizer.step()
