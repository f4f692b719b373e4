"""data/instructions.json and its held-out part: made by the script, true, and without the one in the other."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from gptlib.checkpoints import load_checkpoint
from gptlib.instructions import InstructionDataset, prompt_key, read_instructions
from tools import make_instructions

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("instructions.json", "instructions_held_out.json")
TALES = (ROOT / "data" / "input.txt").read_text(encoding="utf-8")
PEOPLE = "Marta Ilse Peg Nell Mira Lena Anna Sef Dov Tobin Osk Jonas".split()


@pytest.fixture(scope="module")
def parts():
    return [read_instructions(ROOT / "data" / name).entries for name in NAMES]


def test_the_script_makes_the_committed_files(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "input.txt").write_text(TALES, encoding="utf-8")
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    make_instructions.main([])
    for name in NAMES:
        assert (tmp_path / "data" / name).read_bytes() == (ROOT / "data" / name).read_bytes(), (
            "run `python -m tools.make_instructions` and commit what it writes"
        )


def test_too_short_a_text_is_refused():
    with pytest.raises(ValueError, match="of 900 entries for the task 'name'"):
        make_instructions.make(TALES[:20_000])


def test_there_are_enough_of_each_task(parts):
    training, held_out = (Counter(entry.task for entry in part) for part in parts)
    assert set(training) == set(held_out)
    assert len(training) == 9
    assert all(n >= (200 if task == "tales" else 300) for task, n in training.items())
    assert all(n >= 40 for n in held_out.values())
    assert sum((ROOT / "data" / name).stat().st_size for name in NAMES) < 1_000_000


def test_nothing_that_is_held_out_is_trained_on(parts):
    training, held_out = ({prompt_key(entry) for entry in part} for part in parts)
    assert not training & held_out
    # In no task: the same words with another phrase round them would give an answer away, and in another order nearly.
    seen, new = ({words_of(entry) for entry in part if entry.task != "tales"} for part in parts)
    assert not seen & new


def test_a_fresh_draw_has_nothing_that_is_known_and_true_answers(parts, tmp_path):
    make_instructions.main(["--fresh", "7", "--out", str(tmp_path / "fresh.json")])
    fresh = read_instructions(tmp_path / "fresh.json").entries
    assert set(Counter(entry.task for entry in fresh)) == set(make_instructions.TASKS)
    assert not {words_of(entry) for entry in fresh} & {words_of(entry) for part in parts for entry in part}
    assert all(entry.output == recomputed(entry) for entry in fresh)


def words_of(entry):
    """The input, with all people taken for one another, and the lists without their order."""
    words = ["NAME" if word in PEOPLE else word.lower() for word in entry.input.split()]
    is_list = all(word in make_instructions.WORDS for word in entry.input.split())
    return " ".join(sorted(words) if is_list else words)


def test_no_part_asks_the_same_twice(parts):
    for part in parts:
        asked = Counter((entry.task, entry.instruction if entry.task == "tales" else "", entry.input) for entry in part)
        assert max(asked.values()) == 1


def recomputed(entry):
    """The answer, worked out in another way than the script's."""
    given = entry.input
    match entry.task:
        case "first word":
            return re.match(r"\S+", given)[0]
        case "last word":
            return given[given.rindex(" ") + 1 :]
        case "name":
            return next(name for name in PEOPLE if re.search(rf"\b{name}\b", given))
        case "count":
            return "zero one two three four five six seven eight".split()[given.count(" ") + 1]
        case "contains":
            word = re.search(r"\bword (\w+)", entry.instruction)[1]
            return "yes" if f" {word} " in f" {given} " else "no"
        case "capitals":
            return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in given)
        case "reverse":
            backwards = ""
            for word in re.findall(r"\w+", given):
                backwards = f"{word} {backwards}"
            return backwards.strip()
        case "repeat":
            return given
    return None


def test_every_answer_of_a_mechanical_task_is_right(parts):
    for entry in [*parts[0], *parts[1]]:
        if entry.task != "tales":
            assert entry.output == recomputed(entry), entry
        if entry.task == "name":
            assert sum(word in PEOPLE for word in entry.input.split()) == 1, "of whom should it be?"


def test_no_answer_is_so_common_that_it_could_be_guessed(parts):
    for part in parts:
        answers = Counter((entry.task, entry.output) for entry in part)
        of_task = Counter(entry.task for entry in part)
        for (task, answer), n in answers.items():
            assert n / of_task[task] <= (0.5 if task == "contains" else 0.21), (task, answer)
        assert answers["contains", "yes"] == answers["contains", "no"]
        phrases = Counter(entry.instruction for entry in part if entry.task not in ("contains", "tales"))
        assert len(phrases) == 3 * 7


def test_the_words_are_the_tales_own_and_each_is_trained_on(parts):
    tales = set(re.findall(r"[a-z]+", TALES.lower()))
    seen = Counter(word for entry in parts[0] if entry.task == "capitals" for word in entry.input.split())
    for entry in [*parts[0], *parts[1]]:
        if entry.task != "tales":
            assert set(entry.input.lower().split()) <= tales
        if entry.task == "capitals":
            assert all(seen[word] >= 20 for word in entry.input.split()), "its letters could not be known"


def test_the_questions_about_the_tales_are_in_their_own_file():
    path = ROOT / "tools" / "tales_questions.jsonl"
    entries = read_instructions(path).entries
    assert len(entries) >= 240
    assert len({prompt_key(entry) for entry in entries}) == len(entries)
    titles = [tale.strip().partition("\n")[0] for tale in TALES.split("\n\n\n")]
    words = re.findall(r"\w+", TALES)
    known = {word.lower() for word in words}
    for entry in entries:
        assert len(entry.output.split()) <= 50
        assert entry.output[-1] in ".!"
        if entry.input:
            assert f"{entry.input} {entry.output}" in TALES, "what goes on has to be the tale's own"
        # A person of no tale would be a slip of the pen.
        for name in re.findall(r"(?<![.?!] )(?<!^)\b[A-Z][a-z]+", entry.output):
            assert name.lower() in known, (name, entry)
    retold = [title for title in titles if any(title in entry.instruction for entry in entries)]
    assert len(retold) >= 20


def test_all_of_it_fits_the_small_model():
    tokenizer = load_checkpoint(ROOT / "model_weights" / "tales.pth").tokenizer
    for name in NAMES:
        entries = read_instructions(ROOT / "data" / name).entries
        dataset = InstructionDataset(entries, tokenizer, 128, "chat")
        assert dataset.notes() == []
        assert len(dataset) == len(entries) == len(json.loads((ROOT / "data" / name).read_text(encoding="utf-8")))
