"""Chapter 9: the wrong implementations that `evaluation.py` recognises."""

import math
from collections import Counter

from gptlib.exercises.declaring import Mistake


def _grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _bytes(text):
    return len(text.encode())


# ------------------------------------------------------------------------------------------------ scored_tokens


def _scored(n_ids, context_length, stride, *, first=1, ahead=1, overlap=False, stops=True):
    found = []
    for start in range(0, n_ids - 1, stride):
        end = min(start + context_length + ahead, n_ids)
        found.append((start + 1 if overlap else first, end))
        if stops and end == n_ids:
            break
        first = end
    return found


def _overlapping(n_ids, context_length, stride):
    return _scored(n_ids, context_length, stride, overlap=True)


def _only_the_stride(n_ids, context_length, stride):
    found = _scored(n_ids, context_length, stride)
    return [(max(end - stride, 1), end) for _, end in found]


def _scores_token_zero(n_ids, context_length, stride):
    return _scored(n_ids, context_length, stride, first=0)


def _reads_one_less(n_ids, context_length, stride):
    return _scored(n_ids, context_length, stride, ahead=0)


def _never_stops(n_ids, context_length, stride):
    return _scored(n_ids, context_length, stride, stops=False)


def _windows_everywhere(n_ids, context_length, stride):
    ends = [min(start + context_length + 1, n_ids) for start in range(0, n_ids, stride)]
    return list(zip([1, *ends], ends, strict=False))


def _stops_when_all_is_read(n_ids, context_length, stride):
    found, first = [], 1
    for start in range(0, n_ids - 1, stride):
        end = min(start + context_length + 1, n_ids)
        found.append((first, end))
        first = end
        if start + context_length >= n_ids:
            break
    return found


def _past_the_end(n_ids, context_length, stride):
    return [(first, end + (end == n_ids)) for first, end in _scored(n_ids, context_length, stride)]


def _inputs_not_targets(n_ids, context_length, stride):
    return [(first - 1, end - 1) for first, end in _scored(n_ids, context_length, stride)]


def _last_included(n_ids, context_length, stride):
    return [(first, end - 1) for first, end in _scored(n_ids, context_length, stride)]


SCORED = (
    Mistake(
        _overlapping,
        "Your windows score all that they predict, so that some tokens are counted twice. Leave out what an earlier "
        "window has scored.",
    ),
    Mistake(
        _only_the_stride,
        "Each of your windows scores its last `stride` tokens. The first window has to score all of its tokens, and "
        "the last one fewer, where the text ends early: what counts is which tokens are not scored yet.",
    ),
    Mistake(_scores_token_zero, "Token 0 is scored, but nothing stands before it that could predict it."),
    Mistake(
        _reads_one_less,
        "Your windows end one token early: from `context_length` tokens that are read, as many are predicted, and the "
        "last of these is `start + context_length`.",
    ),
    Mistake(
        _never_stops,
        "There are windows left over after the one that reaches the last token. They score nothing: stop before them.",
    ),
    Mistake(
        _windows_everywhere,
        "Your windows begin at every stride up to the end of the text, even where nothing is left to score. The last "
        "one is the first that reaches the last token.",
    ),
    Mistake(
        _stops_when_all_is_read,
        "You stop at the window that *reads* the last token. One that reads up to the token before it predicts it "
        "already, and leaves nothing to score.",
    ),
    Mistake(_past_the_end, "Your last window goes past the end of the text; there is no token `n_ids`."),
    Mistake(
        _last_included,
        "Your pairs end with the last token that is scored. Let them end one further, as slices and ranges do.",
    ),
    Mistake(
        _inputs_not_targets, "Those are the places that are *read*. What is scored is the token that comes after each."
    ),
)

# ------------------------------------------------------------------------------------------------ bits_per_byte


def _still_nats(loss, n_tokens, text):
    return loss * n_tokens / _bytes(text)


def _bits_of_a_token(loss, n_tokens, text):
    return loss / math.log(2)


