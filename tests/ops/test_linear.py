"""Every way of multiplying gives the product and the gradients of the definition, and the choice can be overruled."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.ops import linear as ways
from gptlib.ops.linear import Linear, fastest, forced, linear, way_for

SHAPES = st.sampled_from([(1,), (2,), (1, 1), (5,), (2, 3), (2, 1, 4)])


def by_definition(x, weight, bias):
    out = torch.einsum("...k,nk->...n", x.double(), weight.double())
    return out if bias is None else out + bias.double()


@settings(max_examples=100)
@given(
    rows=SHAPES,
    n=st.sampled_from([1, 7, 31, 32, 64, 97]),
    k=st.integers(1, 70),
    way=st.sampled_from(sorted(ways.WAYS)),
    biased=st.booleans(),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
def test_each_way_is_the_product(rows, n, k, way, biased, turned, seed):
    torch.manual_seed(seed)
    x, bias = torch.randn(*rows, k), torch.randn(n) if biased else None
    weight = torch.randn(k, n).t() if turned else torch.randn(n, k)  # a mapped checkpoint has its weights turned
    with forced(way), torch.no_grad():
        out = linear(x, weight, bias)
    assert out.shape == (*rows, n)
    torch.testing.assert_close(out, by_definition(x, weight, bias).float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("way", sorted(ways.WAYS))
@pytest.mark.parametrize("rows", [(1,), (7,), (2, 3)])
@pytest.mark.parametrize("frozen", [(), ("x",), ("weight",), ("bias",), ("weight", "bias"), ("x", "weight")])
def test_gradients_are_those_of_the_definition(way, rows, frozen):
    inputs = {"x": torch.randn(*rows, 12), "weight": torch.randn(8, 12), "bias": torch.randn(8)}
    for name, tensor in inputs.items():
        tensor.requires_grad_(name not in frozen)
    twins = {name: t.detach().double().requires_grad_(name not in frozen) for name, t in inputs.items()}
    with forced(way):
        linear(*inputs.values()).square().sum().backward()
    by_definition(*twins.values()).square().sum().backward()
    for name, tensor in inputs.items():
        if name in frozen:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, twins[name].grad.float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("way", sorted(ways.WAYS))
def test_what_is_changed_between_two_products_counts(way):
    layer, x = Linear(16, 32), torch.randn(1, 16)
    with forced(way), torch.no_grad():
        layer(x)
        layer.weight.data.mul_(2)  # behind PyTorch's back
        layer.bias.zero_()
        torch.testing.assert_close(layer(x), by_definition(x, layer.weight, layer.bias).float())


def test_autocast_other_types_and_empty_inputs_take_the_plain_way():
    weight = torch.randn(4, 3)
    assert way_for(torch.randn(2, 3).double(), weight.double()) == "plain"
    assert way_for(torch.randn(0, 3), weight) == "plain"
    with forced("onednn"):
        assert way_for(torch.randn(2, 3), weight) == "onednn"
        with torch.autocast("cpu", torch.bfloat16):
            assert way_for(torch.randn(2, 3), weight) == "plain"
            assert linear(torch.randn(2, 3), weight).dtype == torch.bfloat16


def test_a_way_that_fails_here_is_not_taken(monkeypatch):
    def broken(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(ways, "_chosen", {})
    monkeypatch.setattr(ways, "WAYS", {"plain": ways.WAYS["plain"], "onednn": broken, "sliced": broken})
    assert fastest(torch.float32, True) == fastest(torch.float32, False) == "plain"


def test_a_choice_can_be_taken_over_where_it_is_possible_here(monkeypatch):
    monkeypatch.setattr(ways, "_chosen", {})
    for way in ("onednn", "plain"):
        ways.settle(torch.float32, way)
        assert fastest(torch.float32) == way
    for way in (None, "magic", "sliced"):
        ways.settle(torch.float32, way)
        assert fastest(torch.float32) == "plain"


def test_the_choice_can_be_overruled_from_outside():
    code = "import torch, gptlib.ops.linear as l; print(l.way_for(torch.ones(1, 3), torch.ones(2, 3)))"
    for way in ("sliced", "plain"):
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"GPTLIB_LINEAR": way}, capture_output=True, text=True
        )
        assert done.stdout.strip() == way
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"GPTLIB_LINEAR": "magic"}, capture_output=True, text=True
    )
    assert "'magic'" in done.stderr
    assert "plain, onednn" in done.stderr


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match=r"'magic'.*plain, onednn"), forced("magic"):
        pass
