"""Chapter 10: counting operations and bytes, the limit that is reached first, the cache, 8 bits, MFU, Amdahl's law."""

from random import Random
from typing import Any

import torch
from torch import Tensor

from gptlib.exercises.adapters import UnfitError
from gptlib.exercises.declaring import Choice, CodeExercise, Prediction
from workbook.mistakes import speed as wrong


def arithmetic_intensity(rows: int, k: int, n: int, size: int) -> float:
    """Operations for each byte of a linear layer: x (rows, k) times weights (n, k), `size` bytes a number."""
    flops = 2 * rows * k * n  # a multiplication and an addition for each weight and row
    numbers = n * k + rows * k + rows * n  # weights and x are read, the result is written
    return flops / (size * numbers)


def slower_limit(flops: float, n_bytes: float, matmul_flops: float, memory_bandwidth: float) -> tuple[float, str]:
    """The least seconds for so many operations and bytes, and "arithmetic" or "memory", whichever takes them."""
    computing, reading = flops / matmul_flops, n_bytes / memory_bandwidth
    return max(computing, reading), "arithmetic" if computing > reading else "memory"


def positions_computed(prompt: int, new: int) -> tuple[int, int]:
    """How many positions the model is run on to write `new` tokens behind a prompt: without a cache, and with one."""
    without = sum(range(prompt, prompt + new))  # prompt, prompt + 1, ..., one step each
    return without, prompt + new - 1 if new else 0