def _per_character(loss, n_tokens, text):
    return loss * n_tokens / math.log(2) / len(text)


def _times_ln_2(loss, n_tokens, text):
    return loss * n_tokens * math.log(2) / _bytes(text)


def _not_spread(loss, n_tokens, text):
    return loss * n_tokens / math.log(2)


def _loss_of_the_text(loss, n_tokens, text):
    return loss / math.log(2) / _bytes(text)


def _bytes_per_bit(loss, n_tokens, text):
    return _bytes(text) * math.log(2) / (loss * n_tokens) if loss else math.inf


def _tokens_upside_down(loss, n_tokens, text):
    return loss / n_tokens / math.log(2) * _bytes(text)


def _log_of_the_loss(loss, n_tokens, text):
    return math.log2(loss) * n_tokens / _bytes(text)


BITS = (
    Mistake(_still_nats, "Those are nats for each byte. How many nats is a bit?"),
    Mistake(_bits_of_a_token, "Those are bits for each *token*. Spread the bits of all tokens over all bytes."),
    Mistake(
        _per_character, "You divide by the number of characters. In UTF-8 an é has two bytes, and a smiley has four."
    ),
    Mistake(_times_ln_2, "You multiply by ln 2. A bit is ln 2 = 0.69 nats, so there are more bits than nats."),
    Mistake(_not_spread, "Those are the bits of the whole text. Divide by its bytes."),
    Mistake(_loss_of_the_text, "You take `loss` for the loss of the whole text; it is the mean of its tokens."),
    Mistake(_log_of_the_loss, "You take the logarithm of `loss`, which is a logarithm already; change its unit."),
    Mistake(_bytes_per_bit, "Turn the fraction over: bits for each byte."),
    Mistake(_tokens_upside_down, "Bytes and tokens have changed places: multiply by the tokens, divide by the bytes."),
)

# ------------------------------------------------------------------------------------------------- charged_bits


LN_2 = math.log(2)


def _charged(nats, words, vocabulary, *, size=_bytes, price=8, once=False, base=LN_2):
    seen = dict.fromkeys(words) if once else words
    return (nats / base + price * sum(size(word) for word in seen if word not in vocabulary)) / _bytes("".join(words))


def _free(nats, words, vocabulary):
    return _charged(nats, words, vocabulary, price=0)


def _characters_lost(nats, words, vocabulary):
    return _charged(nats, words, vocabulary, size=len)


def _each_word_once(nats, words, vocabulary):
    return _charged(nats, words, vocabulary, once=True)


def _one_bit(nats, words, vocabulary):
    return _charged(nats, words, vocabulary, price=1)


def _by_word(nats, words, vocabulary):
    return _charged(nats, words, vocabulary, size=lambda word: 1)


def _nats_added_to_bits(nats, words, vocabulary):
    return _charged(nats, words, vocabulary, base=1)


def _all_over_ln_2(nats, words, vocabulary):
    return _charged(nats, words, vocabulary, base=1) / math.log(2)


def _known_bytes_only(nats, words, vocabulary):
    known = sum(_bytes(word) for word in words if word in vocabulary) or 1
    return _charged(nats, words, vocabulary) * _bytes("".join(words)) / known


def _characters_everywhere(nats, words, vocabulary):
    return _charged(nats, words, vocabulary, size=len) * _bytes("".join(words)) / len("".join(words))


def _characters_below(nats, words, vocabulary):
    return _charged(nats, words, vocabulary) * _bytes("".join(words)) / len("".join(words))


