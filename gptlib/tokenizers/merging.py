"""Merging pairs of ids: the one operation of byte-pair encoding, for training and for encoding.

minbpe's `merge` walks over the whole text for each merge. Here the text is walked over once: a `PairIndex` knows where
each pair is, so a merge costs as much as the pair has occurrences, and all merges together no more than the text is
long. `learn_merges` chooses the merges; `merge_all` replays them on a long chunk.
"""

import heapq
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, repeat

Pair = tuple[int, int]

N_BYTES = 256  # ids below are single bytes; merge k makes id N_BYTES + k

_GAP = -1  # stands between two sequences, so that no pair spans them
_GONE = -2  # was the right half of a merged pair


class PairIndex:
    """Sequences of ids in one row, with each pair of neighbours counted and located.

    `counts[pair]` is the number of occurrences, each weighted with its sequence's weight (a word seen 90 times is
    stored once with weight 90). Links to the left and right neighbour let a merge move nothing.
    """

    def __init__(self, sequences: Iterable[Iterable[int]], weights: Iterable[int]) -> None:
        self.ids, self._weights = array("i", [_GAP]), array("q", [0])
        for sequence, weight in zip(sequences, weights, strict=True):
            self.ids.extend(sequence)
            self.ids.append(_GAP)
            self._weights.extend(repeat(weight, len(self.ids) - len(self._weights)))
        n = len(self.ids)
        self._left, self._right = array("i", range(-1, n - 1)), array("i", range(1, n + 1))
        self.counts: dict[Pair, int] = defaultdict(int)
        self._places: dict[Pair, array] = defaultdict(lambda: array("i"))  # of each pair's first id
        for place, pair in enumerate(pairwise(self.ids)):
            if _GAP not in pair:
                self._add(pair, place)

    def _add(self, pair: Pair, place: int) -> None:
        self.counts[pair] += self._weights[place]
        self._places[pair].append(place)

    def merge(self, pair: Pair, new_id: int) -> set[Pair]:
        """Replace `pair` by `new_id` everywhere, from left to right; returns the pairs that this has made.

        Example: on [1, 2, 3, 1, 2], merge((1, 2), 4) leaves [4, 3, 4] and returns {(4, 3), (3, 4)}
        """
        (first, second), ids, left, right = pair, self.ids, self._left, self._right
        created: set[Pair] = set()
        for place in self._places.pop(pair, ()):
            partner = right[place]
            if ids[place] != first or ids[partner] != second:
                continue  # an overlapping merge was there first: the middle of "aaa", or an earlier pair
            before, after, weight = left[place], right[partner], self._weights[place]
            ids[place], ids[partner] = new_id, _GONE
            right[place], left[after] = after, place
            if ids[before] != _GAP:
                self.counts[ids[before], first] -= weight
                self._add((ids[before], new_id), before)
                created.add((ids[before], new_id))
            if ids[after] != _GAP:
                self.counts[second, ids[after]] -= weight
                self._add((new_id, ids[after]), place)
                created.add((new_id, ids[after]))
        self.counts.pop(pair, None)
        return created


def learn_merges(chunk_counts: Mapping[bytes, int], n_merges: int) -> list[Pair]:
    """The first `n_merges` merges: each time the most frequent pair, among equals the one with the smaller ids.

    Fewer, where no pair is left to merge. `chunk_counts` says how often each chunk is in the text.
    Example: {b"aab": 1}, 2 -> [(97, 97), (256, 98)]
    """
    index = PairIndex(chunk_counts.keys(), chunk_counts.values())
    heap = [(-count, pair) for pair, count in index.counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        count, pair = heapq.heappop(heap)
        # After the merge that made a pair, its count can only fall. So a stale entry of the heap stands too early,
        # never too late, and it is enough to put it back when it comes up.
        if (now := index.counts.get(pair, 0)) != -count:
            if now > 0:
                heapq.heappush(heap, (-now, pair))
            continue
        for new_pair in index.merge(pair, N_BYTES + len(merges)):
            if index.counts[new_pair] > 0:
                heapq.heappush(heap, (-index.counts[new_pair], new_pair))
        merges.append(pair)
    return merges


def merge_all(ids: Sequence[int], merges: Sequence[Pair], new_ids: Mapping[Pair, int]) -> list[int]:
    """`ids` with all merges done, the earliest learned first, in time about proportional to the length.

    `new_ids[pair]` is the id that a pair merges to, N_BYTES + its place in `merges`.
    """
    index = PairIndex([ids], [1])
    heap = [new_ids[pair] for pair in index.counts if pair in new_ids]
    heapq.heapify(heap)
    while heap:
        new_id = heapq.heappop(heap)
        # A new pair holds new_id, so its own merge was learned later: the heap's order is never disturbed.
        for pair in index.merge(merges[new_id - N_BYTES], new_id):
            if pair in new_ids:
                heapq.heappush(heap, new_ids[pair])
    return [i for i in index.ids if i >= 0]
