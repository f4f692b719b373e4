"""`gptlib finetune` from entries to a model that answers, whole or with LoRA, and each wrong use in a sentence."""

import json
import re

import pytest
import torch
from training_helpers import identical, weights

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.commands.cli import main
from gptlib.finetuning import exact_match
from gptlib.instructions import read_instructions
from gptlib.lora import LoRAConfig, adapters_of, remove_lora
from gptlib.model import GPTModel
from gptlib.tokenizers import BPETokenizer, CharTokenizer
from gptlib.weights.adapters import load_adapter
from gptlib.weights.export import export_to_huggingface

WORDS = "cat fox hen owl sea mill road ferry".split()
ENTRIES = [
    {"instruction": f"{how}:", "input": f"{a} {b}", "output": out, "task": how}
    for a in WORDS
    for b in WORDS
    for how, out in (("First", a), ("Last", b))
]
TRAINING, HELD_OUT = ENTRIES[:100], ENTRIES[100:]
TOKENIZER = BPETokenizer.train("User: First: Last: Assistant: " + " ".join(WORDS) * 9, vocab_size=290)
QUICK = "-B 4 -l 0.01 --training.max_steps 6 --training.eval_interval 3 --training.precision fp32".split()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A workbook's folder of its own, with entries and a small model that knows nothing."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instructions.json").write_text(json.dumps(TRAINING))
    (tmp_path / "data" / "instructions_held_out.json").write_text(json.dumps(HELD_OUT))
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    shape = {"vocab_size": TOKENIZER.vocab_size, "context_length": 32, "emb_dim": 32, "n_heads": 2, "n_layers": 1}
    save_checkpoint("base.pth", GPTModel(shape | {"drop_rate": 0.1}), TOKENIZER)
    return tmp_path


def finetune(*arguments):
    return main(["finetune", *arguments])


def fails(capsys, *arguments):
    """The exit status and the message of a wrong use; the message is one line and no traceback."""
    with pytest.raises(SystemExit) as stop:
        finetune(*arguments)
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("gptlib: ")
    return stop.value.code, message


def rows_of(out):
    """The table of exact match: {task: (before, after, entries)}."""
    return {
        m[1]: (float(m[2]), float(m[3]), int(m[4]))
        for m in re.finditer(r"^  (\w+) +([\d.]+) +([\d.]+) +(\d+)$", out, re.M)
    }


def test_from_entries_to_answers(home, capsys):
    assert finetune("--load", "base.pth", "--out", "a.pth", *QUICK, "--training.max_steps", "60") == 0
    out = capsys.readouterr().out
    assert "100 entries of instructions.json: 95 to learn from, 5 for validation" in out
    assert "28 of instructions_held_out.json" in out
    assert "chat --load a.pth --template chat" in out
    found = load_checkpoint("a.pth")
    held_out = read_instructions("data/instructions_held_out.json").entries
    before = exact_match(load_checkpoint("base.pth").model, TOKENIZER, held_out)
    after = exact_match(found.model, found.tokenizer, held_out)
    expected = {task: (100 * before[task], 100 * share) for task, share in after.items()}
    assert {task: row[:2] for task, row in rows_of(out).items()} == {
        t: pytest.approx(e, abs=0.06) for t, e in expected.items()
    }
    assert sum(row[2] for row in rows_of(out).values()) == len(HELD_OUT)
    assert {p.name for p in home.glob("a.*")} == {"a.pth", "a.last.pth", "a.csv", "a.png"}


def test_lora_leaves_the_base_and_writes_an_adapter_that_makes_the_same_model(home, capsys):
    assert finetune("--load", "base.pth", "--out", "a.pth", "--lora", "--lora.rank", "2", *QUICK) == 0
    assert "Adapter: a.adapter" in capsys.readouterr().out
    tuned, base = load_checkpoint("a.pth").model, load_checkpoint("base.pth").model
    assert adapters_of(tuned) == {"default": LoRAConfig(rank=2)}
    load_adapter(base, "a.adapter")
    assert identical(weights(base), weights(tuned))
    remove_lora(tuned, "default")
    assert identical(weights(tuned), weights(load_checkpoint("base.pth").model))


@pytest.mark.parametrize("arguments", [["--lora"], ["--lora.alpha", "3"], ["--use-lora"]])
def test_each_way_to_ask_for_lora(home, arguments):
    finetune("--load", "base.pth", "--out", "a.pth", *arguments, *QUICK)
    alpha = 3.0 if "3" in arguments else 16.0
    assert adapters_of(load_checkpoint("a.pth").model) == {"default": LoRAConfig(alpha=alpha)}


