"""The command line as a person meets it: it works from text to sample, and every wrong use is one sentence."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gptlib.checkpoints import load_checkpoint
from gptlib.commands.cli import COMMANDS, main
from gptlib.ops.backend import Backend, _default

TEXT = (
    "".join(f"The {animal} sat by the {place}.\n" for animal in ("cat", "fox", "hen") for place in ("sea", "mill")) * 60
)
SMALL = "-c 16 -e 32 -H 2 -b 1 -d 0 --tokenizer char --training.max_steps 6 --training.eval_interval 3 -B 4".split()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A workbook's folder of its own, with a small text and no recipes."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "input.txt").write_text(TEXT)
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.setenv("GPTLIB_DATA", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    _default.cache_clear()
    yield tmp_path
    _default.cache_clear()


def fails(capsys, arguments: list[str]) -> tuple[int, str]:
    """The exit status and the message of a wrong use; the message is one line and no traceback."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("gptlib: ")
    assert "Traceback" not in message
    return stop.value.code, message


def test_from_text_to_sample(home, capsys):
    assert main(["train", *SMALL, "--out", "a.pth", "-g", "1"]) == 0
    out = capsys.readouterr().out
    assert "step 6" in out
    assert 'gptlib generate --load a.pth --prompt "..."' in out
    assert (home / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len((home / "a.csv").read_text().splitlines()) == 4  # header, steps 0, 3, 6
    assert sorted(p.name for p in (home / "data").iterdir()) == ["input.txt"]  # nothing is written beside the text

    assert main("generate 2 --load a.pth --max-new-tokens 20 --seed 1 --prompt The".split()) == 0
    assert capsys.readouterr().out.count("The") >= 2
    assert main("generate --load a --max-new-tokens 20 --seed 1 --prompt The".split()) == 0
    first = capsys.readouterr().out
    assert main("generate --load . --max-new-tokens 20 --seed 1 --prompt The".split()) == 0
    assert capsys.readouterr().out == first


def test_the_run_is_named_by_its_shape_and_date(home):
    main(["train", *SMALL])
    names = [p.name for p in (home / "model_weights").glob("*.pth") if ".last" not in p.name]
    assert len(names) == 1
    assert re.fullmatch(r"gpt\.c16\.e32\.h2\.b1-\d{4}\.\d\d\.\d\d_\d{6}\.pth", names[0])


def test_no_save_writes_nothing(home):
    before = sorted(home.rglob("*"))
    assert main(["train", *SMALL, "--no-save"]) == 0
    assert sorted(home.rglob("*")) == before


def test_resume_takes_the_options_of_the_run_and_ends_in_the_same_weights(home):
    main(["train", *SMALL, "--out", "whole.pth"])
    main(["train", *SMALL, "--training.max_steps", "3", "--training.lr_decay_steps", "6", "--out", "half.pth"])
    main(["train", "--resume", "half.last.pth", "--training.max_steps", "6"])
    whole, half = load_checkpoint("whole.last.pth"), load_checkpoint("half.last.pth")
    for a, b in zip(whole.model.parameters(), half.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert half.training["config"]["batch_size"] == 4
    assert [row["step"] for row in half.training["history"]["rows"]] == [0, 3, 6]


def test_init_starts_a_new_run_from_the_weights(home, capsys):
    main(["train", *SMALL, "--out", "a.pth"])
    capsys.readouterr()
    main(
        ["train", "--init", "a.pth", "--out", "b.pth", "--training.max_steps", "1", "--training.learning_rate", "1e-9"]
    )
    a, b = load_checkpoint("a.pth"), load_checkpoint("b.pth")
    assert b.model.config == a.model.config
    assert b.tokenizer.to_dict() == a.tokenizer.to_dict()
    torch.testing.assert_close(a.model.output_head.weight, b.model.output_head.weight)


def test_windows_may_be_shorter_than_the_model_sees_also_when_resumed(home, capsys):
    main(["train", *SMALL, "--out", "a.pth"])
    capsys.readouterr()
    main(["train", "--init", "a.pth", "--out", "b.pth", "--window", "8", "-B", "4", "--training.max_steps", "2"])
    assert "2 steps of 32 tokens" in capsys.readouterr().out
    assert load_checkpoint("b.pth").model.config.context_length == 16
    main(["train", "--resume", "b.last.pth", "--training.max_steps", "3"])
    assert "3 steps of 32 tokens" in capsys.readouterr().out
    for window, allowed in {"0": "1 or more", "17": "1 to 16"}.items():
        status, message = fails(capsys, ["train", "--init", "a.pth", "--no-save", "--window", window])
        assert status == 2
        assert f"--window {window}" in message
        assert allowed in message


def test_prepared_data_trains_to_the_same_losses_as_the_text(home):
    assert main("prepare data/input.txt --tokenizer char --out data/small".split()) == 0
    main(["train", *SMALL, "--out", "text.pth"])
    main(["train", *SMALL, "--data", "data/small", "--out", "bins.pth"])
    rows = [load_checkpoint(f"{name}.last.pth").training["history"]["rows"] for name in ("text", "bins")]
    assert [row["train_loss"] for row in rows[0]] == [row["train_loss"] for row in rows[1]]


def test_a_recipe_is_found_by_name_and_options_override_it(home, capsys):
    (home / "configs").mkdir()
    (home / "configs" / "tiny.yaml").write_text(
        "tokenizer: char\nmodel: {context_length: 16, emb_dim: 32, n_heads: 2, n_layers: 1}\n"
        "training: {max_steps: 2, batch_size: 4}\n"
    )
    main("train --config tiny --out a.pth -b 2".split())
    config = load_checkpoint("a.pth").model.config
    assert (config.context_length, config.n_layers) == (16, 2)


@pytest.mark.parametrize("recipe", sorted(Path("configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_recipes_of_the_repository_are_valid(recipe, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--config", str(recipe), "--print_config"])
    assert stop.value.code == 0
    assert "max_steps" in capsys.readouterr().out


def test_a_tokenizer_on_the_command_line_has_its_own_vocabulary_size(home):
    (home / "r.yaml").write_text("tokenizer: bpe\nvocab_size: 270\n")
    small = "-c 16 -e 8 -H 2 -b 1 -B 4 --training.max_steps 1".split()
    main(["train", "--config", "r.yaml", *small, "--out", "a.pth"])
    assert load_checkpoint("a.pth").tokenizer.vocab_size == 270
    main(["train", "--config", "r.yaml", *small, "--tokenizer", "gpt2", "--out", "b.pth"])
    assert load_checkpoint("b.pth").tokenizer.vocab_size == 50257


def test_epochs_on_the_command_line_take_the_place_of_a_recipes_steps(home):
    (home / "r.yaml").write_text("tokenizer: char\ntraining: {max_steps: 3}\n")
    small = "-c 16 -e 8 -H 2 -b 1 -B 64 --out a.pth".split()
    main(["train", "--config", "r.yaml", *small, "--training.epochs", "1"])
    config = load_checkpoint("a.last.pth").training["config"]
    assert (config["epochs"], config["max_steps"]) == (1, None)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: gptlib " + command)
    for line in re.findall(r"^  (--[\w.-]+) \S+$", out, re.MULTILINE):
        assert "ARG:" not in line


@pytest.mark.parametrize("arguments", [["--help"], ["prepare", "--help"]])
def test_what_needs_no_torch(arguments):
    code = "import contextlib, sys; from gptlib.commands.cli import main\n"
    code += f"with contextlib.suppress(SystemExit): main({arguments})\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_generate_loads_no_other_framework(home):
    main(["train", *SMALL, "--out", "a.pth"])
    code = (
        "import sys; from gptlib.commands.cli import main; "
        "main(['generate', '--load', 'a.pth', '--max-new-tokens', '2']); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'transformers', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_doctor_looks_at_everything(home, capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for subject in ("Python", "torch", "device", "threads", "bf16", "memory", "disk", "vocabulary", "data/input.txt"):
        assert subject in out
    assert re.fullmatch(r"( +OK  .+\n| warning.*|warning  .+\n| +-> .+\n)+\nReady.*\n", out)
    assert "kernels, by the rule for this processor: fp32 matmuls" in out


def test_doctor_measures_once_and_says_by_what_the_kernels_were_chosen(home, capsys, monkeypatch):
    measured = Backend(fp32_few_rows="vector", bf16_training_width=99)
    monkeypatch.setattr("gptlib.commands.doctor.tune", lambda: measured)
    assert main(["doctor", "--tune"]) == 0
    out = capsys.readouterr().out
    assert f"Stored in '{home / 'user' / 'tuning.json'}'" in out
    assert main(["doctor"]) == 0
    for text in (out, capsys.readouterr().out):
        assert "kernels, as gptlib doctor --tune has measured: fp32 matmuls plain" in text
        assert "in decoding vector" in text
        assert "bf16 from width 99" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "can't be used: '.*tuning.json' is not a tuning file"),
        ('[{"processor": "Abacus", "torch": "1.0", "threads": 2, "backend": {}}]', "measured were another processor"),
    ],
)
def test_doctor_says_that_a_measurement_is_damaged_or_of_another_machine(home, capsys, content, said):
    (home / "user").mkdir()
    (home / "user" / "tuning.json").write_text(content)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert re.search(said, out)
    assert "kernels, by the rule for this processor" in out


def test_doctor_says_what_to_do(home, capsys, monkeypatch):
    (home / "data" / "input.txt").unlink()
    monkeypatch.setattr("gptlib.commands.doctor.PACKAGES", ("torch", "no-such-package"))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "no-such-package\n         -> pip install -r requirements.txt" in out
    assert "there is no data/input.txt\n         -> Put a text" in out


@pytest.mark.parametrize(
    ("arguments", "status", "value", "remedy"),
    [
        ("trian", 2, "trian", "prepare, train, generate"),
        ("train --model.n_layers x", 2, "x", "--model.n_layers"),
        ("train --model.n_layers 0", 2, "n_layers=0", "at least 1"),
        ("train --model.n_layer 3", 2, "n_layer", "--help"),
        ("train --model.emb_dim 30 --model.n_heads 4", 2, "emb_dim=30", "divides"),
        ("train --training.learning_rate -1", 2, "learning_rate=-1.0", "above 0"),
        ("train --training.epochs 1 --training.max_steps 5", 2, "max_steps=5", "give one"),
        ("train --training.precision fp8", 2, "--training.precision fp8", "auto, fp32, bf16 or fp16"),
        ("train --training.max_steps 1e3", 2, "--training.max_steps 1e3", "give a whole number"),
        ("train --vocab-size 2.5", 2, "--vocab-size 2.5", "give a whole number, 1 or more"),
        ("train --ratios 1,0", 2, "--ratios 1,0 ", "0.9,0.05,0.05"),
        ("train --training.betas 0.9", 2, "--training.betas 0.9", "[0.9,0.99]"),
        ("train --training.compile perhaps", 2, "--training.compile perhaps", "true or false"),
        ("train --generate -1", 2, "--generate -1", "0 or more"),
        ("train --init a.pth --resume b.pth", 1, "b.pth", "gptlib train"),
        ("train --config nowhere.yaml", 2, "nowhere.yaml", "--help"),
        ("train --config typo.yaml", 2, "typo.yaml", "'max_step'"),
        ("train --data nowhere.txt --no-save", 1, "nowhere.txt", "check"),
        ("train --data . --no-save", 1, "", ".txt"),
        ("train --tokenizer morse --no-save", 1, "morse", "char"),
        ("train --ratios [0.5,0.1,0.1] --no-save", 1, "0.5", "1"),
        ("train --resume nowhere.pth", 1, "nowhere.pth", "gptlib train"),
        ("train --training.device abacus --no-save", 1, "abacus", "cpu"),
        ("train --data short.txt --no-save", 1, "tokens", "context_length"),
        ("train --data latin1.txt --no-save", 1, "latin1.txt", "UTF-8"),
        ("train --out data", 1, "data", "file"),
        ("prepare --out x", 2, "texts", "--help"),
        ("prepare data/input.txt", 2, "out", "--help"),
        ("prepare nowhere.txt --out x", 1, "nowhere.txt", "check"),
        ("prepare data/input.txt --tokenizer bpe --vocab-size 10 --out x", 1, "10", "257"),
        ("generate --load nowhere.pth", 1, "nowhere.pth", "gptlib train"),
        ("generate --load short.txt", 1, "short.txt", "another"),
        ("generate 0 --load a.pth", 2, "N=0", "1 or more"),
        ("generate --max-new-tokens many", 2, "many", "--help"),
        (f"compare --parameters {10**30}", 2, "parameters=1000", "at most"),
        (f"train --training.seed {10**30}", 2, "seed=1000", "at most"),
    ],
)
def test_wrong_use_is_one_sentence_with_the_value_and_the_remedy(home, capsys, arguments, status, value, remedy):
    (home / "short.txt").write_text("Too short.\nTwo lines.\nThree.\n")
    (home / "typo.yaml").write_text("training: {max_step: 3}")
    (home / "latin1.txt").write_bytes("Gr\xfc\xdfe\n".encode("latin-1") * 99)
    if arguments.startswith("train"):
        arguments = arguments.replace("train", "train --tokenizer char --training.max_steps 1", 1)
    code, message = fails(capsys, arguments.split())
    assert code == status
    assert value in message
    assert remedy in message
    assert not (home / "x").exists()


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("--temperature -1", "--temperature -1", "a number, 0 or more"),
        ("--top-k 0", "--top-k 0", "a whole number, 1 or more"),
        ("--top-p 2", "--top-p 2", "at most 1"),
        ("--max-new-tokens -3", "--max-new-tokens -3", "a whole number, 1 or more"),
        ("--prompt ✂", "✂", "train on a text"),
    ],
)
def test_bad_sampling_is_refused_by_name(home, capsys, option, value, remedy):
    main(["train", *SMALL, "--out", "a.pth"])
    code, message = fails(capsys, ["generate", "--load", "a.pth", *option.split()])
    assert code == (1 if "--prompt" in option else 2)
    assert value in message
    assert remedy in message


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "auto"])
def test_a_model_writes_in_any_precision_and_small_ones_stay_exact(home, capsys, precision):
    main(["train", *SMALL, "--out", "a.pth"])
    capsys.readouterr()
    command = "generate --load a --max-new-tokens 10 --seed 1 --prompt The --precision".split()
    assert main([*command, precision]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("The")
    assert err == ""
    if precision == "auto":
        main([*command, "fp32"])
        assert capsys.readouterr().out == out


def test_an_unknown_precision_is_wrong_use(home, capsys):
    status, message = fails(capsys, "generate --load a --precision int4".split())
    assert status == 2
    assert "--precision int4" in message
    assert "fp32, bf16 or int8" in message
