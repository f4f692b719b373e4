"""Wrong implementations that learners write in chapter 1; which message each gets stands in tokenizers.py."""

from itertools import pairwise, product

from gptlib.tokenizers.bpe import token_table
from gptlib.tokenizers.words import UNKNOWN, split_words

Pair = tuple[int, int]


def split_at_spaces(text: str, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary.get(word, vocabulary[UNKNOWN]) for word in text.split()]


def skip_unknown(text: str, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary[word] for word in split_words(text) if word in vocabulary]


def believe_all_known(text: str, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary[word] for word in split_words(text)]


def learn_new_words(text: str, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary.setdefault(word, len(vocabulary)) for word in split_words(text)]


def ignore_case(text: str, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary.get(word, vocabulary[UNKNOWN]) for word in split_words(text.lower())]


def unknown_is_none(text: str, vocabulary: dict[str, int]) -> list:
    return [vocabulary.get(word) for word in split_words(text)]


def unknown_by_or(text: str, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary.get(word) or vocabulary[UNKNOWN] for word in split_words(text)]


def unknown_as_text(text: str, vocabulary: dict[str, int]) -> list:
    return [vocabulary.get(word, UNKNOWN) for word in split_words(text)]


def return_at_once(text: str, vocabulary: dict[str, int]) -> list[int] | None:
    for word in split_words(text):
        return [vocabulary.get(word, vocabulary[UNKNOWN])]
    return None


def strip_spaces(text: str, vocabulary: dict[str, int]) -> list[int]:
    return [vocabulary.get(word.strip(), vocabulary[UNKNOWN]) for word in split_words(text)]


def count_apart(ids: list[int]) -> dict[Pair, int]:
    return _counted(zip(ids[::2], ids[1::2], strict=False))


def count_either_way(ids: list[int]) -> dict[Pair, int]:
    return _counted((min(pair), max(pair)) for pair in pairwise(ids))


def miss_the_last(ids: list[int]) -> dict[Pair, int]:
    return _counted(pairwise(ids[:-1]))


def count_single_ids(ids: list[int]) -> dict[int, int]:
    return _counted(ids)


def around_the_end(ids: list[int]) -> dict[Pair, int]:
    return _counted((ids[i - 1], ids[i]) for i in range(len(ids)))


def count_past_the_end(ids: list[int]) -> dict[Pair, int]:
    return _counted((ids[i], ids[i + 1]) for i in range(len(ids)))


def count_lists(ids: list[int]) -> dict:
    return _counted([left, right] for left, right in pairwise(ids))


def count_all_with_all(ids: list[int]) -> dict[Pair, int]:
    return _counted(product(ids, ids))


def count_each_once(ids: list[int]) -> dict[Pair, int]:
    return dict.fromkeys(pairwise(ids), 1)


def _counted(items) -> dict:
    counts: dict = {}
    for item in items:
        counts[item] = counts.get(item, 0) + 1
    return counts


