"""Notebooks that download weights, run where there is no network: they get small random GPT-2s by the real clients."""

import json
import os
import subprocess
import sys

from tools.stand_ins import NOTEBOOKS, SHAPES, served_to

BOTH_SOURCES = """
import json, torch
from gptlib.weights import load_hf_gpt2, load_openai_gpt2
ids = torch.tensor([[464, 3290, 318]])
found = {}
for size in ("gpt2-small (124M)", "1558M"):
    ours, theirs = load_openai_gpt2(size), load_hf_gpt2(size)
    a, b = ours(ids), theirs(ids)
    found[size] = [ours.config.emb_dim, ours.config.n_layers, float(a.std()), float((a - b).abs().max())]
print(json.dumps(found))
"""


def test_both_sources_give_the_same_small_model_and_everything_stays_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "not here"))
    before = dict(os.environ)
    with served_to(tmp_path, ["01_tokenizers.ipynb", "inference.ipynb"]):
        run = subprocess.run([sys.executable, "-c", BOTH_SOURCES], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for size, (width, blocks, spread, difference) in json.loads(run.stdout).items():
        expected_width, _, expected_blocks = SHAPES["124M" if "124M" in size else size]
        assert (width, blocks) == (expected_width, expected_blocks)
        assert spread > 0.1
        assert difference < 1e-4 * spread
    assert dict(os.environ) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["huggingface", "model_weights"]


def test_other_notebooks_need_none(tmp_path):
    before = dict(os.environ)
    with served_to(tmp_path, ["01_tokenizers.ipynb", "train.ipynb"]):
        assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []
    assert len(NOTEBOOKS) == 3
