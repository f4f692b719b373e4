"""Chapter 9: honest solutions of other kinds than the reference pass, and the reference agrees with the library."""

import difflib
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptlib.evaluation import Question, TextLoss, bleu, longest_overlap, score_choices, standard_error, text_loss
from gptlib.exercises.judging import judge
from gptlib.exercises.registry import find
from gptlib.tokenizers import CharTokenizer, train_tokenizer
from workbook.exercises.evaluation import (
    bits_per_byte,
    charged_bits,
    clipped_precision,
    longest_common_run,
    pick_endings,
    questions_needed,
)

LISTS = st.lists(st.sampled_from("ab\n"), max_size=9)


def scored_by_remembering(n_ids, context_length, stride):
    seen, found = {0}, []
    for start in range(0, n_ids, stride):
        new = [i for i in range(start + 1, start + 1 + context_length) if i < n_ids and i not in seen]
        if new:
            found.append([new[0], new[-1] + 1])
        seen.update(new)
        if n_ids - 1 in seen:
            break
    return found


def scored_by_counting(n_ids, context_length, stride):
    n = 1 + max(0, math.ceil((n_ids - 1 - context_length) / stride)) if n_ids > 1 else 0
    ends = [min(k * stride + context_length + 1, n_ids) for k in range(n)]
    return list(zip([1, *ends], ends, strict=False))


def bits_by_log2(loss, n_tokens, text):
    return math.log2(math.exp(loss)) * n_tokens / len(bytes(text, "utf-8"))


def bits_of_tensors(loss, n_tokens, text):
    return torch.tensor(loss, dtype=torch.double) * n_tokens / torch.tensor(2.0).double().log() / len(text.encode())


def charged_word_by_word(nats, words, vocabulary):
    n_bytes, n_bits = 0, nats * math.log2(math.e)
    for word in words:
        n_bytes += len(word.encode())
        if word not in vocabulary:
            n_bits += 8 * len(word.encode())
    return n_bits / n_bytes


def charged_in_nats(nats, words, vocabulary):
    unknown = "".join(word for word in words if word not in vocabulary)
    return (nats + math.log(256) * len(unknown.encode())) / len("".join(words).encode()) / math.log(2)


def picked_by_tensors(endings, token_nats):
    sums = torch.stack([torch.tensor(nats, dtype=torch.double).sum() for nats in token_nats])
    return int(sums.argmin()), (sums / torch.tensor([len(ending) for ending in endings])).argmin()


def picked_in_a_loop(endings, token_nats):
    best = by_length = 0
    for i in range(1, len(endings)):
        if sum(token_nats[i]) < sum(token_nats[best]):
            best = i
        if sum(token_nats[i]) / len(endings[i]) < sum(token_nats[by_length]) / len(endings[by_length]):
            by_length = i
    return [best, by_length]


def needed_by_the_error_of_one(share, margin):
    return (math.sqrt(share - share**2) / (margin / 2)) ** 2


def precision_by_crossing_out(written, reference, n):
    left = [reference[i : i + n] for i in range(len(reference) - n + 1)]
    total = len(written) - n + 1
    if total < 1:
        return 0
    hits = 0
    for i in range(total):
        if written[i : i + n] in left:
            left.remove(written[i : i + n])
            hits += 1
    return hits / total


def run_by_brute_force(a, b):
    best = []
    for i in range(len(a)):
        for j in range(len(b)):
            n = 0
            while i + n < len(a) and j + n < len(b) and a[i + n] == b[j + n]:
                n += 1
            if n > len(best):
                best = a[i : i + n]
    return best


def run_of_difflib(a, b):
    match = difflib.SequenceMatcher(None, a, b, autojunk=False).find_longest_match()
    return a[match.a : match.a + match.size]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("scored_tokens", scored_by_remembering),
        ("scored_tokens", scored_by_counting),
        ("bits_per_byte", bits_by_log2),
        ("bits_per_byte", bits_of_tensors),
        ("charged_bits", charged_word_by_word),
        ("charged_bits", charged_in_nats),
        ("pick_endings", picked_by_tensors),
        ("pick_endings", picked_in_a_loop),
        ("questions_needed", needed_by_the_error_of_one),
        ("clipped_precision", precision_by_crossing_out),
        ("longest_common_run", run_by_brute_force),
        ("longest_common_run", run_of_difflib),
        ("noise_in_nats", 3.0046),
    ],
)
def test_an_honest_solution_passes(name, answer):
    judgement = judge(find(name)[1], answer)
    assert judgement.outcome == "correct", judgement


def test_bits_per_byte_are_the_librarys(make_model):
    tokenizer = CharTokenizer.train("abcé ")
    model, text = make_model(vocab_size=tokenizer.vocab_size), "abé cab é" * 3
    loss = text_loss(model, tokenizer, text)
    assert bits_per_byte(loss.loss, loss.n_tokens, text) == pytest.approx(loss.bits_per_byte)


def test_lost_words_are_charged_as_the_library_does():
    from gptlib.evaluation import lost_bytes
    from gptlib.tokenizers.words import split_words

    tokenizer = train_tokenizer("word", "the cat sat. the cat sat.")
    text = "the cat and the owl sat. Zoë"
    library = TextLoss(5.0, 7, len(text.encode()), lost_bytes(tokenizer, text))
    assert charged_bits(5.0, split_words(text), set(tokenizer.words)) == pytest.approx(library.bits_per_byte)


def test_the_endings_picked_are_the_librarys(make_model):
    tokenizer = CharTokenizer.train("abcdefgh ")
    model = make_model(vocab_size=tokenizer.vocab_size, context_length=32)
    question = Question("a bad", ("cab", "face had a bad cab", "egg"), 0)
    nats = score_choices(model, tokenizer, [question]).nats[0]
    for label in range(3):
        scores = score_choices(model, tokenizer, [Question(question.context, question.endings, label)])
        best, by_length = pick_endings(list(question.endings), [[n] for n in nats])
        assert (scores.correct[0], scores.correct_by_length[0]) == (best == label, by_length == label)


def test_so_many_questions_have_that_error():
    n = questions_needed(0.3, 0.05)
    assert 2 * standard_error(0.3, round(n) + 1) == pytest.approx(0.05, rel=1e-2)


def test_the_precisions_make_sacrebleus_bleu():
    written, reference = (
        "the old cat sat on the mat by the door".split(),
        "the cat sat on the mat near the old door".split(),
    )
    logs = [math.log(clipped_precision(written, reference, n)) for n in (1, 2, 3, 4)]
    assert bleu([" ".join(written)], [" ".join(reference)]) == pytest.approx(100 * math.exp(sum(logs) / 4))


@given(LISTS, LISTS)
def test_the_run_is_the_librarys_longest_overlap(a, b):
    assert longest_common_run(a, b) == list(longest_overlap(["".join(a)], "".join(b))) == run_by_brute_force(a, b)
