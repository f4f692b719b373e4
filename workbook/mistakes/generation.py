"""Chapter 6: the wrong implementations that `generation.py` recognises."""

import math

import torch
from torch import Tensor, nn

from gptlib.exercises.declaring import Mistake

# ------------------------------------------------------------------------------------------------ greedy_generate


def _grow(model: nn.Module, ids: Tensor, n: int, seen=lambda ids, c: ids[:, -c:], place: int = -1) -> Tensor:
    for _ in range(n):
        logits = model(seen(ids, model.config.context_length))
        ids = torch.cat((ids, logits[:, place].argmax(dim=-1, keepdim=True)), dim=1)
    return ids


def _first_position(model, ids, max_new_tokens):
    return _grow(model, ids, max_new_tokens, place=0)


def _no_cut(model, ids, max_new_tokens):
    return _grow(model, ids, max_new_tokens, seen=lambda ids, c: ids)


def _first_window(model, ids, max_new_tokens):
    return _grow(model, ids, max_new_tokens, seen=lambda ids, c: ids[:, :c])


def _window_too_short(model, ids, max_new_tokens):
    return _grow(model, ids, max_new_tokens, seen=lambda ids, c: ids[:, -c + 1 :])


def _only_new(model, ids, max_new_tokens):
    return _grow(model, ids, max_new_tokens)[:, ids.shape[1] :]


def _only_newest_seen(model, ids, max_new_tokens):
    return _grow(model, ids, max_new_tokens, seen=lambda ids, c: ids[:, -1:])


def _never_fed_back(model, ids, max_new_tokens):
    token = model(ids[:, -model.config.context_length :])[:, -1].argmax(dim=-1, keepdim=True)
    return torch.cat((ids, *[token] * max_new_tokens), dim=1)


def _one_for_all(model, ids, max_new_tokens):
    for _ in range(max_new_tokens):
        token = model(ids[:, -model.config.context_length :])[:, -1].argmax()
        ids = torch.cat((ids, token.view(1, 1)), dim=1)
    return ids


def _no_column(model, ids, max_new_tokens):
    for _ in range(max_new_tokens):
        token = model(ids[:, -model.config.context_length :])[:, -1].argmax(dim=-1)
        ids = torch.cat((ids, token), dim=1)
    return ids


def _cut_for_good(model, ids, max_new_tokens):
    for _ in range(max_new_tokens):
        ids = ids[:, -model.config.context_length :]
        ids = torch.cat((ids, model(ids)[:, -1].argmax(dim=-1, keepdim=True)), dim=1)
    return ids


GREEDY = (
    Mistake(
        _first_position,
        "You read the logits of position 0: those score the *second* token of the text. Which position has seen all "
        "of it?",
    ),
    Mistake(
        _no_cut,
        "It works as long as the text fits; then the model refuses. What may it see of a text longer than "
        "`context_length`?",
    ),
    Mistake(
        _first_window,
        "Of a long text you show the model the *first* `context_length` tokens, so that it never sees what it has "
        "added. Take them from the other end.",
    ),
    Mistake(
        _window_too_short,
        "Your window is one token too short: the model can see `context_length` tokens. Is it the `+ 1` or `- 1`?",
    ),
    Mistake(_only_new, "The new tokens are right, but the prompt is missing in front of them."),
    Mistake(
        _only_newest_seen,
        "Your model sees only the newest token of all. It needs as much of the text as fits into its context.",
    ),
    Mistake(
        _never_fed_back,
        "You add the same token again and again. Each new token has to be part of what the model sees next.",
    ),
    Mistake(
        _one_for_all,
        "It works for one row. With several, `argmax()` without a dimension looks for one token in all rows together; "
        "each row has its own next token.",
    ),
    Mistake(
        _no_column,
        "Your new tokens have the shape `(B,)`, and `torch.cat` needs a column, `(B, 1)`, to put it beside `(B, T)`.",
    ),
    Mistake(
        _cut_for_good,
        "What the model sees may be cut, but your result has lost its beginning with it. Keep two things apart: the "
        "whole text, and the window that the model sees.",
    ),
)

# -------------------------------------------------------------------------------------------- temperature_softmax


def _lowered(logits: Tensor) -> Tensor:
    return logits - logits.max(dim=-1, keepdim=True).values


def _multiply(logits, temperature):
    return (_lowered(logits) * temperature).softmax(dim=-1)


