"""Tokenizers are compared on equal terms: budget, text, recipe; and a comparison that is killed loses nothing."""

import json
import math
import os
import signal
from contextlib import contextmanager
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_helpers import At, assert_helpful, child, interrupt, temporary_files

import gptlib.commands.compare.comparing as comparing
from gptlib.checkpoints import save_checkpoint
from gptlib.commands.cli import main
from gptlib.commands.compare.budget import ComparisonConfig, shape_for
from gptlib.commands.compare.comparing import TOKENIZERS, compare_tokenizers, split_each
from gptlib.commands.compare.report import ComparisonRow, finished_rows
from gptlib.corpus import read_text
from gptlib.corpus.reading import find_sources
from gptlib.datasets import create_dataloader
from gptlib.evaluation import evaluate_continuations
from gptlib.model import GPTConfig, GPTModel
from gptlib.tokenizers import train_tokenizer
from gptlib.tokenizers.words import split_words
from gptlib.training import TrainingConfig, train
from gptlib.utils.folders import project_root

TINY = ComparisonConfig(vocab_size=400, parameters=20_000, context_length=32, n_layers=1, batch_size=8, continuations=3)
SMALL = ("char", "word", "sentencepiece", "bpe")  # without the one whose embeddings alone are 50,257 rows
MEASURED_TIME = ("training_seconds", "training_bytes_per_second", "characters_per_second")


@pytest.fixture
def texts(tmp_path):
    return written(tmp_path)


def written(folder):
    """Two texts of different kinds, with a character that only the held-out part has."""
    tales = read_text(project_root() / "data" / "input.txt")
    (folder / "tales.txt").write_text(tales[:15_000] + "\nAt the end: ✂\n", encoding="utf-8")
    (folder / "numbers.txt").write_text("".join(f"{n} {n * n}\n" for n in range(300)), encoding="utf-8")
    return [folder / "tales.txt", folder / "numbers.txt"]


def without_clock(rows):
    return [{name: value for name, value in asdict(row).items() if name not in MEASURED_TIME} for row in rows]


# the budget


@pytest.mark.parametrize("parameters", [500_000, 1_000_000, 1_500_000])
@pytest.mark.parametrize("vocab_size", [103, 257, 2048, 8578, 50257])
def test_models_are_of_one_size_whatever_the_vocabulary(vocab_size, parameters):
    shape = shape_for(vocab_size, ComparisonConfig(parameters=parameters))
    assert GPTModel(shape).parameter_count() == pytest.approx(parameters, rel=0.03)
    assert (shape.vocab_size, shape.n_layers, shape.context_length) == (vocab_size, 4, 128)


@given(vocab_size=st.integers(1, 60_000), parameters=st.integers(60_000, 3_000_000))
@settings(max_examples=40)
def test_no_other_width_is_closer_by_more_than_the_heads_ask_for(vocab_size, parameters):
    config = ComparisonConfig(parameters=parameters, context_length=16)
    try:
        shape = shape_for(vocab_size, config)
    except ValueError as error:
        assert_helpful(error, f"parameters={parameters:,}", f"{vocab_size:,}")
        assert parameters < 1.12 * count(8, vocab_size)
        return
    C = shape.emb_dim
    steps = range(C - 2, C + 3)  # heads may rule out every other width
    assert min(abs(count(c, vocab_size) - parameters) for c in (*range(8, C - 2), *range(C + 3, 300))) >= min(
        abs(count(c, vocab_size) - parameters) for c in steps
    )
    assert abs(count(C, vocab_size) - parameters) <= max(
        count(C + 2, vocab_size) - count(C, vocab_size), parameters / 10
    )
    assert C <= 40 or 20 <= C // shape.n_heads <= 40


def count(C, vocab_size, T=16, n_layers=4):
    """The parameters of a model with tied weights, by hand."""
    block = 4 * C * C + 8 * C * C + (C + 4 * C + C) + 4 * C
    return (vocab_size + T) * C + n_layers * block + 2 * C


