"""Chapter 1: words with unknown ones, pairs counted and merged, a word encoded by the ranks of its merges."""

from itertools import pairwise
from random import Random

from gptlib.exercises.declaring import Choice, CodeExercise, Mistake, Prediction
from gptlib.tokenizers.merging import learn_merges
from gptlib.tokenizers.words import UNKNOWN, split_words
from workbook.mistakes import tokenizers as wrong

Pair = tuple[int, int]


def encode_words(text: str, vocabulary: dict[str, int]) -> list[int]:
    """The id of each word of `text`; that of "<|unk|>" for a word that the vocabulary doesn't have."""
    unknown = vocabulary[UNKNOWN]
    return [vocabulary.get(word, unknown) for word in split_words(text)]


def count_pairs(ids: list[int]) -> dict[Pair, int]:
    """How often each pair of neighbours stands in `ids`."""
    counts: dict[Pair, int] = {}
    for pair in pairwise(ids):  # (ids[0], ids[1]), (ids[1], ids[2]), ...
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def merge_pair(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    """A copy of `ids` in which `new_id` stands for each occurrence of `pair`, from left to right."""
    merged = []
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:  # at the end the slice has one id, and is no pair
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def encode_word(word: bytes, merges: list[Pair]) -> list[int]:
    """The ids of `word`: of the pairs that it has, the one that was learned first is merged, again and again."""
    new_ids = {pair: 256 + k for k, pair in enumerate(merges)}
    ids = list(word)
    while known := [pair for pair in pairwise(ids) if pair in new_ids]:
        first = min(known, key=new_ids.__getitem__)
        ids = merge_pair(ids, first, new_ids[first])
    return ids


def _word_cases(rng: Random) -> list[tuple]:
    pieces = ["the", " mill", " the", " owl", ",", " old", "The", "\n", "Owl", "don't", UNKNOWN]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    other = {UNKNOWN: 0, " a": 1, " b": 2, "a": 3, " A": 4}
    first = ("the mill, the owl", {"the": 0, " mill": 1, ",": 2, " the": 3, UNKNOWN: 4})
    texts = ["the mill, the weathercock", "", "mill", "The old owl\nthe Owl", "don't, mill!", "the\n\nthe  owl"]
    random_text = "".join(rng.choice([" a", " b", " A", "a", " c", "."]) for _ in range(12))
    return [first, *((text, vocabulary) for text in texts), (random_text, other)]


def _random_ids(rng: Random, length: int) -> list[int]:
    return [rng.randint(1, 3) for _ in range(length)]


def _pair_cases(rng: Random) -> list[tuple]:
    lists = [[1, 2, 3, 1, 2], [], [7], [5, 5, 5], [2, 1, 1, 2, 1], [300, 2], [1, 2, 1, 2]]
    return [(ids,) for ids in (*lists, _random_ids(rng, 20), _random_ids(rng, 31))]


def _merge_cases(rng: Random) -> list[tuple]:
    some = [
        ([1, 2, 3, 1, 2], (1, 2), 4),
        ([5, 5, 5], (5, 5), 6),
        ([5, 5, 5, 5, 1, 5, 5, 5, 5, 5], (5, 5), 9),
        ([], (1, 2), 3),
        ([1], (1, 2), 3),
        ([3, 1], (1, 2), 4),
        ([2, 1, 2, 1], (1, 2), 256),
        ([1, 1, 2, 2], (1, 2), 256),
        ([1, 2, 3], (4, 5), 6),
        ([31, 2, 1, 23, 1, 2], (1, 2), 256),  # the digits 1 2 stand in it more often than the ids do
    ]
    return some + [(_random_ids(rng, 24), pair, 256) for pair in ((1, 2), (1, 1), (3, 2))]


def _learned(text: str, n_merges: int) -> list[Pair]:
    return learn_merges({text.encode(): 1}, n_merges)


def _encode_cases(rng: Random) -> list[tuple]:
    the = [(104, 101), (116, 104), (257, 101)]  # he, th, the
    cases = [
        (b"the", the[:2]),
        (b"the", the),
        (b"", the),
        (b"x", the),
        (b"that", the),
        (b"hehe", [(104, 101), (256, 256)]),
        (b"aaaaa", [(97, 97), (256, 256)]),
        (b"abcbc", [(97, 98), (98, 99), (256, 99)]),
        ("né né".encode(), [(195, 169), (110, 256)]),
        (b"abcd", [(99, 100), (98, 99), (97, 257), (97, 98)]),  # cd, bc, abc, ab: neither ab nor abc goes first
        (b"the", []),
    ]
    for n_merges in (6, 15, 25):
        learned = _learned("".join(rng.choice("abcd") for _ in range(150)), n_merges)
        cases += [("".join(rng.choice("abcd") for _ in range(20)).encode(), learned) for _ in range(2)]
    return cases


EXERCISES = (
    CodeExercise(
        name="encode_words",
        title="Encode words, the unknown ones too",
        minutes=6,
        task="""
            Write the encoder of a word tokenizer. `split_words(text)` cuts the text; `vocabulary` is a dict from
            pieces to ids, and one of its keys is `"<|unk|>"`. A piece that is not in the vocabulary gets the id of
            `"<|unk|>"`. Leave the vocabulary as it is.
        """,
        stub='''
            def encode_words(text, vocabulary):
                """The ids of the pieces of `text`, a list.

                Example: "the mill, the owl" with {"the": 0, " mill": 1, ",": 2, " the": 3, "<|unk|>": 4}
                -> [0, 1, 2, 3, 4]
                """
                ...
        ''',
        reference=encode_words,
        cases=_word_cases,
        mistakes=(
            Mistake(
                wrong.split_at_spaces,
                "You cut with `text.split()`, which loses the spaces and leaves a comma on its word; the vocabulary "
                "was made with `split_words`.",
            ),
            Mistake(
                wrong.skip_unknown,
                "Unknown words are left out. Then nobody can see that something was there; which id stands for them?",
            ),
            Mistake(
                wrong.believe_all_known,
                "A word that is not in the vocabulary ends it with a `KeyError`. What should such a word become?",
            ),
            Mistake(
                wrong.learn_new_words,
                "You give new words new ids. A model has one row of numbers for each id it was trained with, and "
                "none for these.",
            ),
            Mistake(
                wrong.strip_spaces,
                "You take the space off the pieces before you look them up; here ` mill` and `mill` are two entries.",
            ),
            Mistake(wrong.ignore_case, "You change the text to lower case; `The` and `the` are two entries here."),
            Mistake(
                wrong.unknown_by_or,
                "A piece with the id 0 is taken for an unknown one: in Python `0 or something` is `something`.",
            ),
            Mistake(
                wrong.unknown_as_text,
                'Unknown words become the text `"<|unk|>"`. That is a key of the vocabulary; what is its id?',
            ),
            Mistake(wrong.return_at_once, "Your `return` stands inside the loop, and ends it after the first piece."),
            Mistake(
                wrong.unknown_is_none,
                'Unknown words become `None`, which is no id. The vocabulary has an id for them, under `"<|unk|>"`.',
            ),
        ),
        hints=(
            "Go over the pieces of `split_words(text)` and look each of them up.",
            "`vocabulary.get(piece, otherwise)` gives `otherwise` for a piece that is not there.",
            'What goes in place of `otherwise` is `vocabulary["<|unk|>"]`.',
        ),
        why="""
            All unknown words get one and the same id, so what they were is lost for good. The library's
            `WordTokenizer` is a little kinder: it also tries the word with and without the space before it.
        """,
    ),
    Prediction(
        name="bytes_of_cafe",
        title="How many bytes?",
        minutes=2,
        task="How many bytes does `'Café 🙂'` take in UTF-8? Count by hand, then check.",
        answer=10,
        form="a whole number",
        diagnoses={
            6: "That is the number of characters; two of them take more than one byte.",
            7: "`é` takes two bytes, that is counted; the face is far beyond `U+FFFF`, and takes more than one.",
            8: "`é` takes two bytes, right; the face takes more than two.",
            9: "Nearly: one byte is missing. The space takes one, `é` two, and the face, which is beyond `U+FFFF`, "
            "more than three.",
            12: "`é` is `U+00E9`, and the table says two bytes for that; only the face takes four.",
        },
        hints=(
            "`C`, `a`, `f` and the space are ASCII. How many bytes are they?",
            "Look up `é` (`U+00E9`) and `🙂` (`U+1F642`) in the table above.",
        ),
        why="4 ASCII characters of one byte, `é` with two, `🙂` with four: 4 + 2 + 4 = 10.",
    ),
    CodeExercise(
        name="count_pairs",
        title="Count the pairs",
        minutes=6,
        task="""
            Count how often each pair of neighbours stands in a list of ids. Every place counts, so `[5, 5, 5]` has the
            pair `(5, 5)` twice. Return a dict (a `Counter` is one) from pairs, as tuples, to counts.
        """,
        stub='''
            def count_pairs(ids):
                """{(left, right): how often} for all neighbours in the list `ids`.

                Example: [1, 2, 3, 1, 2] -> {(1, 2): 2, (2, 3): 1, (3, 1): 1}
                """
                ...
        ''',
        reference=count_pairs,
        cases=_pair_cases,
        mistakes=(
            Mistake(
                wrong.count_apart,
                "You count places 0 and 1, then 2 and 3, and so on. The pair at places 1 and 2 is one too.",
            ),
            Mistake(wrong.count_either_way, "`(1, 2)` and `(2, 1)` are different pairs: the order counts."),
            Mistake(wrong.miss_the_last, "The last pair is missing: does your loop end one place too early?"),
            Mistake(
                wrong.count_past_the_end,
                "At the last id there is no `ids[i + 1]`: n ids have n - 1 pairs. How far should your loop go?",
            ),
            Mistake(wrong.count_each_once, "You list the pairs, each with a 1; a pair that comes again counts again."),
            Mistake(wrong.count_single_ids, "You count single ids; what is asked for is pairs of neighbours."),
            Mistake(wrong.count_lists, "A list can't be a key of a dict, since it can change; a tuple can."),
            Mistake(wrong.count_all_with_all, "You pair every id with every other one; only neighbours count."),
            Mistake(
                wrong.around_the_end,
                "The last id and the first one are counted as neighbours; Python's `ids[-1]` is the last.",
            ),
        ),
        hints=(
            "A list of n ids has n - 1 pairs: places 0 and 1, 1 and 2, and so on.",
            "`zip(ids, ids[1:])` walks over them; `itertools.pairwise(ids)` does the same.",
            "`collections.Counter` counts whatever it is given.",
        ),
        why="""
            A list of n ids has n - 1 pairs. Training needs these counts after every merge; the library's `PairIndex`
            therefore does not count anew each time, but changes the counts around the places where it merges.
        """,
    ),
    CodeExercise(
        name="merge_pair",
        title="One merge",
        minutes=12,
        difficulty=2,
        task="""
            The one step that byte-pair encoding is made of: replace each occurrence of a pair by a new id. Go from left
            to right. An id that was used up in one occurrence can't be part of the next, so with the pair `(5, 5)` the
            list `[5, 5, 5]` becomes `[new_id, 5]`. Return a new list and leave `ids` as it is.
        """,
        stub='''
            def merge_pair(ids, pair, new_id):
                """A new list: `ids` with `new_id` in place of each `pair`, from left to right.

                Example: [1, 2, 3, 1, 2], (1, 2), 4 -> [4, 3, 4]
                """
                ...
        ''',
        reference=merge_pair,
        cases=_merge_cases,
        mistakes=(
            Mistake(
                wrong.merge_from_the_right,
                "In a run such as `[5, 5, 5]` you merge the last two; the merge goes from left to right.",
            ),
            Mistake(
                wrong.reuse_the_partner,
                "In a run such as `[5, 5, 5]` you use the middle one twice. Once it is merged, it is gone.",
            ),
            Mistake(
                wrong.keep_the_partner,
                "The new id stands for both halves of the pair, and the right half is still there.",
            ),
            Mistake(
                wrong.keep_the_partner_lose_the_last,
                "Two things: after a merge its right half is still there, and the last id of the list gets lost.",
            ),
            Mistake(
                wrong.compare_list_with_tuple,
                "Nothing is ever replaced. Do you compare `ids[i : i + 2]` with `pair`? A list and a tuple are never "
                "equal.",
            ),
            Mistake(
                wrong.lose_the_last,
                "The last id gets lost where it is not merged: your loop stops before it.",
            ),
            Mistake(
                wrong.look_past_the_end,
                "At the last id there is no `ids[i + 1]`. Check that there is a right neighbour before you look at it.",
            ),
            Mistake(wrong.merge_once, "Only the first occurrence is merged; all of them should be."),
            Mistake(
                wrong.replace_in_a_string,
                "You make a string of the ids and replace in it, and so you find `1 2` in `31 2` as well. Compare ids, "
                "not digits.",
            ),
            Mistake(
                wrong.merge_in_place,
                "The result is right, but the list you were given is changed; build a new one, or work on a copy.",
            ),
        ),
        hints=(
            "Walk with an index `i` and a `while` loop, since you will not always move on by one.",
            "Where `ids[i]` and `ids[i + 1]` are the pair: append `new_id` and move on by 2. Else: append `ids[i]` and "
            "move on by 1.",
            "At the last place there is no `ids[i + 1]`: test `i + 1 < len(ids)` first, or compare the slice "
            "`tuple(ids[i : i + 2])` with `pair`.",
        ),
        why="""
            The index moves on by two after a merge, and that is what keeps overlapping occurrences apart. Each call
            walks over the whole list; `PairIndex.merge` visits only the places where the pair is.
        """,
    ),
    Prediction(
        name="chunks_of_o_clock",
        title="Cut like GPT-2",
        minutes=4,
        difficulty=2,
        task="""
            Into which chunks does GPT-2's pattern cut `"It's  7 o'clock"`? There are two spaces before the 7. Go
            through the alternatives of the pattern at each place, and write the chunks as a list of strings.
        """,
        answer=["It", "'s", " ", " 7", " o", "'", "clock"],
        form='a list of strings, like ["Hello", ",", " you"]',
        diagnoses={
            ("It", "'s", "  ", "7", " o", "'", "clock"): "The run of spaces stops before its last one: that one "
            "belongs to the 7.",
            ("It", "'s", " ", " 7", " o'clock"): "An apostrophe is no letter. Only the seven endings of the first "
            "alternative are taken together with one, and `'clock` is none of them.",
            ("It", "'s", " ", " 7", " o", "'clock"): "The first alternative takes `'s`, `'t`, `'re`, `'ve`, `'m`, "
            "`'ll`, `'d`; `'clock` is none of these, so the apostrophe is a mark by itself.",
            (
                "It's",
                " ",
                " 7",
                " o'clock",
            ): "That is how `split_words` cuts. Here an apostrophe is no letter: a run of letters ends before it.",
            ("It's", " ", " 7", " o", "'", "clock"): "`It` is a run of letters, and an apostrophe ends it; `'s` is the "
            "first alternative of the pattern.",
            ("It", "'s", "  7", " o", "'", "clock"): "A number takes one space at most; the other one is a chunk by "
            "itself.",
            ("It", "'s", " 7", " o", "'", "clock"): "A space got lost: joined, the chunks are the text again.",
            ("It's", "  7", " o'clock"): "You cut at spaces. An apostrophe ends a run of letters too, and a number "
            "takes one space at most.",
            ("It", "'", "s", " ", " 7", " o", "'", "clock"): "The first alternative comes before the others: it takes "
            "`'s` in one piece.",
            ("It", "'s", " ", " ", "7", " ", "o", "'", "clock"): "Words and numbers take the space in front of them "
            "along.",
        },
        hints=(
            "Seven chunks. The first two are `It` and `'s`.",
            "`\\s+(?!\\S)` takes white space up to, but not including, the last space before a word or number.",
            "`o'clock` begins with ` o`; then comes an apostrophe that begins none of the endings.",
        ),
        why="""
            `'s` is a contraction and a chunk; `'clock` is none, so its apostrophe is a run of marks. Of the two spaces
            the second belongs to ` 7`. `split_chunks` gives the same.
        """,
    ),
    Prediction(
        name="merges_by_hand",
        title="Encode by hand",
        minutes=4,
        difficulty=2,
        task="""
            The merges, in the order of learning, are `(97, 98)`, `(98, 99)`, `(256, 99)`; they make the ids 256, 257
            and 258. The bytes of `abc` are 97, 98, 99. Which ids does the word `abcbc` get?
        """,
        answer=[258, 257],
        form="a list of whole numbers, like [256, 99]",
        diagnoses={
            (256, 99, 257): "You stopped one step too early: is there a pair left that is among the merges?",
            (256, 99, 98, 99): "That is right after the first merge. Go on while there is a pair that is among the "
            "merges.",
            (97, 257, 257): "You merged `(98, 99)` first. The pair `(97, 98)` is there too, and was learned earlier.",
            (258, 98, 99): "The first three bytes are right. There is still a pair in the rest.",
            (97, 98, 99, 98, 99): "Those are the bytes, and nothing is merged yet.",
            (256, 99, 256, 99): "The second pair is 98 and 99, not 97 and 98; which id does it make?",
        },
        hints=(
            "Begin with 97, 98, 99, 98, 99 and look for `(97, 98)`.",
            "Then 256, 99, 98, 99. Of the pairs in it, which was learned first?",
        ),
        why="""
            97 98 99 98 99, then 256 99 98 99 after merge 0, then 256 99 257 after merge 1, then 258 257 after merge 2:
            the tokens `abc` and `bc`.
        """,
    ),
    CodeExercise(
        name="encode_word",
        title="Encode a word by the ranks of its merges",
        minutes=18,
        difficulty=3,
        task="""
            Turn the bytes of a word into ids. `merges[k]` is the pair that was learned as number k, and makes the id
            256 + k. Of the pairs that stand in the word, merge the one with the lowest k; look again; stop when no pair
            is left that is among the merges. You may use your `merge_pair`, or take ours:
            `from gptlib.exercises import reference; merge_pair = reference("merge_pair")`.
        """,
        stub='''
            def encode_word(word, merges):
                """The ids of `word`, which is `bytes`; a list.

                Example: b"the", [(104, 101), (116, 104)] -> [116, 256], since "he" was learned before "th"
                """
                ...
        ''',
        reference=encode_word,
        cases=_encode_cases,
        mistakes=(
            Mistake(
                wrong.merge_the_leftmost,
                "You merge the leftmost pair that is among the merges. Which of them was learned first?",
            ),
            Mistake(
                wrong.merge_the_latest,
                "You merge the pair that was learned last; the one that was learned first has the lowest k.",
            ),
            Mistake(
                wrong.take_the_longest,
                "You take the longest token that fits. Encoding has to repeat what training did, merge by merge, and "
                "that doesn't always end in the longest one.",
            ),
            Mistake(
                wrong.pass_through_once,
                "You walk through the word once. A merged pair can be half of the next one, so look again after each "
                "merge.",
            ),
            Mistake(
                wrong.merge_only_once,
                "You merge a pair once and go on to the next k, though it stands in the word a second time.",
            ),
            Mistake(
                wrong.merge_the_most_frequent,
                "You merge the pair that is most frequent in the word. Frequencies decided in training; now only the "
                "order of the merges counts.",
            ),
            Mistake(
                wrong.never_stop,
                "A `KeyError` ends it when there are pairs left, but none that is among the merges. That is where to "
                "stop.",
            ),
            Mistake(
                wrong.look_for_pairs_once,
                "You look for pairs once, before the first merge. A merge makes new pairs, so look again after each.",
            ),
            Mistake(
                wrong.merge_one_pair,
                "You merge one pair and stop. Go on while there is a pair that is among the merges.",
            ),
            Mistake(
                wrong.number_as_used,
                "Your new ids count up as the merges are used. They belong to the merges: number k makes 256 + k.",
            ),
            Mistake(
                wrong.smallest_ids,
                "`min` of the pairs compares the ids in them. What counts is each pair's place in `merges`.",
            ),
            Mistake(
                wrong.least_of_nothing,
                "A word of a single id has no pairs, and `min` of nothing is an error. Stop before that.",
            ),
            Mistake(
                wrong.count_from_zero,
                "Merge k makes the id 256 + k; you use k, which is the id of a byte.",
            ),
        ),
        hints=(
            "`list(word)` is the bytes as numbers. Make a dict from each pair to its new id, "
            "`{pair: 256 + k for k, pair in enumerate(merges)}`: the lower the id, the earlier it was learned.",
            "In a loop: which of the pairs `zip(ids, ids[1:])` are in that dict? None: you are done.",
            "Else take the one with the smallest new id, as `min(pairs, key=new_ids.get)`, let `merge_pair` replace "
            "it, and look again.",
        ),
        why="""
            Encoding replays the training on one word. To go through all merges in order, `for k, pair in
            enumerate(merges): ids = merge_pair(ids, pair, 256 + k)`, gives the same ids: a pair made by merge k can
            only be used by later ones. With GPT-2's 50,000 merges that would be 50,000 passes for each word.
        """,
        shows=(encode_word, merge_pair),
    ),
    Choice(
        name="plain_end_of_text",
        title="A text that says `<|endoftext|>`",
        minutes=2,
        task="""
            Somebody sends your program a message that contains the thirteen characters `<|endoftext|>`. Why does
            `encode(message)` not give the id of the special token?
        """,
        choices={
            "a": (
                "Because no merge spells `<|endoftext|>`.",
                "It is true that no merge makes it, and that is why it needs an id of its own. But `encode` could look "
                "for it all the same, and does so where `allowed_special` says so.",
            ),
            "b": (
                "Because whoever writes a text could then end it for the model: texts from outside stay plain text.",
                "The special token says something about the text, and only your program may say it. It adds the id "
                "itself, or passes `allowed_special` for texts that it wrote.",
            ),
            "c": (
                "Because looking for it in every text would take too long.",
                "Looking for one fixed string is far quicker than all the merging. It is a matter of who may use it.",
            ),
            "d": (
                "Because a decoder could not turn the id back into a text.",
                "It can: the id of the special token decodes to the text `<|endoftext|>`.",
            ),
        },
        answer="b",
        hints=(
            "Who writes the message, and who decides where a document ends?",
            "Think of a web form and a database: why is what people type never run as a command?",
        ),
    ),
    Choice(
        name="vocabulary_for_tales",
        title="Choose a vocabulary",
        minutes=2,
        difficulty=2,
        task="""
            You will train a small model, of some millions of parameters in all, on the tales: about 268,000 characters.
            Which vocabulary do you choose?
        """,
        choices={
            "a": (
                "256 bytes and nothing else: no token is rare, and the table is tiny.",
                "It works. But a text takes more than three times as many steps, and the model sees only a fraction of "
                "it at a time.",
            ),
            "b": (
                "About 2,000 byte-pair tokens trained on the tales.",
                "Most of the shortening is won by then, each token is still seen often enough to be learned, and the "
                "table stays small. The trained model that comes with the book has a vocabulary of this order.",
            ),
            "c": (
                "GPT-2's 50,257, since the large models use it.",
                "Its table alone would be larger than the rest of the model, and most of its tokens never occur in the "
                "tales, so nothing could be learned about them.",
            ),
            "d": (
                "All words of the tales, since that gives the shortest sequences.",
                "Many of these words occur once, too few to learn anything from, and every new word of a prompt "
                "would be `<|unk|>`.",
            ),
        },
        answer="b",
        hints=(
            "Two things cost: long sequences, and tokens that are seen a few times only. Look at where the curves "
            "flatten.",
            "A vocabulary of V tokens means V rows of numbers to learn, and each needs examples.",
        ),
    ),
)