def _divide_probabilities(logits, temperature):
    probabilities = logits.softmax(dim=-1) / temperature if temperature else logits.softmax(dim=-1)
    return probabilities / probabilities.sum(dim=-1, keepdim=True)


def _plain_exp(logits, temperature):
    powers = torch.exp(logits / temperature)
    return powers / powers.sum(dim=-1, keepdim=True)


def _plain_softmax(logits, temperature):
    return torch.softmax(logits / temperature, dim=-1)


def _zero_only(logits, temperature):
    if temperature == 0:
        return nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).float()
    return _plain_softmax(logits, temperature)


def _small_only(logits, temperature):
    return _plain_softmax(_lowered(logits), temperature)


def _along_the_batch(logits, temperature):
    if temperature == 0:
        return _zero_only(logits, 0)
    return (_lowered(logits) / temperature).softmax(dim=0)


def _one_largest(logits, temperature):
    if temperature == 0:
        return _zero_only(logits, 0)
    return _plain_softmax(logits - logits.max(), temperature)


def _ids_at_zero(logits, temperature):
    if temperature == 0:
        return logits.argmax(dim=-1)
    return _plain_softmax(_lowered(logits), temperature)


TEMPERATURE = (
    Mistake(_multiply, "You multiply by the temperature, so that a low one flattens. It should sharpen."),
    Mistake(
        _divide_probabilities,
        "You divide the *probabilities* by the temperature; the next step, bringing their sum to 1, undoes that. What "
        "has to be divided are the logits.",
    ),
    Mistake(
        _plain_exp,
        "It is right until `exp` overflows: then infinity is divided by infinity, and that is NaN. Only differences "
        "between logits count, so you may lower them all first.",
    ),
    Mistake(
        _plain_softmax,
        "It is right until the temperature is tiny or 0: then `logits / temperature` is infinite, or 0 / 0. Lower the "
        "logits before you divide, and treat 0 on its own.",
    ),
    Mistake(
        _zero_only,
        "0 is right, but a temperature a little above it still makes `logits / temperature` infinite, and the result "
        "NaN. What if the largest logit were 0 before you divide?",
    ),
    Mistake(
        _small_only,
        "Tiny temperatures are right, but for 0 you divide 0 by 0, and the result is NaN. Treat 0 on its own.",
    ),
    Mistake(
        _one_largest,
        "You take the largest logit of the whole batch from all rows. A row whose own logits are far below it becomes "
        "minus infinity everywhere, and then NaN; each row needs its own.",
    ),
    Mistake(
        _ids_at_zero,
        "At a temperature of 0 you return the id of the likeliest token; asked for are probabilities, `(B, V)`, here "
        "too: 1 for that token, and 0 for the others.",
    ),
    Mistake(_along_the_batch, "Your columns sum to 1 instead of your rows: along which dimension is the softmax?"),
)

# --------------------------------------------------------------------------------------------------- keep_top_k


def _sharing(kept: Tensor) -> Tensor:
    return kept / kept.sum(dim=-1, keepdim=True)


def _k_likeliest(probabilities: Tensor, k: int, largest: bool = True) -> Tensor:
    values, tokens = probabilities.topk(min(k, probabilities.shape[-1]), dim=-1, largest=largest)
    return torch.zeros_like(probabilities).scatter(-1, tokens, values)


def _threshold(probabilities, k):
    least = probabilities.topk(min(k, probabilities.shape[-1]), dim=-1).values[:, -1:]
    return _sharing(probabilities.masked_fill(probabilities < least, 0))


def _above_threshold(probabilities, k):
    least = probabilities.topk(min(k, probabilities.shape[-1]), dim=-1).values[:, -1:]
    return _sharing(probabilities.masked_fill(probabilities <= least, 0))


def _k_smallest(probabilities, k):
    return _sharing(_k_likeliest(probabilities, k, largest=False))


def _k_not_shared(probabilities, k):
    return _k_likeliest(probabilities, k)


def _k_over_batch(probabilities, k):
    kept = _k_likeliest(probabilities, k)
    return kept / kept.sum()


def _k_softmax(probabilities, k):
    return _k_likeliest(probabilities, k).softmax(dim=-1)


def _k_softmax_of_kept(probabilities, k):
    values, tokens = probabilities.topk(min(k, probabilities.shape[-1]), dim=-1)
    return torch.zeros_like(probabilities).scatter(-1, tokens, values.softmax(dim=-1))


