"""Chapter 3: softmax, the causal mask, one head, and all of them as a module."""

import math
from random import Random

import torch
from torch import Tensor

from gptlib.attention import MultiHeadAttention, attention_mask
from gptlib.exercises.adapters import as_module
from gptlib.exercises.declaring import Choice, CodeExercise, Mistake, Prediction
from workbook.mistakes import attention as wrong


def safe_softmax(scores: Tensor) -> Tensor:
    """softmax over the last dimension, (..., S) -> (..., S), for scores of any size."""
    largest = scores.amax(dim=-1, keepdim=True)  # (..., 1)
    powers = (scores - largest).exp()  # the largest one is exp(0) = 1, so nothing overflows
    return powers / powers.sum(dim=-1, keepdim=True)


def causal_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head of causal attention: q, k, v (B, T, D) -> (B, T, D)."""
    T, D = q.shape[1:]
    scores = q @ k.transpose(1, 2) / math.sqrt(D)  # (B, T, T)
    scores = scores.masked_fill(~attention_mask(T, T), -torch.inf)
    return scores.softmax(dim=-1) @ v


def _softmax_cases(rng: Random) -> list[tuple]:
    far_apart = torch.tensor([[400.0, 399.0, 0.0], [-300.0, -301.0, -302.0]])
    hidden = torch.tensor([[1.0, -torch.inf, -torch.inf], [0.5, 2.0, -torch.inf]])
    random = (torch.randn(shape) * 3 for shape in ((2, 3, 4), (rng.randint(5, 7),), (3, 1)))
    example = torch.tensor([[0.0, 0.0], [1000.0, 1000.0]])
    return [(x,) for x in (example, far_apart, hidden, torch.tensor([[100.0, 99.0, 0.0]]), *random)]


def _mask_cases(rng: Random) -> list[tuple]:
    n = rng.randint(5, 7)
    return [(2, 3), (1, 1), (4, 4), (1, 5), (rng.randint(2, 3), n), (n, n)]


def _qkv(B: int, T: int, D: int) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.randn(3, B, T, D).unbind())


def _head_cases(rng: Random) -> list[tuple]:
    q, k = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    example = (q, k, torch.tensor([[[1.0, 0.0], [3.0, 8.0]]]))
    return [example, _qkv(1, 1, 3), _qkv(2, 4, 3), _qkv(1, rng.randint(5, 8), 16)]


def _module_cases(rng: Random) -> list[tuple]:
    def case(B: int, T: int, n_heads: int, head_dim: int) -> tuple:
        C = n_heads * head_dim
        return {"emb_dim": C, "n_heads": n_heads}, torch.randn(B, T, C)

    return [case(1, 3, 2, 2), case(1, 1, 2, 3), case(2, 5, 1, 4), case(2, 4, 3, 2), case(1, rng.randint(6, 8), 2, 5)]


EXERCISES = (
    CodeExercise(
        name="safe_softmax",
        title="A softmax that does not overflow",
        minutes=8,
        task="""
            Write softmax over the last dimension so that it works for scores of any size. You have just seen the fact
            that you need. Use `exp`, sums and maxima, and not PyTorch's own `softmax`. The scores may have any number
            of dimensions, and some of them may be `-inf` (but never a whole row).
        """,
        stub='''
            def safe_softmax(scores):
                """scores (..., S) -> weights (..., S), which sum to 1 over the last dimension.

                Example: [[0., 0.], [1000., 1000.]] -> [[0.5, 0.5], [0.5, 0.5]]
                """
                ...
        ''',
        reference=safe_softmax,
        cases=_softmax_cases,
        mistakes=(
            Mistake(
                wrong.naive_softmax,
                "Right for small scores. But `exp` of a large one is `inf`, and `inf / inf` is NaN. What may you do to "
                "all scores of a row without changing its softmax?",
            ),
            Mistake(
                wrong.one_maximum,
                "You subtract one number from all rows. A row whose scores lie far below it becomes all zeros, and "
                "`0 / 0` is NaN. Each row needs a number of its own.",
            ),
            Mistake(
                wrong.mean_instead_of_maximum,
                "Subtracting the mean helps only a little: a score far above its row's mean still overflows. Which "
                "number of the row leaves nothing above 0?",
            ),
            Mistake(
                wrong.minimum_instead_of_maximum,
                "Less the smallest score of the row, none is below 0, and a large one still overflows. Which number of "
                "the row leaves nothing above 0?",
            ),
            Mistake(
                wrong.max_with_places,
                "`max` with a `dim` gives the maxima and their places, two tensors. `amax` gives the maxima alone.",
            ),
            Mistake(
                wrong.without_keepdim,
                "Both maxima and sums have lost a dimension, and broadcasting lines them up with the columns: "
                "`keepdim`?",
            ),
            Mistake(
                wrong.sum_without_keepdim,
                "The sums have lost a dimension, and broadcasting lines them up with the columns: `keepdim`?",
            ),
            Mistake(
                wrong.divided_by_maximum,
                "You divide by the largest score, and that changes the differences between them. What may be done to "
                "all scores of a row is adding, or subtracting.",
            ),
            Mistake(
                wrong.clamped,
                "Clamping changes the scores: two different large ones become equal, and so do their weights. Shift "
                "them instead.",
            ),
            Mistake(
                wrong.over_rows,
                "You normalise over the first dimension: the columns sum to 1. It should be the last one, `dim=-1`.",
            ),
            Mistake(
                wrong.second_dimension,
                "`dim=1` is the last dimension of a matrix only. The scores may have more dimensions, or a single one: "
                "`dim=-1` is always the last.",
            ),
            Mistake(
                wrong.one_sum,
                "All weights together sum to 1, since you divide by the sum of all powers. Each row should sum to 1.",
            ),
            Mistake(
                wrong.only_powers,
                "Nothing overflows now, but the weights do not sum to 1: one division is missing.",
            ),
            Mistake(
                wrong.no_powers,
                "You divide the scores themselves by their sum. Where is `exp`? Without it, negative scores give "
                "negative weights.",
            ),
        ),
        hints=(
            "Adding the same number to all scores of a row changes nothing in the result. Which number makes every "
            "`exp` at most 1?",
            "Subtract each row's largest score first: `scores.amax(dim=-1, keepdim=True)` has the shape `(..., 1)`.",
            "Then `exp`, then divide by the sum over `dim=-1`, again with `keepdim=True`.",
        ),
        why="""
            Subtracting the row's maximum divides numerator and denominator by the same number, so the weights stay as
            they are. The largest power is then `exp(0) = 1`, so nothing overflows, and the sum is at least 1, so
            nothing is divided by 0. What becomes 0 would have been too small to matter. Every softmax in PyTorch does
            this inside.
        """,
    ),
    CodeExercise(
        name="causal_mask",
        title="Who may look at whom",
        minutes=8,
        task="""
            Make the causal mask for the case where the queries are only the *last* `n_queries` of `n_keys` positions.
            (Chapter 6 needs this: there, old positions are remembered, and only the new ones look.) Row `i` says what
            the `i`-th of these queries may look at: its own position and everything before it. With as many queries
            as keys it is the triangle that you know.
        """,
        stub='''
            def causal_mask(n_queries, n_keys):
                """True where a query may look: a bool tensor (n_queries, n_keys).

                Example: 2 queries, 3 keys -> [[True, True, False], [True, True, True]]
                """
                ...
        ''',
        reference=attention_mask,
        cases=_mask_cases,
        mistakes=(
            Mistake(
                wrong.first_queries,
                "Right where there are as many queries as keys. Else your queries are the first positions; they should "
                "be the last ones. At which position does query 0 stand?",
            ),
            Mistake(
                wrong.diagonal_of_one,
                "Your diagonal is always moved by 1, which fits the example only: with as many queries as keys it is "
                "not moved at all.",
            ),
            Mistake(
                wrong.diagonal_to_the_left,
                "Your diagonal is moved to the wrong side: the more keys there are, the more each query sees.",
            ),
            Mistake(
                wrong.one_too_many,
                "Your mask lets each query see one position after its own: is the diagonal's offset right?",
            ),
            Mistake(
                wrong.not_itself,
                "Your mask hides each query's own position. It may look at itself: is the diagonal's offset right?",
            ),
            Mistake(
                wrong.hidden_is_true,
                "`True` and `False` are swapped: `True` is where a query may look.",
            ),
            Mistake(
                wrong.only_the_future,
                "Your mask is upside down: each query sees itself and what comes after, and the past is hidden.",
            ),
            Mistake(
                wrong.mask_of_numbers,
                "The places are right, but the mask holds numbers. Make it a bool tensor, so that `~mask` works.",
            ),
        ),
        hints=(
            "Query `i` stands at position `n_keys - n_queries + i`. It may look at key `j` where `j` is at most that.",
            "`torch.ones(n_queries, n_keys).tril(diagonal=...)` moves the diagonal; which offset lets the last query "
            "see everything?",
            "The offset is `n_keys - n_queries`; `.bool()` makes the mask of it. Or compare two `arange`s, one of "
            "shape `(n_queries, 1)`.",
        ),
        why="""
            The library compares positions, `key <= query`, with broadcasting, since this form is easily extended by
            padding and reads like the rule itself. `tril` with the diagonal `n_keys - n_queries` gives the same.
        """,
        difficulty=2,
    ),
    Choice(
        name="without_mask",
        title="What if you forget the mask?",
        minutes=3,
        task="""
            Somebody builds a GPT and forgets the causal mask. In training, each position is asked for the next token,
            in windows as in chapter 2. Afterwards the model writes text, one token at a time. What happens?
        """,
        choices={
            "a": (
                "It fails at once: the shapes no longer fit.",
                "A mask changes no shape, with or without it the weights are `(T, T)`. That is why this mistake is so "
                "easily made: nothing complains.",
            ),
            "b": (
                "In training it seems to predict almost perfectly, yet the text it writes is poor.",
                "In training the answer stands in the input, one position further on, and the model learns to copy it "
                "from there. When it writes, there is no next position to copy from, and it has learned nothing else.",
            ),
            "c": (
                "In training it predicts badly, since too many tokens distract it.",
                "It sees more than it should, and one of the things it sees is the very token it is asked for. That "
                "makes training easier, not harder.",
            ),
            "d": (
                "Nothing: the targets are shifted by one, so the answer is never in the input.",
                "The targets are shifted, but position `t`'s target is the input at position `t + 1`, and that is in "
                "the window. Only the last target is not.",
            ),
        },
        answer="b",
        hints=(
            "In chapter 2, the targets are the inputs, shifted by one. Where in the input is position 3's target?",
            "Compare what a position can see in training with what there is to see when the text ends there.",
        ),
    ),
    Prediction(
        name="two_token_attention",
        title="Attention by hand",
        minutes=4,
        task="""
            Two tokens, with the causal mask. All queries are zero: `q = [[0, 0], [0, 0]]`. The keys are
            `k = [[1, 0], [0, 1]]`, the values `v = [[2, 4], [6, 8]]`. What is the output, `(2, 2)`? You need no
            computer.
        """,
        answer=[[2.0, 4.0], [4.0, 6.0]],
        form="a list of two rows, like [[1, 2], [3, 4]]",
        accept=lambda rows: torch.allclose(torch.as_tensor(rows).float(), torch.tensor([[2.0, 4.0], [4.0, 6.0]])),
        diagnoses={
            ((4, 6), (4, 6)): "The second row is right. The first token may not see the second one, though.",
            ((2, 4), (6, 8)): (
                "You let each token look at itself only. What are the second token's two scores, and what does softmax "
                "make of two equal scores?"
            ),
            ((2, 4), (8, 12)): "The weights of a row sum to 1: the second row is a mean, not a sum.",
            ((0, 0), (0, 0)): "The scores are 0, but a score of 0 is not a weight of 0: exp(0) is 1.",
            ((2, 4), (0, 0)): "The second token's scores are 0, but exp(0) is 1: its weights are not 0.",
            ((1, 0), (0.5, 0.5)): "Those are the weights, and they are right. What does each row make of the values?",
        },
        hints=(
            "The dot product of a zero query with any key is 0. What is softmax of two zeros?",
            "The first token sees only itself, so its weight there is 1. The second token's weights are 0.5 and 0.5.",
        ),
        why="""
            A query of zeros asks for nothing in particular: all scores are equal, and attention falls back to the
            average of what may be seen. The first position always returns its own value, whatever its query.
        """,
    ),
    Choice(
        name="why_scale",
        title="Why divide by the square root of D?",
        minutes=2,
        task="Why are the scores divided by `sqrt(D)` before softmax?",
        choices={
            "a": (
                "So that each row of weights sums to 1.",
                "Softmax sees to that, for any scores.",
            ),
            "b": (
                "So that the result has the same size as the values.",
                "The result is a weighted mean of values, so it is never larger than they are, scaled or not.",
            ),
            "c": (
                "So that `exp` does not overflow.",
                "Subtracting the row's maximum sees to that. Dividing changes the weights; subtracting does not.",
            ),
            "d": (
                "So that the scores' spread does not grow with D, and softmax does not put all weight on one position.",
                "A sum of D products of independent numbers spreads by `sqrt(D)`. Divided by it, the scores start at "
                "the same spread for every D, softmax stays soft, and gradients can flow through it.",
            ),
        },
        answer="d",
        hints=(
            "Which of these would still be a problem if softmax were as safe as the one that you wrote?",
            "Look at the three panels again: what happens to the largest weight and to the gradient as D grows?",
        ),
    ),
    CodeExercise(
        name="attention_head",
        title="One head of causal attention",
        minutes=10,
        task="""
            Put the steps together: scores, scaling, causal mask, softmax, weighted mean of the values. This time for a
            whole batch: `q`, `k` and `v` are `(B, T, D)`. You may use PyTorch's `softmax` now, but not
            `F.scaled_dot_product_attention`.
        """,
        stub='''
            def attention_head(q, k, v):
                """One head of causal attention: q, k, v (B, T, D) -> (B, T, D).

                Example: q = zeros, v = [[[1., 0.], [3., 8.]]] -> [[[1., 0.], [2., 4.]]]
                """
                ...
        ''',
        reference=causal_head,
        cases=_head_cases,
        mistakes=(
            Mistake(
                wrong.head_all_dimensions_turned,
                "`k.T` turns round all three dimensions. Only the last two are to change places: which method "
                "exchanges two dimensions?",
            ),
            Mistake(
                wrong.head_keys_ask,
                "Your scores have a row for each key. In `q @ ...` the rows are the queries, as they should be.",
            ),
            Mistake(
                wrong.head_weights_alone,
                "Those are the weights, and they are right. What is still to be done with the values?",
            ),
            Mistake(wrong.head_unscaled, "The scores are not scaled: divide them by `sqrt(D)` before softmax."),
            Mistake(wrong.head_divided_by_d, "You divide the scores by `D`; it should be the square root of it."),
            Mistake(wrong.head_times_root, "You multiply the scores by `sqrt(D)`; divide them by it."),
            Mistake(
                wrong.head_root_of_length,
                "You scale by the square root of `T`, the number of positions. The scores grow with `D`, the number of "
                "products that are summed in each.",
            ),
            Mistake(
                wrong.head_scaled_late,
                "You divide the result by `sqrt(D)`, not the scores. Scaling belongs before softmax.",
            ),
            Mistake(wrong.head_without_mask, wrong.NO_MASK),
            Mistake(
                wrong.head_bare,
                "Every position sees the whole text, since the causal mask is missing; and the scores are not scaled.",
            ),
            Mistake(
                wrong.head_one_too_many,
                "Each position sees one position too many, the next one: is your mask's diagonal off by one?",
            ),
            Mistake(
                wrong.head_not_itself,
                "Your mask hides each position from itself. The first one then sees nothing, and softmax of nothing "
                "but `-inf` is NaN.",
            ),
            Mistake(wrong.head_upside_down, wrong.UPSIDE_DOWN),
            Mistake(
                wrong.head_only_hidden,
                "You fill with `-inf` where a position *may* look. `masked_fill` fills where its mask is True; did you "
                "forget the `~`?",
            ),
            Mistake(
                wrong.head_wrong_dim,
                "Softmax runs over the wrong dimension: the weights of each *key* sum to 1. They should for each "
                "*query*, a row of the scores.",
            ),
            Mistake(
                wrong.head_filled_with_zero,
                "You hide scores by setting them to 0, and exp(0) is 1: the future still gets weight. Which score "
                "gets a weight of 0?",
            ),
            Mistake(
                wrong.head_zero_after,
                "You set weights to 0 after softmax, so that the rows do not sum to 1, and the future's scores are "
                "still in the divisor. Hide the scores before softmax.",
            ),
        ),
        hints=(
            "The scores are `(B, T, T)`: `q @ k.transpose(1, 2)`. `D` is `q.shape[-1]`.",
            "Make a mask for T positions (`attention_mask(T, T)`, or `tril`), and fill the scores with `-inf` "
            "where it is False: `scores.masked_fill(~mask, -torch.inf)`.",
            "Softmax over the last dimension, then `weights @ v`.",
        ),
        why="""
            This is equation 1 of the paper with the mask of its section 3.2.3, in four lines. The order matters: scale
            and mask the scores, and let softmax see only what may be seen.
        """,
        difficulty=2,
    ),
    Prediction(
        name="weights_shape",
        title="The shape of the weights",
        minutes=2,
        task="""
            `q` has the shape `(2, 3, 4, 8)`, `k` and `v` have the shape `(2, 3, 10, 8)`: a batch of 2, 3 heads, and 4
            new positions that look at all 10 positions seen so far, with 8 channels each. Which shape have the weights
            that `attend(q, k, v)` returns?
        """,
        answer=(2, 3, 4, 10),
        form="a tuple of whole numbers, like (4, 5)",
        diagnoses={
            (2, 3, 10, 4): "Rows are the ones that look (queries), columns the ones that are looked at (keys).",
            (2, 3, 4, 8): "That is the shape of the result. The weights say how much each query looks at each key.",
            (2, 3, 4, 4): "There are more keys than queries here: a row has a weight for each key.",
            (2, 3, 10, 10): "Only 4 of the positions look: there is one row for each query.",
            (4, 10): "That is one head in one text. Every head of every text in the batch has weights of its own.",
            (2, 4, 10): "Each head has weights of its own.",
            (2, 3, 8, 8): "The weights are between positions, not channels; the 8 is summed over in the dot product.",
        },
        hints=(
            "One row for each query, one column for each key, in each head of each text.",
            "It is the shape of `q @ k.transpose(2, 3)`.",
        ),
        why="`(B, H, T, D) @ (B, H, D, S)` is `(B, H, T, S)`, with T = 4 and S = 10. D is gone: it is summed over.",
    ),
    CodeExercise(
        name="causal_attention",
        title="The real part: causal multi-head attention",
        minutes=25,
        task="""
            Write the module that stands in every layer of GPT-2. `c_attn` makes queries, keys and values in one
            product: of its 3C outputs, the first C are the queries, then come the keys, then the values. Give each
            head its D channels, let all heads attend at once (no loop over heads is needed), put their results side by
            side again, and let `c_proj` mix them. No dropout.
        """,
        stub='''
            class CausalAttention(nn.Module):
                """Causal attention with n_heads heads; C is emb_dim."""

                def __init__(self, emb_dim, n_heads):
                    super().__init__()
                    self.n_heads = n_heads
                    self.c_attn = ...  # nn.Linear: C -> 3C, without bias
                    self.c_proj = ...  # nn.Linear: C -> C, with bias

                def forward(self, x):
                    """x (B, T, C) -> (B, T, C)."""
                    ...
        ''',
        reference=MultiHeadAttention,
        run=as_module(MultiHeadAttention),
        cases=_module_cases,
        mistakes=(
            Mistake(
                wrong.NoTranspose,
                "You split into heads by `view(B, H, T, D)` and merge the same way. That cuts the numbers in the wrong "
                "places: a head gets channels of other positions. Which two dimensions have to change places after "
                "`view(B, T, H, D)`?",
            ),
            Mistake(
                wrong.NoTransposeBefore,
                "You split into heads by `view(B, H, T, D)`, which cuts the numbers in the wrong places: a head gets "
                "channels of other positions. Which two dimensions change places after `view(B, T, H, D)`?",
            ),
            Mistake(
                wrong.HeadsInTurn,
                "You deal the channels out to the heads in turn. A head's D channels are neighbours: `(H, D)`, not "
                "`(D, H)`.",
            ),
            Mistake(
                wrong.HeadsAgainstHeads,
                "In your scores the heads of one position look at each other. With `(B, T, H, D)` the matrix product "
                "runs over H and D. Which dimension should stand second, so that it runs over positions?",
            ),
            Mistake(
                wrong.HeadsAgainstHeadsUnmasked,
                "In your scores the heads of one position look at each other, without a mask. Which dimension should "
                "stand second, so that the matrix product runs over positions?",
            ),
            Mistake(
                wrong.HeadsAgainstMask,
                "Your scores are `(B, T, H, H)`: heads look at heads, and the mask of T positions does not fit. Which "
                "dimension should stand second, so that they are `(B, H, T, T)`?",
            ),
            Mistake(
                wrong.OneWideHead,
                "All C channels are one head. Cut queries, keys and values into H heads of D channels each, before the "
                "scores.",
            ),
            Mistake(
                wrong.MergedWithoutTranspose,
                "The heads' results `(B, H, T, D)` are reshaped to `(B, T, C)` as they stand, which mixes positions. "
                "Undo the splitting's steps in the opposite order.",
            ),
            Mistake(
                wrong.MergedInTurn,
                "When you merge, the heads' channels take turns. All of head 0's come first, then head 1's: `(H, D)`, "
                "not `(D, H)`.",
            ),
            Mistake(
                wrong.ScaledByWidth,
                "You scale by `sqrt(C)`. The dot products are within a head, so they have D products each, not C.",
            ),
            Mistake(wrong.Unscaled, "The scores are not scaled by `sqrt(D)`."),
            Mistake(wrong.Unmasked, wrong.NO_MASK),
            Mistake(
                wrong.Bare,
                "Two steps of attention are missing: the causal mask, and the scaling by `sqrt(D)`.",
            ),
            Mistake(wrong.MaskedUpsideDown, wrong.UPSIDE_DOWN),
            Mistake(
                wrong.WrongDim,
                "Softmax runs over the queries; each query's weights, over the last dimension, should sum to 1.",
            ),
            Mistake(
                wrong.Unprojected,
                "The heads' results are right and stand side by side, but nothing mixes them: `c_proj` is missing.",
            ),
            Mistake(
                wrong.KeysFirst,
                "You take the first C outputs of `c_attn` as keys. The queries come first, then keys, then values.",
            ),
            Mistake(
                wrong.HeadByHead,
                "You cut `c_attn`'s outputs into heads first. Cut them into queries, keys and values first (C each), "
                "then each of these into heads.",
            ),
        ),
        hints=(
            "`B, T, C = x.shape`, then `q, k, v = self.c_attn(x).split(C, dim=2)` gives three `(B, T, C)`.",
            "For each of them: `view(B, T, H, D)`, then swap T and H, so that `(B, H, T, D)` is a batch of small "
            "matrices. `@`, the mask and softmax work on it as they do for one head.",
            "Back again: swap H and T (`transpose(1, 2)`), then `reshape(B, T, C)`; `view` would complain, since a "
            "transposed tensor is read in another order than it is stored in. Last, `c_proj`.",
        ),
        why="""
            `view` and `transpose` move no number; they only say how memory is read. So all heads are two batched matrix
            products, and the number of heads costs next to nothing. The library's version can also use a KV cache
            (chapter 6), take another mask and drop weights, and it calls PyTorch's fused attention, which the next
            section is about.
        """,
        difficulty=3,
    ),
)
