"""Chapter 5: honest solutions of other kinds than the reference pass, and the reference agrees with PyTorch."""

import math

import pytest
import torch

from gptlib.evaluation import next_token_loss
from gptlib.exercises.judging import judge
from gptlib.exercises.registry import find
from workbook.exercises.training import clip_gradients, cross_entropy_by_hand, training_step


def cross_entropy_in_a_loop(logits, targets):
    total = count = 0
    for row, ids in zip(logits.double(), targets.tolist(), strict=True):
        for z, target in zip(row, ids, strict=True):
            if target != -100:
                top = z.max()
                total += top + (z - top).exp().sum().log() - z[target]
                count += 1
    return total / count


def cross_entropy_by_indexing(logits, targets):
    logits, targets = logits.flatten(0, 1), targets.flatten()
    logits, targets = logits[targets != -100], targets[targets != -100]
    return (logits.logsumexp(1) - logits[torch.arange(len(targets)), targets]).mean().item()


def warmup_cosine_in_tensors(step, peak, lowest, warmup_steps, decay_steps):
    if step < warmup_steps:
        return torch.tensor(peak) / warmup_steps * (step + 1)
    progress = torch.tensor((step - warmup_steps) / (decay_steps - warmup_steps)).clamp(max=1)
    return (peak + lowest) / 2 + (peak - lowest) / 2 * torch.cos(torch.pi * progress)


def warmup_cosine_with_three_returns(step, peak, lowest, warmup_steps, decay_steps):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if step >= decay_steps:
        return lowest
    return lowest + (peak - lowest) * math.cos(math.pi / 2 * (step - warmup_steps) / (decay_steps - warmup_steps)) ** 2


def clip_one_long_row(gradients, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    return [gradient / torch.clamp(norm / max_norm, min=1) for gradient in gradients]


def clip_copies_in_place(gradients, max_norm):
    gradients = [gradient.clone().double() for gradient in gradients]
    norm = math.sqrt(sum(gradient.norm().item() ** 2 for gradient in gradients))
    for gradient in gradients:
        if norm > max_norm:
            gradient *= max_norm / norm
    return gradients


def step_zeroed_at_the_end(model, optimizer, micro_batches):
    n = sum((targets != -100).sum().item() for _, targets in micro_batches)
    for inputs, targets in micro_batches:
        (next_token_loss(model(inputs), targets, "sum") / n).backward()
    optimizer.step()
    model.zero_grad()


def step_scaled_afterwards(model, optimizer, micro_batches):
    n = 0
    optimizer.zero_grad(set_to_none=False)
    for inputs, targets in micro_batches:
        next_token_loss(model(inputs), targets, "sum").backward()
        n += (targets != -100).sum()
    for parameter in model.parameters():
        parameter.grad /= n
    optimizer.step()


def step_of_weighted_means(model, optimizer, micro_batches):
    counts = [(targets != -100).sum() for _, targets in micro_batches]
    optimizer.zero_grad()
    for (inputs, targets), count in zip(micro_batches, counts, strict=True):
        logits = model(inputs)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="sum") / count.clamp(min=1)
        (loss * count / sum(counts)).backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("stable_cross_entropy", cross_entropy_by_hand),
        ("stable_cross_entropy", cross_entropy_in_a_loop),
        ("stable_cross_entropy", cross_entropy_by_indexing),
        ("warmup_cosine", warmup_cosine_in_tensors),
        ("warmup_cosine", warmup_cosine_with_three_returns),
        ("clip_gradients", clip_one_long_row),
        ("clip_gradients", clip_copies_in_place),
        ("training_step", step_zeroed_at_the_end),
        ("training_step", step_scaled_afterwards),
        ("training_step", step_of_weighted_means),
    ],
)
def test_an_honest_solution_passes(name, answer):
    judgement = judge(find(name)[1], answer)
    assert judgement.outcome == "correct", judgement


def test_clipping_is_pytorchs():
    gradients = [torch.full((2, 3), 0.7), torch.arange(4.0)]
    parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for max_norm in (0.5, 100.0):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        for parameter, clipped in zip(parameters, clip_gradients(gradients, max_norm), strict=True):
            assert torch.allclose(parameter.grad, clipped, atol=1e-5)


def test_the_training_step_is_the_librarys():
    """One step on unequal micro-batches, as `train` makes it."""
    from gptlib.model import GPTModel
    from gptlib.training import TrainingConfig, train

    shape = {"vocab_size": 11, "context_length": 6, "emb_dim": 8, "n_heads": 2, "n_layers": 1, "drop_rate": 0.0}
    ids = torch.randint(11, (2, 2, 7), generator=torch.Generator().manual_seed(0))
    targets = ids[..., 1:].clone()
    targets[1, :, 2:] = -100
    micro_batches = list(zip(ids[..., :-1], targets, strict=True))
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(GPTModel(shape))
    options = {"max_steps": 1, "gradient_accumulation_steps": 2, "learning_rate": 1e-2, "warmup_steps": 0}
    options |= {"weight_decay": 0.0, "grad_clip": 0, "precision": "fp32", "device": "cpu", "sample_prompt": None}
    train(models[0], micro_batches, None, TrainingConfig(**options), verbose=False)
    optimizer = torch.optim.AdamW(models[1].parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.0)
    training_step(models[1], optimizer, micro_batches)
    for theirs, ours in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(theirs, ours, atol=1e-4)
