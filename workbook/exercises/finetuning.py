"""Chapter 8: templates, masks, packed rows, exact match, and LoRA from its count to its merging."""

from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gptlib.datasets import IGNORE_INDEX
from gptlib.exercises.adapters import UnfitError
from gptlib.exercises.declaring import Choice, CodeExercise
from gptlib.instructions import CHAT, Instruction, InstructionDataset, Template
from gptlib.lora import Adapter, LoRALinear
from workbook.mistakes import finetuning as wrong


def fill_template(instruction: str, given: str, output: str) -> tuple[str, str]:
    """The prompt of the chat template, and the answer that is learned behind it; `given` is "" where there is none."""
    entry = Instruction(instruction, output, input=given)
    return CHAT.prompt(entry), CHAT.answer(output)


def answer_targets(prompt: list[int], answer: list[int], eos_id: int) -> tuple[list[int], list[int]]:
    """Inputs and targets of an entry: -100 where the next token is one of the prompt; the end is learned."""
    tokens = [*prompt, *answer, eos_id]
    hidden = [IGNORE_INDEX] * (len(prompt) - 1)
    return tokens[:-1], hidden + tokens[len(prompt) :]


def fill_rows(lengths: list[int], room: int) -> list[list[int]]:
    """Places of entries, in their order, in rows of at most `room` tokens; what doesn't fit any more begins a row."""
    rows, used = [], room
    for place, length in enumerate(lengths):
        if used + length > room:
            rows.append([])
            used = 0
        rows[-1].append(place)
        used += length
    return rows


def exact_share(said: list[str], right: list[str]) -> float:
    """The share of answers that are right to the letter, white space at both ends apart."""
    return sum(a.strip() == b.strip() for a, b in zip(said, right, strict=True)) / len(right)


def count_lora(shapes: list[tuple[int, int]], rank: int) -> int:
    """Numbers in the A (rank, K) and B (N, rank) of layers with weights (N, K)."""
    return sum(rank * (n + k) for n, k in shapes)


