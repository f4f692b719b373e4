"""What makes training faster or smaller changes no result, and a run that uses it resumes to the same weights."""

import pytest
import torch
from training_helpers import At, config, identical, interrupt, quietly, tiny_model, weights

from gptlib.ops import linear


@pytest.mark.parametrize("options", [{"optimizer": "muon"}, {"recompute": True}, {"lr_schedule": "linear"}], ids=str)
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, options):
    cfg = config(**options)
    whole, half, resumed = (tiny_model(seed, drop_rate=0.2) for seed in (0, 0, 9))
    quietly(whole, cfg=cfg)
    At(half, 4, interrupt)
    quietly(half, cfg=cfg, out=tmp_path / "gpt.pth")
    quietly(resumed, cfg=cfg, resume=tmp_path / "gpt.last.pth")
    assert identical(weights(resumed), weights(whole))


def test_recomputing_gives_the_same_weights(tmp_path):
    plain, again = tiny_model(0, drop_rate=0.2), tiny_model(0, drop_rate=0.2)
    quietly(plain, cfg=config())
    quietly(again, cfg=config(recompute=True))
    assert identical(weights(again), weights(plain))


def test_a_resumed_run_multiplies_as_the_run_that_it_goes_on_with(tmp_path, monkeypatch):
    half = tiny_model()
    monkeypatch.setattr(linear, "_chosen", {(torch.float32, False): "onednn"})
    At(half, 3, interrupt)
    quietly(half, out=tmp_path / "gpt.pth")
    monkeypatch.setattr(linear, "_chosen", {(torch.float32, False): "plain"})
    quietly(tiny_model(), resume=tmp_path / "gpt.last.pth")
    assert linear.fastest(torch.float32) == "onednn"
