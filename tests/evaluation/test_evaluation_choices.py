"""Multiple choice against transformers' model by hand, and files of questions that anybody may have written."""

import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.checkpoints import load_checkpoint
from gptlib.evaluation import ChoiceScores, Question, read_questions, score_choices, standard_error
from gptlib.evaluation.choices import encode_question
from gptlib.generation.quantization import with_precision
from gptlib.tokenizers import CharTokenizer

DATA = Path(__file__).resolve().parents[2] / "data"
LETTERS = "abcdefghijklmnopqrstuvwxyz .,é"
QUESTIONS = [
    Question("the cat", ("sat.", "flew to x.", "is a"), 0),
    Question("a", ("b", "dog, e"), 1),
    Question("the miller", ("and he", "was", "is, and", "x"), 2),
    Question("a long story of a cat and the sea that nobody had", ("heard", "seen."), 1),  # longer than the context
    Question("x y z", ("caf\u00e9.", "q"), 0),
]


@pytest.fixture(scope="module")
def twins(make_twins):
    return make_twins(vocab_size=len(LETTERS), weight_tying=True, qkv_bias=True)


@pytest.fixture(scope="module")
def tokenizer():
    return CharTokenizer(LETTERS)


def nats_by_hand(theirs, tokenizer, question):
    """One ending at a time, without padding or cache: the whole text through the model, the ending's share summed."""
    longest = max(len(ending) for ending in question.endings) + 1  # a character is a token, and there is a space
    found = []
    for ending in question.endings:
        context = tokenizer.encode(question.context)[-(17 - longest) :]
        ids = torch.tensor([context + tokenizer.encode(" " + ending)])
        with torch.no_grad():
            log_p = theirs(ids[:, :-1]).logits.double().log_softmax(-1)
        each = log_p.gather(2, ids[:, 1:, None])[0, :, 0]
        found.append(-each[len(context) - 1 :].sum().item())
    return found


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_costs_and_answers_are_those_of_transformers_model(twins, tokenizer, batch_size):
    ours, theirs = twins
    scores = score_choices(ours, tokenizer, QUESTIONS, batch_size=batch_size)
    right = right_by_length = 0
    for question, nats in zip(QUESTIONS, scores.nats, strict=True):
        expected = nats_by_hand(theirs.eval(), tokenizer, question)
        assert nats == pytest.approx(expected, rel=1e-5)
        right += min(expected) == expected[question.label]
        by_length = [cost / len(ending) for cost, ending in zip(expected, question.endings, strict=True)]
        right_by_length += min(by_length) == by_length[question.label]
    assert scores.acc == right / len(QUESTIONS)
    assert scores.acc_norm == right_by_length / len(QUESTIONS)
    assert scores.chance == pytest.approx((1 / 3 + 1 / 2 + 1 / 4 + 1 / 2 + 1 / 2) / 5)


def test_a_short_ending_does_not_win_by_character(twins, tokenizer):
    """Where all characters are equally likely, the shortest ending costs least, and by character the longest."""
    model = type(twins[0])(twins[0].config)
    torch.nn.init.zeros_(model.output_head.weight)
    questions = [Question("a cat", ("is", "is in the sea"), label) for label in (0, 1)]
    scores = score_choices(model, tokenizer, questions)
    assert scores.correct == (True, False)
    assert scores.correct_by_length == (False, True)  # the space in front is no character of the ending
    assert scores.nats[0] == pytest.approx([3 * math.log(len(LETTERS)), 14 * math.log(len(LETTERS))])


def test_an_endings_ids_are_those_behind_the_context():
    class Pairs(CharTokenizer):
        """Merges a space with what follows it, as byte-level BPE does."""

        def encode(self, text, allowed_special=()):
            return [ord(c) for c in text.replace(" a", "A")]

    encoded = encode_question(Pairs("x"), Question("the", ("a b", "b"), 0), 16)
    assert encoded.context == [ord(c) for c in "the"]
    assert encoded.endings == [[ord(c) for c in "A b"], [ord(c) for c in " b"]]


def test_standard_error():
    answers = torch.tensor([1.0] * 3 + [0.0] * 7)
    assert standard_error(0.3, 10) == pytest.approx(answers.std().item() / math.sqrt(10))
    assert standard_error(1.0, 1) == 0


def test_scores_without_questions_are_refused(twins, tokenizer):
    with pytest.raises(ValueError, match="no questions; give at least one"):
        score_choices(twins[0], tokenizer, [])


def test_an_ending_that_the_model_cant_see_is_named(twins, tokenizer):
    with pytest.raises(ValueError, match=r"'the cat' has 21 tokens and the model sees 16; leave this question out"):
        score_choices(twins[0], tokenizer, [Question("the cat", ("a", "x" * 20), 0)])
    fits = score_choices(twins[0], tokenizer, [Question("the cat", ("a", "x" * 15), 0)])
    assert isinstance(fits, ChoiceScores)


