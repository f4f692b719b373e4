"""Makes data/instructions.json, and data/instructions_held_out.json to test on: `python -m tools.make_instructions`.

Eight mechanical tasks on sentences of the tales and on lists of their words, whose answers are computed, and the
questions about the tales in tales_questions.jsonl, which are written by hand. The same files come out each time, byte
for byte.

What is held out, a sentence or the words of a list in any order, is in no task of the training part. What a task needs
to know of single words, such as how they are spelled in capitals, can be learned for each: what is tested is doing it
to words in an order not seen. `--fresh SEED` draws more to test on, since what is in the files was also looked at
when the tasks were chosen.
"""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from gptlib.utils.files import write_atomically
from gptlib.utils.folders import project_root

SEED = 6
TRAINING, HELD_OUT = 900, 50  # entries of each mechanical task
LISTS = 700  # of each length
ONE_IN = 6  # sentences and lists is for the held-out part
QUESTIONS_HELD_OUT = 40
LEAST = 10  # times that a word of a sentence has to be in the tales, so that a model trained on them knows it

WOMEN, MEN = "Marta Ilse Peg Nell Mira Lena Anna Sef".split(), "Dov Tobin Osk Jonas".split()
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}
WORDS = (
    "bread boat bell hat river door lamp clock rope honey goose coat stone water light night snow road hill kettle "
    "table window letter tower mill ferry mayor captain shepherd school harbour orchard market square supper sheep cat "
    "dog fish bees red white black blue green old small cold warm late"
).split()
"""What the lists are made of: few words, since each has to be seen often for its letters to be learned."""

Entry = dict[str, str]
Asked = Iterator[tuple[str, str, str]]
"""What goes into the phrase, input and output."""


def sentences(text: str) -> list[str]:
    """The parts of the text between marks that have three to eight words, all of them common ones.

    Of those that differ in case or in a person's name only, there is one.
    """
    counts = Counter(re.findall(r"[a-z]+", text.lower()))
    found: dict[str, str] = {}
    for part in re.split(r"[^A-Za-z' \n]+|\n\n", text):
        words = part.split()
        if 3 <= len(words) <= 8 and words[-1] not in ("Mr", "Mrs") and all(counts[w.lower()] >= LEAST for w in words):
            key = " ".join("NAME" if word in WOMEN + MEN else word.lower() for word in words)
            found.setdefault(key, " ".join(words))
    return sorted(found.values())


def word_lists(rng: random.Random) -> list[str]:
    """Two to five of WORDS in any order, LISTS of each length, no two of the same words."""
    wanted = [words for size in (2, 3, 4, 5) for words in rng.sample(list(combinations(WORDS, size)), LISTS)]
    return [" ".join(shuffled(list(words), rng)) for words in wanted]


def answered(answer: Callable[[list[str]], str | None]) -> Callable[[list[str], random.Random], Asked]:
    """A task whose answer follows from the words alone; None where they are not for it."""

    def asked(pool: list[str], rng: random.Random) -> Asked:
        for given in shuffled(pool, rng):
            if output := answer(given.split()):
                yield "", given, output

    return asked


def names(pool: list[str], rng: random.Random) -> Asked:
    """Sentences with one person in them, and the same with others in that one's place."""
    cast = []
    for sentence in pool:
        words = sentence.split()
        people = [word for word in words if word in WOMEN + MEN]
        others = [word for word in words[1:] if word[0].isupper() and word not in ("I", *people)]
        if len(people) == 1 and not others:
            cast += [(sentence, people[0], name) for name in (WOMEN if people[0] in WOMEN else MEN)]
    for sentence, person, name in shuffled(cast, rng):
        yield "", sentence.replace(person, name), name


def contains(pool: list[str], rng: random.Random) -> Asked:
    """Yes and no in turn; whichever it is, the word asked for is any of WORDS."""
    wanted = "yes"
    for given in shuffled(pool, rng):
        words = given.split()
        if len(words) > 2:
            yield rng.choice(words if wanted == "yes" else sorted(set(WORDS) - set(words))), given, wanted
            wanted = "no" if wanted == "yes" else "yes"


@dataclass(frozen=True)
class Task:
    """Ways to ask for it, what it asks, and of what.

    alike: the share of its entries that may have the same answer, so that guessing the commonest gains little.
    """

    phrases: tuple[str, ...]
    asked: Callable[[list[str], random.Random], Asked]
    of: tuple[str, ...] = ("sentences", "lists")
    alike: float = 1.0


