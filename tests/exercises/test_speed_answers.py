"""Chapter 10: honest solutions of other kinds than the reference pass, and the reference agrees with the library."""

import math

import pytest
import torch

from gptlib.exercises.judging import judge
from gptlib.exercises.registry import find
from gptlib.generation.quantization import QuantizedLinear
from gptlib.ops.benchmark import Roofline
from workbook.exercises.speed import (
    decoding_bytes,
    model_flops_utilization,
    positions_computed,
    quantize_rows,
    slower_limit,
)


def intensity_of_tensors(rows, k, n, size):
    x, weight = torch.empty(rows, k, device="meta"), torch.empty(n, k, device="meta")
    moved = sum(tensor.numel() for tensor in (x, weight, x @ weight.t()))
    return torch.tensor(2.0 * rows * weight.numel(), dtype=torch.float64) / (moved * size)


def slower_by_sorting(flops, n_bytes, matmul_flops, memory_bandwidth):
    return max((flops / matmul_flops, "arithmetic"), (n_bytes / memory_bandwidth, "memory"))


def slower_by_the_ridge(flops, n_bytes, matmul_flops, memory_bandwidth):
    if flops / n_bytes > matmul_flops / memory_bandwidth:
        return flops / matmul_flops, "arithmetic"
    return n_bytes / memory_bandwidth, "memory"


def positions_in_a_loop(prompt, new):
    without = with_cache = kept = 0
    for step in range(new):
        without += prompt + step
        with_cache += prompt + step - kept
        kept = prompt + step
    return without, with_cache


def positions_by_gauss(prompt, new):
    return new * prompt + new * (new - 1) // 2, (prompt + new - 1) * (new > 0)


def bytes_layer_by_layer(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
    total = n_weights * weight_size
    for _ in range(n_layers):
        for _ in range(batch):
            total += (seen * emb_dim + seen * emb_dim) * cache_size
    return float(total)


def quantize_row_by_row(weight):
    whole, scales = torch.zeros(weight.shape, dtype=torch.int8), torch.zeros(len(weight), 1)
    for i, row in enumerate(weight.tolist()):
        largest = max(abs(w) for w in row)
        if largest:
            scales[i] = largest / 127
            whole[i] = torch.tensor([round(w * 127 / largest) for w in row])
    return whole, scales


def quantize_in_double(weight):
    weight = weight.double()
    scale = (weight.abs().max(dim=1).values / 127)[:, None].clamp(min=1e-30)
    return torch.round(weight / scale).clamp(-127, 127).to(torch.int8), scale


def utilization_in_two_halves(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
    forward = 2 * n_weights + n_layers * (2 * context_length * emb_dim + 2 * context_length * emb_dim)
    return 3 * forward / (peak / tokens_per_second)


def speedup_by_saved_shares(seconds, factors):
    whole = sum(seconds.values())
    saved = sum(seconds[part] / whole * (1 - 1 / factor) for part, factor in factors.items())
    return 1 / (1 - saved)


def speedup_in_a_loop(seconds, factors):
    after = 0.0
    for part in seconds:
        after += seconds[part] / factors[part] if part in factors else seconds[part]
    return math.fsum(seconds.values()) / after


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("arithmetic_intensity", intensity_of_tensors),
        ("slower_limit", slower_by_sorting),
        ("slower_limit", slower_by_the_ridge),
        ("positions_computed", positions_in_a_loop),
        ("positions_computed", positions_by_gauss),
        ("decoding_bytes", bytes_layer_by_layer),
        ("quantize_rows", quantize_row_by_row),
        ("quantize_rows", quantize_in_double),
        ("model_flops_utilization", utilization_in_two_halves),
        ("total_speedup", speedup_by_saved_shares),
        ("total_speedup", speedup_in_a_loop),
    ],
)
def test_an_honest_solution_passes(name, answer):
    judgement = judge(find(name)[1], answer)
    assert judgement.outcome == "correct", judgement


def test_the_slower_limit_is_the_rooflines():
    for flops, n_bytes in ((1e9, 1e9), (4e11, 1e9)):
        assert slower_limit(flops, n_bytes, 2e11, 4e10)[0] == pytest.approx(
            Roofline(4e10, 2e11).seconds(flops, n_bytes)
        )


def test_the_bytes_of_a_step_are_those_of_the_librarys_tensors(make_model):
    model = make_model()
    cache = model.new_cache(3, 7)
    multiplying = model.parameter_count(embeddings=False)
    c = model.config
    expected = 4 * multiplying + cache.keys.nbytes + cache.values.nbytes
    assert decoding_bytes(multiplying, 4, c.n_layers, c.emb_dim, 3, 7, 4) == expected


def test_the_positions_are_those_that_the_model_is_run_on(make_model, monkeypatch):
    from gptlib.generation import generate

    model, lengths = make_model(), []
    monkeypatch.setattr(type(model), "_check_ids", lambda self, ids, *_: lengths.append(ids.shape[1]))
    for use_cache in (False, True):
        generate(model, torch.zeros(1, 4, dtype=torch.long), 9, temperature=0, use_cache=use_cache)
    assert (sum(lengths[:9]), sum(lengths[9:])) == positions_computed(4, 9)


def test_rows_are_quantized_as_the_library_does_up_to_the_rounding_of_its_scale():
    weight = torch.randn(5, 64)
    layer = QuantizedLinear(weight, None)
    whole, scale = quantize_rows(weight)
    assert ((whole * scale - weight).abs() <= scale / 2 + 1e-6).all()
    assert (layer.weight - whole).abs().max() <= 1
    torch.testing.assert_close(layer.scale.float(), scale[:, 0], rtol=2**-8, atol=0)


def test_the_utilization_counts_as_the_model_does(make_model):
    model = make_model()
    c = model.config
    share = model_flops_utilization(
        10.0, model.parameter_count(embeddings=False), c.n_layers, c.emb_dim, c.context_length, 1e6
    )
    assert share == pytest.approx(10 * model.flops_per_token() / 1e6)