def low_rank(update: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """update (N, K) -> B (N, rank), A (rank, K); B @ A is the nearest matrix of that rank (Eckart and Young 1936)."""
    U, S, Vh = torch.linalg.svd(update, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh[:rank]


def lora_forward(x: Tensor, weight: Tensor, bias: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """x (..., K) -> (..., N): the frozen layer, and (alpha / rank) x A^T B^T."""
    return F.linear(x, weight, bias) + alpha / len(A) * (x @ A.t() @ B.t())


def merge_lora(weight: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """The weight (N, K) that does the work of weight, A (rank, K) and B (N, rank)."""
    return weight + alpha / len(A) * (B @ A)


# How candidates are run, and on what.


def _product(candidate: Any, update: Tensor, rank: int) -> Any:
    """The product, since B and A may be multiplied and divided by the same numbers."""
    found = candidate(update, rank)
    if not isinstance(found, tuple | list) or len(found) != 2 or not all(isinstance(part, Tensor) for part in found):
        raise UnfitError("Return two tensors: `B`, `(N, rank)`, and `A`, `(rank, K)`.")
    shapes, right = tuple(tuple(part.shape) for part in found), ((len(update), rank), (rank, update.shape[1]))
    if shapes != right:
        raise UnfitError(
            f"`B` and `A` have the shapes {shapes[0]} and {shapes[1]}; {right[0]} and {right[1]} is right."
        )
    return (found[0] @ found[1]).double()


def _entries(rng: Random) -> list[tuple]:
    word = rng.choice(["mill", "ferry", "gate"])
    return [
        ("Which word comes first?", "green ferry", "green"),
        ("Who is the baker?", "", "Nell"),
        ("Say it:", "a  b ", " a  b"),
        ("Write two lines.", "", f"one\n{word}"),
    ]


def _token_lists(rng: Random) -> list[tuple]:
    return [
        ([5, 6, 7], [8, 9], 0),
        ([4], [3], 2),
        ([1, 2, 3, 4, 5], [0, 7, 0], 0),
        ([rng.randint(1, 9) for _ in range(4)], [rng.randint(1, 9) for _ in range(3)], 50256),
    ]


def _lengths(rng: Random) -> list[tuple]:
    return [
        ([3, 5, 2, 4, 7, 1], 8),
        ([5, 4, 3], 8),
        ([6, 4, 2, 5], 8),
        ([8, 8, 1], 8),
        ([4], 9),
        ([rng.randint(1, 12) for _ in range(20)], 20),
    ]


def _answers(rng: Random) -> list[tuple]:
    right = [rng.choice(["green", "ferry", "six"]) for _ in range(5)]
    return [
        (["green", "Ferry", "six ", "the mill"], ["green", "ferry", "six", "mill"]),
        (["yes", "no"], ["no", "yes"]),
        (["It is green.", "no"], ["green", "yes"]),
        (["GREEN MAYOR", "small hat letter"], ["GREEN MAYOR", "hat small letter"]),
        ([*right[:3], "", " "], right),
        ([" a\n", "b"], ["a", "b"]),
        (["small  hat", "no"], ["small hat", "no"]),
        (["green ferry", "small.", "six"], ["green", "small", "six"]),
    ]


def _shapes(rng: Random) -> list[tuple]:
    gpt2 = [(2304, 768), (768, 768), (3072, 768), (768, 3072)] * 12
    return [([(4, 6)], 2), ([(4, 6), (3, 4)], 1), (gpt2, 8), ([(rng.randint(9, 50), rng.randint(9, 50))] * 3, 4)]


def _updates(rng: Random) -> list[tuple]:
    visible = torch.tensor([[2.0, 0.0, 1.0], [4.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    return [
        (visible, 1),
        (visible, 2),
        (torch.randn(5, 3), 2),
        (torch.randn(3, 6), 1),
        (torch.randn(4, 4), 3),
        (torch.randn(6, 6), rng.randint(2, 4)),
    ]


def _layers(rng: Random) -> list[tuple]:
    def layer(*shape: int, n: int, k: int, rank: int, alpha: float) -> tuple:
        return (
            torch.randn(*shape, k),
            torch.randn(n, k),
            torch.randn(n),
            torch.randn(rank, k),
            torch.randn(n, rank),
            alpha,
        )

    x, A, B = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.eye(2)
    return [
        (x, torch.eye(2), torch.zeros(2), A, B, 4.0),
        layer(3, n=4, k=5, rank=2, alpha=1.0),
        layer(2, 3, n=6, k=4, rank=3, alpha=16.0),
        layer(1, n=3, k=3, rank=1, alpha=rng.uniform(2, 9)),
    ]


def _weights(rng: Random) -> list[tuple]:
    return [(weight, A, B, alpha) for _, weight, _, A, B, alpha in _layers(rng)]


EXERCISES = (
    CodeExercise(
        name="fill_template",
        title="An entry as text",
        minutes=5,
        task="""
            Write an entry in the chat template. Return two texts: the prompt, and the answer as the model is to write
            it. `given` is the entry's input, and `""` where it has none. What stands in an entry goes in as it is, to
            the letter.
        """,
        stub='''
            def fill_template(instruction, given, output):
                """(prompt, answer)

                Example: "Which word comes first?", "green ferry", "green"
                -> ("User: Which word comes first? green ferry\\\\nAssistant:", " green")
                """
                ...
        ''',
        reference=fill_template,
        cases=_entries,
        mistakes=wrong.TEMPLATE,
        hints=(
            "Four pieces make the prompt: `User: `, what is asked, a new line, `Assistant:`.",
            "One of the spaces belongs there only if there is an input. Where does the space before the answer belong?",
            'What is asked is `f"{instruction} {given}" if given else instruction`; the answer is `" " + output`.',
        ),
        shows=(fill_template, Template.prompt, Template.answer),
        why="""
            A template can be anything, as long as it is the same in training and in use, to the letter. The space
            belongs to the answer because most tokens of words begin with one: `" green"` is a token that the model
            knows from the middle of sentences.
        """,
    ),
    CodeExercise(
        name="answer_targets",
        title="Learn the answer, and its end",
        minutes=9,
        difficulty=2,
        task="""
            Make inputs and targets, lists of the same length, of an entry's tokens. Each target is the token after its
            input; -100 where that token belongs to the prompt. The end-of-text token behind the answer is learned.
        """,
        stub='''
            def answer_targets(prompt, answer, eos_id):
                """(inputs, targets) of the token ids of a prompt and its answer

                Example: [5, 6, 7], [8, 9], 0 -> ([5, 6, 7, 8, 9], [-100, -100, 8, 9, 0])
                """
                ...
        ''',
        reference=answer_targets,
        cases=_token_lists,
        mistakes=wrong.TARGETS,
        hints=(
            "Put all in one list first: prompt, answer, end. Inputs are all but the last, targets all but the first.",
            "The prompt's last token is the input from which the first token of the answer is predicted.",
            "So `len(prompt) - 1` targets are -100.",
        ),
        shows=(answer_targets, InstructionDataset.__getitem__),
        why="""
            The mask lies on targets, never on inputs: the model has to see the whole prompt to answer it. That the
            number of hidden targets is one less than the prompt's length is the shift by one that all of language
            modelling has (chapter 2).
        """,
    ),
    Choice(
        name="learned_at_padding",
        title="What padding teaches",
        minutes=3,
        difficulty=2,
        task="""
            We fill up with `<|endoftext|>`, as many people do. Suppose that somebody makes the targets of a batch in
            another way: those of the prompts become -100, and so does every target that equals the padding's id. What
            does the model learn?
        """,
        choices={
            "a": (
                "The same as with our targets",
                "Nearly, and the difference is easy to miss: which tokens with the padding's id are no padding?",
            ),
            "b": (
                "To answer, but never to stop",
                "The end of the answer has the padding's id, so it is masked with the padding. Such a model writes the "
                "right answer and goes on, until it is cut off.",
            ),
            "c": (
                "To write <|endoftext|> too often",
                "That would come of the opposite, padding that is learned. Here no <|endoftext|> is left to learn.",
            ),
            "d": (
                "Nothing, since all targets are masked",
                "The tokens of the answers are still there; only those equal to the padding's id are gone.",
            ),
        },
        answer="b",
        hints=("Which targets have the padding's id besides padding?", "What tells a model that its answer is done?"),
        why="""
            So a mask is made from *places*, the prompt's length and the row's length, and never from ids. The mistake
            is a common one, since the loss looks well with it: the model is never asked about the end.
        """,
    ),
    CodeExercise(
        name="fill_rows",
        title="Several entries in one row",
        minutes=8,
        difficulty=2,
        task="""
            Pack entries into rows. Given are their `lengths` in tokens, and how much `room` a row has; no entry is
            longer than that. Go through the entries in their order, and put each into the last row if it fits there;
            if not, it begins a new row. Return the rows as lists of the entries' numbers, counted from 0.
        """,
        stub='''
            def fill_rows(lengths, room):
                """list of lengths -> list of rows, each a list of the numbers of its entries

                Example: [3, 5, 2, 4, 7, 1], room 8 -> [[0, 1], [2, 3], [4, 5]]
                """
                ...
        ''',
        reference=fill_rows,
        cases=_lengths,
        mistakes=wrong.ROWS,
        hints=(
            "Keep a second number beside the rows: how many tokens are used in the last one.",
            "Ask first whether `used + length` is more than `room`. If so, begin an empty row and set `used` to 0.",
            "After that, in any case: put the entry's number into the last row, and add its length to `used`.",
        ),
        why="""
            Whoever looks for room in *earlier* rows too (first fit) wastes less still, but has to keep all rows that
            are not quite full. To look at the last one alone gets most of the gain, and leaves the entries in the order
            of their shuffle.
        """,
    ),
    CodeExercise(
        name="exact_share",
        title="Right to the letter",
        minutes=5,
        task="""
            Return the share of answers, from 0 to 1, that are equal to the right ones. White space at both ends of an
            answer doesn't count; all else does.
        """,
        stub='''
            def exact_share(said, right):
                """Two lists of texts, as long as each other -> a number from 0 to 1

                Example: ["green", "Ferry", "six ", "the mill"], ["green", "ferry", "six", "mill"] -> 0.5
                """
                ...
        ''',
        reference=exact_share,
        cases=_answers,
        mistakes=wrong.EXACT,
        hints=(
            "`str.strip` takes white space off both ends.",
            "Count where `a.strip() == b.strip()`, and divide by how many there are.",
        ),
        why="""
            Exact match is strict and cheap, and nothing can be argued about. It is the right measure for tasks with one
            right answer, and a poor one for all others: chapter 9 is about those.
        """,
    ),
    CodeExercise(
        name="count_lora",
        title="Numbers of an adapter",
        minutes=5,
        task="""
            A model has linear layers with weights of the given `shapes`, each `(N, K)`: K numbers in, N out. Each gets
            a `B` of `(N, rank)` and an `A` of `(rank, K)`. How many numbers are in all of them together?
        """,
        stub='''
            def count_lora(shapes, rank):
                """list of (N, K), rank -> how many numbers are trained

                Example: [(4, 6)], rank 2 -> 20, instead of 24
                """
                ...
        ''',
        reference=count_lora,
        cases=_shapes,
        mistakes=wrong.COUNT,
        hints=(
            "How many numbers has a matrix of `(rank, K)`? And one of `(N, rank)`?",
            "`rank * (n + k)` for each layer; add them up.",
        ),
        why="""
            The count grows with the sum of the sides, and a full update with their product. So the larger the model,
            the smaller the share: rank 8 on all four projections of GPT-2 124M is about 1.2 million numbers, 1 % of it;
            of the largest GPT-2 it is 0.6 %.
        """,
    ),
    CodeExercise(
        name="low_rank",
        title="The nearest matrix of low rank",
        minutes=12,
        difficulty=3,
        task="""
            Find `B` `(N, rank)` and `A` `(rank, K)` such that `B @ A` is as near to `update` as a product of these
            shapes can be. `torch.linalg.svd(update, full_matrices=False)` gives U, S and Vh, with
            `U @ torch.diag(S) @ Vh = update`, the largest singular values first.
        """,
        stub='''
            def low_rank(update, rank):
                """update (N, K) -> B (N, rank), A (rank, K)

                Example: [[2, 0, 1], [4, 0, 2], [0, 3, 0]], rank 1 -> B @ A = [[2, 0, 1], [4, 0, 2], [0, 0, 0]]
                """
                ...
        ''',
        reference=low_rank,
        cases=_updates,
        run=_product,
        mistakes=wrong.LOW_RANK,
        hints=(
            "Keep the first `rank` columns of U, the first `rank` singular values, and the first `rank` rows of Vh.",
            "The singular values belong into one of the two: multiplied to the columns of U, say.",
            "`U[:, :rank] * S[:rank]` and `Vh[:rank]`",
        ),
        why="""
            Eckart and Young (1936): no other product of these shapes is nearer, by the sum of squared differences. What
            is lost is the sum of the squares of the singular values left out. There are many such pairs: B can be
            multiplied with any number that A is divided by.
        """,
    ),
    Choice(
        name="gradient_at_start",
        title="The first gradient",
        minutes=4,
        difficulty=2,
        task="""
            An adapter computes `x A^T B^T`, with random A, and with zeros for B. Which of the two gets a gradient that
            is not zero in the very first step?
        """,
        choices={
            "a": (
                "Both",
                "The gradient of A passes through B on its way back, and B is zero. Try it with one number each: the "
                "slope of `b * a * x` along `a` is `b * x`.",
            ),
            "b": (
                "Only A",
                "It is the other way round: what a factor learns is multiplied by the *other* factor, and A's other "
                "factor is zero.",
            ),
            "c": (
                "Only B",
                "The slope of `b * a * x` along `b` is `a * x`, which is not zero; along `a` it is `b * x`, which is. "
                "After the first step B is no longer zero, and A learns too.",
            ),
            "d": (
                "Neither",
                "It would be so if both were zero: then nothing would ever be learned. This is why A is random.",
            ),
        },
        answer="c",
        hints=(
            "Take one number for each: the output is `b * a * x`. What is its slope along `a`, and along `b`?",
            "Put in `b = 0`.",
        ),
        why="One is zero so that nothing changes at the start; the other is not, so that learning can begin.",
    ),
    CodeExercise(
        name="lora_forward",
        title="A layer with an adapter",
        minutes=8,
        difficulty=2,
        task="""
            Compute a linear layer with an adapter: the frozen layer's output, and on top of it the adapter's,
            multiplied by `alpha / rank`. The rank is in the shapes.
        """,
        stub='''
            def lora_forward(x, weight, bias, A, B, alpha):
                """x (..., K), weight (N, K), bias (N,), A (rank, K), B (N, rank) -> (..., N)

                Example: x [[1, 2]], weight and B the identity, no bias, A [[1, 1], [0, 1]], alpha 4 -> [[7, 6]]
                """
                ...
        ''',
        reference=lora_forward,
        cases=_layers,
        mistakes=wrong.FORWARD,
        hints=(
            "The frozen layer alone is `x @ weight.t() + bias`.",
            "The adapter is two layers without bias, one after the other: A makes `(..., rank)`, B makes `(..., N)`.",
            "`x @ weight.t() + bias + alpha / len(A) * (x @ A.t() @ B.t())`",
        ),
        shows=(LoRALinear.forward, Adapter.forward),
        why="""
            `x A^T` comes first, so that everything in between is only `rank` numbers wide. Multiplying B and A first
            would make a matrix as large as the weight, in every step.
        """,
    ),
    CodeExercise(
        name="merge_lora",
        title="Into the weight",
        minutes=6,
        difficulty=2,
        task="""
            Return one new weight that does by itself what the frozen `weight` and its adapter do together. Leave the
            tensors that you get as they are.
        """,
        stub='''
            def merge_lora(weight, A, B, alpha):
                """weight (N, K), A (rank, K), B (N, rank) -> (N, K)

                Example: weight and B the identity, A [[1, 1], [0, 1]], alpha 4 -> [[3, 2], [0, 3]]
                """
                ...
        ''',
        reference=merge_lora,
        cases=_weights,
        mistakes=wrong.MERGE,
        hints=(
            "x Wᵀ + s x Aᵀ Bᵀ = x (W + s ...)ᵀ. What stands in the place of the dots?",
            "A transposed product turns round: Aᵀ Bᵀ = (B A)ᵀ.",
            "`weight + alpha / len(A) * (B @ A)`",
        ),
        shows=(Adapter.update, LoRALinear.merge),
        why="""
            A merged model is an ordinary model: as fast as before, and saved, exported or quantized like any other. The
            price is that the adapter can no longer be switched off, unless it is subtracted again.
        """,
    ),
)