def decoding_bytes(
    n_weights: int, weight_size: int, n_layers: int, emb_dim: int, batch: int, seen: int, cache_size: int
) -> int:
    """Bytes that a step of decoding reads: the weights once, and the keys and values of each row and layer."""
    cached = 2 * n_layers * batch * seen * emb_dim
    return n_weights * weight_size + cached * cache_size


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight (N, K) -> whole numbers from -127 to 127 (N, K) int8, and scales (N, 1): about whole * scale = weight."""
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    scale = torch.where(scale == 0, 1.0, scale)  # a row of zeros stays zeros with any scale
    return (weight / scale).round().to(torch.int8), scale


def model_flops_utilization(
    tokens_per_second: float, n_weights: int, n_layers: int, emb_dim: int, context_length: int, peak: float
) -> float:
    """The share of `peak`, operations a second, that training at this speed needs (Chowdhery et al. 2022, B)."""
    per_token = 6 * n_weights + 12 * n_layers * emb_dim * context_length
    return tokens_per_second * per_token / peak


def total_speedup(seconds: dict[str, float], factors: dict[str, float]) -> float:
    """How many times as fast a program gets where its parts, {name: seconds}, do by {name: factor} (Amdahl 1967)."""
    after = sum(time / factors.get(part, 1.0) for part, time in seconds.items())
    return sum(seconds.values()) / after


# How candidates are run, and on what.


def _quantized(candidate: Any, weight: Tensor) -> Any:
    """The whole numbers and what they stand for, since the scale of a row of zeros may be any."""
    found = candidate(weight)
    if not isinstance(found, tuple | list) or len(found) != 2 or not all(isinstance(part, Tensor) for part in found):
        raise UnfitError("Return two tensors: the whole numbers, `(N, K)`, and the scales, `(N, 1)`.")
    whole, scale = found
    if scale.dtype != torch.int8 and scale.shape != (len(weight), 1):
        raise UnfitError(f"The scales have the shape {tuple(scale.shape)}. {_why_not_a_column(scale, weight)}")
    return whole, whole * scale.double()


def _why_not_a_column(scale: Tensor, weight: Tensor) -> str:
    if scale.numel() == 1:
        return "That is one for the whole matrix. Give each row its own, `(N, 1)`: `dim=1, keepdim=True`."
    if scale.shape[-1] == weight.shape[1]:
        return "That is one for each column. Give each row its own, `(N, 1)`: `dim=1` goes along a row."
    return "`keepdim=True` makes it `(N, 1)`."


def _layers(rng: Random) -> list[tuple]:
    sizes = [(1, 768, 768, 4), (64, 768, 3072, 2), (512, 3072, 768, 4), (1, 1, 1, 1)]
    return [(1, 2, 3, 4), *sizes, (rng.randint(2, 99), rng.randint(2, 999), rng.randint(2, 999), 2)]


def _jobs(rng: Random) -> list[tuple]:
    machine = (200e9, 40e9)
    return [
        (1e9, 1e9, *machine),
        (400e9, 1e9, *machine),
        (1e6, 3e6, 7e9, 5e9),
        (9e6, 1e6, 1e9, 50e9),
        (rng.uniform(1e6, 2e6), rng.uniform(1e3, 2e3), *machine),
        (rng.uniform(1e3, 2e3), rng.uniform(1e6, 2e6), *machine),
    ]


def _runs(rng: Random) -> list[tuple]:
    return [(3, 4), (1, 1), (5, 0), (16, 112), (rng.randint(2, 9), rng.randint(3, 9))]


def _steps(rng: Random) -> list[tuple]:
    small = (100, 4, 2, 8, 3, 5, 2)
    return [
        small,
        (124_000_000, 4, 12, 768, 1, 1024, 4),
        (124_000_000, 1, 12, 768, 32, 500, 2),
        (1000, 2, 1, 4, 1, 1, 2),
    ]


def _matrices(rng: Random) -> list[tuple]:
    visible = torch.tensor([[1.0, -0.4, 0.26], [0.0, 0.02, -0.015]])
    zero_row = torch.tensor([[0.0, 0.0], [3.0, -5.0]])
    falling = torch.randn(6, 16) * torch.tensor([10.0, 1, 0.1, 0.01, 1e-3, 1e-4])[:, None]
    return [(visible,), (zero_row,), (falling,), (-torch.rand(3, 7),), (torch.randn(rng.randint(2, 5), 33),)]


def _trainings(rng: Random) -> list[tuple]:
    official = (500.0, 124_000_000, 12, 768, 1024, 1e12)
    return [official, (1000.0, 1_000_000, 4, 128, 128, 1e11), (rng.uniform(1e3, 1e4), 30_000, 2, 64, 256, 1e10)]


def _programs(rng: Random) -> list[tuple]:
    step = {"products": 6.0, "loss": 3.0, "rest": 1.0}
    return [
        ({"products": 60.0, "rest": 40.0}, {"products": 3.0}),
        (step, {"products": 2.0, "loss": 3.0}),
        (step, {"loss": float("inf")}),
        (step, {}),
        (step, {"products": 1.5, "loss": 4.0, "rest": 2.0}),
        ({"a": rng.uniform(1, 2), "b": rng.uniform(1, 2)}, {"b": rng.uniform(2, 9)}),
    ]


EXERCISES = (
    CodeExercise(
        name="arithmetic_intensity",
        title="Operations for each byte",
        minutes=8,
        difficulty=1,
        task="""
            Compute the arithmetic intensity of a linear layer without bias: `rows` rows of `k` numbers come in, the
            weights are `(n, k)`, and `rows` rows of `n` numbers go out. Each number takes `size` bytes. Everything is
            read or written once.
        """,
        stub='''
            def arithmetic_intensity(rows, k, n, size):
                """Floating-point operations for each byte that is read or written.

                Example: rows=1, k=2, n=3, size=4 -> 12 operations / 44 bytes = 0.2727
                """
                ...
        ''',
        reference=arithmetic_intensity,
        cases=_layers,
        mistakes=wrong.INTENSITY,
        hints=(
            "Each weight is used once for each row: one multiplication and one addition.",
            "Three things move: the weights `(n, k)`, what comes in `(rows, k)`, what goes out `(rows, n)`.",
            "`2 * rows * k * n / (size * (n * k + rows * k + rows * n))`",
        ),
        why="""
            With one row it is about `2 / size`, whatever the layer's width: half an operation for each byte in
            float32. With many rows the weights no longer count, and it grows towards `2 * k * n / (size * (k + n))`.
        """,
    ),
    CodeExercise(
        name="slower_limit",
        title="The limit that is reached first",
        minutes=6,
        difficulty=1,
        task="""
            A job has `flops` operations and moves `n_bytes` bytes, on a machine that computes `matmul_flops`
            operations and reads `memory_bandwidth` bytes a second. It reads ahead while it computes. How many seconds
            does the job take at least, and what does it wait for: `"arithmetic"` or `"memory"`?
        """,
        stub='''
            def slower_limit(flops, n_bytes, matmul_flops, memory_bandwidth):
                """(seconds, "arithmetic" or "memory")

                Example: 1e9 operations, 1e9 bytes, 200e9 and 40e9 a second -> (0.025, "memory")
                """
                ...
        ''',
        reference=slower_limit,
        cases=_jobs,
        mistakes=wrong.SLOWER,
        hints=(
            "There are two times: that of the operations alone, and that of the bytes alone.",
            "They pass at the same time, so the job takes as long as the longer of the two.",
            "`computing, reading = flops / matmul_flops, n_bytes / memory_bandwidth`, then `max` of them, and an `if`.",
        ),
        why="""
            Dividing `flops` by these seconds gives the roofline: `min(matmul_flops, intensity * memory_bandwidth)`.
            It is a bound from below on time: no program is faster, and many are slower.
        """,
    ),
    Prediction(
        name="decoding_ceiling",
        title="A ceiling for decoding",
        minutes=4,
        task="""
            GPT-2's smallest size multiplies with 124 million weights. They are kept in float32, and a machine reads
            31 GB (31e9 bytes) a second. How many tokens a second can it write at most, one text at a time? Leave the
            cache out.
        """,
        form="a number (of tokens a second)",
        answer=62.5,
        diagnoses={
            250.0: "You count weights, not bytes: a number of float32 takes 4.",
            125.0: "That is with 2 bytes a weight; float32 takes 4.",
            0.016: "Those are the seconds of one token; asked for is how many fit into one second.",
            16.0: "Those are the milliseconds of one token; asked for is how many tokens fit into one second.",
            31.25: "Each weight is read once for a token. That it is multiplied and added makes no second reading.",
            500.0: "You have turned the 31 GB into bits. Count both in bytes: 4 for a weight, 31e9 a second.",
            7.8125: "That is with 32 bytes a weight. Float32 has 32 *bits*, which are 4 bytes.",
        },
        hints=(
            "Every weight has to be read once for each token. How many bytes is that?",
            "124e6 × 4 bytes for each token; 31e9 bytes a second.",
        ),
        why="""
            Nothing in this line is about the processor's arithmetic. To write faster on the same machine, read fewer
            bytes for each token: with smaller numbers, or with several texts that share one reading.
        """,
    ),
    CodeExercise(
        name="positions_computed",
        title="What the cache saves",
        minutes=7,
        difficulty=2,
        task="""
            A model writes `new` tokens behind a prompt of `prompt` tokens. On how many positions is it run in all:
            without a cache, where each step runs on the whole text so far, and with one, where each step runs on what
            the cache has not seen? The last token is written down, and nothing is run on it.
        """,
        stub='''
            def positions_computed(prompt, new):
                """(positions without a cache, positions with one)

                Example: prompt=3, new=4 -> (18, 6), as in the picture of chapter 6
                """
                ...
        ''',
        reference=positions_computed,
        cases=_runs,
        mistakes=wrong.POSITIONS,
        hints=(
            "Write down the steps of the example: without a cache they run on 3, 4, 5 and 6 positions.",
            "With a cache they run on 3, 1, 1 and 1. And if no token is asked for?",
            "`sum(range(prompt, prompt + new))`, and `prompt + new - 1` where `new` is not 0.",
        ),
        why="""
            The first grows with the square of the length, the second with the length. Positions are a count of
            arithmetic; whether time follows them depends on what the time goes into.
        """,
    ),
    Choice(
        name="batch_of_eight",
        title="Eight texts at once",
        minutes=3,
        difficulty=2,
        task="""
            A model of many megabytes writes one text, and waits for memory. Now it writes eight texts in one batch; the
            texts are short, so that their caches are small. What do you expect of one step?
        """,
        choices={
            "a": (
                "It takes about eight times as long: eight times as much is computed",
                "Eight times as much is computed, but arithmetic was not what the step waited for: the units that "
                "multiply stood idle most of the time.",
            ),
            "b": (
                "It takes little longer than for one text, so that nearly eight times as many tokens come out",
                "The weights are read once and serve all eight rows. That holds until the arithmetic of all rows takes "
                "as long as the reading: in float32, up to about twice as many rows as the ridge says.",
            ),
            "c": (
                "It takes an eighth of the time",
                "A step can't become shorter by having more to do. What gets shorter is the time *for each token*.",
            ),
            "d": (
                "It takes exactly as long, however many texts there are",
                "Up to some number of rows nearly so. But operations grow with the rows, and at some number of them "
                "they take longer than the reading; and each row has a cache to read.",
            ),
        },
        answer="b",
        hints=(
            "What does the step wait for: bytes or operations? Which of the two does a batch multiply by eight?",
            "The weights are the same for all rows.",
        ),
        why="""
            This is why a service collects the requests of many users into one batch: the second text costs nearly
            nothing.
        """,
    ),
    CodeExercise(
        name="decoding_bytes",
        title="The bytes of a step",
        minutes=10,
        difficulty=2,
        task="""
            How many bytes does one step of decoding read, for `batch` texts with `seen` positions each in the cache?
            There are `n_weights` weights of `weight_size` bytes each; keys and values of `n_layers` layers, `emb_dim`
            wide, of `cache_size` bytes a number. Leave out what is small: biases, and the rows between the layers.
        """,
        stub='''
            def decoding_bytes(n_weights, weight_size, n_layers, emb_dim, batch, seen, cache_size):
                """Bytes that are read in one step.

                Example: 100, 4, n_layers=2, emb_dim=8, batch=3, seen=5, cache_size=2 -> 400 + 960 = 1360
                """
                ...
        ''',
        reference=decoding_bytes,
        cases=_steps,
        mistakes=wrong.DECODING,
        hints=(
            "Two sums: one for the weights, one for what the cache holds (chapter 6 has the formula).",
            "The weights are the same for all rows. The cache is each row's own.",
            "`n_weights * weight_size + 2 * n_layers * batch * seen * emb_dim * cache_size`",
        ),
        why="""
            For one short text the weights are nearly all of it. With many long texts the caches are: then more rows no
            longer come for nothing, since each brings its own bytes. Grouped-query attention (chapter 6, further
            reading) makes this part smaller.
        """,
    ),
    CodeExercise(
        name="quantize_rows",
        title="Eight bits by hand",
        minutes=12,
        difficulty=3,
        task="""
            Quantize a matrix by absmax, one scale for each row: the number of the row that is furthest from 0 becomes
            127 or -127, the others keep their proportion to it and are rounded to the nearest whole number. Return the
            whole numbers as `int8`, and the scales, so that `whole * scale` is nearly the matrix. A row of zeros has to
            come back as zeros.
        """,
        stub='''
            def quantize_rows(weight):
                """weight (N, K) -> whole (N, K) int8 from -127 to 127, scale (N, 1)

                Example: [[1., -0.4, 0.26], [0., 0.02, -0.015]]
                -> [[127, -51, 33], [0, 127, -95]], scales [[0.007874], [0.0001575]]
                """
                ...
        ''',
        reference=quantize_rows,
        run=_quantized,
        cases=_matrices,
        mistakes=wrong.QUANTIZE,
        hints=(
            "A row's scale is the size of one step: its largest absolute value has to be 127 steps.",
            "`weight.abs().amax(dim=1, keepdim=True) / 127`; then divide, `round()`, `to(torch.int8)`.",
            "For rows of zeros: `scale = torch.where(scale == 0, 1.0, scale)`.",
        ),
        why="""
            What is rounded off is at most half a step, `scale / 2`. One large number in a row makes its steps coarse
            for all others, and that is why each row gets a scale of its own. -128 stays unused, so that the steps lie
            the same on both sides of 0.
        """,
    ),
    CodeExercise(
        name="model_flops_utilization",
        title="MFU",
        minutes=8,
        difficulty=2,
        task="""
            Compute the model FLOPs utilization of a training run: the share of the machine's `peak` operations a second
            that the model's own arithmetic uses, at this many tokens a second. Count as this section does: 6 operations
            for each of the `n_weights` weights that multiply, and those of the attention.
        """,
        stub='''
            def model_flops_utilization(tokens_per_second, n_weights, n_layers, emb_dim, context_length, peak):
                """A share: 1 where every operation that the machine can do is one of the model's.

                Example: 500, 124_000_000, 12, 768, 1024, peak=1e12 -> 0.4286
                """
                ...
        ''',
        reference=model_flops_utilization,
        cases=_trainings,
        mistakes=wrong.UTILIZATION,
        hints=(
            "Operations for each token, times tokens a second, divided by operations a second.",
            "For each token: 6 for each weight, and 12 × layers × width × context for the attention.",
            "`tokens_per_second * (6 * n_weights + 12 * n_layers * emb_dim * context_length) / peak`",
        ),
        why="""
            Only what the *model* needs is counted. What a program computes twice (recomputed activations, say) raises
            the use of the hardware, but not the MFU: it is honest about speed.
        """,
    ),
    CodeExercise(
        name="total_speedup",
        title="Amdahl's law",
        minutes=8,
        difficulty=2,
        task="""
            `seconds` says how long each part of a program takes, `factors` how many times as fast some of the parts
            become. How many times as fast does the whole become? A factor may be `math.inf`: then the part takes no
            time any more.
        """,
        stub='''
            def total_speedup(seconds, factors):
                """Old time / new time.

                Example: {"products": 60., "rest": 40.} with {"products": 3.} -> 100 / 60 = 1.667
                """
                ...
        ''',
        reference=total_speedup,
        cases=_programs,
        mistakes=wrong.SPEEDUP,
        hints=(
            "Times can be added, factors can't. What does each part take afterwards?",
            "A part that is not in `factors` takes what it took: `factors.get(part, 1)`.",
            "`sum(seconds.values()) / sum(time / factors.get(part, 1) for part, time in seconds.items())`",
        ),
        why="""
            A part with the share `p` of the time can make the whole at most `1 / (1 - p)` times as fast, whatever
            becomes of it. So look first where the time goes, and only then for what could be faster.
        """,
    ),
)
