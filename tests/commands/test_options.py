"""Every command's options: none is lost, the command line always wins, and no value is read as another option's."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.commands.cli import COMMANDS, main
from gptlib.tokenizers import CharTokenizer

TEXT = "The cat sat by the sea.\nThe fox sat by the mill.\n" * 90

TRAINING = """
    --training.epochs=3 --training.max_steps=3 --training.batch_size=3 --training.gradient_accumulation_steps=3
    --training.learning_rate=0.3 --training.min_learning_rate=1e-5 --training.warmup_steps=3 --training.lr_decay_steps=3
    --training.lr_schedule=linear --training.optimizer=muon --training.weight_decay=0.3 --training.betas=[0.3,0.3]
    --training.grad_clip=3 --training.precision=fp16 --training.compile=true --training.activation_checkpointing=true
    --training.eval_interval=3 --training.eval_batches=3 --training.patience=3 --training.sample_prompt=x
    --training.sample_tokens=3 --training.tensorboard=true --training.seed=3 --training.device=x
"""
OPTIONS = {
    "prepare": "--tokenizer=x --vocab-size=3 --out=x --ratios=1,0,0 --strip-gutenberg",
    "train": """
        --config=r.yaml --data=x --tokenizer=x --vocab-size=3 --ratios=1,0,0 --stride=3 --window=3 --init=x --resume=x
        --out=x --no-save --generate=3 --model=m.yaml --model.context_length=3 --model.emb_dim=12 --model.n_heads=3
        --model.n_layers=3 --model.drop_rate=0.3 --model.qkv_bias=true --model.weight_tying=true
        --model.positions=sinusoidal --training=t.yaml -B=3 -l=0.3 -c=3 -e=12 -H=3 -b=3 -d=0.3 -g=3
    """
    + TRAINING,
    "generate": """
        --load=x --adapter=x --prompt=x --max-new-tokens=3 --temperature=0.3 --top-k=3 --top-p=0.3 --seed=3 --device=x
        --precision=int8
    """,
    "evaluate": """
        --load=x --adapter=x --data=x --part=all --ratios=1,0,0 --stride=3 --choices=x --continuations=3
        --temperature=0.3 --seed=3 --out=x --device=x --precision=int8
    """,
    "compare": """
        --tokenizers=x --vocab-size=3 --parameters=3 --same-blocks --epochs=3 --context-length=3 --continuations=3
        --seed=3 --out=x
    """,
    "finetune": """
        --config=r.yaml --load=x --data=x --held-out=x --ratio=0.3 --bad=skip --template=alpaca --packing --use-lora
        --drop-rate=0.3 --resume=x --out=x --no-save --lora --lora=l.yaml --lora.rank=3 --lora.alpha=3
        --lora.dropout=0.3
        --lora.target_modules=[c_fc] --training=t.yaml -B=3 -l=0.3 -d=0.3
    """
    + TRAINING,
    "chat": """
        --load=x --adapter=x --template=alpaca --turns=3 --max-new-tokens=3 --temperature=0.3 --top-k=3 --top-p=0.3
        --seed=3 --device=x --precision=int8
    """,
    "download": "--source=huggingface --out=x",
    "export": "",
    "exercises": "--chapter=3 --reset --reset=x",
    "doctor": "--tune",
}
"""What each command has been called with since it exists, each option with a value that isn't its default."""