class Dropping(CharTokenizer):
    """Of a text that ends in an x, nothing is left."""

    def encode(self, text, allowed_special=()):
        return [] if text.endswith("x") else super().encode(text, allowed_special)


@pytest.mark.parametrize("question", [Question("x", ("a", "b"), 0), Question("the cat", ("a", "bx"), 0)])
def test_texts_without_a_token_are_refused_and_named(twins, question):
    with pytest.raises(ValueError, match=rf"question '{question.context}' .* has no token .* not empty"):
        score_choices(twins[0], Dropping(LETTERS), [question])
    with pytest.raises(ValueError, match=r"question '' .* has no token"):
        score_choices(twins[0], CharTokenizer(LETTERS), [Question("", ("a", "b"), 0)])


def test_a_broken_model_gets_no_score(twins, tokenizer):
    model = type(twins[0])(twins[0].config)
    torch.nn.init.constant_(model.final_norm.weight, math.nan)
    with pytest.raises(ValueError, match="not finite"):
        score_choices(model, tokenizer, QUESTIONS)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_models_in_few_bits_answer_nearly_alike(twins, tokenizer, precision):
    smaller, _ = with_precision(twins[0], precision)
    exact, rounded = (score_choices(model, tokenizer, QUESTIONS) for model in (twins[0], smaller))
    for a, b in zip(exact.nats, rounded.nats, strict=True):
        assert b == pytest.approx(a, rel=0.02)