def _k_of_first_row(probabilities, k):
    tokens = probabilities[0].topk(min(k, probabilities.shape[-1])).indices
    kept = torch.zeros_like(probabilities)
    kept[:, tokens] = probabilities[:, tokens]
    return _sharing(kept)


def _k_sorted(probabilities, k):
    return _sharing(probabilities.sort(dim=-1, descending=True).values[:, :k])


def _k_too_many(probabilities, k):
    values, tokens = probabilities.topk(k, dim=-1)
    return _sharing(torch.zeros_like(probabilities).scatter(-1, tokens, values))


TOP_K = (
    Mistake(
        _threshold,
        "You keep whatever is at least as likely as the `k`-th. Where several tokens are equally likely, that is more "
        "than `k`. The *places* of the `k` likeliest would be a better thing to go by.",
    ),
    Mistake(
        _above_threshold,
        "You keep only what is likelier than the `k`-th token, and so lose the `k`-th itself.",
    ),
    Mistake(_k_smallest, "You keep the least likely tokens. Which end of the order do you take?"),
    Mistake(_k_not_shared, "The right tokens are kept, but the rows no longer sum to 1. Share out what was removed."),
    Mistake(
        _k_over_batch,
        "You divide by the sum of the whole batch; each row is a distribution of its own and sums to 1 by itself.",
    ),
    Mistake(
        _k_softmax,
        "A softmax does bring the sum to 1, but it turns each 0 into `exp(0)`, and removed tokens come back. Divide by "
        "the sum instead.",
    ),
    Mistake(
        _k_softmax_of_kept,
        "A softmax of probabilities evens them out. What was removed is shared out in proportion: divide by the sum.",
    ),
    Mistake(_k_of_first_row, "You keep row 0's likeliest tokens in every row; each row has its own."),
    Mistake(
        _k_sorted,
        "The values are right, but where has each token gone? Column `i` of the result belongs to token `i`, so the "
        "shape stays `(B, V)`.",
    ),
    Mistake(_k_too_many, "It fails where `k` is larger than the vocabulary. Then all tokens should stay."),
)

# --------------------------------------------------------------------------------------------------- keep_top_p


def _nucleus(probabilities: Tensor, keep) -> Tensor:
    ordered, tokens = probabilities.sort(dim=-1, descending=True)
    kept = ordered * keep(ordered.cumsum(dim=-1), ordered)
    return torch.zeros_like(probabilities).scatter(-1, tokens, kept)


def _cut_crossing(probabilities, p):
    def keep(total, ordered):
        inside = total <= p
        inside[:, 0] = True
        return inside

    return _sharing(_nucleus(probabilities, keep))


def _cut_all(probabilities, p):
    return _sharing(_nucleus(probabilities, lambda total, ordered: total <= p))


def _one_too_many(probabilities, p):
    return _sharing(_nucleus(probabilities, lambda total, ordered: total - ordered <= p))


def _p_not_shared(probabilities, p):
    return _nucleus(probabilities, lambda total, ordered: total - ordered < p)


def _left_sorted(probabilities, p):
    ordered = probabilities.sort(dim=-1, descending=True).values
    return _sharing(ordered * (ordered.cumsum(dim=-1) - ordered < p))


def _mask_not_mapped(probabilities, p):
    ordered = probabilities.sort(dim=-1, descending=True).values
    return _sharing(probabilities * (ordered.cumsum(dim=-1) - ordered < p))


def _unsorted(probabilities, p):
    return _sharing(probabilities * (probabilities.cumsum(dim=-1) - probabilities < p))


def _ascending(probabilities, p):
    ordered, tokens = probabilities.sort(dim=-1)
    kept = ordered * (ordered.cumsum(dim=-1) - ordered < p)
    return _sharing(torch.zeros_like(probabilities).scatter(-1, tokens, kept))


def _gathered(probabilities, p):
    ordered, tokens = probabilities.sort(dim=-1, descending=True)
    return _sharing((ordered * (ordered.cumsum(dim=-1) - ordered < p)).gather(-1, tokens))


def _at_least_p(probabilities, p):
    return _sharing(probabilities * (probabilities >= p))


