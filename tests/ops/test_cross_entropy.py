"""The loss in chunks: the numbers and gradients of the definition, whatever is frozen, masked or cast."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib import loss as loss_module
from gptlib.datasets import IGNORE_INDEX, create_dataloader
from gptlib.evaluation import evaluate_loss, next_token_loss
from gptlib.loss import batch_loss
from gptlib.ops import cross_entropy
from gptlib.ops.cross_entropy import linear_cross_entropy
from gptlib.training import TrainingConfig, train


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(cross_entropy, "ROWS", {"cpu": 4})


@pytest.fixture
def many_logits(monkeypatch):
    """As if all logits were too many."""
    return lambda: monkeypatch.setattr(loss_module, "MANY_LOGITS", 1)


@settings(max_examples=80)
@given(
    n=st.integers(1, 13),
    vocab_size=st.integers(1, 40),
    channels=st.integers(1, 9),
    masked=st.sampled_from([0.0, 0.4, 1.0]),
    scale=st.sampled_from([1.0, 30.0]),
    wants=st.sampled_from([(True, True), (True, False), (False, True)]),
    alignment=st.sampled_from([1, 8]),
    seed=st.integers(0, 99),
)
def test_loss_and_gradients_are_those_of_the_definition(n, vocab_size, channels, masked, scale, wants, alignment, seed):
    """alignment: on a GPU the vocabulary is padded, and nothing of that may be seen."""
    torch.manual_seed(seed)
    hidden, weight = scale * torch.randn(n, channels), torch.randn(vocab_size, channels)
    targets = torch.randint(vocab_size, (n,)).masked_fill(torch.rand(n) < masked, IGNORE_INDEX)
    ours = [t.clone().requires_grad_(wanted) for t, wanted in zip((hidden, weight), wants, strict=True)]
    exact = [t.double().requires_grad_(wanted) for t, wanted in zip((hidden, weight), wants, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_entropy, "ALIGNMENT", {"cpu": alignment})
        loss = linear_cross_entropy(*ours, targets, IGNORE_INDEX)
    expected = F.cross_entropy(exact[0] @ exact[1].t(), targets, ignore_index=IGNORE_INDEX, reduction="sum")
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-4)
    (3 * loss).backward()
    (3 * expected).backward()
    for a, b in zip(ours, exact, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-3, atol=1e-3)


def test_under_autocast_it_is_as_exact_as_the_plain_way():
    torch.manual_seed(1)
    hidden, weight = torch.randn(10, 32), 0.1 * torch.randn(50, 32)
    targets = torch.randint(50, (10,))
    results = []
    for way in ("exact", "plain", "chunked"):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=way != "exact"):
            if way == "chunked":
                loss = linear_cross_entropy(h, w, targets, IGNORE_INDEX)
            else:
                loss = next_token_loss(F.linear(h, w)[None], targets[None], "sum")
        loss.backward()
        assert h.grad.dtype == w.grad.dtype == torch.float32
        results.append((loss.detach(), h.grad, w.grad))
    for exact, plain, chunked in zip(*results, strict=True):
        assert (chunked - exact).norm() <= 1.5 * (plain - exact).norm() + 1e-4 * exact.norm()


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_gets_the_same_gradients_either_way(make_model, many_logits, tied):
    model, ids = make_model(weight_tying=tied), torch.randint(61, (3, 9))
    inputs, targets = ids[:, :-1], ids[:, 1:].masked_fill(torch.rand(3, 8) < 0.3, IGNORE_INDEX)
    gradients = []
    for chunked in (False, True):
        if chunked:
            many_logits()
        model.zero_grad()
        loss = batch_loss(model, inputs, targets)
        loss.backward()
        gradients.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    for plain, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(chunked, plain, rtol=1e-4, atol=1e-5)


def test_training_and_evaluation_give_the_same_losses(make_model, many_logits):
    loader = create_dataloader(torch.randint(61, (400,)), context_length=16, batch_size=4)
    config = TrainingConfig(max_steps=6, eval_interval=3, precision="fp32", learning_rate=1e-2, warmup_steps=0)
    histories, losses = [], []
    for chunked in (False, True):
        if chunked:
            many_logits()
        model = make_model()
        histories.append(train(model, loader, loader, config, verbose=False))
        losses.append(evaluate_loss(model, loader))
    assert histories[1].step_losses == pytest.approx(histories[0].step_losses, rel=1e-4)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_evaluation_computes_no_gradient(make_model, many_logits, monkeypatch):
    many_logits()
    matmuls, model = [], make_model()
    monkeypatch.setattr(cross_entropy, "linear", lambda h, w, *_: matmuls.append(h) or F.linear(h, w))
    with torch.no_grad():
        assert not batch_loss(model, torch.ones(1, 4).long(), torch.ones(1, 4).long()).requires_grad
    assert len(matmuls) == 1  # the logits