def test_dropout_may_be_another_while_it_learns_also_of_a_model_with_an_adapter(home):
    finetune("--load", "base.pth", "--out", "a.pth", "--lora", "-d", "0", *QUICK)
    finetune("--load", "a.pth", "--out", "b.pth", "-d0.3", *QUICK, "-l", "1e-12")
    base, a, b = (load_checkpoint(name).model for name in ("base.pth", "a.pth", "b.pth"))
    assert [model.config.drop_rate for model in (base, a, b)] == [0.1, 0.0, 0.3]
    torch.testing.assert_close(weights(a), weights(b))
    remove_lora(a, "default")
    assert identical(weights(a), weights(base))


@pytest.mark.parametrize("lora", [[], ["--lora"]])
def test_resumed_it_takes_the_options_of_the_run_and_ends_in_the_same_weights(home, capsys, lora):
    options = [*QUICK, *lora, "--load", "base.pth", "--template", "alpaca", "--ratio", "0.2", "--bad", "skip"]
    options += ["--data", "short.json", "--training.lr_decay_steps", "30"]
    short = [{**entry, "input": entry["input"][:3], "output": "x"} for entry in TRAINING[::9]]
    (home / "short.json").write_text(json.dumps([*short, {"instruction": 3}]))
    torch.manual_seed(0)
    shape = {"vocab_size": TOKENIZER.vocab_size, "context_length": 200, "emb_dim": 16, "n_heads": 2, "n_layers": 1}
    save_checkpoint("base.pth", GPTModel(shape), TOKENIZER)
    finetune(*options, "--out", "whole.pth", "--training.max_steps", "12")
    whole_table = rows_of(capsys.readouterr().out)
    finetune(*options, "--out", "half.pth")
    capsys.readouterr()
    finetune("--resume", "half.last.pth", "--training.max_steps", "12")
    out = capsys.readouterr().out
    assert "Skipped 1 of" in out
    assert "--template alpaca" in out
    assert rows_of(out) == whole_table  # the first column is of the model before its first step
    whole, half = load_checkpoint("whole.last.pth"), load_checkpoint("half.last.pth")
    assert identical(weights(whole.model), weights(half.model))
    assert [row["step"] for row in half.training["history"]["rows"]] == [0, 3, 6, 9, 12]
    assert (home / "half.adapter").exists() == bool(lora)


def test_the_adapter_of_an_earlier_run_goes_along_with_its_model(home, capsys):
    for rank in ("2", "3"):
        finetune("--load", "base.pth", "--out", "a.pth", "--lora.rank", rank, *QUICK)
    finetune("--load", "base.pth", "--out", "a.pth", *QUICK)
    assert not (home / "a.adapter").exists()
    kept = [path for path in home.glob("a-*.pth") if ".last" not in path.name]
    assert len(kept) == 2
    ranks = set()
    for path in kept:
        tuned, base = load_checkpoint(path).model, load_checkpoint("base.pth").model
        ranks.add(load_adapter(base, path.with_suffix(".adapter")).rank)
        assert identical(weights(base), weights(tuned))
    assert ranks == {2, 3}


@pytest.mark.parametrize("options", [["--lora", "--training.precision", "bf16"], ["--lora"], []])
def test_a_model_of_16_bits_learns_in_32_and_its_run_can_be_resumed(home, options):
    save_checkpoint("base.pth", load_checkpoint("base.pth").model.to(torch.bfloat16), TOKENIZER)
    options = [*QUICK, *options]
    finetune("--load", "base.pth", "--out", "whole.pth", *options)
    half = ["--training.max_steps", "3", "--training.lr_decay_steps", "6"]
    finetune("--load", "base.pth", "--out", "half.pth", *options, *half)
    finetune("--resume", "half.last.pth", "--training.max_steps", "6")
    whole, half = load_checkpoint("whole.last.pth"), load_checkpoint("half.last.pth")
    assert {parameter.dtype for parameter in whole.model.parameters()} == {torch.float32}
    assert identical(weights(whole.model), weights(half.model))
    assert half.training["step"] == 6


