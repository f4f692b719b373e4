"""Chapter 4: the parts of a transformer block, the block itself, and how large, and how wrong, a fresh model is."""

import math
from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn

from gptlib.attention import MultiHeadAttention  # noqa: F401 - the cells of the exercises need it
from gptlib.exercises.adapters import UnfitError, as_module, made_alike
from gptlib.exercises.declaring import Choice, CodeExercise, Mistake, Prediction
from gptlib.model import GELU, FeedForward, GPTModel, LayerNorm, TransformerBlock
from gptlib.model.config import GPTConfig
from workbook.mistakes import gpt_model as wrong


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """x (..., C), weight and bias (C,) -> (..., C): mean 0 and variance 1 over the channels, then scale and shift."""
    mean = x.mean(dim=-1, keepdim=True)  # (..., 1)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)  # (..., 1), the biased one
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def gelu_tanh(x: Tensor) -> Tensor:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), number by number."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def count_parameters(config: GPTConfig) -> int:
    """The number of a GPTModel's parameters, from its config alone; what is shared counts once."""
    V, C = config.vocab_size, config.emb_dim
    attention = (3 * C * C + 3 * C * config.qkv_bias) + (C * C + C)  # c_attn, c_proj
    feed_forward = (4 * C * C + 4 * C) + (4 * C * C + C)  # c_fc, c_proj
    block = attention + feed_forward + 2 * 2 * C  # and two LayerNorms
    positions = config.context_length * C if config.positions == "learned" else 0
    head = 0 if config.weight_tying else V * C
    return V * C + positions + config.n_layers * block + 2 * C + head


def _norm_cases(rng: Random) -> list[tuple]:
    shapes = [(5, 8), (2, 3, 4), (2, 3, 3, 6), (rng.randint(2, 4), rng.randint(2, 5), 16)]
    random = [(2 * torch.randn(s) + 1, torch.randn(s[-1]), torch.randn(s[-1])) for s in shapes]
    tiny = (0.003 * torch.randn(3, 6), torch.ones(6), torch.zeros(6))
    visible = (torch.tensor([[1.0, 3.0], [2.0, 6.0]]), torch.tensor([1.0, 2.0]), torch.tensor([0.0, 10.0]))
    constant = (torch.full((2, 4), 7.0), torch.ones(4), torch.zeros(4))
    return [visible, tiny, constant, *random, (torch.randn(2, 4), torch.randn(4), torch.randn(4), 0.1)]


def _gelu_cases(rng: Random) -> list[tuple]:
    random = [(3 * torch.randn(shape),) for shape in [(4,), (2, 3), (2, rng.randint(2, 5), 8)]]
    return [(torch.tensor([-1.0, 0.0, 2.0]),), (torch.linspace(-6, 6, 25),), *random]


def _feed_forward_cases(rng: Random) -> list[tuple]:
    sizes = [(2, (1, 3)), (8, (2, 5)), (1, (1, 1)), (2 * rng.randint(2, 6), (3, 4))]
    return [({"emb_dim": width}, torch.randn(*shape, width)) for width, shape in sizes]


def run_block(block_class: type[nn.Module], config: dict, x: Tensor) -> Tensor:
    """The result of a block with a reference's weights; where the config has dropout, its places are looked at too."""
    config = GPTConfig.from_dict(config)
    block = made_alike(block_class, TransformerBlock, config)
    out = block(x)
    if config.drop_rate and isinstance(out, Tensor) and out.shape == x.shape:
        _check_dropout(block.train()(x), x)
    return out


def _check_dropout(out: Tensor, x: Tensor) -> None:
    """With a drop rate of 0.7, both branches add nothing to about half of the numbers (0.7 * 0.7)."""
    if (out == 0).float().mean() > 0.25:
        raise UnfitError(wrong.DROPS_THE_STREAM)
    if (out == x).float().mean() < 0.25:
        raise UnfitError(wrong.NO_DROPOUT)


