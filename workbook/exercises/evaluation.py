"""Chapter 9: bits per byte, scored tokens, lost bytes, choosing an ending, how many questions, BLEU, copies."""

import math
from collections import Counter
from random import Random

from gptlib.evaluation.texts import ngrams
from gptlib.evaluation.whole_text import windows
from gptlib.exercises.declaring import Choice, CodeExercise, Prediction
from workbook.mistakes import evaluation as wrong


def bits_per_byte(loss: float, n_tokens: int, text: str) -> float:
    """Bits for each byte of the text (UTF-8), from its mean loss in nats a token."""
    return loss * n_tokens / math.log(2) / len(text.encode("utf-8"))


def scored_tokens(n_ids: int, context_length: int, stride: int) -> list[tuple[int, int]]:
    """(first, end) of the tokens that each window scores; token 0 is only read, and none is scored twice."""
    return [(first, end) for _, first, end in windows(n_ids, context_length, stride)]


def charged_bits(nats: float, words: list[str], vocabulary: set[str]) -> float:
    """Bits per byte of a text in words, where each byte of a word that the vocabulary lacks is charged 8 bits."""
    lost = sum(len(word.encode("utf-8")) for word in words if word not in vocabulary)
    return (nats / math.log(2) + 8 * lost) / len("".join(words).encode("utf-8"))


def pick_endings(endings: list[str], token_nats: list[list[float]]) -> tuple[int, int]:
    """Which ending costs least in all, and which costs least by character; the first of equals."""
    places, nats = range(len(endings)), [sum(costs) for costs in token_nats]
    return min(places, key=lambda i: nats[i]), min(places, key=lambda i: nats[i] / len(endings[i]))


def questions_needed(share: float, margin: float) -> float:
    """How many questions make two standard errors of a share as small as the margin."""
    return share * (1 - share) * (2 / margin) ** 2


def clipped_precision(written: list[str], reference: list[str], n: int) -> float:
    """The share of the written n-grams that stand in the reference, each counted as often as it stands there at most.

    BLEU's modified precision (Papineni et al. 2002, section 2.1); 0 where nothing has n words.
    """
    ours, theirs = Counter(ngrams(written, n)), Counter(ngrams(reference, n))
    return (ours & theirs).total() / ours.total() if ours else 0.0


def longest_common_run(a: list, b: list) -> list:
    """The longest run of items, without a gap, that stands in both; the first in `a` of several.

    By dynamic programming: `runs[j]` is the length of the common run that ends at this item of a and item j - 1 of b.
    """
    best, end = 0, 0
    runs = [0] * (len(b) + 1)
    for i, item in enumerate(a):
        runs = [0] + [runs[j] + 1 if item == other else 0 for j, other in enumerate(b)]
        if max(runs) > best:
            best, end = max(runs), i + 1
    return a[end - best : end]


# What candidates are run on.


def _texts(rng: Random) -> list[tuple]:
    letters = "".join(rng.choice("aé家🙂 ") for _ in range(rng.randint(5, 20)))
    return [
        (2 * math.log(2), 3, "a bird"),
        (1.5, 4, "café"),
        (0.0, 2, "ab"),
        (4.08, 3911, "x" * 13519),
        (rng.uniform(1, 6), rng.randint(2, 9), letters),
    ]


def _sizes(rng: Random) -> list[tuple]:
    return [
        (7, 4, 2),
        (7, 4, 4),
        (9, 4, 4),
        (6, 4, 1),
        (5, 4, 2),
        (2, 4, 2),
        (1, 4, 2),
        (rng.randint(20, 40), 8, rng.randint(2, 7)),
    ]


def _words(rng: Random) -> list[tuple]:
    known = {"the", " cat", " sat", "."}
    return [
        (math.log(2), ["the", " owl"], known),
        (3.0, ["the", " cat", " sat", "."], known),
        (1.0, ["the", " thé", "."], known),
        (0.0, [" xyz", " xyz", "the"], known),
        (rng.uniform(2, 9), rng.choices(["the", " cat", " Zoë", " häuser", "."], k=7), known),
    ]


def _answers(rng: Random) -> list[tuple]:
    some = ["a long ending of many words", "short", "of middle size"]
    return [
        (["yes.", "certainly not."], [[1.0, 2.0], [2.0, 2.0, 1.0]]),
        (["one", "other"], [[5.0], [1.0, 1.0]]),
        (["an ending", "an ending too"], [[3.0, 4.0], [3.5, 3.5]]),
        (["über", "a word"], [[4.4], [6.5]]),
        (["extraordinary", "he is"], [[6.0], [4.0]]),
        (some, [[6.0] * 6, [9.0], [5.0, 5.0, 5.0]]),
        (some, [[rng.uniform(0, 4) for _ in range(rng.randint(1, 8))] for _ in some]),
        (some[:2], [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [0.5, 3.0]]),
    ]