def test_what_lora_has_taught_is_exported_with_the_model(home):
    from transformers import AutoModelForCausalLM

    finetune("--load", "base.pth", "--out", "clerk.pth", "--lora", *QUICK)
    assert main(["export", "clerk.pth", "folder"]) == 0
    assert "Corpus: instructions.json" in (home / "folder" / "README.md").read_text(encoding="utf-8")
    ours, ids = load_checkpoint("clerk.pth").model, torch.arange(32)[None]
    theirs = AutoModelForCausalLM.from_pretrained("folder").eval()
    with torch.no_grad():
        expected = ours(ids)
        torch.testing.assert_close(theirs(ids).logits, expected, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(expected, load_checkpoint("base.pth").model(ids), atol=1e-3)


def test_entries_without_tasks_or_a_held_out_file_are_trained_on_all_the_same(home, capsys):
    lines = [json.dumps({"instruction": entry["instruction"] + entry["input"], "output": "x"}) for entry in ENTRIES]
    (home / "mine.jsonl").write_text("\n".join(lines))
    assert finetune("--load", "base.pth", "--data", "mine.jsonl", "--no-save", *QUICK) == 0
    out = capsys.readouterr().out
    assert "of validation, too" in out
    assert "Exact match" not in out
    assert not list(home.glob("model_weights"))


def test_the_held_out_file_is_one_asked_for_and_the_sample_is_an_answer(home, capsys):
    (home / "other.json").write_text(json.dumps(HELD_OUT[:3]))
    finetune("--load", "base.pth", "--held-out", "other.json", "--out", "a.pth", *QUICK)
    assert "3 of other.json" in capsys.readouterr().out
    samples = load_checkpoint("a.last.pth").training["history"]["samples"]
    assert all(text.startswith("User: ") for _, text in samples)


def test_it_ends_early_where_asked(home, capsys):
    finetune(
        "--load",
        "base.pth",
        "--no-save",
        "--training.patience",
        "1",
        "-l",
        "0.5",
        "--training.max_steps",
        "90",
        "--training.eval_interval",
        "1",
    )
    assert "No better validation loss since step" in capsys.readouterr().out


def test_an_exported_folder_is_tuned_too_and_the_run_is_named_after_it(home):
    export_to_huggingface("base.pth", home / "exported")
    finetune("--load", "exported", *QUICK, "--lora")
    names = [p.name for p in (home / "model_weights").glob("*.pth") if ".last" not in p.name]
    assert len(names) == 1
    assert re.fullmatch(r"exported-lora-\d{4}\.\d\d\.\d\d_\d{6}\.pth", names[0])
    assert load_checkpoint(home / "model_weights" / names[0]).tokenizer.to_dict() == TOKENIZER.to_dict()


def test_a_recipe_of_the_repository_is_valid(capsys):
    with pytest.raises(SystemExit) as stop:
        finetune("--config", "instructions", "--print_config")
    assert stop.value.code == 0
    assert "muon" in capsys.readouterr().out


WRONG = [
    ("--load missing.pth", 1, "missing.pth"),
    ("--load bare.pth", 1, "no tokenizer"),
    ("--load chars.pth", 1, "<|endoftext|>"),
    ("--data missing.json", 1, "missing.json"),
    ("--data bad.json", 1, "Entry 2 of"),
    ("--held-out bad.json", 1, "Entry 2 of"),
    ("--bad ignore", 2, "--bad ignore"),
    ("--template none", 2, "--template none"),
    ("--ratio 1", 1, "ratio=1"),
    ("--drop-rate 1", 1, "drop_rate=1"),
    ("--lora.rank 0", 2, "rank=0"),
    ("--lora.target_modules [nothing]", 1, "nothing"),
    ("--training.patience 0", 2, "patience=0"),
    ("--training.learning_rate 0", 2, "learning_rate=0"),
    (f"--training.learning_rate 1{'0' * 400}", 1, "too large"),
    ("--training.epochs 1 --training.max_steps 1", 2, "Both epochs"),
    ("--resume missing.last.pth", 1, "missing.last.pth"),
]


@pytest.mark.parametrize(("arguments", "status", "fragment"), WRONG, ids=[case[0] for case in WRONG])
def test_wrong_use_is_one_sentence_and_writes_nothing(home, capsys, arguments, status, fragment):
    save_checkpoint("bare.pth", load_checkpoint("base.pth").model)
    chars = CharTokenizer.train("".join(map(chr, range(32, 127))) + "\n")
    save_checkpoint(
        "chars.pth",
        GPTModel({"vocab_size": chars.vocab_size, "context_length": 64, "emb_dim": 8, "n_heads": 2, "n_layers": 1}),
        chars,
    )
    (home / "bad.json").write_text(json.dumps([TRAINING[0], {"instruction": "x"}, TRAINING[1]]))
    before = sorted(home.rglob("*"))
    load = [] if "--load" in arguments or "--resume" in arguments else ["--load", "base.pth"]
    found, message = fails(capsys, *load, *arguments.split())
    assert (found, fragment in message) == (status, True), message
    assert [p for p in sorted(home.rglob("*")) if p not in before and p.suffix == ".pth"] == []


def test_lora_that_does_not_fit_is_refused_before_the_scores_which_take_a_while(home, monkeypatch, capsys):
    monkeypatch.setattr("gptlib.commands.finetune.exact_match", None)
    with pytest.raises(SystemExit):
        main("finetune --load base.pth --lora.rank 100000".split())
    assert "rank=100000" in capsys.readouterr().err


def test_a_run_that_resumes_has_its_model(home, capsys):
    finetune("--load", "base.pth", "--out", "a.pth", *QUICK)
    for more in (["--load", "base.pth"], ["--lora"]):
        status, message = fails(capsys, "--resume", "a.last.pth", *more)
        assert status == 2
        assert "--resume" in message