CHARGED = (
    Mistake(_free, "Nothing is charged for the unknown words, so a tokenizer that knows no word would be best."),
    Mistake(_characters_lost, "You charge for each lost *character*; an é has two bytes."),
    Mistake(_each_word_once, "An unknown word that comes twice is charged once. It is lost each time."),
    Mistake(_one_bit, "You charge one bit for a lost byte; a byte has eight."),
    Mistake(_by_word, "You charge 8 bits for each lost word, however long. Charge for each of its bytes."),
    Mistake(_nats_added_to_bits, "`nats` and bits are added as they are. Turn the nats into bits first."),
    Mistake(_all_over_ln_2, "The charge is in bits already; only the nats have to be divided by ln 2."),
    Mistake(
        _known_bytes_only, "You spread the bits over the bytes of known words. Divide by the bytes of the whole text."
    ),
    Mistake(_characters_everywhere, "You count characters, above and below; `word.encode()` gives the bytes."),
    Mistake(_characters_below, "You divide by the number of characters in the text; divide by its bytes."),
)

# ------------------------------------------------------------------------------------------------- pick_endings


def _picked(endings, token_nats, pick=min, cost=sum, length=len):
    costs = [cost(nats) for nats in token_nats]
    by_length = [c / length(e) for c, e in zip(costs, endings, strict=True)]
    return costs.index(pick(costs)), by_length.index(pick(by_length))


def _dearest(endings, token_nats):
    return _picked(endings, token_nats, pick=max)


def _by_token(endings, token_nats):
    by_token = [sum(nats) / len(nats) for nats in token_nats]
    return _picked(endings, token_nats)[0], by_token.index(min(by_token))


def _by_byte(endings, token_nats):
    return _picked(endings, token_nats, length=_bytes)


def _by_word_count(endings, token_nats):
    return _picked(endings, token_nats, length=lambda ending: len(ending.split()))


def _first_token(endings, token_nats):
    return _picked(endings, token_nats, cost=lambda nats: nats[0])


def _mean_of_tokens(endings, token_nats):
    return _picked(endings, token_nats, cost=lambda nats: sum(nats) / len(nats))


def _both_in_all(endings, token_nats):
    return (_picked(endings, token_nats)[0],) * 2


def _both_by_character(endings, token_nats):
    return (_picked(endings, token_nats)[1],) * 2


def _places_swapped(endings, token_nats):
    return _picked(endings, token_nats)[::-1]


def _values(endings, token_nats):
    costs = [sum(nats) for nats in token_nats]
    return min(costs), min(c / len(e) for c, e in zip(costs, endings, strict=True))


def _texts_themselves(endings, token_nats):
    return tuple(endings[i] for i in _picked(endings, token_nats))


def _last_of_equals(endings, token_nats):
    costs = [sum(nats) for nats in token_nats]
    return min(reversed(range(len(costs))), key=costs.__getitem__), _picked(endings, token_nats)[1]


PICK = (
    Mistake(_dearest, "You pick the ending that costs *most*. The likeliest is the one that costs least."),
    Mistake(
        _by_token,
        "The second is by token. Another tokenizer would cut the endings into more or fewer tokens; take characters.",
    ),
    Mistake(_by_byte, "You divide by the bytes of an ending; here it is its characters."),
    Mistake(_by_word_count, "You divide by the number of words; divide by the number of characters, `len(ending)`."),
    Mistake(_first_token, "You look at the first token of each ending; all of them count."),
    Mistake(
        _mean_of_tokens, "You begin with the mean of an ending's tokens. What an ending costs in all is their sum."
    ),
    Mistake(_both_in_all, "Both are the cheapest in all. For the second, divide by the length before you compare."),
    Mistake(_both_by_character, "Both are the cheapest by character. The first is to be the cheapest in all."),
    Mistake(_places_swapped, "The two are right, in the wrong order: first in all, then by character."),
    Mistake(_values, "Those are the costs themselves. Return the *places* of the smallest ones."),
    Mistake(_texts_themselves, "Those are the endings themselves. Return their places in the list."),
    Mistake(_last_of_equals, "Where two endings cost the same, take the first of them."),
)

# --------------------------------------------------------------------------------------------- questions_needed


def _one_error(share, margin):
    return share * (1 - share) / margin**2


def _not_squared(share, margin):
    return 4 * share * (1 - share) / margin


def _worst_case(share, margin):
    return 1 / margin**2


def _two_not_squared(share, margin):
    return 2 * share * (1 - share) / margin**2