def _shares(rng: Random) -> list[tuple]:
    return [(0.5, 0.1), (0.25, 0.05), (0.9, 0.01), (0.3, 0.02), (rng.uniform(0.1, 0.9), rng.uniform(0.01, 0.2))]


def _sentences(rng: Random) -> list[tuple]:
    said, held = "the cat sat on the mat".split(), "the cat lay on a mat".split()
    one, other = (rng.choices("abc", k=rng.randint(8, 12)) for _ in range(2))
    return [
        (said, held, 1),
        (said, held, 2),
        (["the"] * 5, "the mat is on the floor".split(), 1),
        ("a b a b a b".split(), "a b c a b".split(), 2),
        (["the", "cat"], held, 3),
        (said, ["the"], 2),
        (held, said[:2], 1),
        ("x y".split(), said, 1),
        (one, other, 1),
        (one, other, 2),
    ]


def _pairs(rng: Random) -> list[tuple]:
    one, other = (rng.choices("abc", k=rng.randint(15, 25)) for _ in range(2))
    return [
        ("he sat on the mat".split(), "she lay on the mat today".split()),
        ("the mill stood by the mill".split(), "by the mill stood the miller".split()),
        (list("aab"), list("aaab")),
        (list("abcd"), list("abxcd")),
        (list("abcab"), list("bcaxab")),
        (["the"], ["owl"]),
        ([], ["a"]),
        ([1, 2, 3, 4, 5], [9, 2, 3, 4, 9]),
        (list("xyab"), list("ab")),
        (list("abxcb"), list("bcab")),
        (one, other),
    ]


