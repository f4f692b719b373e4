"""The names that people's own notebooks and scripts import stay where they are, and the library ships no content."""

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from setuptools import find_packages

from gptlib.exercises import registry

ROOT = Path(__file__).resolve().parents[1]

PUBLIC = {
    "gptlib.attention": "KVCache MultiHeadAttention",
    "gptlib.checkpoints": "Checkpoint CheckpointError load_checkpoint save_checkpoint",
    "gptlib.corpus": "load_tokens prepare_corpus split_text_file",
    "gptlib.datasets": "SlidingWindowDataset create_dataloader",
    "gptlib.evaluation": "evaluate_loss next_token_loss perplexity text_loss text_token_losses token_losses",
    "gptlib.exercises": "check hint progress reference reset solution",
    "gptlib.finetuning": "answer answers exact_match finetune",
    "gptlib.generation": "generate generate_text stream",
    "gptlib.lora": "LoRAConfig add_lora merge unmerge",
    "gptlib.model": "GPT2_CONFIGS GPTConfig GPTModel GPT_CONFIG_124M GPT_CONFIG_SMALL",
    "gptlib.plots": "plot_losses",
    "gptlib.tokenizers": "BPETokenizer CharTokenizer GPT2Tokenizer SentencePieceTokenizer WordTokenizer load_tokenizer",
    "gptlib.training": "TrainingConfig train",
    "gptlib.weights": "download_and_load_gpt2 load_hf_gpt2 load_model load_openai_gpt2 load_weights_into_gpt",
    "gptlib.widgets": "",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_stay_importable(module):
    found = vars(import_module(module))
    assert [name for name in PUBLIC[module].split() if name not in found] == []


def test_the_library_ships_no_exercise_and_no_wrong_answer():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = find_packages(str(ROOT), **settings["tool"]["setuptools"]["packages"]["find"])
    assert "gptlib.exercises" in shipped
    assert [name for name in shipped if "workbook" in name or "mistakes" in name] == []


def test_without_a_workbook_the_engine_says_where_to_start(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "workbook"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if Path(place or ".").resolve() != ROOT])
    with pytest.raises(ValueError, match="has no folder workbook; start in the workbook's folder, or set GPTLIB_HOME"):
        registry.content()


def test_a_copied_workbook_brings_its_own_exercises(tmp_path, monkeypatch):
    (tmp_path / "workbook" / "exercises").mkdir(parents=True)
    (tmp_path / "workbook" / "__init__.py").touch()
    (tmp_path / "workbook" / "exercises" / "__init__.py").write_text("CHAPTERS = ('mine',)\n")
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "workbook"]:
        monkeypatch.delitem(sys.modules, name)
    try:
        assert registry.chapters() == ("mine",)
    finally:  # what was imported here is forgotten before monkeypatch puts back what was there
        for name in [name for name in sys.modules if name.partition(".")[0] == "workbook"]:
            del sys.modules[name]