def merge_from_the_right(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    merged: list[int] = []
    i = len(ids) - 1
    while i >= 0:
        if i > 0 and (ids[i - 1], ids[i]) == pair:
            merged, i = [new_id, *merged], i - 2
        else:
            merged, i = [ids[i], *merged], i - 1
    return merged


def reuse_the_partner(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    """Each occurrence gives a new id, those that overlap too: aaa gives XX."""
    starts = {i for i, two in enumerate(pairwise(ids)) if two == pair}
    return [new_id if i in starts else x for i, x in enumerate(ids) if i in starts or i - 1 not in starts]


def keep_the_partner(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    return [new_id if two == pair else two[0] for two in pairwise(ids)] + ids[-1:]


def keep_the_partner_lose_the_last(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    return [new_id if two == pair else two[0] for two in pairwise(ids)]


def compare_list_with_tuple(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    """`ids[i : i + 2] == pair` is never true, so nothing is ever merged."""
    return list(ids)


def lose_the_last(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    merged, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def look_past_the_end(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    merged, i = [], 0
    while i < len(ids):
        if ids[i] == pair[0] and ids[i + 1] == pair[1]:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def merge_once(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    for i, two in enumerate(pairwise(ids)):
        if two == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


def replace_in_a_string(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return [int(number) for number in text.split()]


def merge_in_place(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
        i += 1
    return ids


def merge_the_leftmost(word: bytes, merges: list[Pair]) -> list[int]:
    ids, new_ids = list(word), _new_ids(merges)
    while places := [i for i, pair in enumerate(pairwise(ids)) if pair in new_ids]:
        i = places[0]
        ids[i : i + 2] = [new_ids[ids[i], ids[i + 1]]]
    return ids


def merge_the_latest(word: bytes, merges: list[Pair]) -> list[int]:
    ids, new_ids = list(word), _new_ids(merges)
    while known := [(new_ids[pair], -i) for i, pair in enumerate(pairwise(ids)) if pair in new_ids]:
        new_id, i = max(known)
        ids[-i : -i + 2] = [new_id]
    return ids


def take_the_longest(word: bytes, merges: list[Pair]) -> list[int]:
    table = _id_of_token(merges)
    ids, start = [], 0
    while start < len(word):
        end = max(end for end in range(start + 1, len(word) + 1) if word[start:end] in table)
        ids.append(table[word[start:end]])
        start = end
    return ids


def _id_of_token(merges: list[Pair]) -> dict[bytes, int]:
    """{token: id}, with the lower id where two merges spell the same."""
    table = token_table(merges)
    return {token: i for i, token in reversed(list(enumerate(table)))}


def pass_through_once(word: bytes, merges: list[Pair]) -> list[int]:
    """One walk from left to right; what was merged can't be merged again."""
    ids, new_ids, result, i = list(word), _new_ids(merges), [], 0
    while i < len(ids):
        new_id = new_ids.get(tuple(ids[i : i + 2]))
        result.append(ids[i] if new_id is None else new_id)
        i += 1 if new_id is None else 2
    return result


def merge_only_once(word: bytes, merges: list[Pair]) -> list[int]:
    """Each merge in its turn, but of its first occurrence only."""
    ids = list(word)
    for k, pair in enumerate(merges):
        ids = merge_once(ids, pair, 256 + k)
    return ids


def merge_the_most_frequent(word: bytes, merges: list[Pair]) -> list[int]:
    ids, new_ids = list(word), _new_ids(merges)
    while counts := _counted(pair for pair in pairwise(ids) if pair in new_ids):
        pair = max(counts, key=counts.__getitem__)
        ids = _merged(ids, pair, new_ids[pair])
    return ids


def never_stop(word: bytes, merges: list[Pair]) -> list[int]:
    """Ends with a KeyError where no pair is left that can be merged."""
    ids, new_ids = list(word), _new_ids(merges)
    while len(ids) > 1:
        pair = min(pairwise(ids), key=lambda two: new_ids.get(two, len(merges) + 256))
        ids = _merged(ids, pair, new_ids[pair])
    return ids


def look_for_pairs_once(word: bytes, merges: list[Pair]) -> list[int]:
    ids, new_ids = list(word), _new_ids(merges)
    for pair in sorted({pair for pair in pairwise(ids) if pair in new_ids}, key=new_ids.__getitem__):
        ids = _merged(ids, pair, new_ids[pair])
    return ids


def merge_one_pair(word: bytes, merges: list[Pair]) -> list[int]:
    ids = list(word)
    known = [pair for pair in merges if pair in set(pairwise(ids))]
    return _merged(ids, known[0], 256 + merges.index(known[0])) if known else ids


def number_as_used(word: bytes, merges: list[Pair]) -> list[int]:
    ids, new_id = list(word), 256
    while known := [pair for pair in merges if pair in set(pairwise(ids))]:
        ids, new_id = _merged(ids, known[0], new_id), new_id + 1
    return ids


def smallest_ids(word: bytes, merges: list[Pair]) -> list[int]:
    ids, new_ids = list(word), _new_ids(merges)
    while known := [pair for pair in pairwise(ids) if pair in new_ids]:
        ids = _merged(ids, min(known), new_ids[min(known)])
    return ids


def least_of_nothing(word: bytes, merges: list[Pair]) -> list[int]:
    """Ends with a ValueError where one id is left, or none was there."""
    ids, new_ids = list(word), _new_ids(merges)
    while (pair := min(pairwise(ids), key=lambda two: new_ids.get(two, len(merges) + 256))) in new_ids:
        ids = _merged(ids, pair, new_ids[pair])
    return ids


def count_from_zero(word: bytes, merges: list[Pair]) -> list[int]:
    """The rank as the new id, so that it is mistaken for a byte."""
    ids = list(word)
    for k, pair in enumerate(merges):
        ids = _merged(ids, pair, k)
    return ids


def _merged(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    ids = list(ids)
    return merge_in_place(ids, pair, new_id)


def _new_ids(merges: list[Pair]) -> dict[Pair, int]:
    return {pair: 256 + k for k, pair in enumerate(merges)}
