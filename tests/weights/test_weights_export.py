"""What leaves for transformers comes back with equal logits and ids, and an export is whole or not there."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from lora_helpers import with_adapter
from pretrained_files import OFFICIAL
from safetensors import safe_open

from gptlib.checkpoints import Checkpoint, CheckpointError, save_checkpoint
from gptlib.commands.cli import main
from gptlib.datasets import create_dataloader
from gptlib.generation import generate
from gptlib.lora import merge, switch
from gptlib.model import GPTConfig, GPTModel
from gptlib.tokenizers import BPETokenizer, CharTokenizer, GPT2Tokenizer
from gptlib.training import TrainingConfig, train
from gptlib.weights import export, load_hf_gpt2, model_card
from gptlib.weights.export import export_to_huggingface
from gptlib.weights.loading import load_model
from gptlib.weights.model_card import is_edited
from gptlib.weights.tokenizer_files import tokenizer_files

TEXT = "The heron stood in the reeds; the miller's cat, old and grey, watched. It's 4 o'clock.\n\n  Tea!\n" * 30
IDS = torch.arange(61)[None, :16]
FILES = {"model.safetensors", "config.json", "generation_config.json", "README.md"}
TOKENIZER_FILES = {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "gptlib_tokenizer.json"}

IN_A_FRESH_PROCESS = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
texts = json.load(open(sys.argv[2], encoding="utf-8"))
ids = [tokenizer(text)["input_ids"] for text in texts]
prompt = torch.tensor([ids[0][:8]])
with torch.no_grad():
    logits = model(prompt).logits
new = model.generate(prompt, max_new_tokens=5, do_sample=False)
config = [model.config.tie_word_embeddings, model.generation_config.eos_token_id, tokenizer.eos_token_id]
torch.save({"ids": ids, "decoded": [tokenizer.decode(i) for i in ids], "logits": logits, "new": new,
            "kind": type(model).__name__, "config": config}, sys.argv[3])
"""


@pytest.fixture(scope="session")
def bpe():
    return BPETokenizer.train(TEXT, 300)


@pytest.fixture(autouse=True)
def quiet(recwarn):
    """Those without a tokenizer warn."""


def reload(folder):
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(folder, attn_implementation="sdpa").eval()


