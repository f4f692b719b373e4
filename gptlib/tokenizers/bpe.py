"""Byte-level byte-pair encoding, GPT-2's way, in Python.

A text is split into chunks (splitting.py), a chunk is its UTF-8 bytes, and learned pairs of neighbours are merged in
the order of learning (merging.py). Every text has ids, nothing is ever unknown.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from typing import Any, Literal, Self

from gptlib.tokenizers.base import END_OF_TEXT, BaseTokenizer, check_vocab_size, repair_surrogates
from gptlib.tokenizers.merging import N_BYTES, Pair, learn_merges, merge_all
from gptlib.tokenizers.splitting import split_chunks
from gptlib.tokenizers.texts import whole_words
from gptlib.tokenizers.vocabulary import GPT2_BYTE_ORDER, gpt2_merges

ByteOrder = Literal["plain", "gpt2"]
BYTE_ORDERS: dict[str, bytes] = {"plain": bytes(range(256)), "gpt2": GPT2_BYTE_ORDER}

_LONG = 256  # bytes; from here on merge_all's bookkeeping pays
_CACHE_CHUNKS, _CACHED_LENGTH = 2**17, 64  # chunks, and characters of a chunk: some tens of MB at most
_MAX_VOCABULARY_BYTES = 2**26  # 40 merges can spell a token of 2**40 bytes: a bomb, in a file from elsewhere


def token_table(merges: Sequence[Pair], byte_order: bytes = BYTE_ORDERS["plain"]) -> list[bytes]:
    """The bytes of each id: the 256 single bytes, then one token for each merge.

    Example: token_table([(97, 98)])[256] -> b"ab"
    Raises: ValueError for a merge of an id that doesn't exist yet, or tokens of more than 64 MiB together.
    """
    tokens = [byte_order[i : i + 1] for i in range(N_BYTES)]
    total = 0
    for k, (first, second) in enumerate(merges):
        if not (0 <= first < len(tokens) and 0 <= second < len(tokens)):
            raise ValueError(f"Merge {k} is ({first}, {second}): both ids must be below {len(tokens)} there.")
        total += len(tokens[first]) + len(tokens[second])
        if total > _MAX_VOCABULARY_BYTES:
            raise ValueError(f"The tokens up to merge {k} take {total} bytes, {_MAX_VOCABULARY_BYTES} are allowed.")
        tokens.append(tokens[first] + tokens[second])
    return tokens


class BPETokenizer(BaseTokenizer):
    """Ids 0–255 are the bytes, 256 + k is what merge k makes, and the last id is `<|endoftext|>`.

    `merges[k]` is a pair of ids. In `byte_order` "plain" id 97 is "a"; "gpt2" numbers the bytes as GPT-2 does.
    """

    type = "bpe"

    def __init__(self, merges: Iterable[Pair], byte_order: ByteOrder = "plain") -> None:
        self.merges: list[Pair] = [(first, second) for first, second in merges]
        self.byte_order = byte_order
        tokens = token_table(self.merges, BYTE_ORDERS[byte_order])
        super().__init__([*tokens, END_OF_TEXT.encode()], {END_OF_TEXT: len(tokens)})
        self._new_ids = {pair: N_BYTES + k for k, pair in enumerate(self.merges)}
        if len(self._new_ids) < len(self.merges):
            twice = Counter(self.merges).most_common(1)[0][0]
            raise ValueError(f"The pair {twice} is among the merges twice: each may be merged once only.")
        self._byte_ids = bytes.maketrans(BYTE_ORDERS[byte_order], bytes(range(N_BYTES)))
        self._cache = _ChunkCache(self._encode_chunk)

    @classmethod
    def train(cls, text: str | Iterable[str], vocab_size: int = 1024) -> Self:
        """Learn vocab_size - 257 merges from `text`; fewer where the text has no more pairs, see `vocab_size` then.

        Only the different chunks and their counts are kept in memory, so `text` may be a stream of any length.
        Raises: ValueError for a `vocab_size` below 257 or an empty text.
        """
        n_merges = check_vocab_size(vocab_size, N_BYTES + 1, f"the {N_BYTES} bytes and {END_OF_TEXT}") - N_BYTES - 1
        counts: Counter[str] = Counter()
        for block in whole_words(text):
            counts.update(split_chunks(block))
        return cls(learn_merges({chunk.encode(): count for chunk, count in counts.items()}, n_merges))

    @classmethod
    def from_gpt2(cls) -> Self:
        """GPT-2's own vocabulary of 50257; gives the ids that tiktoken's "gpt2" gives."""
        return cls(gpt2_merges(), byte_order="gpt2")

    def _encode_ordinary(self, text: str) -> list[int]:
        chunks = split_chunks(repair_surrogates(text))
        return list(chain.from_iterable(map(self._cache.__getitem__, chunks)))

    def _encode_chunk(self, chunk: str) -> list[int]:
        """Merge the bytes of one chunk: always the pair that was learned first, its leftmost occurrence first."""
        ids = list(chunk.encode().translate(self._byte_ids))
        if len(ids) > _LONG:
            return merge_all(ids, self.merges, self._new_ids)
        merged, never = self._new_ids.get, self.vocab_size
        # candidates[i] is what ids[i] and ids[i + 1] would merge to. New ids count up in the order of learning, so
        # the smallest candidate is the merge that comes next.
        candidates = [merged(pair, never) for pair in pairwise(ids)]
        while (new_id := min(candidates, default=never)) < never:
            i = candidates.index(new_id)
            ids[i : i + 2] = [new_id]
            del candidates[i]
            if i > 0:
                candidates[i - 1] = merged((ids[i - 1], new_id), never)
            if i < len(candidates):
                candidates[i] = merged((new_id, ids[i + 1]), never)
        return ids

    def _state(self) -> dict[str, Any]:
        # "97 98" and not [97, 98]: so a merge is a line of the saved file.
        return {"byte_order": self.byte_order, "merges": [f"{first} {second}" for first, second in self.merges]}

    @classmethod
    def _from_state(cls, data: dict[str, Any]) -> Self:
        order, lines = data.get("byte_order"), data.get("merges")
        if not isinstance(order, str) or order not in BYTE_ORDERS:
            raise ValueError(
                f"'byte_order' of the saved BPE is {order!r}: {' or '.join(map(repr, BYTE_ORDERS))} is needed."
            )
        if not isinstance(lines, list):
            raise ValueError(f"'merges' of the saved BPE is a {type(lines).__name__}: a list is needed.")
        return cls(map(_parse_merge, lines), order)  # type: ignore[arg-type]


def _parse_merge(line: Any) -> Pair:
    """Example: "97 98" -> (97, 98)"""
    first, _, second = line.partition(" ") if isinstance(line, str) else ("", "", "")
    # Nine digits at most: int() of a million digits would take long.
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in (first, second)):
        raise ValueError(f"{str(line)[:40]!r} among the saved 'merges' is not two ids such as '97 98'.")
    return int(first), int(second)


class _ChunkCache(dict[str, list[int]]):
    """The ids of short chunks met before; words repeat, so most look-ups end here. Emptied when full."""

    def __init__(self, encode_chunk: Callable[[str], list[int]]) -> None:
        super().__init__()
        self._encode_chunk = encode_chunk

    def __missing__(self, chunk: str) -> list[int]:
        ids = self._encode_chunk(chunk)
        if len(chunk) <= _CACHED_LENGTH:
            if len(self) >= _CACHE_CHUNKS:
                self.clear()
            self[chunk] = ids
        return ids