EXERCISES = (
    CodeExercise(
        name="scored_tokens",
        title="Which window scores which token",
        minutes=12,
        difficulty=2,
        task="""
            A text has the tokens 0 to `n_ids - 1`. Windows begin at 0, `stride`, 2 × `stride`, and so on. A window that
            begins at `start` reads `context_length` tokens from there on, fewer at the end of the text, and so predicts
            the tokens `start + 1` to `start + context_length`. Of these it **scores** those that no window before it
            has scored. The last window is the first one that reaches the last token. Return a pair `(first, end)` for
            each window: it scores the tokens from `first` on, up to and without `end`. A text of one token has nothing
            to score; its list is empty.
        """,
        stub='''
            def scored_tokens(n_ids, context_length, stride):
                """A pair (first, end) for each window.

                Example: n_ids=7, context_length=4, stride=2 -> [(1, 5), (5, 7)]
                """
                ...
        ''',
        reference=scored_tokens,
        cases=_sizes,
        mistakes=wrong.SCORED,
        hints=(
            "Take the example by hand: what does the window from 0 predict, and what is left for the one from 2?",
            "Keep in a variable the first token that is not scored yet. At the beginning it is 1: nothing predicts 0.",
            "In a loop over `range(0, n_ids - 1, stride)`: `end = min(start + context_length + 1, n_ids)`; append "
            "`(first, end)`; stop if `end == n_ids`, else `first = end`.",
        ),
        why="""
            Together the windows score each token from 1 on once. So all losses can be added, and no token counts twice,
            whatever the stride.
        """,
    ),
    Choice(
        name="perplexities_apart",
        title="Two perplexities",
        minutes=3,
        difficulty=1,
        task="""
            Model A reads characters and has perplexity 3 on a text. Model B reads words, and has perplexity 100 on the
            same text. Each word, with the space before it, has 5 characters on average; both tokenizers are lossless.
            Which model predicts the text better?
        """,
        choices={
            "a": (
                "A: 3 is far less than 100",
                "A chooses among 3 at each character, and so five times a word. How many choices is that for a word?",
            ),
            "b": (
                "B: for a word A is undecided among about 3⁵ = 243, and B among 100",
                "A pays ln 3 five times for a word, 5.5 nats; B pays ln 100 once, 4.6 nats. B gives the text the "
                "higher probability.",
            ),
            "c": (
                "Nobody can say, since perplexities of different tokenizers don't compare",
                "As they stand they don't. But you know how many characters a token has, and no more is needed to "
                "bring both to one unit.",
            ),
            "d": (
                "They are equal: 3 for a character is about 100 for a word of 5 characters",
                "Perplexities multiply along a word, they don't add up: 3 × 3 × 3 × 3 × 3.",
            ),
        },
        answer="b",
        hints=(
            "What does each model pay, in nats, for one word of five characters?",
            "The perplexity of a word is that of its characters, multiplied.",
        ),
    ),
    CodeExercise(
        name="bits_per_byte",
        title="From nats to bits per byte",
        minutes=5,
        difficulty=1,
        task="""
            A text of `n_tokens` tokens has a mean loss of `loss` nats a token. How many bits does each of its bytes
            cost? The bytes are those of the text in UTF-8.
        """,
        stub='''
            def bits_per_byte(loss, n_tokens, text):
                """Bits for each byte.

                Example: 2 ln 2 nats a token, 3 tokens, "a bird" -> 1.0, since 6 bits are spread over 6 bytes
                """
                ...
        ''',
        reference=bits_per_byte,
        cases=_texts,
        mistakes=wrong.BITS,
        hints=(
            "Three steps: nats of a token to nats of the text; nats to bits; bits of the text to bits of a byte.",
            "A bit is ln 2 nats. `text.encode()` gives the bytes.",
            "`loss * n_tokens / math.log(2) / len(text.encode())`",
        ),
        why="""
            The number of tokens cancels out: it is there because the loss was divided by it. What is left, bits of the
            whole text and bytes of the whole text, has nothing to do with how the text was cut.
        """,
    ),
    CodeExercise(
        name="charged_bits",
        title="Charging for what is lost",
        minutes=8,
        difficulty=2,
        task="""
            A text is given in pieces, `words`, that give the whole text when joined. The tokenizer knows those in
            `vocabulary`, and writes `<|unk|>` for the others. `nats` is the loss of all tokens in sum, those for
            `<|unk|>` with the rest. Return bits per byte, with 8 bits charged for each byte of each unknown word.
        """,
        stub='''
            def charged_bits(nats, words, vocabulary):
                """Bits for each byte of the whole text, what is lost charged.

                Example: ln 2 nats, ["the", " owl"], {"the", " cat"} -> (1 + 8 * 4) / 7 = 4.714
                """
                ...
        ''',
        reference=charged_bits,
        cases=_words,
        mistakes=wrong.CHARGED,
        hints=(
            "Bits of the tokens, and 8 bits for each lost byte: add both, then divide by the bytes of the whole text.",
            "A word that is unknown and comes three times is lost three times. Count bytes, not characters.",
            "`lost = sum(len(word.encode()) for word in words if word not in vocabulary)`",
        ),
        why="""
            8 bits a byte is what it costs to write the word out byte by byte, all 256 being equally likely. So the
            tokens and the written-out words together would let you have the whole text back, as with any other
            tokenizer, and that is what makes the numbers comparable. (Still a little in favour of `<|unk|>`: where a
            written-out word ends would have to be said as well.)
        """,
    ),
    Prediction(
        name="noise_in_nats",
        title="Ninety-nine texts of noise",
        minutes=4,
        difficulty=2,
        task="""
            A machine throws a die before each text. In 1 of 100 cases it lets a good model write the text; in the other
            99 it writes noise. So it gives any text at least 1/100 of the probability that the good model gives it. The
            good model's mean loss on a text of 1000 tokens is 3 nats a token. What is the machine's at most? Give three
            decimals or more.
        """,
        form="a number of nats a token, like 3.456",
        answer=3 + math.log(100) / 1000,
        tolerance=0.0002,
        diagnoses={
            3.01: "That would be 10 nats for the text. A factor of 1/100 in the probability costs how many nats?",
            3 + math.log(100): "You charge the price of the die to each token. It is thrown once for the whole text.",
            300.0: "Probabilities are divided by 100. What happens to a logarithm when its argument is divided by 100?",
            3.0: "Not quite: the price is small, and not nothing. `-ln(p / 100)` is how much more than `-ln p`?",
            3.002: "That is the logarithm to base 10; nats are natural logarithms.",
            3 + math.log2(100) / 1000: "The price of the die is in bits there; the loss is in nats.",
            3 - math.log(100) / 1000: "A smaller probability costs more, not less.",
        },
        hints=(
            "`-ln(p / 100) = -ln p + ln 100`. That is for the whole text.",
            "Divide the price by the number of tokens that share it: `3 + math.log(100) / 1000`.",
        ),
        why="""
            Theis, van den Oord and Bethge (2016) use this to show that likelihood and the quality of samples can be
            independent of each other. The machine's loss is that of a good model to the third digit, and of a hundred
            texts it writes ninety-nine are rubbish.
        """,
    ),
    CodeExercise(
        name="pick_endings",
        title="Answer by likelihood",
        minutes=6,
        difficulty=2,
        task="""
            `token_nats[i]` holds what each token of `endings[i]` costs. Return the place of the ending that costs least
            in all, and that of the ending that costs least for each of its *characters*. Of equals, take the first.
        """,
        stub='''
            def pick_endings(endings, token_nats):
                """(place of the cheapest ending, place of the cheapest by character)

                Example: ["yes.", "certainly not."], [[1., 2.], [2., 2., 1.]] -> (0, 1), since 3 < 5 but 3/4 > 5/14
                """
                ...
        ''',
        reference=pick_endings,
        cases=_answers,
        mistakes=wrong.PICK,
        hints=(
            "First the sum for each ending, then divide by its length. You need the *place* of the smallest.",
            "`sums.index(min(sums))` is the place of the first smallest one.",
            "By character: `[total / len(ending) for total, ending in zip(sums, endings)]`, and its smallest again.",
        ),
        why="""
            The first is `acc` and the second `acc_norm` of lm-evaluation-harness. Characters, not tokens, so that two
            models with different tokenizers are asked the same question.
        """,
    ),
    CodeExercise(
        name="questions_needed",
        title="How many questions?",
        minutes=5,
        difficulty=2,
        task="""
            A model is expected to answer about a `share` of all questions correctly. How many questions are needed so
            that *two* standard errors of what you measure are `margin`? Take the standard error as
            $\\sqrt{p(1-p)/n}$, and don't round the result.
        """,
        stub='''
            def questions_needed(share, margin):
                """A number of questions, not rounded.

                Example: share=0.5, margin=0.1 -> 100.0
                """
                ...
        ''',
        reference=questions_needed,
        cases=_shares,
        mistakes=wrong.NEEDED,
        hints=(
            "Write it as an equation: 2 √(p (1 - p) / n) = margin. Solve for n.",
            "Square both sides: 4 p (1 - p) / n = margin².",
            "`4 * share * (1 - share) / margin**2`",
        ),
        why="""
            For half the margin, four times as many questions. That is why benchmarks have thousands of them, and why a
            difference of one point on a hundred questions says nothing.
        """,
    ),
    CodeExercise(
        name="clipped_precision",
        title="Clipped precision",
        minutes=10,
        difficulty=2,
        task="""
            Which share of the n-grams of `written` stands in `reference` too? Clip the counts: an n-gram counts at most
            as often as it stands in the reference. Both are lists of words. Where `written` has no n-gram, return 0.
        """,
        stub='''
            def clipped_precision(written, reference, n):
                """A share, 0 to 1.

                Example, n = 1: "the cat sat on the mat", "the cat lay on a mat" -> 4/6 (the, cat, on, mat)
                """
                ...
        ''',
        reference=clipped_precision,
        cases=_sentences,
        mistakes=wrong.CLIPPED,
        hints=(
            "The n-grams of a list: `[tuple(words[i : i + n]) for i in range(len(words) - n + 1)]`. Count them with "
            "`Counter`.",
            "For each different n-gram of `written`: the smaller of its two counts. `counts[x]` of a `Counter` is 0 "
            "for what it does not hold.",
            "`sum(min(count, theirs[gram]) for gram, count in ours.items()) / sum(ours.values())`, and 0 where `ours` "
            "is empty.",
        ),
        why="""
            Without clipping, the one word "the", repeated, has precision 1 against nearly any English sentence. And it
            is a *precision*: what the reference has and the text lacks is not looked at. That is left to the brevity
            penalty.
        """,
    ),
    CodeExercise(
        name="longest_common_run",
        title="The longest copy",
        minutes=15,
        difficulty=3,
        task="""
            Find the longest run of items, without a gap, that stands in both lists, and return it as a list. Of several
            that are equally long, return the one that begins first in `a`. Where nothing is in common, return an empty
            list. Trying every start in both is fine.
        """,
        stub='''
            def longest_common_run(a, b):
                """A list of items.

                Example: "he sat on the mat", "she lay on the mat today" (as words) -> ["on", "the", "mat"]
                """
                ...
        ''',
        reference=longest_common_run,
        cases=_pairs,
        mistakes=wrong.RUN,
        hints=(
            "Two loops choose a start in `a` and one in `b`; how far do the two agree from there?",
            "`while i + n < len(a) and j + n < len(b) and a[i + n] == b[j + n]: n += 1`",
            "Keep the best: `if n > len(best): best = a[i : i + n]`. With `>`, and the loop over `a` outside, the "
            "first of equals stays.",
        ),
        why="""
            Trying every pair of starts takes up to len(a) × len(b) × run steps. The solution needs len(a) × len(b):
            a run that ends here is one longer than the run that ended one place before in both. For a text of millions
            of characters even that is too slow: the library makes an index of the written texts, and reads the training
            text once.
        """,
    ),
)
