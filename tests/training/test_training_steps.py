"""What a step is: a loop written by hand says the same, and any loader gives it its batches."""

import math
import signal

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from training_helpers import (
    CHARACTERS,
    At,
    Passes,
    Unknowing,
    assert_helpful,
    batches,
    config,
    identical,
    interrupt,
    quietly,
    tiny_model,
    train_loader,
    val_loader,
    weights,
)

from gptlib.datasets import IGNORE_INDEX, collate_padded
from gptlib.training import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


# A step.


def hand_written_loop(model, loader, lrs, decay=0.1, betas=(0.9, 0.99), clip=1.0):
    """AdamW from its paper, clipping by the global norm; decay by the name of the parameter. The losses."""
    averages = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in model.named_parameters()}
    losses = []
    for t, (lr, (inputs, targets)) in enumerate(zip(lrs, loader, strict=True), 1):
        loss = F.cross_entropy(model(inputs).permute(0, 2, 1), targets)
        names, parameters = zip(*model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        losses.append(loss.item())
        with torch.no_grad():
            for name, p, g in zip(names, parameters, gradients, strict=True):
                g = g * min(1.0, clip / (norm.item() + 1e-6)) if clip else g
                m, v = averages[name]
                m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
                v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
                if name.endswith("weight") and "norm" not in name:
                    p.mul_(1 - lr * decay)
                p.sub_(lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + 1e-8))
    return losses