TASKS = {
    "first word": Task(
        ("What is the first word of this?", "Give me the first word:", "Which word comes first?"),
        answered(lambda words: words[0]),
        alike=0.05,
    ),
    "last word": Task(
        ("What is the last word of this?", "Give me the last word:", "Which word comes last?"),
        answered(lambda words: words[-1]),
        alike=0.05,
    ),
    "name": Task(
        ("Who is this about?", "Find the name in this:", "Whose name is here?"), names, ("sentences",), alike=0.125
    ),
    "count": Task(
        ("How many words are here?", "Count the words:", "Tell me the number of words:"),
        answered(lambda words: NUMBERS[len(words)]),
        alike=0.2,
    ),
    "contains": Task(
        ("Is the word {} in this?", "Can you find the word {} here?", "Does this have the word {} in it?"),
        contains,
        ("lists",),
    ),
    "capitals": Task(
        ("Write in capital letters:", "Put this in capitals:", "Say this in capital letters:"),
        answered(lambda words: " ".join(words).upper() if len(words) <= 3 else None),
        ("lists",),
    ),
    "reverse": Task(
        ("Turn the words round:", "Say the words from last to first:", "Put the words in the other order:"),
        answered(lambda words: " ".join(reversed(words)) if len(words) <= 4 else None),
        ("lists",),
    ),
    "repeat": Task(
        ("Say this again:", "Repeat after me:", "Write the same once more:"), answered(" ".join), ("lists",)
    ),
}


def entries_of(name: str, pool: list[str], n: int, rng: random.Random) -> list[Entry]:
    """n entries of a task, or as many as there are, no two of which ask the same of the same words."""
    task, made = TASKS[name], {}
    answers: Counter[str] = Counter()
    for word, given, output in task.asked(pool, rng):
        if (word, given) not in made and answers[output] < task.alike * n:
            instruction = rng.choice(task.phrases).format(word)
            made[word, given] = {"task": name, "instruction": instruction, "input": given, "output": output}
            answers[output] += 1
        if len(made) == n:
            break
    return list(made.values())


def just(n: int, name: str, pool: list[str], rng: random.Random) -> list[Entry]:
    """n entries of a task. Raises ValueError where the tales have fewer."""
    entries = entries_of(name, pool, n, rng)
    if len(entries) < n:
        raise ValueError(
            f"The tales have only {len(entries)} of {n} entries for the task {name!r}; write more of them."
        )
    return entries


def questions() -> list[Entry]:
    """The questions about the tales, in the order of the file."""
    lines = Path(__file__).with_name("tales_questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [{"task": "tales", "input": "", **json.loads(line)} for line in lines]


def shuffled(items: list, rng: random.Random) -> list:
    return rng.sample(items, len(items))


def make(text: str) -> tuple[list[Entry], list[Entry]]:
    """(training, held out), made from the text of the tales."""
    rng = random.Random(SEED)
    asked = shuffled(questions(), rng)
    training, held_out = asked[QUESTIONS_HELD_OUT:], asked[:QUESTIONS_HELD_OUT]
    given = {"sentences": shuffled(sentences(text), rng), "lists": shuffled(word_lists(rng), rng)}
    for name, task in TASKS.items():
        pools = [(given[kind], len(given[kind]) // ONE_IN) for kind in task.of]
        training += just(TRAINING, name, [words for pool, cut in pools for words in pool[cut:]], rng)
        held_out += just(HELD_OUT, name, [words for pool, cut in pools for words in pool[:cut]], rng)
    return shuffled(training, rng), shuffled(held_out, rng)


def fresh(text: str, known: list[Entry], seed: int, n: int = 200) -> list[Entry]:
    """n entries of each mechanical task to test on once more, or as many as there are: none has the words of a known
    entry, in any order, names apart."""

    def words_of(given: str) -> tuple[str, ...]:
        return tuple(sorted("NAME" if word in WOMEN + MEN else word.lower() for word in given.split()))

    rng, seen = random.Random(seed), {words_of(entry["input"]) for entry in known}
    given = {"sentences": sentences(text), "lists": word_lists(rng)}
    pools = {kind: [words for words in given[kind] if words_of(words) not in seen] for kind in given}
    made = [entries_of(name, [w for kind in task.of for w in pools[kind]], n, rng) for name, task in TASKS.items()]
    return shuffled([entry for entries in made for entry in entries], rng)


def write(path: Path, entries: list[Entry]) -> None:
    """A JSON list with a line for each entry."""
    keys = ("task", "instruction", "input", "output")
    lines = [json.dumps({key: entry[key] for key in keys}, ensure_ascii=False) for entry in entries]
    with write_atomically(path, "w") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fresh", type=int, metavar="SEED", help="only draw more entries to test on, like no known ones"
    )
    parser.add_argument("--out", type=Path, default=Path("fresh.json"), help="where those go")
    options = parser.parse_args(arguments)
    data = project_root() / "data"
    text = (data / "input.txt").read_text(encoding="utf-8")
    training, held_out = make(text)
    if options.fresh is None:
        write(data / "instructions.json", training)
        write(data / "instructions_held_out.json", held_out)
        print(f"{len(training)} entries to learn from and {len(held_out)} to test on are in {data}.")
    else:
        write(options.out, more := fresh(text, training + held_out, options.fresh))
        print(f"{len(more)} more entries to test on are in {options.out}.")


if __name__ == "__main__":
    main()