def _block_cases(rng: Random) -> list[tuple]:
    plain = {"emb_dim": 4, "n_heads": 2, "drop_rate": 0.0}
    biased = {"emb_dim": 12, "n_heads": 3, "drop_rate": 0.0, "qkv_bias": True}
    dropping = {"emb_dim": 32, "n_heads": rng.choice([1, 2, 4]), "drop_rate": 0.7}
    shapes = [(plain, (1, 3)), (biased, (2, 5)), (plain, (3, 1)), (dropping, (4, rng.randint(8, 12)))]
    return [(config, torch.randn(*shape, config["emb_dim"])) for config, shape in shapes]


def run_count(count: Callable[[GPTConfig], int], config: dict) -> int:
    """The count for a config that is given as a dict, so that a learner can read it."""
    return count(GPTConfig.from_dict(config))


def _count_cases(rng: Random) -> list[tuple]:
    tiny = {"vocab_size": 11, "context_length": 7, "emb_dim": 12, "n_layers": 1}
    other = {"vocab_size": rng.randint(50, 90), "context_length": rng.randint(5, 9), "n_layers": rng.randint(2, 5)}
    tied = {"vocab_size": 20, "emb_dim": 24, "weight_tying": True}
    official = {"qkv_bias": True, "weight_tying": True}
    sinusoidal = {"positions": "sinusoidal", "vocab_size": 30}
    cases = (official, {}, tiny, other, tied, sinusoidal, official | {"emb_dim": 1536, "n_layers": 48})
    return [(config,) for config in cases]