@pytest.mark.parametrize(
    "changes",
    [
        {"qkv_bias": True, "weight_tying": True},
        {"qkv_bias": True},
        {"weight_tying": True},
        {},
        {"positions": "sinusoidal"},
        {"positions": "sinusoidal", "weight_tying": True, "qkv_bias": True},
        {"vocab_size": 64},
    ],
    ids=lambda changes: " ".join(changes) or "plain",
)
@torch.no_grad()
def test_any_of_our_models_has_the_same_logits_there(make_model, tmp_path, changes):
    model = make_model(5, **changes)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folder = export_to_huggingface(model, tmp_path / "a")
    theirs = reload(folder)
    expected = model(IDS)
    torch.testing.assert_close(theirs(IDS).logits, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    torch.testing.assert_close(load_hf_gpt2(folder)(IDS), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    tied = model.config.weight_tying and model.config.positions == "learned"
    assert theirs.config.tie_word_embeddings == tied
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert ("lm_head.weight" in file.keys()) != tied  # noqa: SIM118 - it is no dict
        assert file.metadata() == {"format": "pt"}
    assert {path.name for path in folder.iterdir()} == FILES


@pytest.mark.parametrize("tying", [True, False])
@pytest.mark.parametrize("state", ["active", "base alone", "merged"])
@torch.no_grad()
def test_a_model_with_adapters_goes_out_as_it_computes_and_stays_as_it_is(make_model, tmp_path, state, tying):
    model = with_adapter(with_adapter(make_model(5, weight_tying=tying), "a"), "b", target_modules=["c_fc"])
    if state == "base alone":
        switch(model, None)
    if state == "merged":
        merge(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folder = export_to_huggingface(model, tmp_path / "a")
    expected = model(IDS)
    for found in (reload(folder)(IDS).logits, load_hf_gpt2(folder)(IDS)):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert len(file.keys()) == 4 + 12 * 2 + (not tying)


def test_an_adapter_of_32_bits_is_merged_into_a_base_of_16(make_model, tmp_path):
    model = with_adapter(make_model(5).to(torch.bfloat16))
    folder = export_to_huggingface(model, tmp_path / "a")
    theirs = reload(folder)
    assert theirs.dtype == torch.bfloat16
    layer = model.blocks[0].attention.c_attn
    expected = layer.base_layer.weight + layer.adapters["default"].update()
    torch.testing.assert_close(theirs.transformer.h[0].attn.c_attn.weight.t().float(), expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_type_of_the_weights_is_kept(make_model, tmp_path, dtype):
    model = make_model(weight_tying=True).to(dtype)
    folder = export_to_huggingface(model, tmp_path / "a")
    assert reload(folder).dtype == dtype
    assert torch.equal(load_hf_gpt2(folder).token_embedding.weight, model.token_embedding.weight)


def test_a_compiled_model_and_one_in_training_export_as_they_are(make_model, tmp_path):
    model = make_model().train()
    export_to_huggingface(torch.compile(model), tmp_path / "a")
    export_to_huggingface(model.eval(), tmp_path / "b")
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == second


def odd_texts():
    """Texts with what tokenizers stumble over: every code point, and random mixtures."""
    chosen = random.Random(1)
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    letters = " \n\t'sa1.é中🐈\u3000\u200d\u00a0"
    mixed = ["".join(chosen.choices(letters, k=chosen.randrange(40))) for _ in range(200)]
    return ["", " ", "\n\n  a", "it's 'll 'LL", *mixed, "".join(points[i] + "a 1"[i % 3] for i in range(0, 70_000, 3))]


@pytest.mark.parametrize("kind", ["bpe", "gpt2"])
def test_in_a_fresh_process_logits_and_ids_are_equal(tmp_path, bpe, kind):
    tokenizer = bpe if kind == "bpe" else GPT2Tokenizer()
    torch.manual_seed(3)
    model = GPTModel(
        {"vocab_size": tokenizer.vocab_size + 3, "context_length": 64, "emb_dim": 16, "n_heads": 2, "n_layers": 2}
    ).eval()
    save_checkpoint(tmp_path / "a.pth", model, tokenizer)
    export_to_huggingface(tmp_path / "a.pth", tmp_path / "out")
    texts = [TEXT, *odd_texts(), "a<|endoftext|>b"]
    (tmp_path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    arguments = [str(tmp_path / name) for name in ("out", "texts.json", "result.pt")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = torch.load(tmp_path / "result.pt")
    for text, ids in zip(texts, result["ids"], strict=True):
        assert ids == tokenizer.encode(text, allowed_special="all"), repr(text[:80])
    assert result["decoded"] == [tokenizer.decode(ids) for ids in result["ids"]]
    prompt = torch.tensor([result["ids"][0][:8]])
    torch.testing.assert_close(result["logits"], model(prompt), rtol=1e-5, atol=1e-6)
    assert torch.equal(result["new"], generate(model, prompt, 5, temperature=0))
    assert result["kind"] == "GPT2LMHeadModel"
    assert result["config"] == [False, tokenizer.eos_id, tokenizer.eos_id]
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | TOKENIZER_FILES
    assert load_model(tmp_path / "out").tokenizer.to_dict() == tokenizer.to_dict()


def test_a_tokenizer_without_a_counterpart_is_said_and_stays_with_us(make_model, tmp_path):
    tokenizer = CharTokenizer.train(TEXT)
    model = make_model(vocab_size=tokenizer.vocab_size)
    with pytest.warns(UserWarning, match="no tokenizer for transformers: a CharTokenizer has no counterpart there"):
        export_to_huggingface(model, tmp_path / "a", tokenizer=tokenizer)
    assert {path.name for path in (tmp_path / "a").iterdir()} == FILES | {"gptlib_tokenizer.json"}
    assert "CharTokenizer" in (tmp_path / "a" / "README.md").read_text()
    assert load_model(tmp_path / "a").tokenizer.encode("The cat") == tokenizer.encode("The cat")


def test_two_tokens_of_the_same_bytes_are_refused():
    twice = BPETokenizer([(97, 98), (98, 99), (256, 99), (97, 257)])  # ab, bc, ab+c, a+bc
    with pytest.raises(ValueError, match="tokens 258 and 259 stand for the same bytes"):
        tokenizer_files(twice, 16)


@pytest.fixture
def trained(tmp_path, bpe, monkeypatch):
    """A run's files, as `gptlib train` leaves them."""
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    loader = create_dataloader(TEXT, tokenizer=bpe, context_length=16, batch_size=4)
    model = GPTModel({"vocab_size": 300, "context_length": 16, "emb_dim": 16, "n_heads": 2, "n_layers": 1})
    config = TrainingConfig(max_steps=4, eval_interval=2, device="cpu", precision="fp32")
    notes = {"data": str(tmp_path / "secret place" / "tales.txt")}
    train(model, loader, loader, config, tokenizer=bpe, out=tmp_path / "run.pth", notes=notes, verbose=False)
    return tmp_path / "run.pth"


def test_the_command_writes_a_card_that_knows_the_run(trained, capsys):
    assert main(["export", "run.pth", "out"]) == 0
    assert "AutoModelForCausalLM.from_pretrained('out')" in capsys.readouterr().out
    card = Path("out/README.md").read_text()
    for words in (
        "# out\n",
        "trained with gptlib",
        "Corpus: tales.txt",
        "Steps: 4",
        "Validation loss: ",
        "| emb_dim | 16 |",
        "300 tokens",
    ):
        assert words in card
    assert "license: unknown" in card
    assert "secret place" not in "".join(p.read_text(errors="replace") for p in Path("out").iterdir())
    # Without the state, the history's file still knows the losses.
    Path("run.last.pth").unlink()
    main(["export", "run.pth", "again"])
    assert "Steps: 4" in Path("again/README.md").read_text()
    Path("run.csv").unlink()
    main(["export", "run.pth", "third"])
    card = Path("third/README.md").read_text()
    assert "Steps" not in card
    assert "A GPT-2. (Say who trained it.)" in card


@pytest.mark.parametrize(
    ("variable", "config", "is_theirs"),
    [("", OFFICIAL, True), ("", OFFICIAL | {"n_layers": 1}, False), ("HF_ENDPOINT", OFFICIAL, False)],
    ids=["official", "of another shape", "from a mirror"],
)
def test_the_card_of_official_weights_says_whose_they_are_and_claims_no_more(
    make_model, tmp_path, monkeypatch, variable, config, is_theirs
):
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_weights").mkdir()
    save_checkpoint("model_weights/124M.pth", make_model(), training={"history": {"rows": [{"train_loss": 1.0}]}})
    for name in ("HF_ENDPOINT", "GPTLIB_OPENAI_URL"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setitem(model_card.GPT2_CONFIGS, "124M", GPTConfig.from_dict(OFFICIAL))
    model = make_model(**config)
    monkeypatch.setattr(export, "load_model", lambda _: Checkpoint(model, None, None))
    card = (export_to_huggingface("gpt2-small (124M)", "out") / "README.md").read_text()
    assert ("OpenAI's GPT-2 of the size 124M" in card) == ("Corpus: WebText" in card) == is_theirs
    assert ("A GPT-2. (Say who trained it.)" in card) != is_theirs
    assert "Training loss" not in card  # of the checkpoint that happens to have that name
    for claim in ("made with gptlib", "trained with gptlib"):
        assert claim not in card
    assert "written by `gptlib export`" in card


def test_the_card_of_a_folder_does_not_say_whose_weights_it_holds(make_model, tmp_path):
    export_to_huggingface(make_model(), tmp_path / "a")
    save_checkpoint(tmp_path / "a" / "b.pth", make_model(), training={"history": {"rows": [{"train_loss": 1.0}]}})
    card = (export_to_huggingface(tmp_path / "a", tmp_path / "c") / "README.md").read_text()
    assert "A GPT-2. (Say who trained it.)" in card
    assert "Training loss" not in card


def test_an_earlier_export_is_replaced_but_not_a_card_that_was_edited(make_model, tmp_path, bpe):
    folder = tmp_path / "a"
    export_to_huggingface(make_model(1, vocab_size=300), folder, tokenizer=bpe)
    first = (folder / "README.md").read_text()
    assert not is_edited(first)
    assert not is_edited(first.replace("\n", "\r\n"))
    export_to_huggingface(make_model(2, emb_dim=12), folder)
    assert {path.name for path in folder.iterdir()} == FILES  # nothing of the first is left
    second = (folder / "README.md").read_text()
    assert "| emb_dim | 12 |" in second
    edited = second.replace("(Say in a sentence what it is for.)", "It writes of herons.")
    (folder / "README.md").write_text(edited)
    assert is_edited(edited)
    export_to_huggingface(make_model(3), folder)
    assert (folder / "README.md").read_text() == edited
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_with_other_things_is_refused_and_untouched(make_model, tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    export_to_huggingface(make_model(), folder)  # empty is fine
    (folder / "thesis.docx").write_text("years of work")
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    with pytest.raises(ValueError, match=r"has 'thesis\.docx' in it, which would be lost"):
        export_to_huggingface(make_model(2), folder)
    assert before == sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").write_text("{}")
    (tmp_path / "c").write_text("a file")
    for name in "bc":
        with pytest.raises(ValueError, match="give"):
            export_to_huggingface(make_model(), tmp_path / name)


@pytest.mark.parametrize(
    "step",
    [
        "weights.export.write_safetensors",
        "weights.export.write_json",
        "weights.export.model_card",
        "utils.files._put_in_place",
    ],
)
def test_where_it_fails_nothing_is_there_and_the_earlier_one_is_as_it_was(make_model, tmp_path, monkeypatch, step):
    export_to_huggingface(make_model(1), tmp_path / "old")
    before = (tmp_path / "old" / "model.safetensors").read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"gptlib.{step}", fail)
    for name in ("old", "new"):
        with pytest.raises(CheckpointError, match=rf"'.*{name}' could not be written \(No space left on device\)"):
            export_to_huggingface(make_model(2), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "model.safetensors").read_bytes() == before


def test_a_full_disk_is_seen_before_anything_large_is_written(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(CheckpointError, match=r"0\.00 GB are needed"):
        export_to_huggingface(make_model(), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_the_parents_that_were_made_for_it_go_too(make_model, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(CheckpointError):
        export_to_huggingface(make_model(), tmp_path / "new" / "deep" / "a")
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_wait_for_each_other_and_the_second_stays(make_model, tmp_path, monkeypatch):
    """While the first is writing, the second neither writes nor clears away what it would take for left over."""
    models, writing, waiting, names = [make_model(1), make_model(2)], threading.Event(), threading.Event(), []
    write = export.write_safetensors

    def slow(path, tensors):
        names.append(path.parent.name)
        if len(names) == 1:
            writing.set()
            assert waiting.wait(30)
            time.sleep(0.2)  # the second has had time to do harm
            assert path.parent.is_dir()
        write(path, tensors)

    monkeypatch.setattr(export, "write_safetensors", slow)
    monkeypatch.setattr(export, "_say_who_is_first", lambda folder: waiting.set())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(export_to_huggingface, models[0], tmp_path / "a")
        assert writing.wait(30)
        second = pool.submit(export_to_huggingface, models[1], tmp_path / "a")
        assert first.result(60) == second.result(60) == tmp_path / "a"
    assert len(set(names)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert {path.name for path in (tmp_path / "a").iterdir()} == FILES
    assert torch.equal(load_hf_gpt2(tmp_path / "a").token_embedding.weight, models[1].token_embedding.weight)


def test_two_commands_at_once_are_both_content(trained, tmp_path):
    command = [sys.executable, "-m", "gptlib", "export", "run.pth", "out"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        said, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
        assert "Wrote out" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | TOKENIZER_FILES
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_export_that_was_killed_between_the_old_and_the_new_gives_the_old_back(make_model, tmp_path):
    export_to_huggingface(make_model(1), tmp_path / "a")
    card = (tmp_path / "a" / "README.md").read_text() + "Edited by hand."
    (tmp_path / "a" / "README.md").write_text(card)
    (tmp_path / "a").rename(tmp_path / ".a.0123abcd.old")
    (tmp_path / ".a.0123abcd.tmp").mkdir()
    export_to_huggingface(make_model(2), tmp_path / "a")
    assert (tmp_path / "a" / "README.md").read_text() == card
    (tmp_path / ".a.0123abcd.old").mkdir()  # of one that was killed just afterwards
    export_to_huggingface(make_model(3), tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_export_left_is_cleared_away(make_model, tmp_path):
    (tmp_path / ".a.0123abcd.tmp").mkdir()
    (tmp_path / ".a.lock").touch()
    (tmp_path / ".a.0123abcd.tmp" / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".ab.0123abcd.tmp").mkdir()  # of another
    export_to_huggingface(make_model(), tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ab.0123abcd.tmp", "a"]


def test_an_export_of_an_export_is_the_same(make_model, tmp_path):
    """Onto itself, too: its weights are mapped while the folder is replaced."""
    export_to_huggingface(make_model(qkv_bias=True, weight_tying=True), tmp_path / "a")
    before = (tmp_path / "a" / "model.safetensors").read_bytes()
    export_to_huggingface(tmp_path / "a", tmp_path / "a")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == before
    export_to_huggingface(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("export", 2, "checkpoint"),
        ("export nowhere.pth out", 1, "nowhere.pth"),
        ("export notes.txt out", 1, "notes.txt"),
        ("export notes.txt notes.txt", 1, "is a file"),
        ("export notes.txt .", 1, "would be lost"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, status, words):
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no checkpoint")
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == status
    assert words in message
    assert "Traceback" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