def test_models_of_the_same_blocks_differ_by_their_embeddings_alone():
    config = ComparisonConfig(parameters=300_000, same_blocks=True)
    shapes = [shape_for(vocab_size, config) for vocab_size in (103, 2048, 50257)]
    assert len({(shape.emb_dim, shape.n_heads) for shape in shapes}) == 1
    counts = [GPTModel(shape).parameter_count() for shape in shapes]
    assert counts[1] - counts[0] == (2048 - 103) * shapes[0].emb_dim
    assert count(shapes[0].emb_dim, 103) - 119 * shapes[0].emb_dim == pytest.approx(300_000, rel=0.03)


@pytest.mark.parametrize("parameters", [400_000 * 0.8, 10**12])
def test_a_budget_that_makes_no_model_is_refused_with_those_that_do(parameters):
    with pytest.raises(ValueError, match=r".") as error:
        shape_for(50257, ComparisonConfig(parameters=int(parameters)))
    assert_helpful(error, f"{int(parameters):,}", "50,257", f"give {count(8, 50257, 128):,} to")


@pytest.mark.parametrize("changes", [{"temperature": -1}, {"n_layers": 0}, {"batch_size": 1.5}, {"continuations": 0}])
def test_what_all_models_have_in_common_must_make_sense(changes):
    with pytest.raises(ValueError, match=r".") as error:
        ComparisonConfig(**changes)
    assert_helpful(error, *(f"{name}={value}" for name, value in changes.items()))


# the text


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_model_reads_the_whole_text_but_for_less_than_a_window(texts, name):
    training_text, held_out = split_each(find_sources(texts))
    config = ComparisonConfig(vocab_size=400, parameters=450_000, context_length=32)
    contender = comparing.prepare(name, training_text, held_out, config)
    ids = contender.tokenizer.encode(training_text)
    learned = sum(targets.numel() for _, targets in contender.windows)
    assert len(ids) - 1 - 32 < learned <= len(ids) - 1
    read = contender.tokenizer.decode(ids[: learned + 1])
    assert contender.tokenizer.decode(ids).startswith(read)
    if name != "word":
        assert training_text.startswith(read)
        assert contender.tokenizer.decode(contender.tokenizer.encode(held_out)) == held_out


