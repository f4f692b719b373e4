"""Chapter 6: the sampling filters, the loop, a KV cache, and one step with it."""

import math
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from gptlib.exercises.adapters import UnfitError, random_weights
from gptlib.exercises.declaring import Choice, CodeExercise, Prediction
from gptlib.generation import next_token_probabilities
from gptlib.model import GPTModel
from workbook.mistakes import generation as wrong


@torch.no_grad()
def greedy_generate(model: nn.Module, ids: Tensor, max_new_tokens: int) -> Tensor:
    """Continue ids (B, T) with the likeliest token each time -> (B, T + max_new_tokens)."""
    for _ in range(max_new_tokens):
        window = ids[:, -model.config.context_length :]  # all that the model can see
        token = model(window)[:, -1].argmax(dim=-1)  # (B,)
        ids = torch.cat((ids, token[:, None]), dim=1)
    return ids


def keep_top_k(probabilities: Tensor, k: int) -> Tensor:
    """probabilities (B, V): those of the k likeliest tokens, scaled so that they sum to 1; the others are 0."""
    values, tokens = probabilities.topk(min(k, probabilities.shape[-1]), dim=-1)  # (B, k) each
    kept = torch.zeros_like(probabilities).scatter(-1, tokens, values)  # back where they came from
    return kept / kept.sum(dim=-1, keepdim=True)


def keep_top_p(probabilities: Tensor, p: float) -> Tensor:
    """probabilities (B, V): those of the fewest likeliest tokens that sum to at least p, scaled to sum to 1."""
    ordered, tokens = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered  # what all the likelier ones sum to
    ordered = ordered.masked_fill(before >= p, 0.0)  # p was reached without these; the likeliest has 0 before it
    kept = torch.zeros_like(probabilities).scatter(-1, tokens, ordered)  # back where they came from
    return kept / kept.sum(dim=-1, keepdim=True)


class LayerCache:
    """The keys and values of one layer, for all positions so far; `length` counts these."""

    def __init__(self):
        self.keys = self.values = None
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of new positions, (B, H, T, D) each -> all so far, (B, H, S, D) each."""
        if self.length:
            keys = torch.cat((self.keys, keys), dim=2)
            values = torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        self.length = keys.shape[2]
        return keys, values


def decode_step(
    x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, keys: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of one new position x (C,) in one head, with the keys and values (S - 1, D) of those before it.

    Weights (C, D). Returns the output (D,), and keys and values with the new position's own, (S, D) each.
    """
    keys = torch.cat((keys, (x @ w_k)[None]))  # (S, D)
    values = torch.cat((values, (x @ w_v)[None]))
    scores = keys @ (x @ w_q) / math.sqrt(keys.shape[1])  # (S,)
    return scores.softmax(dim=0) @ values, keys, values


# How candidates are run, and on what.

SHARED = "A second cache is not empty when it is made. What a cache keeps belongs to `self`, and is made in `__init__`."


def _with_model(candidate: Any, ids: Tensor, max_new_tokens: int, context_length: int) -> Any:
    shape = {"vocab_size": 29, "emb_dim": 16, "n_heads": 2, "n_layers": 1, "drop_rate": 0.0}
    model = random_weights(GPTModel(shape | {"context_length": context_length}), seed=5).eval()
    return candidate(model, ids, max_new_tokens)


def _top_k(candidate: Any, probabilities: Tensor, k: int) -> Any:
    return _ties_in_order(candidate(probabilities, k), probabilities)


def _top_p(candidate: Any, probabilities: Tensor, p: float) -> Any:
    return _ties_in_order(candidate(probabilities, p), probabilities)


def _ties_in_order(result: Any, probabilities: Tensor) -> Any:
    """The result, as if of tokens that are equally likely the first ones had been kept: any of them will do."""
    if not isinstance(result, Tensor) or result.shape != probabilities.shape:
        return result
    result = result.detach().clone()
    for row, before in zip(result, probabilities, strict=True):
        for value in before.unique():
            row[before == value] = row[before == value].sort(descending=True).values
    return result