def test_an_error_in_the_model_leaves_its_mode_as_it_was(twins, tokenizer, monkeypatch):
    model = type(twins[0])(twins[0].config).train()
    monkeypatch.setattr(model.final_norm, "forward", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score_choices(model, tokenizer, QUESTIONS)
    assert all(module.training for module in model.modules())


# Files


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_hellaswags_own_form_and_the_plain_one_are_read(tmp_path):
    theirs = {
        "ind": 24,
        "activity_label": "Roof shingle removal",
        "ctx_a": "A man is sitting on a roof.",
        "ctx_b": "he",
        "ctx": "A man is sitting on a roof. he",
        "endings": ["is using wrap.", "is ripping tiles off.", "holds a cube.", "starts pulling up roofing."],
        "source_id": "activitynet~v_-JhWjGDPHMY",
        "split": "val",
        "label": "3",
    }
    ours = {"context": " The cat\u2028sat ", "endings": [" on a mat. ", "in a hat."], "label": 0}
    path = write(
        tmp_path / "q.jsonl", "\ufeff" + json.dumps(theirs), "", json.dumps(ours, ensure_ascii=False) + "\r", ""
    )
    assert read_questions(path) == [
        Question(theirs["ctx"], tuple(theirs["endings"]), 3),
        Question("The cat\u2028sat", ("on a mat.", "in a hat."), 0),
    ]


GOOD = {"ctx": "The cat", "endings": ["sat.", "flew."], "label": 1}
BAD_LINES = {  # what stands in the second line: a part of the message with the value, and one with what it should be
    "no JSON": ("{ctx: 1}", "Expecting property name", ""),
    "cut off": (json.dumps(GOOD)[:-9], "", ""),
    "deep": ("[" * 100_000, "", ""),
    "a list": ([GOOD], "an object with ctx", ""),
    "a number": ("NaN", "an object with ctx", ""),
    "no context": (GOOD | {"ctx": None}, "ctx (or context) is None", "a text"),
    "blank context": (GOOD | {"ctx": " \n"}, "' \\n'", "not empty"),
    "context a list": (GOOD | {"ctx": ["a"]}, "['a']", "a text"),
    "no endings": ({"ctx": "a", "label": 0}, "endings is None", "a list of two texts or more"),
    "one ending": (GOOD | {"endings": ["a"], "label": 0}, "['a']", "two texts or more"),
    "endings a text": (GOOD | {"endings": "ab"}, "'ab'", "a list"),
    "an empty ending": (GOOD | {"endings": ["a", " "]}, "['a', ' ']", "none of them empty"),
    "an ending a number": (GOOD | {"endings": ["a", 2]}, "['a', 2]", "texts"),
    "no label": ({"ctx": "a", "endings": ["b", "c"]}, "label is None", "0 to 1"),
    "label too large": (GOOD | {"label": 2}, "label is 2", "0 to 1"),
    "label negative": (GOOD | {"label": -1}, "label is -1", "0 to 1"),
    "label of a test set": (GOOD | {"label": ""}, "label is ''", "0 to 1"),
    "label true": (GOOD | {"label": True}, "label is True", "0 to 1"),
    "label a letter": (GOOD | {"label": "B"}, "label is 'B'", "0 to 1"),
    "label of odd digits": (GOOD | {"label": "²"}, "label is '²'", "0 to 1"),
    "label huge": (GOOD | {"label": "1" * 5000}, "label is '111", "0 to 1"),
    "label 1.0": (GOOD | {"label": 1.0}, "label is 1.0", "0 to 1"),
    "right ending twice": (GOOD | {"endings": ["flew.", "flew. "]}, "'flew.'", "twice"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_line_that_is_no_question_is_named(tmp_path, case):
    line, value, remedy = BAD_LINES[case]
    with pytest.raises(ValueError, match=r"^Line 2 of 'q\.jsonl' is no question: ") as error:
        read_questions(write(tmp_path / "q.jsonl", GOOD, line, GOOD))
    message = str(error.value)
    assert value in message
    assert remedy in message
    assert len(message) < 300
    assert "\n" not in message


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
entries = st.fixed_dictionaries({}, optional=dict.fromkeys(("ctx", "context", "endings", "label"), anything))


@settings(max_examples=300)
@given(entry=entries | anything, cut=st.integers(0, 200))
def test_whatever_stands_there_is_a_question_or_one_sentence(tmp_path_factory, entry, cut):
    path = write(tmp_path_factory.getbasetemp() / "fuzz.jsonl", GOOD, json.dumps(entry)[:cut] or "{")
    error = None
    try:
        questions = read_questions(path)
    except ValueError as refused:
        error = str(refused)
    if error is None:
        assert all(q.context and len(q.endings) > 1 and 0 <= q.label < len(q.endings) for q in questions)
    else:
        assert error.startswith("Line 2 of 'fuzz.jsonl' is no question: ")
        assert "\n" not in error


def test_files_that_hold_no_questions(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of questions at '.*nowhere\.jsonl'; check the path"):
        read_questions(tmp_path / "nowhere.jsonl")
    with pytest.raises(ValueError, match=r"'a\.jsonl' has no question; it needs an object"):
        read_questions(write(tmp_path / "a.jsonl", "", " "))
    (tmp_path / "b.jsonl").write_bytes(b'{"ctx": "\xff"}')
    with pytest.raises(ValueError, match=r"'b\.jsonl' is not UTF-8 \(at byte 9\); save it as UTF-8"):
        read_questions(tmp_path / "b.jsonl")


# The questions on the tales


def test_the_questions_on_the_tales_cant_be_guessed_by_place_or_length():
    questions = read_questions(DATA / "choices.jsonl")
    assert len(questions) >= 60
    assert all(len(question.endings) == len(set(question.endings)) == 4 for question in questions)
    assert len({question.context for question in questions}) == len(questions)
    lengths = [[len(ending) for ending in question.endings] for question in questions]
    guesses = {
        **{f"place {i}": [i] * len(questions) for i in range(4)},
        "longest": [length.index(max(length)) for length in lengths],
        "shortest": [length.index(min(length)) for length in lengths],
    }
    for name, guess in guesses.items():
        right = sum(a == question.label for a, question in zip(guess, questions, strict=True))
        assert right / len(questions) < 0.35, name


def test_the_questions_are_on_tales_that_are_there():
    titles = (DATA / "input.txt").read_text(encoding="utf-8").split("\n")
    entries = [json.loads(line) for line in (DATA / "choices.jsonl").read_text(encoding="utf-8").splitlines()]
    per_tale = Counter(entry["tale"] for entry in entries)
    assert len(per_tale) >= 30
    assert set(per_tale) <= set(titles)


def test_the_harness_is_given_the_same_questions_and_its_committed_output_is_our_result():
    """What bench/lm_eval/README.md shows of both; a new model or other questions need a new run of the harness."""
    folder = DATA.parent / "bench" / "lm_eval"
    task = yaml.safe_load((folder / "tales_choices.yaml").read_text(encoding="utf-8"))
    assert DATA.parent / task["dataset_kwargs"]["data_files"]["test"] == DATA / "choices.jsonl"
    asked = [task[name] for name in ("doc_to_text", "doc_to_choice", "doc_to_target", "target_delimiter")]
    assert asked == ["{{ctx}}", "{{endings}}", "{{label}}", " "]

    questions = read_questions(DATA / "choices.jsonl")
    tales = load_checkpoint(DATA.parent / "model_weights" / "tales.pth")
    scores = score_choices(tales.model, tales.tokenizer, questions)
    text = (folder / "README.md").read_text(encoding="utf-8")
    for name, share in (("acc", scores.acc), ("acc_norm", scores.acc_norm)):
        numbers = (f"{share:.4f}", f"{standard_error(share, len(questions)):.4f}")
        assert re.findall(rf"\|{name} *\|↑ +\|(\S+)\|± +\|(\S+)\|", text) == [numbers]
        assert re.findall(rf" {name} +(\S+)  standard error (\S+)", text) == [numbers]