def _half_an_error(share, margin):
    return share * (1 - share) / (2 * margin) ** 2


def _rounded_up(share, margin):
    return math.ceil(round(4 * share * (1 - share) / margin**2, 6))


def _spread_of_one(share, margin):
    return 2 * math.sqrt(share * (1 - share)) / margin


def _only_the_share(share, margin):
    return 4 * share / margin**2


def _squared_spread(share, margin):
    return 4 * (share * (1 - share)) ** 2 / margin**2


NEEDED = (
    Mistake(_one_error, "That many make *one* standard error as small as the margin; two are asked for."),
    Mistake(_not_squared, "The margin has to be squared: n stands under a square root."),
    Mistake(_worst_case, "That is the number for a share of one half, where the error is largest. Use `share`."),
    Mistake(_two_not_squared, "The 2 is squared too: 2 √(p (1 - p) / n) = margin, and then square both sides."),
    Mistake(_half_an_error, "That many make half a standard error as small as the margin; the 2 is on the wrong side."),
    Mistake(_rounded_up, "The number is right, but rounded; leave it as it comes out."),
    Mistake(_spread_of_one, "That is the square root of the number. Square both sides of your equation."),
    Mistake(_only_the_share, "The factor `1 - share` is missing."),
    Mistake(_squared_spread, "`share * (1 - share)` stands under the root, and is not squared."),
)

# -------------------------------------------------------------------------------------------- clipped_precision


def _not_clipped(written, reference, n):
    ours, theirs = _grams(written, n), set(_grams(reference, n))
    return sum(gram in theirs for gram in ours) / len(ours) if ours else 0.0


def _different_only(written, reference, n):
    ours, theirs = set(_grams(written, n)), set(_grams(reference, n))
    return len(ours & theirs) / len(ours) if ours else 0.0


def _recall(written, reference, n):
    ours, theirs = Counter(_grams(written, n)), Counter(_grams(reference, n))
    return (ours & theirs).total() / theirs.total() if theirs else 0.0


def _matches(written, reference, n):
    return (Counter(_grams(written, n)) & Counter(_grams(reference, n))).total()


def _words_only(written, reference, n):
    return _right(written, reference, 1)


def _right(written, reference, n):
    ours = Counter(_grams(written, n))
    return (ours & Counter(_grams(reference, n))).total() / ours.total() if ours else 0.0


def _by_words(written, reference, n):
    return _matches(written, reference, n) / len(written)


def _same_place(written, reference, n):
    ours, theirs = _grams(written, n), _grams(reference, n)
    return sum(a == b for a, b in zip(ours, theirs, strict=False)) / len(ours) if ours else 0.0


def _misses_the_last(written, reference, n):
    ours, theirs = Counter(_grams(written, n)[:-1]), Counter(_grams(reference, n)[:-1])
    return (ours & theirs).total() / ours.total() if ours else 0.0


def _divides_by_nothing(written, reference, n):
    ours = _grams(written, n)
    return _matches(written, reference, n) / len(ours)


def _different_below(written, reference, n):
    ours = set(_grams(written, n))
    return _matches(written, reference, n) / len(ours) if ours else 0.0


def _different_above(written, reference, n):
    ours = _grams(written, n)
    return len(set(ours) & set(_grams(reference, n))) / len(ours) if ours else 0.0


def _once_for_each_written(written, reference, n):
    ours, theirs = _grams(written, n), Counter(_grams(reference, n))
    return sum(min(ours.count(gram), theirs[gram]) for gram in ours) / len(ours) if ours else 0.0