def _filled(candidate: Any, appended: list[tuple[Tensor, Tensor]]) -> Any:
    """What each `append` returns, and `length` before and after each."""
    cache = candidate()
    if not hasattr(cache, "length"):
        raise UnfitError(f"A new `{candidate.__name__}()` has no attribute `length`; set it in `__init__`.")
    if callable(cache.length):
        raise UnfitError("`length` is a method; it is to be an attribute, a number that `append` keeps up to date.")
    candidate().append(*appended[0])  # another cache, whose positions must not turn up in this one
    results = [cache.length]
    for keys, values in appended:
        kept = cache.append(keys, values)
        if not isinstance(kept, tuple | list) or len(kept) != 2:
            raise UnfitError("`append` has to return two tensors: all keys so far, and all values so far.")
        if not all(isinstance(part, Tensor) for part in kept):
            raise UnfitError("`append` returns lists of pieces; join them to one tensor each, with `torch.cat`.")
        if len(results) == 1 and kept[0].ndim == 4 and kept[0].shape[2] > keys.shape[2]:
            raise UnfitError(SHARED)
        results += [kept[0].clone(), kept[1].clone(), cache.length]
    if candidate().length:
        raise UnfitError(SHARED)
    return results


def _greedy_cases(rng: Random) -> list[tuple]:
    visible = (torch.tensor([[3, 1, 4]]), 4, 16)
    shapes = [((1, 1), 0, 8), ((2, 3), 5, 8), ((2, 5), 9, 6), ((1, 12), 3, 7), ((3, rng.randint(2, 6)), 6, 8)]
    return [visible, *((torch.randint(29, shape), n, context) for shape, n, context in shapes)]


def _temperature_cases(rng: Random) -> list[tuple]:
    visible = torch.tensor([[2.0, 1.0, 0.0]])
    others = [1.0, 2.0, rng.uniform(0.3, 0.9), 0.01, 1e-6, 0.0]
    large = torch.tensor([[50.0, 49.0, 0.0], [-50.0, 20.0, 30.0]])
    return [
        (visible, 0.5),
        *((3 * torch.randn(3, 5), t) for t in others),
        (large, 1.0),
        (20 * large, 1.0),
        (large, 1e-37),
        (20 * large, 1e-37),
    ]


def _rows(*shape: int, sharpness: float = 1.5) -> Tensor:
    return (sharpness * torch.randn(shape)).softmax(dim=-1)


def _top_k_cases(rng: Random) -> list[tuple]:
    visible = torch.tensor([[0.125, 0.5, 0.125, 0.25]])
    ties = torch.tensor([[0.125, 0.25, 0.25, 0.25, 0.125], [0.2, 0.2, 0.2, 0.2, 0.2]])
    random = [(_rows(3, 7), 1), (_rows(2, 7), 7), (_rows(2, 5), 9), (_rows(4, 12), rng.randint(3, 8))]
    return [(visible, 2), (ties, 2), *random]


def _top_p_cases(rng: Random) -> list[tuple]:
    visible = torch.tensor([[0.125, 0.5, 0.125, 0.25]])
    sure = torch.tensor([[0.0, 0.125, 0.875, 0.0], [0.25, 0.125, 0.125, 0.5]])
    exact = torch.tensor([[0.0625, 0.25, 0.1875, 0.5]])
    random = [(_rows(3, 8), p) for p in (0.9, 0.5, rng.uniform(0.3, 0.8))]
    return [(visible, 0.7), (sure, 0.3), (exact, 0.75), (exact, 1.0), (_rows(2, 6), 1e-4), *random]


