"""The small model that the chapters load is the one its recipe and its README speak of."""

import csv
import re
from pathlib import Path

import pytest
import yaml

from gptlib.checkpoints import load_checkpoint
from gptlib.commands.cli import main
from gptlib.corpus import load_corpus
from gptlib.datasets import create_dataloader
from gptlib.evaluation import evaluate_loss
from gptlib.generation import generate_text

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS, RECIPE = ROOT / "model_weights", ROOT / "configs" / "tales.yaml"


@pytest.fixture(scope="module")
def tales():
    return load_checkpoint(WEIGHTS / "tales.pth")


@pytest.fixture(scope="module")
def losses(tales):
    """The loss over the whole validation and the whole test part."""
    corpus = load_corpus(ROOT / "data" / "input.txt", tales.tokenizer)
    context_length = tales.model.config.context_length
    return {
        name: evaluate_loss(tales.model, create_dataloader(part, context_length=context_length))
        for name, part in {"validation": corpus.val, "test": corpus.test}.items()
    }


def test_it_is_small_enough_to_be_committed():
    assert (WEIGHTS / "tales.pth").stat().st_size <= 5e6


def test_its_config_is_the_recipes(tales):
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    assert recipe["model"].items() <= tales.model.config.to_dict().items()
    assert recipe["tokenizer"] == "bpe"
    assert tales.tokenizer.vocab_size == recipe["vocab_size"]


def test_its_losses_are_the_stated_ones(losses):
    text = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    stated = {name: float(re.search(rf"{name} loss (\d\.\d+)", text)[1]) for name in losses}
    assert losses == pytest.approx(stated, abs=0.01)  # training evaluates in bf16 where that is faster


def test_its_history_ends_at_the_loss_of_its_weights(losses):
    with (WEIGHTS / "tales.csv").open(encoding="utf-8") as file:
        best = min(float(row["val_loss"]) for row in csv.DictReader(file))
    assert losses["validation"] == pytest.approx(best, abs=0.01)


def test_it_writes_words_of_the_tales(tales):
    """Noise would have few: the untrained model has one in ten or so."""
    known = set(re.findall(r"[a-z]+", (ROOT / "data" / "input.txt").read_text(encoding="utf-8").lower()))
    written = generate_text(tales.model, tales.tokenizer, "Marta", 100, temperature=0.8, top_k=50, seed=0)
    words = re.findall(r"[a-z]+", written.lower())[:-1]  # the last one may be cut off
    assert len(words) > 40
    assert sum(word in known for word in words) > 0.9 * len(words)


def test_its_recipe_runs_in_miniature(tmp_path):
    out = tmp_path / "tales.pth"
    smaller = "--training.max_steps 2 --training.batch_size 2 --training.eval_batches 1 --training.precision fp32"
    narrow = "--model.emb_dim 24 --model.context_length 16"
    assert main(["train", "--config", str(RECIPE), "--out", str(out), *smaller.split(), *narrow.split()]) == 0
    assert load_checkpoint(out).model.config.emb_dim == 24
