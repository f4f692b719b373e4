"""AdamW's groups, and the learning rate of each step, against values worked out by hand."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_helpers import SHAPE, tiny_model

from gptlib.training.optim import Muon, create_optimizer, orthogonalized
from gptlib.training.schedule import learning_rate_at

HAND = {"peak": 1.0, "lowest": 0.1, "warmup_steps": 4, "decay_steps": 12}
# The cosine runs over 8 steps: 0.1 + 0.9 * (1 + cos(pi * k / 8)) / 2.
COSINE = {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 4: 1.0, 6: 0.868198, 8: 0.55, 10: 0.231802, 12: 0.1, 13: 0.1, 999: 0.1}
# The line falls by 0.9 in 8 steps.
LINEAR = {0: 0.25, 3: 1.0, 4: 1.0, 6: 0.775, 8: 0.55, 12: 0.1, 13: 0.1}
CONSTANT = {0: 0.25, 3: 1.0, 4: 1.0, 8: 1.0, 999: 1.0}


@pytest.mark.parametrize(("schedule", "values"), [("cosine", COSINE), ("linear", LINEAR), ("constant", CONSTANT)])
def test_schedule_by_hand(schedule, values):
    for step, value in values.items():
        assert learning_rate_at(step, schedule=schedule, **HAND) == pytest.approx(value, abs=1e-6), step


def test_without_warm_up_the_first_step_has_the_peak():
    for schedule in ("cosine", "constant"):
        assert learning_rate_at(0, schedule=schedule, **HAND | {"warmup_steps": 0}) == 1.0


@given(
    warmup=st.integers(0, 50),
    decay=st.integers(1, 200),
    peak=st.floats(1e-6, 1.0),
    share=st.floats(0, 1),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_it_rises_then_never_rises_again_and_stays_between_its_ends(warmup, decay, peak, share, schedule):
    options = {"schedule": schedule, "peak": peak, "lowest": share * peak, "warmup_steps": warmup, "decay_steps": decay}
    rates = [learning_rate_at(step, **options) for step in range(260)]
    assert all(rate > 0 for rate in rates[:warmup])
    assert all(share * peak <= rate <= peak * (1 + 1e-12) for rate in rates[warmup:])
    assert all(a < b for a, b in pairwise(rates[:warmup]))
    assert all(a >= b for a, b in pairwise(rates[warmup:]))
    assert max(rates) == pytest.approx(peak)
    assert rates[-1] == pytest.approx(peak if schedule == "constant" else share * peak)


@pytest.mark.parametrize("tied", [True, False])
def test_matrices_decay_vectors_do_not_and_each_parameter_comes_once(tied):
    model = tiny_model(weight_tying=tied, qkv_bias=True, n_layers=2)
    optimizer = create_optimizer(model, 1e-3, 0.1, (0.9, 0.95))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays, free = (
        [names[id(p)] for group in optimizer.param_groups if group["weight_decay"] == decay for p in group["params"]]
        for decay in (0.1, 0.0)
    )
    assert sorted(decays + free) == sorted(names.values())
    per_block = {"attention.c_attn", "attention.c_proj", "feed_forward.c_fc", "feed_forward.c_proj"}
    matrices = {f"blocks.{i}.{name}.weight" for i in range(2) for name in per_block}
    matrices |= {"token_embedding.weight", "position_embedding.weight"} | (set() if tied else {"output_head.weight"})
    assert set(decays) == matrices
    assert sum(p.numel() for g in optimizer.param_groups for p in g["params"]) == model.parameter_count()


def test_decay_shrinks_a_matrix_without_gradient_and_spares_a_bias():
    model = tiny_model(qkv_bias=True)
    with torch.no_grad():
        model.final_norm.bias.fill_(1.0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    matrix, bias = model.output_head.weight.clone(), model.final_norm.bias.clone()
    create_optimizer(model, 0.1, 0.5, (0.9, 0.95)).step()
    torch.testing.assert_close(model.output_head.weight, matrix * (1 - 0.1 * 0.5))
    assert torch.equal(model.final_norm.bias, bias)


def test_frozen_parameters_are_left_to_nobody():
    model = tiny_model()
    model.token_embedding.requires_grad_(False)
    optimizer = create_optimizer(model, 1e-3, 0.1, (0.9, 0.95))
    assert all(p is not model.token_embedding.weight for g in optimizer.param_groups for p in g["params"])
    count = sum(p.numel() for g in optimizer.param_groups for p in g["params"])
    assert count == model.parameter_count() - SHAPE["vocab_size"] * SHAPE["emb_dim"]


def test_one_update_is_adamws_formula():
    """Loshchilov & Hutter 2019, algorithm 2, by hand: the first averages are bias-corrected to g and g squared."""
    model = tiny_model()
    optimizer = create_optimizer(model, 0.01, 0.1, (0.9, 0.95))
    p = model.output_head.weight
    before, g = p.detach().clone(), torch.randn_like(p)
    p.grad = g.clone()
    optimizer.step()
    expected = before * (1 - 0.01 * 0.1) - 0.01 * g / (g.abs() + 1e-8)
    torch.testing.assert_close(p.detach(), expected)
    assert math.isfinite(p.sum().item())


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 4, 9), (2, 9, 4), (1, 1, 5), (2, 32, 128)])
def test_orthogonalized_matrices_have_singular_values_near_1_and_keep_their_directions(shape):
    matrices = torch.randn(shape)
    found = orthogonalized(matrices).float()
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert ((values > 0.3) & (values < 1.35)).all()  # the smallest need more steps than five
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    nearest = u @ vh
    likeness = (found * nearest).sum((-2, -1)) / (found.norm(dim=(-2, -1)) * nearest.norm(dim=(-2, -1)))
    assert (likeness > 0.93).all()


def test_muon_steps_as_pytorchs_own():
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 24), (8, 24), (24, 8), (8, 8))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    mine = Muon(ours, lr=0.02, weight_decay=0.1)
    yours = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape)
            b.grad = a.grad.clone()
        mine.step()
        yours.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0.02)  # both work in bf16


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest():
    model = tiny_model(weight_tying=True, qkv_bias=True, n_layers=2)
    both = create_optimizer(model, 1e-3, 0.1, (0.9, 0.95), "muon")
    muon, adamw = both.optimizers
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    rest = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert taken | rest == set(names.values())
    assert not taken & rest
    assert len(taken) == 8
    assert all(name.startswith("blocks.") and name.endswith("weight") and "norm" not in name for name in taken)


def test_a_state_of_other_optimizers_is_refused():
    model = tiny_model()
    both, one = (create_optimizer(model, 1e-3, 0.1, (0.9, 0.95), name) for name in ("muon", "adamw"))
    with pytest.raises(ValueError, match="not one of these optimizers"):
        both.load_state_dict(one.state_dict())