def _cache_cases(rng: Random) -> list[tuple]:
    def chunks(b: int, h: int, d: int, lengths: list[int]) -> tuple:
        return ([(torch.randn(b, h, t, d), torch.randn(b, h, t, d)) for t in lengths],)

    first = (torch.tensor([[[[1.0], [2.0]]]]), torch.tensor([[[[5.0], [6.0]]]]))
    second = (torch.tensor([[[[3.0]]]]), torch.tensor([[[[7.0]]]]))
    return [
        ([first, second],),
        chunks(1, 1, 4, [1, 2, 1]),
        chunks(2, 3, 4, [5, 1, 1]),
        chunks(1, 2, rng.randint(2, 5), [3, 2, 1]),
    ]


def _step_cases(rng: Random) -> list[tuple]:
    def step(c: int, d: int, s: int) -> tuple:
        return (torch.randn(c), *(torch.randn(c, d) for _ in range(3)), torch.randn(s, d), torch.randn(s, d))

    eye = torch.eye(2)
    visible = (torch.tensor([1.0, 0.0]), eye, eye, eye, torch.tensor([[0.0, 1.0]]), torch.tensor([[4.0, 2.0]]))
    return [visible, step(4, 4, 0), step(6, 3, 1), step(5, 4, rng.randint(3, 9)), step(4, 4, 6)]