@pytest.mark.parametrize("clip", [0.05, 0.0])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_steps_are_those_of_a_loop_written_by_hand(schedule, clip):
    loader = batches(6)
    theirs, ours = tiny_model(n_layers=2), tiny_model(n_layers=2)
    lrs = [0.0015, 0.003] + [0.003] * 4
    if schedule == "cosine":  # over four steps, from 0.003 down to 0.0003
        lrs[2:] = [0.0003 + 0.0027 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    losses = hand_written_loop(theirs, loader, lrs, clip=clip)
    history = quietly(ours, loader, cfg=config(learning_rate=0.003, lr_schedule=schedule, grad_clip=clip))
    assert history.step_losses == pytest.approx(losses, abs=1e-5)
    for name, tensor in weights(theirs).items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, atol=2e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("uneven", [False, True])
def test_accumulation_equals_the_large_batch(uneven):
    """Also where the targets that count are spread unevenly: the mean of means would be wrong (transformers #34191)."""
    large = batches(3, batch_size=8, length=16)
    if uneven:
        for n, (_, targets) in enumerate(large):
            for row, kept in enumerate([1, 16, 0, 0, 5, 3, 12, n]):
                targets[row, kept:] = IGNORE_INDEX
    small = [(i, t) for inputs, targets in large for i, t in zip(inputs.split(2), targets.split(2), strict=True)]
    models = [tiny_model(1), tiny_model(1)]
    common = {"max_steps": 3, "learning_rate": 1e-3, "warmup_steps": 0, "eval_interval": 10}
    a = quietly(models[0], large, cfg=config(**common))
    b = quietly(models[1], small, cfg=config(**common, gradient_accumulation_steps=4))
    assert a.step_losses == pytest.approx(b.step_losses, abs=1e-6)
    for name, tensor in weights(models[0]).items():
        torch.testing.assert_close(models[1].state_dict()[name], tensor, atol=1e-6, rtol=0, msg=name)


def test_a_batch_without_any_target_does_no_harm():
    loader = batches(2)
    loader[1][1].fill_(IGNORE_INDEX)
    model = tiny_model()
    history = quietly(model, loader, cfg=config(max_steps=4))
    assert history.step_losses[1] == history.step_losses[3] == 0.0
    assert all(p.isfinite().all() for p in model.parameters())


def test_frozen_parameters_stay_and_a_resumed_run_keeps_them_frozen(tmp_path):
    def frozen():
        model = tiny_model(drop_rate=0.2)
        for part in (model.token_embedding, model.blocks[0].feed_forward):
            part.requires_grad_(False)
        return model

    before = weights(frozen())
    whole, half = frozen(), frozen()
    quietly(whole, cfg=config(grad_clip=0.1))
    At(half, 4, interrupt)
    quietly(half, cfg=config(grad_clip=0.1), out=tmp_path / "gpt.pth")
    resumed = frozen()
    quietly(resumed, cfg=config(grad_clip=0.1), resume=tmp_path / "gpt.last.pth")
    for name, tensor in weights(whole).items():
        is_frozen = name.startswith(("token_embedding", "blocks.0.feed_forward"))
        assert torch.equal(tensor, before[name]) == is_frozen, name
    assert not resumed.token_embedding.weight.requires_grad
    assert identical(weights(resumed), weights(whole))


def test_tied_weights_stay_one_parameter_through_a_resumed_run(tmp_path):
    whole, half, resumed = (tiny_model(seed, weight_tying=True) for seed in (0, 0, 9))
    quietly(whole)
    At(half, 4, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    quietly(resumed, resume=tmp_path / "gpt.last.pth")
    assert resumed.output_head.weight is resumed.token_embedding.weight
    assert identical(weights(resumed), weights(whole))
    assert "output_head.weight" not in torch.load(tmp_path / "gpt.last.pth", weights_only=True)["model"]


# Loaders.


@pytest.mark.parametrize(
    ("windows", "epochs", "accumulation", "steps"), [(10, 1, 1, 5), (10, 3, 1, 15), (10, 3, 2, 7), (4, 1, 3, 1)]
)
def test_epochs_are_counted_to_steps(windows, epochs, accumulation, steps):
    options = {"epochs": epochs, "gradient_accumulation_steps": accumulation, "eval_interval": 100}
    history = quietly(tiny_model(), train_loader(windows), cfg=config(**options))
    assert len(history.step_losses) == steps
    assert history.rows[-1]["epoch"] == pytest.approx(steps * accumulation / (windows // 2))
    assert history.rows[-1]["tokens"] == steps * accumulation * 2 * 16


def test_neither_epochs_nor_steps_is_one_epoch():
    assert len(quietly(tiny_model(), train_loader(6), cfg=config(max_steps=None)).step_losses) == 3


def padded_dicts():
    pairs = [(list(range(n)), list(range(1, n + 1))) for n in (3, 7, 5, 2, 9, 4)]
    return [collate_padded(pairs[i : i + 2]) for i in (0, 2, 4)]


LOADERS = {
    "list": lambda: batches(3),
    "tuple": lambda: tuple(batches(3)),
    "TensorDataset": lambda: DataLoader(
        TensorDataset(*(torch.cat(part) for part in zip(*batches(3), strict=True))), batch_size=2
    ),
    "dicts": padded_dicts,
    "DataLoader that collates": lambda: DataLoader(
        [(list(range(n)), list(range(1, n + 1))) for n in (3, 7, 5, 2)], batch_size=2, collate_fn=collate_padded
    ),
    "stream": lambda: DataLoader(Unknowing(), batch_size=None),
    "passes": Passes,
}


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_any_loader_trains_and_resumes_where_it_was(tmp_path, make):
    """Epochs of two or three batches, stopped behind the first one: the order goes on, it does not begin again."""
    whole, half, resumed = tiny_model(0), tiny_model(0), tiny_model(9)
    complete = quietly(whole, make(), cfg=config(max_steps=8, eval_interval=4))
    At(half, 5, interrupt)
    assert quietly(half, make(), cfg=config(max_steps=8, eval_interval=4), out=tmp_path / "gpt.pth").interrupted
    history = quietly(resumed, make(), cfg=config(max_steps=8, eval_interval=4), resume=tmp_path / "gpt.last.pth")
    assert history.step_losses == complete.step_losses
    assert identical(weights(resumed), weights(whole))


@pytest.mark.parametrize("as_val", [False, True])
def test_a_foreign_loader_that_draws_random_numbers_resumes_to_the_same_weights_too(tmp_path, as_val):
    """A DataLoader draws from the global random state at each pass; dropout must not notice how many there were."""
    loader = LOADERS["TensorDataset"]
    train_on, val_on = (train_loader, loader) if as_val else (loader, lambda: None)
    whole, half, resumed = (tiny_model(seed, drop_rate=0.3) for seed in (0, 0, 9))
    quietly(whole, train_on(), val_on())
    At(half, 4, interrupt)
    quietly(half, train_on(), val_on(), out=tmp_path / "gpt.pth")
    quietly(resumed, train_on(), val_on(), resume=tmp_path / "gpt.last.pth")
    assert identical(weights(resumed), weights(whole))


def test_validation_does_not_disturb_the_run():
    models = [tiny_model(drop_rate=0.3) for _ in range(4)]
    quietly(models[0], cfg=config(eval_interval=6))
    quietly(models[1], cfg=config(eval_interval=1), val=val_loader())
    quietly(models[2], cfg=config(eval_interval=2), val=val_loader(), tokenizer=CHARACTERS)
    sampled = config(eval_interval=2, sample_prompt="abc", sample_tokens=5)
    history = quietly(models[3], cfg=sampled, tokenizer=CHARACTERS)
    assert [step for step, _ in history.samples] == [0, 2, 4, 6]
    assert all(text.startswith("abc") for _, text in history.samples)
    for model in models[1:]:
        assert identical(weights(model), weights(models[0]))


@pytest.mark.filterwarnings("error")
def test_a_sample_behind_a_long_prompt_stays_within_the_context():
    model = tiny_model()
    history = quietly(model, cfg=config(sample_prompt="abcabc", sample_tokens=500), tokenizer=CHARACTERS)
    assert {len(text) for _, text in history.samples} == {model.config.context_length}


def exhausted():
    return iter(batches(4))


class EmptySecondPass(Passes):
    def __iter__(self):
        self.passes += 1
        return iter(batches(3) if self.passes <= 2 else [])


@pytest.mark.parametrize("make", [exhausted, EmptySecondPass])
def test_a_loader_that_has_no_more_batches_is_told_and_not_waited_for(make):
    """A generator gives one pass, and waiting for the next would never end."""

    def too_long(signal_number, frame):
        pytest.fail("train() waits for batches that never come")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(10)
    try:
        with pytest.raises(ValueError, match="loader") as error:
            quietly(tiny_model(), make(), cfg=config(max_steps=50, eval_interval=100))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert_helpful(error, "loader")


def seen_by(model):
    """The inputs of every training step, as they come."""
    seen = []
    model.register_forward_pre_hook(lambda m, args: seen.append(args[0].tolist()) if m.training else None)
    return seen


def test_the_resumed_run_goes_on_in_the_data_and_an_epoch_has_each_window_once(tmp_path):
    """nanoGPT #467: the same batches again after each resumption."""
    cfg = config(max_steps=10, eval_interval=100)
    whole, parts = tiny_model(), [tiny_model() for _ in range(4)]
    expected = seen_by(whole)
    quietly(whole, cfg=cfg)
    assert len({str(row) for batch in expected[:5] for row in batch}) == 10  # 10 windows, 2 a step: 5 steps an epoch
    first, second = ([row for batch in epoch for row in batch] for epoch in (expected[:5], expected[5:]))
    assert sorted(first) == sorted(second)
    assert expected[:5] != expected[5:]
    seen = []
    for i, model in enumerate(parts):
        part = seen_by(model)
        if i < 3:
            At(model, (3, 2, 4)[i], interrupt)
        how = {"resume": tmp_path / "gpt.last.pth"} if i else {"out": tmp_path / "gpt.pth"}
        quietly(model, cfg=cfg, **how)
        seen += part
    assert seen == expected


def test_a_step_can_be_taken_by_itself():
    """Without `fit`, as a notebook might show it."""
    model, whole = tiny_model(), tiny_model()
    trainer = Trainer(model, batches(3), None, config(), verbose=False)
    for batch in batches(3):
        trainer.training_step([batch])
    history = quietly(whole, batches(3), cfg=config(max_steps=3, lr_decay_steps=6))
    assert trainer.history.step_losses == history.step_losses
    assert identical(weights(model), weights(whole))