EXERCISES = (
    CodeExercise(
        name="layer_norm",
        title="LayerNorm",
        minutes=8,
        task="""
            Write LayerNorm for any number of leading dimensions: every position on its own, over its channels. Do it
            with `mean`, `sqrt` and arithmetic, not with PyTorch's own layer norm.
        """,
        stub='''
            def layer_norm(x, weight, bias, eps=1e-5):
                """x (..., C), weight and bias (C,) -> (..., C).

                Example: [[1., 3.], [2., 6.]] with weight [1., 2.] and bias [0., 10.]
                -> about [[-1., 12.], [-1., 12.]]
                """
                ...
        ''',
        reference=layer_norm,
        shows=(layer_norm, LayerNorm),
        cases=_norm_cases,
        tolerance=1e-4,
        mistakes=(
            Mistake(
                wrong.norm_unbiased,
                "You divide by the unbiased deviation (`n - 1`), which is the default of `x.var` and `x.std`.",
            ),
            Mistake(
                wrong.norm_by_std,
                "`x.std` divides by `n - 1`, and leaves no place for `eps` inside the root; make the variance first.",
            ),
            Mistake(
                wrong.norm_without_keepdim,
                "Mean and variance have lost a dimension, and broadcasting lines them up with the channels: `keepdim`?",
            ),
            Mistake(
                wrong.norm_with_flat_mean,
                "The mean has lost a dimension, and broadcasting lines it up with the channels already where you "
                "subtract it: `keepdim`?",
            ),
            Mistake(wrong.norm_rooted_twice, "You take the root twice: `x.std` is already the root of a variance."),
            Mistake(
                wrong.norm_own_eps,
                "Another `eps` makes no difference to you: use the argument, and not a number of your own.",
            ),
            Mistake(
                wrong.norm_without_brackets,
                "Only the mean is divided, scaled and then subtracted: where do brackets have to stand?",
            ),
            Mistake(
                wrong.norm_eps_outside, "Is your `eps` inside the root? Added to the deviation it changes small inputs."
            ),
            Mistake(
                wrong.norm_without_eps,
                "Where all channels of a position are equal you divide by zero; what is `eps` for?",
            ),
            Mistake(
                wrong.norm_over_rows,
                "You average over the first dimension; a position must not depend on other positions.",
            ),
            Mistake(
                wrong.norm_over_positions,
                "You average over `dim=1`, which is not the channels where `x` has three dimensions.",
            ),
            Mistake(
                wrong.norm_over_all, "You take one mean and one variance of all numbers; each position has its own."
            ),
            Mistake(wrong.norm_by_variance, "You divide by the variance; it is the square of what is needed."),
            Mistake(wrong.norm_without_bias, "You scale, and do not shift: where does `bias` go?"),
            Mistake(wrong.norm_without_weight, "You shift, and do not scale: where does `weight` go?"),
            Mistake(wrong.norm_in_place, "The result is right, but you write into the caller's `x`; make new tensors."),
        ),
        hints=(
            "Channels are always the last dimension: `dim=-1`. With `keepdim=True` the mean can be subtracted.",
            "The variance is the mean of the squared distances to the mean. `eps` is added before the root is taken.",
            "`normalised = (x - mean) / torch.sqrt(variance + eps)`; the weight multiplies it and the bias is added.",
        ),
        why="""
            The library calls `F.layer_norm`, which does these lines in one pass over the memory. `eps` stands inside
            the root, so that a position whose channels are all equal gives zeros and a finite gradient.
        """,
    ),
    CodeExercise(
        name="gelu_tanh",
        title="GPT-2's GELU",
        minutes=4,
        task=r"""
            Write the approximation that GPT-2 uses, without `F.gelu`:
            $$0.5\,x\,\left(1 + \tanh\left(\sqrt{2/\pi}\,\left(x + 0.044715\,x^3\right)\right)\right)$$
        """,
        stub='''
            def gelu_tanh(x):
                """x of any shape -> the same shape, number by number.

                Example: [-1., 0., 2.] -> about [-0.1588, 0., 1.9546]
                """
                ...
        ''',
        reference=gelu_tanh,
        shows=(gelu_tanh, GELU),
        cases=_gelu_cases,
        mistakes=(
            Mistake(
                wrong.gelu_exact, "That is the exact GELU, with `erf`: close, and not what GPT-2 was trained with."
            ),
            Mistake(wrong.gelu_square, "Inside the tanh, `x` is to the power of 3; a square has lost its sign."),
            Mistake(wrong.gelu_without_cube, "The cubic term is missing: the tanh gets more than a multiple of `x`."),
            Mistake(wrong.gelu_without_half, "For large `x` you return about `2 x`; what makes the bracket at most 1?"),
            Mistake(wrong.gelu_root, "Is the root over the whole fraction 2/π?"),
            Mistake(
                wrong.gelu_factor_of_x_only,
                "Inside the tanh, the root multiplies `x` alone; in the formula it multiplies the cube as well.",
            ),
            Mistake(
                wrong.gelu_without_brackets, "`0.5 x` multiplies all of `1 + tanh(...)`: a pair of brackets is missing."
            ),
            Mistake(wrong.gelu_math, "`math.tanh` takes a single number; which function takes a whole tensor?"),
            Mistake(
                wrong.gelu_torch_sqrt, "`torch.sqrt` takes tensors; for the plain number 2/π there is `math.sqrt`."
            ),
            Mistake(wrong.gelu_sigmoid, "That is `x * sigmoid(1.702 x)`, a rougher approximation than GPT-2's."),
        ),
        hints=(
            "Everything is arithmetic on tensors: `torch.tanh`, `x**3`, `math.sqrt`, `math.pi`.",
            "Build it from the inside: `inner = x + 0.044715 * x**3`, then the factor, the tanh, and the rest.",
        ),
        why="""
            The tanh once was the faster of the two. Models keep the function that they were trained with, and so every
            library that loads GPT-2 has this formula today.
        """,
    ),
    CodeExercise(
        name="feed_forward",
        title="The feed-forward layer",
        minutes=6,
        task="""
            Write the feed-forward layer as a module: from `emb_dim` channels to four times as many, GPT-2's GELU, and
            back. Call the two linear layers `c_fc` and `c_proj`, as GPT-2 does; `check` gives them its own weights.
        """,
        stub='''
            class MyFeedForward(nn.Module):
                """Two linear layers with a GELU between them."""

                def __init__(self, emb_dim):
                    super().__init__()
                    self.c_fc = ...
                    self.c_proj = ...

                def forward(self, x):
                    """x (B, T, C) -> (B, T, 4C) inside -> (B, T, C)."""
                    ...
        ''',
        reference=FeedForward,
        run=as_module(FeedForward),
        cases=_feed_forward_cases,
        mistakes=(
            Mistake(wrong.NoActivation, "There is nothing between your two linear layers, and two in a row are one."),
            Mistake(wrong.Relu, "Between the layers you have ReLU; GPT-2 has GELU."),
            Mistake(wrong.ExactGelu, 'That is the exact GELU; use our `GELU()`, or `nn.GELU(approximate="tanh")`.'),
            Mistake(
                wrong.GeluClassCalled, "`GELU` is a class: make one with `GELU()`, and call that with the numbers."
            ),
            Mistake(wrong.GeluAtTheEnd, "You also send the result through GELU; only what is inside goes through it."),
            Mistake(
                wrong.ResidualInside, "You add the input to the result. That is the block's task, not this layer's."
            ),
        ),
        hints=(
            "`nn.Linear(a, b)` takes vectors of `a` numbers to vectors of `b`; it acts on the last dimension.",
            "`c_fc` goes from `emb_dim` to `4 * emb_dim`, `c_proj` back; the GELU stands between them.",
        ),
        why="`nn.Linear` acts on the last dimension alone, and so does GELU: no position sees another one here.",
    ),
    Choice(
        name="norm_placement",
        title="Reading the two lines",
        minutes=2,
        task="""
            Look at the two plots above. You take a learning rate that works well for a *shallow* stack and use it from
            the first step on, without a warm-up, for a very deep one. Which of the two placements is in more danger?
        """,
        choices={
            "a": (
                "Pre-norm, since its gradients differ from layer to layer.",
                "They differ, but in the safe direction: the deeper the stack, the smaller they are.",
            ),
            "b": (
                "Post-norm, since its gradients do not get smaller when there are more layers.",
                "Every layer takes a step as large as in a shallow stack, there are more of them, and the changes add "
                "up. That is why post-norm models need a careful warm-up of the learning rate.",
            ),
            "c": (
                "Both in the same way, since LayerNorm fixes the scale of everything.",
                "It fixes the scale of the numbers that pass. The plots show gradients, and they behave differently.",
            ),
            "d": (
                "Neither, since no gradient vanishes.",
                "None vanishes, that is right. Steps can also be too large.",
            ),
        },
        answer="b",
        hints=(
            "The second plot shows what becomes of one layer's gradient when the stack gets deeper.",
            "A step is learning rate times gradient, and all layers step at once. Which stack moves more in all?",
        ),
    ),
    Prediction(
        name="changed_by_block",
        title="Who notices a change?",
        minutes=2,
        task="""
            A transformer block gets 6 positions, 0 to 5. You change the vector at position 3 of its input and run it
            again (no dropout). At which positions can the block's output be different?
        """,
        form="a list of positions, like [0, 1]",
        answer=[3, 4, 5],
        accept=lambda positions: sorted(positions) == [3, 4, 5],
        diagnoses={
            (3,): "That holds for LayerNorm and the feed-forward layer. The block also has attention.",
            (0, 1, 2, 3, 4, 5): "Attention is causal here: who can look at position 3?",
            (4, 5): "Position 3 itself has an input that changed, on the residual road and in its attention.",
            (0, 1, 2, 3): "It is the other way round: a position sees itself and what came before it.",
            (0, 1, 2): "It is the other way round: a position sees itself and what came before it.",
        },
        hints=(
            "Go through the block's parts one by one: which of them move something from one position to another?",
            "Only attention does, and its mask lets a position see itself and earlier ones.",
        ),
        why="""
            Attention is the only part of GPT-2 in which positions meet. So what a position holds never depends on what
            comes later, however many blocks there are; the KV cache in chapter 6 lives on that.
        """,
    ),
    CodeExercise(
        name="transformer_block",
        title="A transformer block",
        minutes=15,
        difficulty=3,
        task="""
            Build the whole block, with the parts that you know: `LayerNorm`, `MultiHeadAttention`, `FeedForward` and
            `nn.Dropout`. Pre-norm, two residual connections, dropout at the end of each branch. Keep the five names;
            `check` gives your block its own weights by them, and tries it in eval mode and in training mode.
        """,
        stub='''
            class MyTransformerBlock(nn.Module):
                """GPT-2's block; config has emb_dim, n_heads, drop_rate and qkv_bias."""

                def __init__(self, config):
                    super().__init__()
                    self.norm_1 = ...
                    self.attention = ...  # MultiHeadAttention(emb_dim, n_heads, drop_rate, qkv_bias)
                    self.norm_2 = ...
                    self.feed_forward = ...
                    self.dropout = ...

                def forward(self, x):
                    """x (B, T, C) -> (B, T, C)."""
                    ...
        ''',
        reference=TransformerBlock,
        run=run_block,
        cases=_block_cases,
        mistakes=(
            Mistake(
                wrong.PostNorm, "You normalise after adding (post-norm); in GPT-2 the norm stands before the layer."
            ),
            Mistake(wrong.NoResidual, "Nothing is added to what came in: both residual connections are missing."),
            Mistake(wrong.OneResidual, "The residual connection around the feed-forward layer is missing."),
            Mistake(wrong.OneNorm, "You use `norm_1` in both places; each of the two has weights of its own."),
            Mistake(wrong.NormedResidual, "You add to the *normalised* input; the road itself carries `x` as it came."),
            Mistake(wrong.NoNorm, "The two LayerNorms are made and not used: what do attention and feed-forward get?"),
            Mistake(wrong.NormBehind, "Your norms stand behind the layers, on their results; they belong in front."),
            Mistake(wrong.FirstHalf, "That is the first half; the feed-forward layer with its own norm is missing."),
            Mistake(wrong.BranchOnly, "Your second half reads only what attention adds; it reads the stream, with it."),
            Mistake(
                wrong.Parallel,
                "Your feed-forward layer sees the block's input; it comes after attention's result is added.",
            ),
            Mistake(wrong.FeedForwardFirst, "You have the feed-forward layer first; attention comes first."),
            Mistake(
                wrong.ResidualOfInput, "Your second sum adds the block's *input* again and loses what attention added."
            ),
            Mistake(wrong.NoDropoutBlock, wrong.NO_DROPOUT),
            Mistake(wrong.StreamDropout, wrong.DROPS_THE_STREAM),
        ),
        hints=(
            "In `__init__` all comes from the config: `LayerNorm(config.emb_dim)`, `nn.Dropout(config.drop_rate)`.",
            "`forward` has two halves of one form: new stream = old stream + dropout(layer(norm(old stream))).",
            "The first half is `x = x + self.dropout(self.attention(self.norm_1(x)))`. The second has the same form.",
        ),
        why="""
            The library's block does these two lines; the rest of it hands the KV cache of chapter 6 and the mask on to
            attention, and returns the attention weights to those who want to look at them.
        """,
    ),
    CodeExercise(
        name="count_parameters",
        title="Count them all",
        minutes=10,
        difficulty=2,
        task="""
            The formula above is for the official sizes only. Write it for any config: queries, keys and values may
            come without a bias (`qkv_bias`), the head may be tied or not (`weight_tying`), and `positions` are
            `"learned"` (a table) or `"sinusoidal"` (computed, nothing is learned). Calculate; don't build a model.
        """,
        stub='''
            def count_parameters(config):
                """A GPTConfig -> the number of its model's parameters; shared ones count once.

                Example: GPT2_CONFIGS["124M"] -> 124439808
                """
                ...
        ''',
        reference=count_parameters,
        shows=(count_parameters, GPTModel.parameter_count),
        run=run_count,
        cases=_count_cases,
        mistakes=(
            Mistake(
                wrong.count_as_official,
                "That is the formula for the official sizes; it does not look at the three options yet.",
            ),
            Mistake(
                wrong.count_without_biases,
                "Your linear layers have no biases; only the head has none (and `c_attn`, where `qkv_bias` is False).",
            ),
            Mistake(
                wrong.count_tied_twice,
                "With `weight_tying` the head has no weights of its own; you count that matrix twice.",
            ),
            Mistake(
                wrong.count_never_head,
                "Without `weight_tying` the head has a matrix of its own, `V * C`, which you leave out.",
            ),
            Mistake(wrong.count_without_positions, "The table of learned positions is missing."),
            Mistake(wrong.count_always_positions, "Sinusoidal positions are computed; there is no table to count."),
            Mistake(
                wrong.count_qkv_bias_always,
                "You count biases of queries, keys and values even where `qkv_bias` is False.",
            ),
            Mistake(
                wrong.count_qkv_bias_never,
                "You leave out the biases of queries, keys and values where `qkv_bias` is True.",
            ),
            Mistake(
                wrong.count_qkv_bias_as_one,
                "Without `qkv_bias` you leave out one vector of C in a block; queries, keys and values had one each.",
            ),
            Mistake(
                wrong.count_bias_of_c_proj_too,
                "`qkv_bias` is about `c_attn` alone; `c_proj` keeps its bias, and you leave that out too.",
            ),
            Mistake(wrong.count_without_final_norm, "The final LayerNorm is missing (scale and shift)."),
            Mistake(
                wrong.count_norms_once, "A LayerNorm has two vectors, scale and shift, and a block has two LayerNorms."
            ),
            Mistake(wrong.count_head_bias, "The output head has no bias."),
        ),
        hints=(
            "Count in groups: the two tables, one block times `n_layers`, the final norm, the head.",
            "A linear layer from a to b has `a * b` weights and `b` biases; a LayerNorm has `2 * C`.",
            "Attention: `3 * C * C` (and `3 * C` with `qkv_bias`) and `C * C + C`. Feed-forward: `8 * C * C + 5 * C`.",
        ),
        why="""
            The number of heads does not occur: heads only share the channels out. And the blocks grow with the square
            of `emb_dim`, while the tables grow with `emb_dim` itself; so in large models nearly all is in the blocks.
        """,
    ),
    Choice(
        name="tied_head",
        title="What tying ties",
        minutes=2,
        task="""
            In a tied model a training step changes one row of the token embedding, that of " cat". What else is
            different from then on?
        """,
        choices={
            "a": ("Nothing: the embedding is for the input only.", "In a tied model it is the head's matrix as well."),
            "b": (
                'The score of " cat" as the next token, in every text.',
                "Its logit is the dot product of that row with the position's vector, so it moves everywhere.",
            ),
            "c": (
                "The scores of all tokens, in every text.",
                'Each logit uses its own row and h. In texts without " cat", h is what it was, and so are the others.',
            ),
            "d": (
                "The head's matrix, at the next call of `tie_weights()`.",
                "No copy is made, then or later: both names stand for one parameter.",
            ),
        },
        answer="b",
        hints=(
            "`model.output_head.weight is model.token_embedding.weight` is True.",
            "The logit of token i is the dot product of row i with the position's vector h.",
        ),
    ),
    Prediction(
        name="first_loss",
        title="The first loss",
        minutes=2,
        difficulty=2,
        task="""
            You are about to train a character model: its vocabulary has 65 characters, its weights start as GPT-2's.
            Which loss, about, should the very first step report? (You may use `math`.)
        """,
        form="a number, like 1.5 or math.sqrt(2)",
        answer=math.log(65),
        diagnoses={
            math.log2(65): "That is in bits (`log2`); losses are measured with the natural logarithm.",
            math.log10(65): "That is the logarithm to base 10; losses are measured with the natural one.",
            1 / 65: "That is the probability that each character gets; the loss is minus its logarithm.",
            -math.log(65): "Nearly: the logarithm of a probability is negative, and the loss is minus it.",
            math.log(50257): "That is for GPT-2's vocabulary; this one has 65 characters.",
            65.0: "That is the vocabulary's size; which probability does each character get, and what is its loss?",
        },
        hints=(
            "Before it has learned anything, the model should hold all characters for about equally likely.",
            "Each gets the probability 1/65. The loss is minus the logarithm of what the right one got.",
        ),
        why="""
            Minus the logarithm of 1/V is the logarithm of V. If a first loss is much higher, the model is sure of
            something before it has seen anything: look at the initialisation. If it is much lower, the answer leaks.
        """,
    ),
)
