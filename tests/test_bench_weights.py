"""bench/weights.py at toy size: every door in it opens, and gives what transformers gives."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gptlib.model import GPT2_CONFIGS

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import weights

    monkeypatch.setitem(weights.GPT2_CONFIGS, "toy", replace(GPT2_CONFIGS["124M"], emb_dim=24, n_heads=2, n_layers=2))
    return weights


def test_every_door_opens_and_tells_what_it_took(bench, tmp_path, capsys):
    count = bench.make_folders("toy", tmp_path)
    results = {}
    for source in bench.SOURCES:
        capsys.readouterr()
        bench.load_once(source, tmp_path)
        took = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert took["first"] >= took["load"] > 0
        results[source] = torch.load(tmp_path / "result.pt")
    expected = results["transformers"]
    assert count == 50257 * 24 + 1024 * 24 + 2 * (12 * 24**2 + 13 * 24) + 2 * 24
    for source, (precision, _) in bench.SOURCES.items():
        off = (results[source]["logits"] - expected["logits"]).abs().max() / expected["logits"].abs().max()
        assert off < {"fp32": 1e-5, "bf16": 0.05, "int8": 0.1}[precision], source
        if precision == "fp32":
            assert torch.equal(results[source]["tokens"], expected["tokens"])
