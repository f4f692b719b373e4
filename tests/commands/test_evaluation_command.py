"""`gptlib evaluate` from a file to the table and the JSON, and every wrong use in one sentence."""

import json
import re

import pytest
import torch

from gptlib.checkpoints import save_checkpoint
from gptlib.commands.cli import main
from gptlib.corpus import split_text
from gptlib.evaluation import evaluate_continuations, read_questions, score_choices, text_loss
from gptlib.tokenizers import CharTokenizer, WordTokenizer

TEXT = "".join(
    f"The {animal} sat by the {place} and watched the {other}, {i} times in all.\n"
    for i in range(40)
    for animal in ("cat", "fox", "hen")
    for place, other in (("sea", "boats"), ("mill", "flour"))
)
QUESTIONS = [
    {"ctx": "The cat sat by", "endings": ["the sea", "the fox", "the hen"], "label": 0},
    {"context": "The fox", "endings": ["cat", "sat by the mill", "watched"], "label": "1"},
]


@pytest.fixture
def home(tmp_path, monkeypatch, make_model):
    """A workbook's folder with a text, questions, and models of two tokenizers."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "input.txt").write_text(TEXT)
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    for kind in (CharTokenizer, WordTokenizer):
        tokenizer = kind.train(TEXT if kind is CharTokenizer else TEXT[:2000])
        save_checkpoint(
            tmp_path / f"{tokenizer.type}.pth",
            make_model(vocab_size=tokenizer.vocab_size, context_length=64),
            tokenizer,
        )
    save_checkpoint(tmp_path / "bare.pth", make_model())
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def chars(make_model):
    tokenizer = CharTokenizer.train(TEXT)
    return make_model(vocab_size=tokenizer.vocab_size, context_length=64), tokenizer


def test_by_default_it_is_the_part_that_training_never_saw(home, capsys, chars):
    before = sorted(home.rglob("*"))
    assert main("evaluate --load char.pth".split()) == 0
    out = capsys.readouterr().out
    test = split_text(TEXT)[2]
    loss = text_loss(*chars, test)
    assert out.startswith(f"char.pth (char, fp32) on the test part of input.txt: {len(test):,} tokens")
    assert "windows of 64 tokens, 32 apart" in out
    assert re.search(rf"loss +{loss.loss:.4f}  nats a token\n", out)
    assert re.search(rf"perplexity +{loss.perplexity:.2f}\n", out)
    assert re.search(rf"bits per byte +{loss.bits_per_byte:.4f}\n", out)
    assert "lost" not in out
    assert sorted(home.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:The prompt of")
def test_the_json_holds_the_numbers_and_how_they_came_about(home, capsys, chars):
    command = "evaluate --load char --data data/input.txt --part val --ratios [0.6,0.2,0.2] --stride 20 "
    command += "--choices q.jsonl --continuations 2 --temperature 0.7 --seed 3 --out new/results.json"
    assert main(command.split()) == 0
    shown = capsys.readouterr().out
    report = json.loads((home / "new" / "results.json").read_text(encoding="utf-8"))
    train, val, _ = split_text(TEXT, (0.6, 0.2, 0.2))
    loss = text_loss(*chars, val, stride=20)
    scores = score_choices(*chars, read_questions("q.jsonl"))
    assert report["results"]["text"] == {
        "loss": pytest.approx(loss.loss),
        "perplexity": pytest.approx(loss.perplexity),
        "bits_per_byte": pytest.approx(loss.bits_per_byte),
        "tokens": len(val),
        "bytes": len(val),
        "lost_bytes": 0,
    }
    choices = report["results"]["choices"]
    assert (choices["acc"], choices["acc_norm"], choices["questions"]) == (scores.acc, scores.acc_norm, 2)
    assert choices["chance"] == pytest.approx(1 / 3)
    expected = evaluate_continuations(*chars, val, 2, training_text=train, temperature=0.7, seed=3)
    assert report["results"]["continuations"] == expected
    assert report["model"]["name"] == "char"
    assert report["model"]["tokenizer"] == "char"
    assert report["model"]["precision"] == "fp32"
    assert report["settings"] == {
        "data": "input.txt",
        "part": "val",
        "ratios": [0.6, 0.2, 0.2],
        "stride": 20,
        "choices": "q.jsonl",
        "continuations": 2,
        "temperature": 0.7,
        "seed": 3,
    }
    assert report["torch"] == torch.__version__
    assert report["gptlib"]
    assert str(home) not in json.dumps(report)
    for words in (
        "acc_norm",
        "standard error",
        "2 questions, 0.333 by chance",
        "BLEU",
        "the text itself",
        "longest copy",
    ):
        assert words in shown


def test_what_a_word_tokenizer_loses_is_said(home, capsys):
    assert main("evaluate --load word.pth --out r.json".split()) == 0
    lost = json.loads((home / "r.json").read_text())["results"]["text"]["lost_bytes"]
    assert lost > 0
    assert re.search(rf"lost +{lost}  bytes that the tokenizer loses, charged 8 bits each", capsys.readouterr().out)


@pytest.mark.parametrize("part", ["test", "val", "train", "all"])
def test_a_prepared_folder_is_the_same_as_its_text(home, part):
    assert main("prepare data/input.txt --tokenizer char --out data/small".split()) == 0
    for data, out in (("data/input.txt", "a.json"), ("data/small", "b.json")):
        main(["evaluate", "--load", "char", "--data", data, "--part", part, "--out", out])
    a, b = (json.loads((home / name).read_text())["results"] for name in ("a.json", "b.json"))
    assert a == b


def test_a_prepared_folder_that_lost_its_words_is_refused(home, capsys):
    main("prepare data/input.txt --tokenizer word --vocab-size 12 --out data/words".split())
    status, message = fails(capsys, "evaluate --load word --data data/words")
    assert status == 1
    assert "data/words' don't give back the text they were made from; give that text" in message


def test_the_precision_is_that_of_the_weights(home, capsys):
    losses = {}
    for precision in ("fp32", "bf16", "int8", "auto"):
        assert main(["evaluate", "--load", "char", "--precision", precision, "--out", "r.json"]) == 0
        losses[precision] = json.loads((home / "r.json").read_text())["results"]["text"]["loss"]
    assert losses["auto"] == losses["fp32"] != losses["bf16"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], abs=0.1)
    assert losses["int8"] == pytest.approx(losses["fp32"], abs=0.1)


def fails(capsys, command: str) -> tuple[int, str]:
    """The exit status and the message of a wrong use; the message is one line and no traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("gptlib: ")
    return stop.value.code, message