TOP_P = (
    Mistake(
        _cut_crossing,
        "You stop *before* the token with which the sum reaches `p`, so what you keep sums to less than `p`. That "
        "token belongs to the set.",
    ),
    Mistake(
        _cut_all,
        "You remove the token with which the sum reaches `p`. Where the likeliest token alone is over `p`, nothing is "
        "left at all, and 0 / 0 is NaN.",
    ),
    Mistake(
        _one_too_many,
        "Where the sum reaches `p` *exactly*, you keep one token more. The set is the smallest that reaches it: look "
        "at your `<` and `<=`.",
    ),
    Mistake(_p_not_shared, "The right tokens are kept, but the rows no longer sum to 1."),
    Mistake(
        _left_sorted,
        "Your columns are still in sorted order. Column `i` of the result belongs to token `i`: put each value back "
        "where its token came from (`sort` also returns the places).",
    ),
    Mistake(
        _mask_not_mapped,
        "Your mask is in sorted order and you lay it on probabilities that are in the order of the vocabulary. One of "
        "the two has to be brought into the other's order.",
    ),
    Mistake(
        _gathered,
        "You *take* each value from the place that `sort` names, instead of *putting* it there: `gather` reads, "
        "`scatter` writes.",
    ),
    Mistake(
        _unsorted,
        "You add up the probabilities in the order of the vocabulary. The smallest set starts with the likeliest "
        "tokens.",
    ),
    Mistake(_ascending, "You sort from the least likely token upwards, and so keep the tail. See `descending=True`."),
    Mistake(
        _at_least_p,
        "You compare each probability with `p`. It is the *sum* of the likeliest ones that has to reach `p`.",
    ),
)

# --------------------------------------------------------------------------------------------------- LayerCache


class _Appending:
    """A cache that is right, but for what a subclass does otherwise."""

    def __init__(self):
        self.keys = self.values = None
        self.length = 0

    def join(self, old: Tensor | None, new: Tensor) -> Tensor:
        return new if old is None else torch.cat((old, new), dim=2)

    def count(self, new: Tensor) -> None:
        self.length += new.shape[2]

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self.keys, self.values = self.join(self.keys, keys), self.join(self.values, values)
        self.count(keys)
        return self.keys, self.values


class _NewOnly(_Appending):
    def append(self, keys, values):
        super().append(keys, values)
        return keys, values


class _AlongHeads(_Appending):
    def join(self, old, new):
        return new if old is None else torch.cat((old, new), dim=1)


class _AlongChannels(_Appending):
    def join(self, old, new):
        return new if old is None else torch.cat((old, new), dim=-1)


class _AlongBatch(_Appending):
    def join(self, old, new):
        return new if old is None else torch.cat((old, new), dim=0)


class _InFront(_Appending):
    def join(self, old, new):
        return new if old is None else torch.cat((new, old), dim=2)


class _CountsCalls(_Appending):
    def count(self, new):
        self.length += 1


class _NeverCounts(_Appending):
    def count(self, new):
        pass


class _CountsNewest(_Appending):
    def count(self, new):
        self.length = new.shape[2]


class _KeysTwice(_Appending):
    def append(self, keys, values):
        return super().append(keys, keys)


LAYER_CACHE = (
    Mistake(
        _NewOnly,
        "`append` returns only what it was given. The new query has to look at the earlier positions too, so all keys "
        "and values so far are needed.",
    ),
    Mistake(
        _AlongHeads,
        "You join along dimension 1, the heads. New positions go where positions are: the shape is `(B, H, T, D)`.",
    ),
    Mistake(
        _AlongChannels,
        "You join along the last dimension, the channels of a head. New positions go where positions are: the shape "
        "is `(B, H, T, D)`.",
    ),
    Mistake(
        _AlongBatch,
        "You join along dimension 0, the batch. New positions go where positions are: the shape is `(B, H, T, D)`.",
    ),
    Mistake(_InFront, "The new positions stand in front of the earlier ones. Text grows at its end."),
    Mistake(
        _CountsCalls,
        "`length` counts the calls of `append`. It should count positions, and a prompt brings many in one call.",
    ),
    Mistake(
        _NeverCounts,
        "`length` stays 0, so that every new token would be given position 0 again. Who moves it?",
    ),
    Mistake(
        _CountsNewest,
        "`length` is the number of the newest positions only. The next token's position is the number of *all* before "
        "it.",
    ),
    Mistake(_KeysTwice, "Your values are the keys. Each has a store of its own."),
)

# --------------------------------------------------------------------------------------------------- decode_step