EXERCISES = (
    CodeExercise(
        name="greedy_generate",
        title="The loop",
        minutes=10,
        difficulty=2,
        task="""
            Write the loop: show the model what it can see of the text, take the likeliest next token of each row,
            append it, and do that `max_new_tokens` times. Return the whole text, prompt included. The text may be
            longer than `model.config.context_length` from the beginning, or become so on the way.
        """,
        stub='''
            def greedy_generate(model, ids, max_new_tokens):
                """Continue ids (B, T) with the likeliest token each time -> (B, T + max_new_tokens).

                Example: ids of shape (1, 3) and max_new_tokens=4 -> a tensor of shape (1, 7)
                """
                ...
        ''',
        reference=greedy_generate,
        run=_with_model,
        cases=_greedy_cases,
        mistakes=wrong.GREEDY,
        hints=(
            "Three lines inside a `for` loop: what the model sees, which token comes next, the text made longer.",
            "`model(window)` has the shape `(B, T, V)`. The scores of the next token are those at the last position, "
            "`[:, -1]`, and `argmax(dim=-1)` gives one id for each row, `(B,)`.",
            "`window = ids[:, -model.config.context_length:]`, and `torch.cat((ids, token[:, None]), dim=1)`.",
        ),
        why="""
            The text and the window are two different things: the text grows without end, the window is what the model
            can see of it. `ids[:, -n:]` is the whole text where that is shorter than `n`, so no `if` is needed.
        """,
    ),
    CodeExercise(
        name="temperature_softmax",
        title="Softmax with a temperature",
        minutes=8,
        difficulty=2,
        task="""
            Turn logits into probabilities at a given temperature. It must hold for the smallest temperatures too
            (`1e-37`, say), where `logits / temperature` overflows; and a temperature of exactly 0 gives everything to
            the likeliest token.
        """,
        stub='''
            def temperature_softmax(logits, temperature):
                """logits (B, V) -> probabilities (B, V), each row summing to 1; temperature is 0 or more.

                Example: [[2., 1., 0.]] at temperature 0.5 -> [[0.8668, 0.1173, 0.0159]]
                """
                ...
        ''',
        reference=next_token_probabilities,
        cases=_temperature_cases,
        mistakes=wrong.TEMPERATURE,
        hints=(
            "Divide the logits by the temperature, then take the softmax along the last dimension. Then think of the "
            "two edges.",
            "Softmax does not change when the same number is taken from every logit of a row. Take the row's largest, "
            "`logits.max(dim=-1, keepdim=True).values`, *before* you divide: then nothing is above 0.",
            "At 0: `torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).float()`.",
        ),
        why="""
            This is the first half of the library's function; top-k and top-p follow in it. As the temperature falls to
            0, sampling becomes greedy. That is why 0 is taken to mean greedy, though nobody can divide by it.
        """,
    ),
    CodeExercise(
        name="keep_top_k",
        title="Top-k",
        minutes=8,
        difficulty=2,
        task="""
            Keep the `k` likeliest tokens of each row, set the others to 0, and scale what is left so that each row sums
            to 1. Exactly `k` tokens stay, even where several are equally likely (then it doesn't matter which of them);
            where `k` is larger than the vocabulary, all stay.
        """,
        stub='''
            def keep_top_k(probabilities, k):
                """probabilities (B, V) -> (B, V): the k likeliest of each row, summing to 1; the others 0.

                Example: [[0.125, 0.5, 0.125, 0.25]] with k=2 -> [[0., 0.6667, 0., 0.3333]]
                """
                ...
        ''',
        reference=keep_top_k,
        run=_top_k,
        cases=_top_k_cases,
        mistakes=wrong.TOP_K,
        hints=(
            "`probabilities.topk(k, dim=-1)` returns the `k` largest values *and* their places.",
            "Start from `torch.zeros_like(probabilities)` and write the values to their places: "
            "`zeros.scatter(-1, places, values)`.",
            "Divide by `kept.sum(dim=-1, keepdim=True)`. And `min(k, V)` for a `k` that is too large.",
        ),
        why="""
            Going by places, not by a threshold, keeps exactly `k` tokens. The library does the same with logits, before
            the softmax: what is to be removed becomes minus infinity, and the softmax itself shares out the rest.
        """,
    ),
    CodeExercise(
        name="keep_top_p",
        title="Top-p",
        minutes=15,
        difficulty=3,
        task="""
            Keep the nucleus of each row: going down from the likeliest token, the fewest tokens whose probabilities sum
            to at least `p`. Set the others to 0 and scale what is left so that each row sums to 1. Every token stays in
            its own column, and the likeliest is kept however small `p` is.
        """,
        stub='''
            def keep_top_p(probabilities, p):
                """probabilities (B, V) -> (B, V): the fewest likeliest that sum to at least p, scaled to sum to 1.

                Example: [[0.125, 0.5, 0.125, 0.25]] with p=0.7 -> [[0., 0.6667, 0., 0.3333]]
                """
                ...
        ''',
        reference=keep_top_p,
        run=_top_p,
        cases=_top_p_cases,
        mistakes=wrong.TOP_P,
        hints=(
            "Three steps: sort in descending order, decide how many of each row stay, put what stays back into its "
            "columns. `sort` returns the values and the places that they come from.",
            "`cumsum(dim=-1)` is the sum up to and *with* each token. A token stays if the sum *before* it is still "
            "below `p`. What is the sum before the first one?",
            "The sum before each is `ordered.cumsum(dim=-1) - ordered`. Back to their columns: "
            "`torch.zeros_like(probabilities).scatter(-1, places, ordered)`.",
        ),
        why="""
            Asking for the sum *before* a token answers two questions at once: the token that crosses `p` stays, since
            the sum before it is below `p`; and the likeliest always stays, since nothing is before it.
        """,
    ),
    Choice(
        name="choose_settings",
        title="Settings for a wish",
        minutes=3,
        task="""
            Ten people each want a name for their boat, all from one prompt. The names should differ from each other,
            and none of them should be nonsense. Which setting would you try first?
        """,
        choices={
            "a": ("`temperature=0`", "Greedy gives the same name ten times; good where there is one right answer."),
            "b": (
                "`temperature=1.0, top_p=0.9`",
                "The model's own preferences, so the names differ, without the long tail where nonsense lives.",
            ),
            "c": (
                "`temperature=3.0`",
                "So hot a distribution is nearly flat: the thousands of unlikely tokens together are drawn most often, "
                "and the names would be noise.",
            ),
            "d": (
                "`temperature=3.0, top_k=1`",
                "One token is left to choose from, so this is greedy in disguise: whatever the temperature, the same "
                "name ten times.",
            ),
        },
        answer="b",
        hints=(
            "Two things are asked for: variety, and no tail. Which choices have no variety at all?",
            "Of the two that vary, one keeps every token of the vocabulary in the draw.",
        ),
    ),
    Prediction(
        name="keys_computed",
        title="Count the keys",
        minutes=4,
        task="""
            A prompt of 5 tokens is continued by 4 new ones, each of them the result of one run of the model. For how
            many positions is a key computed, in one layer, over all runs together: without a cache, and with one?
        """,
        form="a tuple of two whole numbers: (without, with)",
        answer=(26, 8),
        diagnoses={
            (35, 9): "You also run the model on the last new token. Nobody asks what follows it: 4 runs are enough.",
            (
                30,
                8,
            ): "With is right. Without, a run sees the text *before* its new token is there: the first one sees 5.",
            (26, 9): "Without is right. With a cache, the fourth new token is never fed in: nobody asks what follows.",
            (8, 26): "The other way round: the first number is the one without a cache.",
            (18, 6): "That is the figure above, with a prompt of 3. Here the prompt has 5 tokens.",
            (26, 4): "Without is right. With a cache, the prompt's own keys have to be computed too, once.",
            (26, 5): "Without is right. With a cache, the new tokens that are fed back need keys too.",
            (20, 8): "With is right. Without a cache, the text that is run through the model grows by one each time.",
            (20, 4): "Without a cache the text grows by one with each run; with one, the prompt counts too, once.",
            (10, 8): "With is right. Without a cache, the prompt's positions are computed again in every run.",
        },
        hints=(
            "The first run sees the 5 tokens of the prompt. How many does the second one see, without a cache?",
            "Without: 5 + 6 + 7 + 8. With: 5 in the first run, and one in each of the others.",
        ),
        why="""
            Without a cache the work grows with the *square* of the text's length, with one in proportion to it. The
            last token is never fed in, so that `n` new tokens take `n` runs.
        """,
    ),
    CodeExercise(
        name="layer_cache",
        title="A KV cache for one layer",
        minutes=10,
        difficulty=2,
        task="""
            Write the class that keeps a layer's keys and values. `append` takes those of one or more new positions,
            adds them behind the earlier ones, and returns all so far. `length` says how many positions are kept; the
            next token's position is exactly that.
        """,
        stub='''
            class LayerCache:
                """Keys and values of one layer; `length` is the number of positions kept, 0 in a new cache."""

                def __init__(self):
                    """Nothing is kept yet."""
                    ...

                def append(self, keys, values):
                    """Add those of new positions, (B, H, T, D) each -> (keys, values) of all so far, (B, H, S, D) each.

                    Example: 2 positions in the first call, 1 in the second -> S is 2, then 3, and so is `length`
                    """
                    ...
        ''',
        reference=LayerCache,
        run=_filled,
        cases=_cache_cases,
        mistakes=wrong.LAYER_CACHE,
        hints=(
            "In `__init__` there is nothing to keep yet: `None` for keys and values, and a `length` of 0.",
            "`torch.cat((old, new), dim=...)`: which dimension of `(B, H, T, D)` counts the positions?",
            "In `append`: if there is something already, `keys = torch.cat((self.keys, keys), dim=2)`, and the values "
            "likewise. Store both, set `self.length = keys.shape[2]`, return both.",
        ),
        why="""
            `torch.cat` copies everything kept at every step. The library's `KVCache` allocates the memory for all
            layers once and writes new positions into it, so that nothing is copied; what it returns is the same.
        """,
    ),
    CodeExercise(
        name="decode_step",
        title="One step with a cache",
        minutes=12,
        difficulty=3,
        task="""
            Attention for one new position, in one head: make its query, key and value, add key and value to those kept,
            and let the query look at all of them: `S` positions, the new one included. Return the output and the
            longer keys and values. It has to work for the first position of a text, too, where nothing is kept yet
            (`S` is 1).
        """,
        stub='''
            def decode_step(x, w_q, w_k, w_v, keys, values):
                """x (C,): the new position; weights (C, D); keys and values (S - 1, D) of those before it.

                Returns output (D,), keys (S, D), values (S, D).

                Example, all weights torch.eye(2): x = [1., 0.], keys = [[0., 1.]], values = [[4., 2.]]
                -> output [1.9907, 0.6605], keys [[0., 1.], [1., 0.]], values [[4., 2.], [1., 0.]]
                """
                ...
        ''',
        reference=decode_step,
        cases=_step_cases,
        mistakes=wrong.DECODE_STEP,
        hints=(
            "Query, key and value of the new position are `x @ w_q`, `x @ w_k` and `x @ w_v`, of shape `(D,)` each.",
            "`torch.cat((keys, k[None]))` adds a row. Attend only after that, since a position sees itself.",
            "The scores are `keys @ q / math.sqrt(D)`, `(S,)`; their softmax times `values` is the output, `(D,)`.",
        ),
        why="""
            No mask is needed: nothing that is kept lies in the future of the newest position. And no other query is
            needed, since only the last position's output leads to the next token.
        """,
    ),
    Prediction(
        name="cache_memory",
        title="The memory of a cache",
        minutes=4,
        task="""
            GPT-2's smallest size has 12 layers, 12 heads and `emb_dim` 768. How many MiB (1024 × 1024 bytes) does the
            KV cache of one text of 1024 tokens take, with 2 bytes for each number (bf16 or fp16)?
        """,
        form="a number (of MiB)",
        answer=36.0,
        diagnoses={
            18.0: "Keys *and* values are kept; you have one of the two.",
            72.0: "That is with 4 bytes a number; numbers of 16 bits take 2.",
            3.0: "That is one layer's; each of the 12 layers keeps its own.",
            432.0: "You count the heads on top of `emb_dim`. The heads share `emb_dim` among them: `H * D = C`.",
            37748736.0: "That is in bytes; divide by 1024 × 1024.",
            18874368.0: "That is the count of numbers; each takes 2 bytes, and the answer is in MiB.",
            37.75: "That is in millions of bytes; a MiB is 1024 × 1024 of them.",
        },
        hints=(
            "Count the numbers first: keys and values, for each layer, for each position, `emb_dim` of each.",
            "2 × 12 × 1024 × 768 numbers, 2 bytes each; then divide by 1024 twice.",
        ),
        why="""
            Memory grows with layers, positions, width and rows of the batch, and not with the vocabulary. With many
            rows the caches soon take more memory than the weights do.
        """,
    ),
    Choice(
        name="past_the_context",
        title="Past the context",
        minutes=3,
        difficulty=2,
        task="""
            Past `context_length`, the library computes the whole window anew for each token. Why doesn't it drop the
            oldest position from the cache and append the newest one?
        """,
        choices={
            "a": (
                "`torch.cat` would be slower than running the model on the window",
                "Moving some memory is far cheaper than computing every key again. Speed is no reason here.",
            ),
            "b": (
                "Each token of the window has moved down by one position, so every key and value kept is wrong",
                "The embedding of the position goes into `x`, and so into every key and value; a token that was at "
                "position 5 and is now at 4 has other ones.",
            ),
            "c": (
                "The mask would let the newest position look at the dropped one",
                "What is dropped is no longer there to be looked at, with or without a mask.",
            ),
            "d": (
                "The cache keeps no queries, and those of all positions would be needed",
                "Only the newest position's query is needed, at any length: its output alone leads to the next token.",
            ),
        },
        answer="b",
        hints=(
            "What goes into a key? Follow it back to the embeddings.",
            "A token's `x` is its own embedding plus its position's. What happens to positions as the window moves?",
        ),
        why="""
            There is a second reason: even with positions that don't move, a key of layer 2 depends on all that layer 1
            saw, and that includes the token that was dropped.
        """,
    ),
)
