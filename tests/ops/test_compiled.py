"""The compiled kernels, each beside PyTorch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gptlib.ops import compiled

F32 = np.float32


def stored(tensor):
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def matrix(weight, transposed, rank=0, scale=None):
    n, k = weight.shape
    weight = stored(weight.t().contiguous() if transposed else weight)
    scale = np.ones(n, F32) if scale is None else scale
    down, up = torch.randn(rank, k).numpy(), torch.randn(n, rank).numpy()
    return compiled.Matrix(weight, transposed, scale, torch.randn(n).numpy(), down, up)


def weights(dtype, n, k):
    if dtype == torch.int8:
        return torch.randint(-127, 128, (n, k), dtype=dtype)
    return torch.randn(n, k).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8], ids=str)
@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "transposed"])
@pytest.mark.parametrize(("rows", "k", "n", "rank", "threads"), [(1, 64, 96, 0, 2), (2, 37, 53, 4, 3), (1, 3, 1, 2, 2)])
def test_a_layer_is_the_linear_layer_with_its_adapter(dtype, transposed, rows, k, n, rank, threads):
    weight, x = weights(dtype, n, k), torch.randn(rows, k)
    scale = torch.rand(n) if dtype == torch.int8 else torch.ones(n)
    layer = matrix(weight, transposed, rank, scale.numpy())
    out = np.full((rows, n), np.nan, F32)
    compiled.multiply(x.numpy(), layer, out, threads)
    exact = F.linear(x.double(), weight.double() * scale.double()[:, None], torch.from_numpy(layer.bias).double())
    exact += x.double() @ torch.from_numpy(layer.down).double().T @ torch.from_numpy(layer.up).double().T
    torch.testing.assert_close(torch.from_numpy(out).double(), exact, rtol=1e-5, atol=1e-4 * exact.abs().max().item())


def test_the_exponential_is_right_to_the_last_places_and_bounded():
    x = np.linspace(-87, 88, 100_001, dtype=F32)
    found = np.array([compiled._exp(number) for number in x[::50]], F32)
    assert (np.abs(found / np.exp(x[::50].astype(np.float64)) - 1) < 4e-7).all()
    assert compiled._exp(F32(-1e4)) < 2e-38
    assert np.isfinite(compiled._exp(F32(1e4)))
    assert compiled._exp(F32(0)) == 1


def test_layer_norm_and_gelu_are_pytorchs():
    x, weight, bias = 3 * torch.randn(2, 77) + 5, torch.randn(77), torch.randn(77)
    out = np.empty((2, 77), F32)
    compiled.normalize(x.numpy(), weight.numpy(), bias.numpy(), F32(1e-5), out)
    torch.testing.assert_close(torch.from_numpy(out), F.layer_norm(x, (77,), weight, bias), rtol=1e-4, atol=1e-5)
    x = torch.cat((torch.linspace(-12, 12, 999), torch.tensor([-1e4, 1e4, 0.0])))[None]
    expected = F.gelu(x, approximate="tanh")
    compiled._gelu(x.numpy())
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_attention_fills_the_cache_and_sees_what_it_may(dtype):
    B, H, D, S, length = 2, 3, 8, 12, 6
    first = np.array([0, 4])
    cache = [torch.randn(B, H, S, D).to(dtype) for _ in range(2)]
    before = [part.clone() for part in cache]
    x, weight = torch.randn(B, H * D), torch.randn(3 * H * D, H * D)
    layer, out = matrix(weight, transposed=False), np.empty((B, H * D), F32)
    compiled._attention(x.numpy(), layer, *map(stored, cache), first, length, out, 2)
    qkv = x @ weight.T + torch.from_numpy(layer.bias)
    q, *new = (part.view(B, H, D) for part in qkv.split(H * D, dim=1))
    close = {"rtol": 1e-2 if dtype == torch.bfloat16 else 1e-5, "atol": 1e-4}
    for part, old, rows in zip(cache, before, new, strict=True):
        torch.testing.assert_close(part[:, :, length].float(), rows, **close)
        part[:, :, length], old[:, :, length] = 0, 0
        assert torch.equal(part, old)  # nothing else was touched
        part[:, :, length] = rows.to(dtype)
    for b in range(B):
        seen = slice(first[b], length + 1)
        exact = F.scaled_dot_product_attention(q[b, :, None], *(part[b, :, seen].float() for part in cache))
        torch.testing.assert_close(torch.from_numpy(out[b]), exact.flatten(), rtol=1e-3, atol=1e-4)


def test_numbers_are_rounded_to_bf16_as_pytorch_rounds_them():
    numbers = torch.cat((torch.randn(5000), torch.tensor([0.0, -0.0, 1e-40, 3e38, torch.inf, -torch.inf])))
    ties = torch.randint(0, 0x7F80, (5000,), dtype=torch.int32).mul(2**16).add(2**15).view(torch.float32)
    for exact in (numbers, ties):
        row = torch.cat((exact, exact, exact))
        keys = torch.zeros(1, 1, len(exact), dtype=torch.bfloat16)
        compiled._store(row.numpy(), stored(keys), stored(keys.clone()), 0, 0)
        assert torch.equal(keys[0, 0], exact.to(torch.bfloat16))