CLIPPED = (
    Mistake(
        _not_clipped,
        "The counts are not clipped: an n-gram that stands in the reference once counts each time it is written. Take "
        "the smaller of the two counts.",
    ),
    Mistake(
        _different_only,
        "You work with sets, so an n-gram that comes twice counts once, above and below. Count them with `Counter`.",
    ),
    Mistake(
        _recall, "You divide by the n-grams of the reference: that is a recall. Divide by those that were written."
    ),
    Mistake(
        _once_for_each_written,
        "You add the smaller count again each time an n-gram is written. Add it once for each *different* n-gram.",
    ),
    Mistake(_matches, "That is the number of matches. Which share of the written n-grams is it?"),
    Mistake(_words_only, "You compare single words, whatever `n` is."),
    Mistake(_by_words, "You divide by the number of words; a text has `len(written) - n + 1` n-grams."),
    Mistake(_same_place, "You compare the n-grams place by place. They may stand anywhere in the reference."),
    Mistake(_misses_the_last, "The last n-gram is missing: they begin at 0 to `len(words) - n`, that place included."),
    Mistake(_divides_by_nothing, "Where `written` is shorter than `n` words it has no n-grams: return 0 there."),
    Mistake(_different_below, "Below the line you count different n-grams; count all that were written."),
    Mistake(
        _different_above,
        "Above the line an n-gram counts once, even where both texts have it twice. The smaller of the two *counts*.",
    ),
)

# ------------------------------------------------------------------------------------------- longest_common_run


def _runs(a, b):
    """(start in a, length) of every run that can't go on, in the order of a."""
    for i in range(len(a)):
        for j in range(len(b)):
            n = 0
            while i + n < len(a) and j + n < len(b) and a[i + n] == b[j + n]:
                n += 1
            yield i, n


def _with_gaps(a, b):
    table = [[[] for _ in range(len(b) + 1)] for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            shorter = table[i][j + 1], table[i + 1][j]
            table[i + 1][j + 1] = [*table[i][j], x] if x == y else max(shorter, key=len)
    return table[-1][-1]


def _last_of_several(a, b):
    i, n = max(_runs(a, b), key=lambda run: (run[1], run[0]), default=(0, 0))
    return a[i : i + n]


def _only_its_length(a, b):
    return max((n for _, n in _runs(a, b)), default=0)


def _items_in_both(a, b):
    return [item for item in a if item in b]


def _from_the_beginning(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return a[:n]


def _same_places(a, b):
    best, n = [], 0
    for i in range(min(len(a), len(b))):
        n = n + 1 if a[i] == b[i] else 0
        if n > len(best):
            best = a[i + 1 - n : i + 1]
    return best


def _first_found(a, b):
    return next((a[i : i + n] for i, n in _runs(a, b) if n), [])


def _misses_the_end(a, b):
    i, n = max(_runs(a[:-1], b[:-1]), key=lambda run: run[1], default=(0, 0))
    return a[i : i + n]


def _as_text(a, b):
    i, n = max(_runs(a, b), key=lambda run: run[1], default=(0, 0))
    return " ".join(map(str, a[i : i + n]))


def _order_ignored(a, b):
    there = set(b)
    best, n = [], 0
    for i, item in enumerate(a):
        n = n + 1 if item in there else 0
        if n > len(best):
            best = a[i + 1 - n : i + 1]
    return best


RUN = (
    Mistake(_with_gaps, "You find a longest common *subsequence*: it may have gaps. A copy stands in one piece."),
    Mistake(_last_of_several, "Of several runs of one length, you return a later one; return the first in `a`."),
    Mistake(_only_its_length, "That is the length of the run; return the run itself."),
    Mistake(_items_in_both, "You return all items that are in both, wherever they stand. A run has no gap."),
    Mistake(_from_the_beginning, "You compare from the beginning of both only. A run may start anywhere in each."),
    Mistake(_same_places, "You compare the same places of both. The run may stand at another place in `b`."),
    Mistake(_first_found, "You return the first run that is found, not the longest."),
    Mistake(_misses_the_end, "Runs that reach the end of a list are cut short: the last item belongs to it too."),
    Mistake(_as_text, "The run is right; return it as a list of items, not as a text."),
    Mistake(
        _order_ignored,
        "You look whether each item of `a` is *somewhere* in `b`. The items must follow each other there as they do in "
        "`a`.",
    ),
)
