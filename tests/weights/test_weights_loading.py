"""A model by whatever name a person has for it, in Python and on the command line, and always without a network."""

import json

import pytest
import torch
from pretrained_files import IDS, OFFICIAL, save_folder, write_openai

from gptlib.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from gptlib.commands.cli import main
from gptlib.tokenizers import CharTokenizer, GPT2Tokenizer
from gptlib.weights.export import export_to_huggingface
from gptlib.weights.loading import load_model
from gptlib.weights.tokenizer_files import tokenizer_files

SMALL = OFFICIAL | {"vocab_size": 50257, "context_length": 32, "emb_dim": 12, "n_layers": 1}


@pytest.fixture(scope="session")
def pretrained(make_twins):
    """A small GPT-2 with the full vocabulary: ours, transformers'."""
    return make_twins(21, **SMALL)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A workbook's folder of its own, and no way to download."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "input.txt").write_text("The heron stood in the reeds and waited.\n" * 60)
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def fetch(*_, **__):
        raise AssertionError("nothing is to be downloaded here")

    monkeypatch.setattr("gptlib.weights.openai.fetch_openai_files", fetch)
    monkeypatch.setattr("gptlib.weights.huggingface.hub_folder", fetch)
    return tmp_path


def same(model, pretrained):
    torch.testing.assert_close(model(IDS), pretrained[0](IDS), rtol=1e-5, atol=1e-5)
    return True


def test_checkpoints_are_found_as_ever(home, make_model):
    tokenizer = CharTokenizer.train("abcdef")
    model = make_model(vocab_size=tokenizer.vocab_size)
    save_checkpoint("model_weights/mine.pth", model, tokenizer)
    for name in ("mine", "mine.pth", "model_weights/mine.pth", "model_weights", home / "model_weights" / "mine.pth"):
        loaded = load_model(name)
        assert torch.equal(loaded.model(IDS[:, :16] % 6), model(IDS[:, :16] % 6))
        assert loaded.tokenizer.to_dict() == tokenizer.to_dict()
    half = load_model("mine", dtype="bf16").model
    assert (half.device.type, half.token_embedding.weight.dtype) == ("cpu", torch.bfloat16)


def test_a_folder_of_either_kind(home, pretrained):
    save_folder(home / "hf", pretrained[1])
    write_openai(home / "openai", pretrained[1])
    for folder in ("hf", "openai", "openai"):
        loaded = load_model(folder)
        assert same(loaded.model, pretrained)
        assert isinstance(loaded.tokenizer, GPT2Tokenizer)
        assert loaded.training is None


def test_a_size_is_openais_where_it_is_there_and_else_hugging_faces(home, pretrained, monkeypatch):
    asked = []
    save_folder(home / "hub", pretrained[1])
    monkeypatch.setattr(
        "gptlib.weights.huggingface.hub_folder", lambda repository: asked.append(repository) or home / "hub"
    )
    loaded = load_model("gpt2-medium (355M)", dtype=torch.bfloat16)
    assert loaded.model.token_embedding.weight.dtype == torch.bfloat16
    assert asked == ["openai-community/gpt2-medium"]

    folder = write_openai(home / "model_weights" / "openai" / "355M", pretrained[1])
    monkeypatch.setattr("gptlib.weights.openai.fetch_openai_files", lambda size, models_dir: folder)
    assert same(load_model("355M").model, pretrained)
    for path in folder.glob("model.ckpt*"):
        path.unlink()
    assert same(load_model("gpt2-medium").model, pretrained)  # the converted copy
    assert len(asked) == 1


def test_a_file_of_that_very_name_comes_before_a_size(home, tiny_model):
    save_checkpoint("gpt2", tiny_model)
    assert load_model("gpt2").model.config == tiny_model.config


@pytest.mark.parametrize("change", ["as it is", "only tokenizer.json", "of another", "shorter", "damaged", "a list"])
def test_a_folders_tokenizer_is_taken_only_where_it_is_gpt2s(home, pretrained, change):
    folder = save_folder(home / "hf", pretrained[1])
    for name, text in tokenizer_files(GPT2Tokenizer(), 32).items():
        (folder / name).write_text(text, encoding="utf-8")
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocab["Ġthe"], vocab["Ġa"] = vocab["Ġa"], vocab["Ġthe"]
    texts = {"of another": json.dumps(vocab), "shorter": '{"a": 0}', "damaged": "{", "a list": "[]"}
    if change == "only tokenizer.json":
        (folder / "vocab.json").unlink()
    elif change in texts:
        (folder / "vocab.json").write_text(texts[change])
    known = load_model("hf").tokenizer
    assert (known is None) == (change in texts)


def test_generate_takes_folders_and_refuses_what_it_can_not_read(home, pretrained, capsys):
    save_folder(home / "hf", pretrained[1])
    write_openai(home / "openai", pretrained[1])
    written = []
    for name in ("hf", "openai"):
        command = ["generate", "--load", name, "--prompt", "The heron", "--max-new-tokens", "5", "--temperature", "0"]
        assert main(command) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1]
    assert written[0].startswith("The heron")
    (home / "hf" / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(SystemExit):
        main(["generate", "--load", "hf", "--prompt", "The"])
    assert "'hf' holds no tokenizer that gptlib knows" in capsys.readouterr().err


def test_training_goes_on_from_a_folder_and_the_result_can_leave_again(home, pretrained, capsys):
    save_folder(home / "hf", pretrained[1])
    before = (home / "hf" / "model.safetensors").read_bytes()
    options = "-B 2 --training.max_steps 2 --training.eval_interval 2 --training.learning_rate 1e-3".split()
    assert main(["train", "--init", "hf", "--out", "tuned.pth", *options, "--training.sample_prompt", "The"]) == 0
    tuned = load_checkpoint("tuned.pth")
    assert tuned.model.config.weight_tying
    assert isinstance(tuned.tokenizer, GPT2Tokenizer)
    assert not torch.allclose(tuned.model(IDS), pretrained[0](IDS), atol=1e-3)
    assert (home / "hf" / "model.safetensors").read_bytes() == before
    export_to_huggingface("tuned.pth", "again")
    assert torch.equal(load_model("again").model(IDS), tuned.model(IDS))
    assert "Corpus: input.txt" in (home / "again" / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("nowhere", FileNotFoundError, "nowhere"),
        ("nowhere/at.pth", FileNotFoundError, "at.pth"),
        ("data", FileNotFoundError, "data"),
        ("broken", CheckpointError, "config.json"),
        ("data/input.txt", CheckpointError, "input.txt"),
    ],
)
def test_what_is_no_model_is_one_sentence(home, name, error, words):
    (home / "broken").mkdir()
    (home / "broken" / "config.json").write_text("{}")
    with pytest.raises(error, match=words):
        load_model(name)


def test_bad_types_and_devices_are_refused_before_anything_is_read(home):
    with pytest.raises(ValueError, match="int8"):
        load_model("nowhere", dtype="int8")
    with pytest.raises(ValueError, match="abacus"):
        load_model("nowhere", "abacus")