REQUIRED = {"prepare": ["x", "--out=y"], "download": ["124M"], "export": ["x", "y"]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A workbook's folder with two recipes."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "input.txt").write_text(TEXT)
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    recipe("quick", tokenizer="bpe", vocab_size=300, stride=1, training={"max_steps": 7, "batch_size": 7})
    recipe("other", tokenizer="word", training={"max_steps": 8, "learning_rate": 0.8})
    return tmp_path


def recipe(name, **options):
    Path(f"configs/{name}.yaml").write_text(yaml.safe_dump(options))


@pytest.fixture
def parsed(monkeypatch):
    """The options that `run` of a command gets."""

    def parse(command, *arguments):
        seen = []
        monkeypatch.setattr(f"gptlib.commands.{command}.run", lambda options, parser: seen.append(options))
        assert main([command, *arguments]) == 0
        return seen[0]

    return parse


@pytest.fixture
def train(parsed):
    """The options of `gptlib train` with these arguments."""
    return lambda arguments: parsed("train", *arguments.split())


def test_the_table_has_every_command():
    assert list(OPTIONS) == list(COMMANDS)


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_is_accepted_and_explained(home, parsed, capsys, monkeypatch, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    help_text = capsys.readouterr().out
    recipe("r", training={"seed": 5})
    for name, text in {"r": "training: {seed: 5}", "m": "n_layers: 3", "t": "seed: 3", "l": "rank: 3"}.items():
        (home / f"{name}.yaml").write_text(text)
    if command in ("train", "finetune"):
        monkeypatch.setattr(f"gptlib.commands.{command}.resumed_options", lambda *_: {})
    required = REQUIRED.get(command, [])
    default = vars(parsed(command, *required))
    for option in OPTIONS[command].split():
        assert option.partition("=")[0] in help_text.replace(",", " ").split()
        assert vars(parsed(command, *required, option)) != default, option


def test_the_overview_imports_no_command():
    code = (
        "import sys; from gptlib.commands.cli import COMMANDS, main; main([])\n"
        "sys.exit(any(f'gptlib.commands.{name}' in sys.modules for name in COMMANDS))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize("arguments", ["-B16 -l0.5 -d0.3", "-B=16 -l=0.5 -d=0.3", "-B 16 -l 0.5 -d 0.3"])
def test_short_forms(train, home, arguments):
    options = train(arguments)
    assert (options.training.batch_size, options.training.learning_rate) == (16, 0.5)
    assert options.model.drop_rate == 0.3


@pytest.mark.parametrize(
    ("arguments", "max_steps", "batch_size"),
    [
        ("", 7, 7),  # the recipe quick
        ("-B 3", 7, 3),
        ("--config other", 8, 16),
        ("--config other --training.max_steps 2", 2, 16),
        ("--training.max_steps 2 --config other", 2, 16),
        ("--training.max_steps 2 -B 3 --config other.yaml", 2, 3),
        ("--training.max_steps=2 -B3 --config=configs/other.yaml", 2, 3),
        ("--config quick --config other", 8, 7),
        ("--config other --config quick", 7, 7),
        ("--config other -B 3 --config quick", 7, 3),
    ],
)
def test_the_command_line_wins_over_recipes_and_later_recipes_over_earlier(
    train, home, arguments, max_steps, batch_size
):
    training = train(arguments).training
    assert (training.max_steps, training.batch_size) == (max_steps, batch_size)


def test_a_printed_config_is_a_recipe_for_the_same_run(home, capsys):
    def printed(*arguments):
        with pytest.raises(SystemExit):
            main(["train", *arguments])
        return yaml.safe_load(capsys.readouterr().out)

    whole = printed("--ratios", "1,0,0", "-B3", "--training.epochs=2", "--print_config")
    recipe("whole", **whole)
    assert printed("--print_config", "--config", "whole") == whole
    changed = printed("-B3", "--config", "other", "--print_config=skip_default")
    training = {"max_steps": 8, "learning_rate": 0.8, "batch_size": 3}
    assert changed == {"tokenizer": "word", "training": training}


def test_a_recipe_of_an_earlier_version_is_understood(train, home):
    recipe("old", training={"recompute": True, "learning_rate": 0.5})
    options = train("--config old")
    assert options.training.activation_checkpointing
    assert options.training.learning_rate == 0.5


def test_a_short_run_stays_short_when_its_recipe_comes_last(home):
    recipe("long", tokenizer="char", training={"max_steps": 30, "eval_interval": 30})
    shape = "-c 8 -e 8 -H 1 -B 4 --training.precision fp32"
    main(f"train --training.max_steps 2 -b 2 {shape} --out a.pth --config long".split())
    found = load_checkpoint("a.last.pth")
    assert found.training["step"] == 2
    assert found.model.config.n_layers == 2


def test_other_options_may_have_the_value_of_config(home, make_model):
    """A model and a text that are called as the recipe is."""
    tokenizer = CharTokenizer.train(TEXT)
    (home / "model_weights").mkdir()
    model = make_model(vocab_size=tokenizer.vocab_size, context_length=16)
    save_checkpoint(home / "model_weights" / "tales.pth", model, tokenizer)
    recipe("tales", tokenizer="bpe", training={"max_steps": 1, "precision": "fp32", "batch_size": 4})
    assert main("train --config tales --init tales --out a.pth".split()) == 0
    assert load_checkpoint("a.pth").model.config == model.config

    (home / "quick").write_text(TEXT.replace("cat", "owl"))
    assert main("train --config quick --data quick -c 8 -e 8 -H 1 --training.max_steps 1 --out b.pth".split()) == 0
    assert load_checkpoint("b.last.pth").training["notes"]["data"] == str(home / "quick")


def test_a_recipe_is_a_file_before_it_is_a_name_unless_it_is_a_bare_word(train, home):
    (home / "other.yaml").write_text("training: {max_steps: 5}")
    (home / "other").mkdir()
    assert train("--config other.yaml").training.max_steps == 5
    assert train("--config other").training.max_steps == 8


def test_the_run_to_resume_brings_its_options_below_recipes(train, home):
    shape = "--tokenizer char -c 8 -e 8 -H 1 -b 1 --training.precision fp32 --stride 4"
    main(f"train --training.max_steps 1 -B 4 {shape} --out a.pth".split())
    options = train("--resume a.last.pth")
    assert (options.training.max_steps, options.training.batch_size, options.stride) == (1, 4, 4)
    options = train("-B 5 --resume a.last.pth --config other")
    assert (options.training.max_steps, options.training.batch_size, options.stride) == (8, 5, 4)


@pytest.mark.parametrize(
    ("arguments", "epochs", "max_steps", "stride", "vocab_size"),
    [
        ("--training.epochs 2", 2, None, None, 300),
        ("--training.epochs 2 --stride 3", 2, None, 3, 300),
        ("--stride 3 --training.epochs 2 --config quick", 2, None, 3, 300),
        ("--config counted", 4, None, 5, None),
        ("--config counted --training.max_steps 3", None, 3, 5, None),
        ("--config quick --config counted", 4, None, 5, 300),
        ("--config counted --config quick", None, 7, 1, 300),
        ("--tokenizer char", None, 7, 1, None),
        ("--tokenizer word --vocab-size 90", None, 7, 1, 90),
    ],
)
def test_what_is_given_makes_void_what_contradicts_it_in_a_recipe(
    train, home, arguments, epochs, max_steps, stride, vocab_size
):
    recipe("counted", stride=5, training={"epochs": 4})
    options = train(arguments)
    assert (options.training.epochs, options.training.max_steps) == (epochs, max_steps)
    assert (options.stride, options.vocab_size) == (stride, vocab_size)


@pytest.mark.parametrize("written", ["1,0,0", "(1, 0, 0)", "[1, 0, 0]", "1 0 0", "[1.0,0.0,0.0]", "1, 0, 0"])
def test_natural_spellings_of_ratios(parsed, home, written):
    assert parsed("train", "--ratios", written).ratios == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("written", ["[1,0,0]", "1,0,0", "(1, 0, 0)"])
def test_ratios_in_a_recipe(train, home, written):
    (home / "r.yaml").write_text(f"ratios: {written}")
    assert train("--config r.yaml").ratios == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "rank"), [("--lora", 8), ("--lora.rank 4", 4), ("--config adapted", 2), ("--lora --lora.rank 3", 3)]
)
def test_whoever_names_a_field_of_lora_wants_an_adapter(parsed, home, arguments, rank):
    recipe("adapted", lora={"rank": 2})
    options = parsed("finetune", *arguments.split())
    assert (options.use_lora, options.lora.rank) == (True, rank)
    assert not parsed("finetune").use_lora
