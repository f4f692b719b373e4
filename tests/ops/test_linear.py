"""Every kernel gives the matmul and the gradients of the definition, and a backend says which is used."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.ops.backend import KERNELS, Backend, pin_kernel, use_backend
from gptlib.ops.linear import MATMULS, Linear, can_pack, kernel_for, linear, pack_weight, packed_linear

SHAPES = st.sampled_from([(1,), (2,), (1, 1), (5,), (2, 3), (2, 1, 4)])
ONEDNN = Backend(fp32="onednn", fp32_transposed="onednn")


def by_definition(x, weight, bias):
    out = torch.einsum("...k,nk->...n", x.double(), weight.double())
    return out if bias is None else out + bias.double()


def test_each_kernel_has_a_name():
    assert tuple(MATMULS) == KERNELS


@settings(max_examples=100)
@given(
    rows=SHAPES,
    n=st.sampled_from([1, 7, 31, 32, 64, 97]),
    k=st.integers(1, 70),
    kernel=st.sampled_from(KERNELS),
    biased=st.booleans(),
    transposed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_each_kernel_is_the_matmul(rows, n, k, kernel, biased, transposed, seed):
    torch.manual_seed(seed)
    x, bias = torch.randn(*rows, k), torch.randn(n) if biased else None
    weight = torch.randn(k, n).t() if transposed else torch.randn(n, k)  # a mapped checkpoint has them transposed
    with torch.no_grad():
        out = linear(x, weight, bias, pin_kernel(kernel))
    assert out.shape == (*rows, n)
    torch.testing.assert_close(out, by_definition(x, weight, bias).float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("rows", [(1,), (7,), (2, 3)])
@pytest.mark.parametrize("frozen", [(), ("x",), ("weight",), ("bias",), ("weight", "bias"), ("x", "weight")])
def test_gradients_are_those_of_the_definition(kernel, rows, frozen):
    inputs = {"x": torch.randn(*rows, 12), "weight": torch.randn(8, 12), "bias": torch.randn(8)}
    for name, tensor in inputs.items():
        tensor.requires_grad_(name not in frozen)
    twins = {name: t.detach().double().requires_grad_(name not in frozen) for name, t in inputs.items()}
    linear(*inputs.values(), pin_kernel(kernel)).square().sum().backward()
    by_definition(*twins.values()).square().sum().backward()
    for name, tensor in inputs.items():
        if name in frozen:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, twins[name].grad.float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_transposed_weights_take_a_kernel_of_their_own_and_give_equal_numbers(rows):
    backend = Backend("onednn", "plain", "sliced", "vector", small_weight=0, small_matmul=0)
    dense, x = torch.randn(48, 32, requires_grad=True), torch.randn(rows, 32, requires_grad=True)
    transposed = dense.detach().t().contiguous().t().requires_grad_()
    expected = {1: ["sliced", "vector"], 2: ["sliced", "plain"], 40: ["onednn", "plain"]}
    assert [kernel_for(x, weight, backend) for weight in (dense, transposed)] == expected[rows]
    outs = [linear(x, weight, None, backend) for weight in (dense, transposed)]
    torch.testing.assert_close(*outs)
    dy = torch.randn_like(outs[0])
    found = [torch.autograd.grad(out, (x, w), dy) for out, w in zip(outs, (dense, transposed), strict=True)]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_changed_between_two_matmuls_counts(kernel):
    layer, x = Linear(16, 32), torch.randn(1, 16)
    layer.backend = pin_kernel(kernel)
    with torch.no_grad():
        layer(x)
        layer.weight.data.mul_(2)  # without PyTorch's knowing
        layer.bias.zero_()
        torch.testing.assert_close(layer(x), by_definition(x, layer.weight, layer.bias).float())


def test_autocast_other_types_and_empty_inputs_take_the_plain_kernel():
    weight, onednn = torch.randn(4, 3), pin_kernel("onednn")
    assert kernel_for(torch.randn(2, 3).double(), weight.double(), onednn) == "plain"
    assert kernel_for(torch.randn(2, 3).double(), weight, onednn) == "plain"
    assert kernel_for(torch.randn(0, 3), weight, onednn) == "plain"
    assert kernel_for(torch.randn(2, 3, device="meta"), weight.to("meta"), onednn) == "plain"
    assert kernel_for(torch.randn(2, 3), weight, onednn) == "onednn"
    with torch.autocast("cpu", torch.bfloat16):
        assert kernel_for(torch.randn(2, 3), weight, onednn) == "plain"
        assert linear(torch.randn(2, 3), weight, None, onednn).dtype == torch.bfloat16


def test_a_layer_asks_its_own_backend_and_a_copy_has_it_too():
    layer, x = Linear(8, 8), torch.randn(64, 8)
    layer.backend = pin_kernel("onednn")
    other = copy.deepcopy(layer)
    assert kernel_for(x, other.weight, other.backend) == "onednn"
    with use_backend(layer, None):
        assert layer.backend is None
    assert layer.backend == pin_kernel("onednn")
    assert "backend" not in layer.state_dict()


def test_packed_weights_multiply_as_in_bf16():
    if not can_pack():
        pytest.skip("this PyTorch has no blocks of oneDNN for bf16 on this processor")
    x, bias = torch.randn(3, 64), torch.randn(32)
    for weight in (torch.randn(32, 64), torch.randn(64, 32).t()):
        found = packed_linear(x, pack_weight(weight), bias.bfloat16())
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), by_definition(x, weight, bias).float(), atol=0.2, rtol=0.05)
