"""What is measured on a machine becomes a backend; what leads by little is left to PyTorch."""

import math

import pytest
import torch

from gptlib.ops import tuning
from gptlib.ops.backend import Backend
from gptlib.ops.tuning import bf16_decoding_speedup, bf16_training_speedup, fastest_kernel, tune


@pytest.fixture
def seconds(monkeypatch):
    """The time of each kernel, whatever is multiplied."""
    found = {"plain": 1.0}
    monkeypatch.setattr(tuning, "seconds_by_kernel", lambda *_: found)
    return found


@pytest.mark.parametrize(
    ("times", "kernel"),
    [
        ({}, "plain"),
        ({"onednn": 0.5, "sliced": 0.6}, "onednn"),
        ({"onednn": 0.8, "sliced": 0.4}, "sliced"),
        ({"onednn": 0.9}, "plain"),
        ({"onednn": 3.0}, "plain"),
    ],
)
def test_a_kernel_has_to_lead_by_a_good_deal(seconds, times, kernel):
    seconds |= times
    assert fastest_kernel(1, torch.float32) == kernel


@pytest.mark.parametrize(("speedups", "width"), [({}, None), ({256: 1.4, 768: 2.0}, 256), ({768: 1.31}, 768)])
def test_all_choices_are_measured(seconds, monkeypatch, speedups, width):
    seconds |= {"onednn": 0.5}
    monkeypatch.setattr(tuning, "_attention_lead", lambda kernel, one_query: 2.0 if one_query else 1.1)
    monkeypatch.setattr(tuning, "bf16_training_speedup", lambda emb_dim, backend: speedups.get(emb_dim, 1.0))
    monkeypatch.setattr(tuning, "bf16_decoding_speedup", lambda backend: 1.5)
    assert tune() == Backend(*["onednn"] * 5, decode_attention=True, bf16_training_width=width, bf16_decoding=True)


def test_the_measurements_are_ratios_and_leave_the_random_state_alone():
    before = torch.get_rng_state()
    ratios = [bf16_training_speedup(16, Backend(), tokens=32), bf16_decoding_speedup(Backend())]
    ratios += [tuning._attention_lead(tuning.decode_attention, one_query=True)]
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)
    assert torch.equal(torch.get_rng_state(), before)