def _decode(x, w_q, w_k, w_v, keys, values, *, width=None, sees_itself=True, softmax_dim=-1, keeps=True):
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    all_keys, all_values = torch.cat((keys, k[None])), torch.cat((values, v[None]))
    seen_keys, seen_values = (all_keys, all_values) if sees_itself else (keys, values)
    scores = seen_keys @ q / math.sqrt(width or q.shape[-1])
    weights = scores.softmax(dim=softmax_dim) if softmax_dim is not None else scores
    return (weights @ seen_values, *((all_keys, all_values) if keeps else (keys, values)))


def _blind_to_itself(x, w_q, w_k, w_v, keys, values):
    return _decode(x, w_q, w_k, w_v, keys, values, sees_itself=False)


def _not_scaled(x, w_q, w_k, w_v, keys, values):
    return _decode(x, w_q, w_k, w_v, keys, values, width=1)


def _scaled_by_c(x, w_q, w_k, w_v, keys, values):
    return _decode(x, w_q, w_k, w_v, keys, values, width=len(x))


def _scaled_by_s(x, w_q, w_k, w_v, keys, values):
    return _decode(x, w_q, w_k, w_v, keys, values, width=len(keys) + 1)


def _no_softmax(x, w_q, w_k, w_v, keys, values):
    return _decode(x, w_q, w_k, w_v, keys, values, softmax_dim=None)


def _forgets_new(x, w_q, w_k, w_v, keys, values):
    return _decode(x, w_q, w_k, w_v, keys, values, keeps=False)


def _keeps_x(x, w_q, w_k, w_v, keys, values):
    eye = torch.eye(len(x), w_k.shape[1])
    return _decode(x, w_q, eye, eye, keys, values)


def _matrix_first(x, w_q, w_k, w_v, keys, values):
    q, k, v = w_q @ x, w_k @ x, w_v @ x
    keys, values = torch.cat((keys, k[None])), torch.cat((values, v[None]))
    return (keys @ q / math.sqrt(len(q))).softmax(dim=0) @ values, keys, values


def _no_row(x, w_q, w_k, w_v, keys, values):
    return torch.cat((keys, x @ w_k)), torch.cat((values, x @ w_v))


def _in_front(x, w_q, w_k, w_v, keys, values):
    keys, values = torch.cat(((x @ w_k)[None], keys)), torch.cat(((x @ w_v)[None], values))
    return (keys @ (x @ w_q) / math.sqrt(keys.shape[1])).softmax(dim=0) @ values, keys, values


def _newest_only(x, w_q, w_k, w_v, keys, values):
    k, v = x @ w_k, x @ w_v
    return v, torch.cat((keys, k[None])), torch.cat((values, v[None]))


def _swapped(x, w_q, w_k, w_v, keys, values):
    out, all_keys, all_values = _decode(x, w_q, w_k, w_v, keys, values)
    return out, all_values, all_keys


DECODE_STEP = (
    Mistake(
        _blind_to_itself,
        "The new position looks only at the earlier ones. In causal attention each position sees itself too: append "
        "its key and value before you attend.",
    ),
    Mistake(_not_scaled, "The scores are not divided by the square root of the head's width `D`."),
    Mistake(
        _scaled_by_c,
        "You divide the scores by the square root of `C`, the width of `x`. Query and key have the width `D`.",
    ),
    Mistake(
        _scaled_by_s,
        "You divide the scores by the square root of the number of positions. It is the width of a key, `D`, that "
        "counts.",
    ),
    Mistake(_no_softmax, "You mix the values with the raw scores. What makes weights of them that sum to 1?"),
    Mistake(
        _forgets_new,
        "The output is right, but the keys and values you return lack the new position; the next step would not see "
        "it.",
    ),
    Mistake(
        _keeps_x,
        "You append `x` itself. What is kept are its key and its value: `x` times `w_k`, and `x` times `w_v`.",
    ),
    Mistake(
        _matrix_first,
        "The weights are `(C, D)`, so `x` of shape `(C,)` stands to the left of them, as in `x @ w_q`.",
    ),
    Mistake(
        _no_row,
        "The new key has the shape `(D,)`, and `torch.cat` needs a row, `(1, D)`, to put it below `(S - 1, D)`.",
    ),
    Mistake(_in_front, "The new position's key and value stand in front of the earlier ones; text grows at its end."),
    Mistake(
        _newest_only,
        "Your output is the new position's own value, so it has looked at nothing else. The scores are those of its "
        "query with *all* keys.",
    ),
    Mistake(_swapped, "You return the values where the keys should be; the order is output, keys, values."),
)
