"""Has the model written this, or copied it? What of a text stands, word for word, in the training text.

The texts are small beside their source. So they are what an index is made of, and the source is read once.
"""

from collections.abc import Hashable, Sequence

from gptlib.evaluation.texts import ngrams

Symbols = str | Sequence[Hashable]
"""A text: its characters, or a row of words or token ids."""


def longest_overlap(texts: Sequence[Symbols], source: Symbols) -> Symbols:
    """The longest piece of one of the texts that stands in the source, the first of several; empty if none does.

    Takes time in proportion to the length of all of them, some seconds for ten million characters.
    Raises ValueError if only one side is made of str.

    Example: longest_overlap(["the cat sat"], "a cat saw") -> " cat sa"
    """
    _check_kinds(texts, source)
    index = _Index(texts)
    following, shorter = index.following, index.shorter
    state, length, longest, end = 0, 0, 0, (0, 0)
    for symbol in _plain(source):
        while state and symbol not in following[state]:
            state = shorter[state]  # the longest end of what was found that goes on otherwise, too
            length = index.lengths[state]
        if symbol in following[state]:
            state, length = following[state][symbol], length + 1
            if length > longest or (length == longest and index.ends[state] < end):
                longest, end = length, index.ends[state]
    k, stop = end
    return texts[k][stop - longest : stop] if longest else source[:0]


def share_found(texts: Sequence[Symbols], source: Symbols, n: int) -> float:
    """The share of all windows of n symbols in the texts that stand in the source too; 0 if there are none.

    Raises ValueError if only one side is made of str.
    """
    _check_kinds(texts, source)
    windows = [window for text in texts for window in ngrams(_plain(text), n)]
    found = set(windows).intersection(ngrams(_plain(source), n))
    return sum(window in found for window in windows) / len(windows) if windows else 0.0


def _check_kinds(texts: Sequence[Symbols], source: Symbols) -> None:
    if isinstance(texts, str) or any(isinstance(text, str) != isinstance(source, str) for text in texts):
        raise ValueError(
            "Characters are compared with words, or one text was given in place of several; give a list of str and a "
            "str, or a list of lists and a list."
        )


def _plain(symbols: Symbols) -> Symbols:
    """An array or tensor of ids as a list, whose items can be looked up."""
    return symbols.tolist() if hasattr(symbols, "tolist") else symbols


class _Index:
    """All pieces of the texts: their suffix automaton (Blumer et al. 1985), whose size is that of the texts.

    A state stands for pieces that end at the same places, each the end of the longest of them.
    """

    def __init__(self, texts: Sequence[Symbols]):
        self.following: list[dict[Hashable, int]] = [{}]
        """The state after each symbol that can come next; state 0 is the empty piece."""
        self.shorter = [-1]
        """The state of the longest end that isn't of this one."""
        self.lengths = [0]
        """Of the longest piece."""
        self.ends = [(0, 0)]
        """Where it ends first: the number of the text, and the place after it."""
        last = 0
        for k, text in enumerate(texts):
            for place, symbol in enumerate(_plain(text), start=1):
                last = self._append(last, symbol, (k, place))
            last = self._append(last, object(), (k + 1, 0))  # equal to no symbol, so that no piece is of two texts

    def _append(self, last: int, symbol: Hashable, end: tuple[int, int]) -> int:
        """The state of all that was read so far, with one symbol more."""
        new = self._add({}, self.lengths[last] + 1, end)
        while last >= 0 and symbol not in self.following[last]:
            self.following[last][symbol] = new
            last = self.shorter[last]
        if last >= 0:
            self.shorter[new] = self._ending(last, symbol)
        return new

    def _ending(self, state: int, symbol: Hashable) -> int:
        """The state of `state`'s longest piece with the symbol; it gets one of its own, if it has none."""
        found, length = self.following[state][symbol], self.lengths[state] + 1
        if self.lengths[found] == length:
            return found
        own = self._add(dict(self.following[found]), length, self.ends[found])
        self.shorter[own], self.shorter[found] = self.shorter[found], own
        while state >= 0 and self.following[state].get(symbol) == found:
            self.following[state][symbol] = own
            state = self.shorter[state]
        return own

    def _add(self, following: dict[Hashable, int], length: int, end: tuple[int, int]) -> int:
        self.following.append(following)
        self.shorter.append(0)
        self.lengths.append(length)
        self.ends.append(end)
        return len(self.lengths) - 1