@pytest.mark.parametrize(
    ("arguments", "status", "value", "remedy"),
    [
        ("--load nowhere.pth", 1, "nowhere.pth", "gptlib train"),
        ("--load bare.pth", 1, "bare.pth", "use another model"),
        ("--load char --data nowhere.txt", 1, "nowhere.txt", "check the path"),
        ("--load char --data short.txt", 1, "fewer lines", "ratios"),
        ("--load char --ratios [0.9,0.1,0]", 1, "The test part of 'input.txt' is empty", "--part all"),
        ("--load char --ratios [1,1,1]", 1, "(1.0, 1.0, 1.0)", "add up to 1"),
        ("--load char --data odd.txt --part all", 1, "'✂'", "train on a text that has it"),
        ("--load char --part dev", 2, "--part dev", "test, val, train or all"),
        ("--load char --precision int4", 2, "--precision int4", "fp32, bf16 or int8"),
        ("--load char --stride 0", 2, "--stride 0", "1 or more"),
        ("--load char --stride 65", 1, "stride=65", "at most the window of 64"),
        ("--load char --continuations -1", 2, "--continuations -1", "0 or more"),
        ("--load char --continuations 999", 1, "not for 999", "give fewer"),
        ("--load char --choices nowhere.jsonl", 1, "nowhere.jsonl", "check the path"),
        ("--load char --choices short.txt", 1, "Line 1 of 'short.txt'", "no question"),
        ("--load char --temperature -1 --continuations 1", 2, "--temperature -1", "a number, 0 or more"),
        ("--load char --out data", 2, "--out data", "name of a file"),
        ("--load char --device abacus", 1, "abacus", "cpu"),
        ("--load char --data", 2, "", "--help"),
    ],
)
def test_wrong_use_is_one_sentence_with_the_value_and_the_remedy(home, capsys, arguments, status, value, remedy):
    (home / "short.txt").write_text("Too short.")
    (home / "odd.txt").write_text("The cat ✂ sat.\n", encoding="utf-8")
    code, message = fails(capsys, f"evaluate {arguments}")
    assert code == status
    assert value in message
    assert remedy in message


def test_results_that_cant_be_written_leave_no_half_a_file(home, capsys, monkeypatch):
    (home / "r.json").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device", "r.json")

    monkeypatch.setattr("os.fsync", full)
    status, message = fails(capsys, "evaluate --load char --out r.json")
    assert status == 1
    assert "No space left" in message
    assert (home / "r.json").read_text() == "old"
    assert not list(home.glob(".*tmp"))
