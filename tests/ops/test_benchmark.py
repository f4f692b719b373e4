"""Medians of runs in turns, limits that are no fairy tales, the roofline's two laws, and profiles by kind."""

import os
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptlib.ops import benchmark
from gptlib.ops.benchmark import (
    BETWEEN,
    KINDS,
    Roofline,
    activation_bytes,
    alternate,
    describe,
    kind_of,
    machine,
    matmul_flops,
    median_seconds,
    memory_bandwidth,
    profiled,
    seconds_by_kernel,
    seconds_by_kind,
)

POSITIVE = st.floats(1e-3, 1e12)


class Clock:
    """A clock that moves only when a job says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(benchmark.time, "perf_counter", lambda: self.now)

    def job(self, *seconds):
        """A job that takes these seconds, run after run, and then the last of them."""
        left = list(seconds)

        def run():
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_the_first_run_does_not_count_and_the_median_of_the_others_does(monkeypatch):
    clock = Clock(monkeypatch)
    assert median_seconds(clock.job(100, 1, 5, 2), rounds=3) == pytest.approx(2)


def test_jobs_take_turns():
    order = []
    alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert "".join(order) == "ababab"


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="rounds=0"):
        median_seconds(time.time, rounds=0)


def test_a_limit_is_the_fastest_run(monkeypatch):
    clock = Clock(monkeypatch)
    assert benchmark._least_seconds(clock.job(0.2, 0.05, 0.2, 0.2), at_least=0.5) == pytest.approx(0.05)
    assert benchmark._least_seconds(clock.job(9, 7), at_least=0.5) == pytest.approx(7)  # two runs, however long


def test_rates_are_what_was_done_in_the_time(monkeypatch):
    monkeypatch.setattr(benchmark, "_least_seconds", lambda job: (job(), 0.5)[1])
    assert memory_bandwidth(4_000) == 8_000
    assert matmul_flops(torch.float32, 10) == 2 * 10**3 / 0.5


@given(POSITIVE, POSITIVE, POSITIVE, POSITIVE)
def test_the_roofline_is_the_slower_of_reading_and_computing(reads, computes, flops, n_bytes):
    roof = Roofline(reads, computes)
    assert roof.seconds(flops, n_bytes) == pytest.approx(max(flops / computes, n_bytes / reads))
    assert flops / roof.seconds(flops, n_bytes) == pytest.approx(roof.attainable(flops / n_bytes))
    assert roof.attainable(roof.ridge) == pytest.approx(computes)
    assert roof.attainable(roof.ridge / 2) == pytest.approx(computes / 2)


def test_the_machine_is_described_in_two_lines():
    found = machine()
    assert found["threads"] == torch.get_num_threads()
    assert all(found[name] > 0 for name in ("read_GB_s", "fp32_GFLOP_s", "bf16_GFLOP_s"))
    first, second = describe(found).splitlines()
    assert found["processor"] in first
    assert f"{found['read_GB_s']} GB/s" in second


def test_a_machine_that_hardly_multiplies_in_bf16_still_has_a_rate_to_divide_by(monkeypatch):
    monkeypatch.setattr(benchmark, "matmul_flops", lambda dtype: 2e8 if dtype == torch.bfloat16 else 3.6e9)
    found = machine()
    assert (found["fp32_GFLOP_s"], found["bf16_GFLOP_s"]) == (4, 1)


def test_each_kernel_is_timed_and_one_that_the_machine_lacks_is_left_out(monkeypatch):
    clock, seen = Clock(monkeypatch), []

    def kernel_of(name, seconds):
        def kernel(x, weight, bias):
            seen.append((name, x.dtype, tuple(x.shape), tuple(weight.shape), weight.is_contiguous()))
            clock.now += seconds

        return kernel

    def missing(x, weight, bias):
        raise RuntimeError("not on this processor")

    kernels = {name: kernel_of(name, seconds) for name, seconds in (("plain", 3.0), ("sliced", 1.0), ("vector", 2.0))}
    monkeypatch.setattr(benchmark, "MATMULS", kernels | {"onednn": missing})
    assert seconds_by_kernel(1, 4, 6) == pytest.approx({"plain": 3.0, "sliced": 1.0})
    assert {call[1:] for call in seen} == {(torch.float32, (1, 4), (6, 4), True)}
    assert seconds_by_kernel(9, 4, 6) == pytest.approx({"plain": 3.0})  # `sliced` is for few rows
    seen.clear()
    assert seconds_by_kernel(2, 4, 6, torch.bfloat16, True) == pytest.approx({"plain": 3.0, "vector": 2.0})
    assert {call[1:] for call in seen} == {(torch.bfloat16, (2, 4), (6, 4), False)}


def test_a_profile_by_kind_holds_all_of_the_time(capfd):
    layer = torch.nn.Linear(64, 64)
    x = torch.randn(32, 64)

    def job():
        loss = torch.nn.functional.gelu(layer(x)).log_softmax(-1).sum()
        loss.backward()
        time.sleep(0.01)

    profile = profiled(job, runs=2)
    seconds = seconds_by_kind(profile)
    assert {"matrix products", "LayerNorm, GELU", "softmax and loss", BETWEEN} <= set(seconds) <= {*KINDS, BETWEEN}
    assert list(seconds.values()) == sorted(seconds.values(), reverse=True)
    assert seconds[BETWEEN] >= 0.02  # asleep in no operation
    whole = next(event.cpu_time_total for event in profile.key_averages() if event.key == "job") / 1e6
    assert sum(seconds.values()) == pytest.approx(whole, rel=0.02)
    assert capfd.readouterr().err == ""


def test_the_error_stream_is_back_after_a_profile_of_a_job_that_fails(capfd):
    calls = []

    def fails_when_it_is_recorded():
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        profiled(fails_when_it_is_recorded)
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"
    assert "matrix products" in seconds_by_kind(profiled(lambda: torch.ones(8, 8) @ torch.ones(8, 8)))


def test_what_is_kept_is_counted_once_and_without_the_weights():
    x, w = torch.randn(10, 4, requires_grad=True), torch.randn(4, 4, requires_grad=True)
    assert activation_bytes(lambda: (x @ w).sum()) == 4 * (40 + 16)  # each is what the other's gradient needs
    assert activation_bytes(lambda: (x @ w).sum(), [w]) == 4 * 40
    assert activation_bytes(lambda: (x * x).sum()) == 4 * 40  # twice the same
    assert activation_bytes(lambda: (2 * x).sum()) == 0
    assert activation_bytes(lambda: x.exp().exp().sum()) == 2 * 4 * 40


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::baddbmm", "matrix products"),
        ("aten::mv", "matrix products"),
        ("mkldnn::_linear_pointwise", "matrix products"),
        ("aten::_weight_int8pack_mm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("aten::_log_softmax_backward_data", "softmax and loss"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::embedding_dense_backward", "copying and filling"),
        ("aten::add_", "adding, scaling"),
        ("aten::transpose", BETWEEN),
        ("autograd::engine::evaluate_function: AddmmBackward0", BETWEEN),
        ("Optimizer.step#AdamW.step", BETWEEN),
        ("job", BETWEEN),
    ],
)
def test_operations_are_told_apart(operation, kind):
    assert kind_of(operation) == kind