def test_a_tenth_of_each_text_is_held_out(texts):
    training_text, held_out = split_each(find_sources(texts))
    tales, numbers = (read_text(path) for path in texts)
    assert len(training_text) + len(held_out) == len(tales) + len(numbers)
    for text in (tales, numbers):
        assert training_text.count(text[: len(text) * 8 // 10]) == 1
        assert held_out.count(text[-len(text) // 20 :]) == 1


# the rows


@contextmanager
def exactly_repeatable():
    """One thread, since sums round differently with two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def _repeatable():
    with exactly_repeatable():
        yield


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """An uninterrupted comparison: its texts and its rows."""
    texts = written(tmp_path_factory.mktemp("compared"))
    return texts, compare_tokenizers(texts, TINY, tokenizers=SMALL, verbose=False)


def test_every_row_has_the_same_text_and_size(compared):
    texts, rows = compared
    training_text, held_out = split_each(find_sources(texts))
    assert [row.tokenizer for row in rows] == list(SMALL)
    for row in rows:
        assert row.training_bytes == len(training_text.encode())
        assert row.parameters == pytest.approx(20_000, rel=0.05)
        assert row.context_bytes == pytest.approx(32 * row.bytes_per_token)
        tables = (row.vocab_size + 32 + 2) * row.emb_dim
        assert row.embedding_share == pytest.approx(tables / row.parameters)
        assert row.training_bytes_per_second == pytest.approx(row.training_bytes / row.training_seconds)
        assert row.characters_per_second > 0
    tokens = {row.tokenizer: len(held_out.encode()) / row.bytes_per_token for row in rows}
    assert tokens["char"] == pytest.approx(len(held_out))
    assert tokens["bpe"] < tokens["char"]


def test_a_row_is_what_evaluating_the_same_model_gives(tmp_path, compared, capsys):
    """The run is made anew from its row, saved, and given to `gptlib evaluate`."""
    texts, rows = compared
    training_text, held_out = split_each(find_sources(texts))
    (tmp_path / "held_out.txt").write_text(held_out, encoding="utf-8", newline="\n")
    for row in rows:
        tokenizer = train_tokenizer(
            row.tokenizer,
            training_text + held_out if row.tokenizer == "char" else training_text,
            None if row.tokenizer == "char" else 400,
        )
        torch.manual_seed(0)
        shape = {"emb_dim": row.emb_dim, "n_heads": row.n_heads, "n_layers": row.n_layers, "drop_rate": 0.0}
        model = GPTModel(GPTConfig(tokenizer.vocab_size, 32, **shape, weight_tying=True))
        loader = create_dataloader(
            training_text, tokenizer=tokenizer, batch_size=8, context_length=32, drop_last=False, seed=0
        )
        recipe = TrainingConfig(
            epochs=1, learning_rate=2e-3, optimizer="muon", precision="fp32", sample_prompt=None, device="cpu"
        )
        train(model, loader, config=recipe, verbose=False)
        save_checkpoint(tmp_path / "model.pth", model, tokenizer)
        command = (
            f"evaluate --load {tmp_path}/model.pth --data {tmp_path}/held_out.txt --part all --out {tmp_path}/r.json"
        )
        assert main(command.split()) == 0
        found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["results"]["text"]
        assert row.bits_per_byte == pytest.approx(found["bits_per_byte"])
        assert row.charged_bits_per_byte == pytest.approx(8 * found["lost_bytes"] / found["bytes"])
        assert row.bytes_per_token == pytest.approx(found["bytes"] / found["tokens"])
        assert row.training_steps == len(loader)
        with pytest.warns(UserWarning, match="longer than the model's context"):
            found = evaluate_continuations(model, tokenizer, held_out, 3, temperature=0.8, seed=0)
        assert row.bleu == pytest.approx(found["bleu"])
    capsys.readouterr()


def test_what_a_tokenizer_loses_is_charged_by_the_formula(compared):
    texts, rows = compared
    training_text, held_out = split_each(find_sources(texts))
    charges = {row.tokenizer: row.charged_bits_per_byte for row in rows}
    known = set(train_tokenizer("word", training_text, 400).words)
    lost = sum(len(word.encode()) for word in split_words(held_out) if word not in known)
    assert charges.pop("word") == pytest.approx(8 * lost / len(held_out.encode()))
    assert lost
    assert set(charges.values()) == {0.0}
    [word] = [row for row in rows if row.tokenizer == "word"]
    assert word.bits_per_byte > word.charged_bits_per_byte
    assert word.bits_per_byte < word.charged_bits_per_byte + math.log2(400) / word.bytes_per_token + 1


def test_another_seed_is_another_comparison_and_the_same_one_the_same(compared):
    texts, rows = compared
    [again] = compare_tokenizers(texts, TINY, tokenizers=["bpe"], verbose=False)
    [other] = compare_tokenizers(
        texts, ComparisonConfig(**asdict(TINY) | {"seed": 1}), tokenizers=["bpe"], verbose=False
    )
    assert without_clock([again]) == without_clock([rows[-1]])
    assert without_clock([other]) != without_clock([again])
    assert again.sample


# interruptions


def killable_comparison(connection, texts, path):
    """The comparison, with a message before each step of training; the other end decides how long it lives."""
    import gptlib.training.trainer as training

    step = training.Trainer.training_step

    def reporting_step(run, batches):
        connection.send(run.step)
        return step(run, batches)

    training.Trainer.training_step = reporting_step
    with exactly_repeatable():
        compare_tokenizers(texts, TINY, tokenizers=SMALL, path=path, verbose=False)


def test_killed_in_training_it_goes_on_and_ends_in_the_same_rows(tmp_path, compared, monkeypatch):
    texts, rows = compared
    path = tmp_path / "results.json"
    with child(killable_comparison, texts, path) as (process, connection):
        runs = 0
        for _ in range(2000):
            assert connection.poll(60)
            step = connection.recv()
            runs += step == 0
            if (runs, step) == (3, 4):
                break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    left = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["tokenizer"] for row in left] == ["char", "word"]

    begun = []
    monkeypatch.setattr(comparing, "trained", lambda c, *rest: begun.append(c.name) or trained(c, *rest))
    finished = compare_tokenizers(texts, TINY, tokenizers=SMALL, path=path, verbose=False)
    assert begun == ["sentencepiece", "bpe"]
    assert without_clock(finished) == without_clock(rows)
    assert [asdict(row) for row in finished[:2]] == left
    assert [asdict(row) for row in finished] == json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert temporary_files(tmp_path) == []


trained = comparing.trained


def test_a_full_disk_leaves_the_rows_that_were_written(tmp_path, texts, monkeypatch):
    path, fsync, calls = tmp_path / "results.json", os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 2:  # the file of the first row, and its folder
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        compare_tokenizers(texts, TINY, tokenizers=["char", "bpe"], path=path, verbose=False)
    assert [row["tokenizer"] for row in json.loads(path.read_text(encoding="utf-8"))["rows"]] == ["char"]
    assert temporary_files(tmp_path) == []


def test_ctrl_c_stops_it_and_keeps_what_is_finished(tmp_path, texts, monkeypatch, capsys):
    def interrupted_train(model, *arguments, **options):
        if model.config.vocab_size == 400:
            At(model, 3, interrupt)
        return train(model, *arguments, **options)

    monkeypatch.setattr(comparing, "train", interrupted_train)
    with pytest.raises(SystemExit) as stop:
        main([*command(texts), "--tokenizers", "char,bpe", "--out", str(tmp_path / "out")])
    assert stop.value.code == 130
    assert capsys.readouterr().err.strip().endswith("gptlib: stopped")
    [row] = json.loads((tmp_path / "out" / "tokenizer_comparison.json").read_text(encoding="utf-8"))["rows"]
    assert row["tokenizer"] == "char"


# the command


def command(texts, *more):
    options = "--vocab-size 400 --parameters 30000 --context-length 32 --continuations 2"
    return ["compare", *map(str, texts), *options.split(), *more]


def test_the_command_leaves_a_table_a_file_and_a_figure_and_a_second_time_only_shows_them(
    tmp_path, texts, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = [*command(texts), "--tokenizers", "char,word", "--out", "out"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "tokenizer_comparison.json").read_text(encoding="utf-8"))
    rows = [ComparisonRow(**row) for row in report["rows"]]
    assert [row.tokenizer for row in rows] == ["char", "word"]
    progress, empty, *_ = shown.split("\n", 3)[1:]
    assert progress.startswith("word: 400 tokens, training")
    assert empty == ""
    lines = shown.split("\n\n")[1].splitlines()
    assert len({len(line) for line in lines[1:4]}) == 1
    assert lines[2].split()[0] == "char"
    assert lines[3].split()[0] == "word*"
    for row, line in zip(rows, lines[2:], strict=False):
        for cell in (
            f"{row.bits_per_byte:.3f}",
            f"{row.parameters:,}",
            f"{row.embedding_share:.0%}",
            f"{row.bleu:.2f}",
        ):
            assert cell in line.split()
    assert f"{rows[1].charged_bits_per_byte:.3f} of word's" in lines[4]
    assert (tmp_path / "out" / "tokenizer_comparison.png").read_bytes().startswith(b"\x89PNG")
    held_out = len(split_each(find_sources(texts))[1].encode())
    assert report["settings"]["texts"] == ["tales.txt", "numbers.txt"]
    assert (report["settings"]["parameters"], report["settings"]["held_out_bytes"]) == (30_000, held_out)
    assert str(tmp_path) not in json.dumps(report)

    monkeypatch.setattr(comparing, "train", None)  # nothing is trained again
    assert main(arguments) == 0
    assert capsys.readouterr().out == "\n" + shown.split("\n\n", 1)[1]


def test_without_a_text_it_is_the_tales_with_python_docs(tmp_path, monkeypatch, capsys):
    seen = {}

    def compare(texts, config, **options):
        seen.update(texts=texts, config=config, **options)
        raise ValueError("enough")

    monkeypatch.setattr("gptlib.commands.compare.compare_tokenizers", compare)
    with pytest.raises(SystemExit):
        main(["compare"])
    assert seen["texts"] == [project_root() / "data" / "input.txt", "python-docs"]
    assert seen["config"] == ComparisonConfig()
    assert seen["tokenizers"] == list(TOKENIZERS)
    assert seen["path"] == project_root() / "model_weights" / "comparison" / "tokenizer_comparison.json"


@pytest.mark.parametrize(
    ("arguments", "status", "value", "remedy"),
    [
        ("--parameters 0", 2, "parameters=0", "at least 1"),
        ("--epochs 0", 2, "epochs=0", "at least 1"),
        ("--seed -1", 2, "seed=-1", "at least 0"),
        ("--parameters many", 2, "many", "--help"),
        ("--tokenizers char,gpt2 --parameters 30000", 1, "parameters=30,000", "50,257; give"),
        ("--tokenizers char,chars", 1, "'chars'", "choose among char, word"),
        ("--tokenizers bpe --vocab-size 100", 1, "vocab_size is 100", "at least 257"),
        ("--tokenizers sentencepiece --vocab-size 99999", 1, "vocab_size is 99999", "lower it"),
        ("--tokenizers char --continuations 999", 1, "not for 999", "give fewer"),
        ("--tokenizers char --context-length 99999", 1, "context_length=99999", "smaller context_length"),
        ("--tokenizers char --out json", 1, "holds no comparison", "give another place"),
        ("--tokenizers char --out other", 1, "holds no comparison", "remove that file"),
        ("--tokenizers char --out broken", 1, "is not a comparison file", "JSON"),
    ],
)
def test_wrong_use_is_one_sentence_before_anything_is_trained(
    tmp_path, texts, capsys, monkeypatch, arguments, status, value, remedy
):
    for name, content in {"json": '{"settings": {}, "rows": []}', "other": "[1]", "broken": "{"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer_comparison.json").write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparing, "train", None)
    with pytest.raises(SystemExit) as stop:
        main(["compare", *map(str, texts), *"--continuations 2 --context-length 32".split(), *arguments.split()])
    message = capsys.readouterr().err.strip()
    assert stop.value.code == status
    assert message.startswith("gptlib: ")
    assert "\n" not in message
    assert value in message
    assert remedy in message


@pytest.mark.parametrize(("changes", "named"), [({"epochs": 2}, "epochs=1"), ({}, "text_sha256=")])
def test_results_of_other_settings_or_of_another_text_are_not_mixed_in(tmp_path, texts, changes, named):
    path = tmp_path / "results.json"
    compare_tokenizers(texts, TINY, tokenizers=["char"], path=path, verbose=False)
    before = path.read_bytes()
    if not changes:
        texts[1].write_text(texts[1].read_text().replace("99 9801", "99 9802"))
    with pytest.raises(ValueError, match=r".") as error:
        compare_tokenizers(texts, ComparisonConfig(**asdict(TINY) | changes), tokenizers=["bpe"], path=path)
    assert_helpful(error, str(path), named, "remove that file")
    assert path.read_bytes() == before


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What a finished comparison leaves."""
    folder = tmp_path_factory.mktemp("report")
    compare_tokenizers(written(folder), TINY, tokenizers=["char"], path=folder / "results.json", verbose=False)
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


values = st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.integers(), max_size=2) | st.just(math.nan)


@settings(max_examples=60)
@given(data=st.data())
def test_a_file_with_other_values_is_refused(tmp_path_factory, report, data):
    column = data.draw(st.sampled_from(sorted(set(report["rows"][0]) - {"tokenizer", "sample"})))
    broken = report | {"rows": [report["rows"][0] | {column: data.draw(values)}]}
    path = tmp_path_factory.getbasetemp() / "broken.json"
    path.write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(ValueError, match="holds no comparison of this gptlib; give another place") as error:
        finished_rows(path, report["settings"])
    assert_helpful(error, str(path), "remove that file")


def test_the_committed_results_can_be_read():
    path = project_root() / "bench" / "results" / "tokenizer_comparison.json"
    assert list(finished_rows(path, {})) == list(TOKENIZERS)


def test_texts_that_can_be_gone_through_once_only_will_do(texts):
    [row] = compare_tokenizers(iter(texts), TINY, tokenizers=["char"], verbose=False)
    assert row.training_bytes == len(split_each(find_sources(texts))[0].encode())


def test_gpt2_takes_part_and_most_of_it_is_its_embeddings(texts):
    config = ComparisonConfig(parameters=450_000, context_length=32, n_layers=1, continuations=1)
    [row] = compare_tokenizers(texts, config, tokenizers=["gpt2"], verbose=False)
    assert (row.vocab_size, row.charged_bits_per_byte) == (50257, 0.0)
    assert row.embedding_share > 0.99
    assert row.parameters == pytest.approx(450_000, rel=0.06)
