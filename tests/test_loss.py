"""The loss against a float64 formula, and its mean over every token of a text, whatever the loader."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from gptlib.datasets import SlidingWindowDataset, batches_from, collate_padded, create_dataloader
from gptlib.evaluation import evaluate_loss, next_token_loss, perplexity, text_token_losses
from gptlib.loss import evaluation_batches
from gptlib.model import GPTModel
from gptlib.tokenizers import GPT2Tokenizer

TOKENS = torch.randint(61, (300,), generator=torch.Generator().manual_seed(5)).tolist()


def token_losses(logits, targets):
    """-log softmax(logits)[target] of each token that counts, in float64."""
    losses = []
    for row, target in zip(logits.double().flatten(0, 1).numpy(), targets.flatten().tolist(), strict=True):
        if target != -100:
            shifted = row - row.max()
            losses.append(np.log(np.exp(shifted).sum()) - shifted[target])
    return np.array(losses)


def losses_of_windows(model, windows, context):
    """The losses of the targets of each window, computed one window at a time."""
    with torch.no_grad():
        return np.concatenate(
            [
                token_losses(
                    model(torch.tensor([TOKENS[start : start + context]])),
                    torch.tensor([TOKENS[start + 1 : start + context + 1]]),
                )
                for start in windows
            ]
        )


# The loss of a batch


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_is_the_float64_formula(scale, dtype):
    logits = (torch.randn(3, 5, 11) * scale).to(dtype)
    targets = torch.randint(11, (3, 5))
    expected = token_losses(logits, targets)
    assert next_token_loss(logits, targets).item() == pytest.approx(expected.mean(), rel=1e-5)
    assert next_token_loss(logits, targets, "sum").item() == pytest.approx(expected.sum(), rel=1e-5)


def test_undecided_is_log_of_the_vocabulary():
    assert next_token_loss(torch.zeros(2, 3, 50), torch.ones(2, 3, dtype=torch.long)).item() == pytest.approx(
        math.log(50)
    )


def test_ignored_targets_count_for_nothing():
    logits = torch.randn(2, 4, 7, requires_grad=True)
    targets = torch.tensor([[1, -100, 2, 3], [-100, -100, -100, 6]])
    loss = next_token_loss(logits, targets)
    assert loss.item() == pytest.approx(token_losses(logits.detach(), targets).mean(), rel=1e-5)
    assert len(token_losses(logits.detach(), targets)) == 4
    loss.backward()
    ignored = targets == -100
    assert logits.grad[ignored].count_nonzero() == 0
    assert (logits.grad[~ignored] != 0).all()


def test_a_batch_of_ignored_targets_has_loss_zero_and_no_gradient():
    logits = torch.randn(1, 3, 7, requires_grad=True)
    loss = next_token_loss(logits, torch.full((1, 3), -100))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.count_nonzero() == 0


# The loss of a text


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stride", [None, 4])
def test_the_whole_text_counts_each_token_the_same(tiny_model, drop_last, shuffle, stride):
    """18 windows (or 72), in batches of 7: the last is smaller, and what the training leaves out is read too."""
    loader = create_dataloader(
        TOKENS, batch_size=7, context_length=16, stride=stride, shuffle=shuffle, drop_last=drop_last
    )
    assert len(loader.dataset) % 7
    windows = range(0, 300 - 16, stride or 16)
    expected = losses_of_windows(tiny_model, windows, 16)
    assert len(expected) == 16 * len(loader.dataset)
    assert evaluate_loss(tiny_model, loader) == pytest.approx(expected.mean(), rel=1e-5)


def test_padded_batches_count_real_tokens_only(tiny_model):
    items = [(TOKENS[:n], TOKENS[1 : n + 1]) for n in (3, 9, 5, 12, 1)]
    loader = DataLoader(items, batch_size=2, collate_fn=collate_padded)
    with torch.no_grad():
        losses = [token_losses(tiny_model(torch.tensor([x])), torch.tensor([y])) for x, y in items]
    assert evaluate_loss(tiny_model, loader) == pytest.approx(np.concatenate(losses).mean(), rel=1e-5)


def test_a_batch_without_targets_does_not_count(tiny_model):
    x = torch.tensor([TOKENS[:8]])
    pair = (x, torch.tensor([TOKENS[1:9]]))
    with_an_empty_one = [pair, (x, torch.full((1, 8), -100))]
    assert evaluate_loss(tiny_model, with_an_empty_one) == pytest.approx(evaluate_loss(tiny_model, [pair]))


def test_dropout_is_off_meanwhile_and_on_again(make_model):
    model, plain = make_model(drop_rate=0.5).train(), make_model(drop_rate=0.0)
    loader = create_dataloader(TOKENS, batch_size=4, context_length=16)
    assert evaluate_loss(model, loader) == pytest.approx(evaluate_loss(plain, loader), rel=1e-6)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bf16_is_close(tiny_model):
    loader = create_dataloader(TOKENS, batch_size=6, context_length=16)
    assert evaluate_loss(tiny_model, loader, precision="bf16") == pytest.approx(
        evaluate_loss(tiny_model, loader), abs=0.05
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_evaluating_moves_nothing(tiny_model, precision):
    """Neither the order of training nor the random numbers of dropout depend on whether there was an evaluation."""
    options = {"batch_size": 4, "context_length": 16, "seed": 9}
    plain, evaluated = (batches_from(create_dataloader(TOKENS, **options)) for _ in range(2))
    loader = create_dataloader(TOKENS, **options)
    evaluated = batches_from(loader)
    state = torch.get_rng_state()
    for i in range(9):
        if i % 2:
            evaluate_loss(tiny_model, loader, 2, precision=precision)
        assert torch.equal(next(plain)[0], next(evaluated)[0])
    assert torch.equal(torch.get_rng_state(), state)


# Which batches


@settings(max_examples=50)
@given(
    n_windows=st.integers(4, 50),
    batch_size=st.integers(1, 4),
    n_batches=st.none() | st.integers(1, 15),
    shuffle=st.booleans(),
    passes=st.integers(0, 3),
)
def test_evaluation_batches_are_the_same_always(n_windows, batch_size, n_batches, shuffle, passes):
    tokens = np.arange(3 * n_windows + 1)  # window i begins with token 3 i
    loader = create_dataloader(tokens, batch_size=batch_size, context_length=3, shuffle=shuffle, seed=passes)
    next(batches_from(loader, 2 * passes))  # the loader's own order is somewhere
    batches = list(evaluation_batches(loader, n_batches))
    windows = [window // 3 for inputs, _ in batches for window in inputs[:, 0].tolist()]
    if n_batches is None or n_batches * batch_size >= n_windows:
        assert windows == list(range(n_windows))
    else:
        assert len(batches) == n_batches
        assert all(len(inputs) == batch_size for inputs, _ in batches)
        assert sorted(set(windows)) == windows  # in reading order, none twice
        steps = np.diff(windows)
        assert len(steps) == 0 or steps.max() - steps.min() <= 1  # evenly spread
        assert len(steps) == 0 or (windows[0], windows[-1]) == (0, n_windows - 1)
    again = create_dataloader(tokens, batch_size=batch_size, context_length=3, shuffle=not shuffle)
    for (x, y), (x2, y2) in zip(batches, evaluation_batches(again, n_batches), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
        assert torch.equal(x + 1, y)


def test_of_any_other_loader_the_first_batches_are_taken():
    assert list(evaluation_batches([3, 1, 4, 1, 5], 3)) == [3, 1, 4]
    assert list(evaluation_batches([3, 1], 3)) == [3, 1]
    assert list(evaluation_batches([3, 1, 4])) == [3, 1, 4]


@pytest.mark.parametrize("batch_size", [None, 1, 5, 50])
def test_pytorchs_own_loader_over_our_windows(tiny_model, batch_size):
    dataset = SlidingWindowDataset(TOKENS, 16)
    expected = losses_of_windows(tiny_model, range(0, 300 - 16, 16), 16).mean()
    assert evaluate_loss(tiny_model, DataLoader(dataset, batch_size)) == pytest.approx(expected, rel=1e-5)


# Perplexity


@pytest.mark.parametrize(
    ("loss", "expected"), [(0.0, 1.0), (math.log(50), 50.0), (1e6, math.inf), (math.inf, math.inf)]
)
def test_perplexity(loss, expected):
    assert perplexity(loss) == pytest.approx(expected)


def test_perplexity_of_no_number_is_no_number():
    assert math.isnan(perplexity(math.nan))


# Bad inputs


BAD_INPUTS = {  # what is done: a part of the message with the value, and one with the remedy
    "empty loader": (lambda model: evaluate_loss(model, []), "no target token", "check the data"),
    "no batches": (lambda model: evaluate_loss(model, islice([1], 0)), "no target token", "check the data"),
    "all ignored": (
        lambda model: evaluate_loss(model, [(torch.ones(1, 2).long(), torch.full((1, 2), -100))]),
        "no target token",
        "check the data",
    ),
    "another vocabulary": (
        lambda model: evaluate_loss(model, create_dataloader([61] * 40, context_length=8, batch_size=2)),
        "Token id 61",
        "is this the tokenizer that the model was trained with",
    ),
    "windows too long": (
        lambda model: evaluate_loss(model, create_dataloader(TOKENS, context_length=17, batch_size=2)),
        "17 tokens are more",
        "context_length=16",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_named_with_the_remedy(tiny_model, case):
    action, value, remedy = BAD_INPUTS[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is looked at below)
        action(tiny_model)
    assert value in str(error.value)
    assert remedy in str(error.value)


def test_the_tokens_of_a_text_with_their_losses():
    tokenizer, text = GPT2Tokenizer(), "Many hands make light work."
    shape = {"context_length": 16, "emb_dim": 12, "n_heads": 2, "n_layers": 1}
    model = GPTModel({"vocab_size": tokenizer.vocab_size, **shape}).eval()
    found = text_token_losses(model, tokenizer, text)
    ids = torch.tensor([tokenizer.encode(text)])
    assert "Many" + "".join(token for token, _ in found) == text
    expected = next_token_loss(model(ids[:, :-1]), ids[:, 1:]).item()
    assert sum(loss for _, loss in found) / len(found) == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(math.log(tokenizer.vocab_size), rel=0.05)
    for short in ("", "Many"):
        with pytest.raises(ValueError, match="at least two"):
            text_token_losses(model, tokenizer, short)
