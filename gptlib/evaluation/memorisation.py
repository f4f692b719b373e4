"""Has the model written this, or copied it? The longest piece that stands word for word in the training text.

Windows of n symbols get a number each, equal ones the same: two windows of half the length make a pair, and sorting
numbers the pairs (Karp, Miller & Rosenberg 1972). So a window of n takes log2 n sorts, and no comparison is by hash.
"""

from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

from gptlib.checks import whole_number

Symbols = str | Sequence[Hashable]
"""A text: its characters, or a list of words or token ids."""


def longest_overlap(texts: Sequence[Symbols], source: Symbols) -> Symbols:
    """The longest piece of one of the texts that stands in the source, the first of several; empty where none does.

    Example: longest_overlap(["the cat sat"], "a cat saw") -> " cat sa"
    """
    numbers, starts = _numbered(texts, source)
    powers = [_renumbered(numbers)]
    while _found(powers[-1], starts).any():  # powers[k]: windows of 2^k; none of the last stands in the source
        powers.append(_paired(powers[-1], powers[-1], 2 ** (len(powers) - 1)))
    if len(powers) == 1:
        return texts[0][:0]
    best, length = powers[-2], 2 ** (len(powers) - 2)
    for k in range(len(powers) - 3, -1, -1):
        longer = _paired(best, powers[k], length)
        if _found(longer, starts).any():
            best, length = longer, length + 2**k
    place = int(_found(best, starts).argmax())
    text = int(np.searchsorted(starts, place, side="right")) - 1
    return texts[text][place - starts[text] : place - starts[text] + length]


def share_found(texts: Sequence[Symbols], source: Symbols, n: int) -> float:
    """The share of all windows of n symbols in the texts that stand in the source too; 0 where there are none."""
    whole_number("n", n, 1)
    numbers, starts = _numbered(texts, source)
    found = _found(_windows(numbers, n), starts)
    counted = [found[start : max(end - n, start)] for start, end in pairwise(starts)]  # the last symbol is a mark
    counted = np.concatenate(counted) if counted else np.empty(0)
    return float(counted.mean()) if len(counted) else 0.0


def _numbered(texts: Sequence[Symbols], source: Symbols) -> tuple[np.ndarray, list[int]]:
    """All symbols as numbers, (N,) int64, the texts first, and where each text and then the source begins.

    Behind each text is a mark, a negative number that comes once, so that no window across it equals another.
    """
    table: dict[Hashable, int] = {}
    parts, starts = [], [0]
    for k, text in enumerate(texts, start=1):
        parts += [_numbers(text, table), np.array([-k])]
        starts.append(starts[-1] + len(text) + 1)
    return np.concatenate([*parts, _numbers(source, table)]), starts


def _numbers(symbols: Symbols, table: dict[Hashable, int]) -> np.ndarray:
    if isinstance(symbols, str):
        return np.frombuffer(symbols.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    return np.array([table.setdefault(symbol, len(table)) for symbol in symbols], dtype=np.int64)


def _windows(numbers: np.ndarray, n: int) -> np.ndarray:
    """A number for each window of n, the same for equal ones, (N - n + 1,)."""
    power, length = _renumbered(numbers), 1
    windows, done = None, 0
    while True:
        if n & length:
            windows, done = (power if windows is None else _paired(windows, power, done)), done + length
        if 2 * length > n:
            return windows
        power, length = _paired(power, power, length), 2 * length


def _paired(left: np.ndarray, right: np.ndarray, length: int) -> np.ndarray:
    """Numbers of the windows that begin with one of `left`, which has `length` symbols, and end with one of `right`."""
    right = right[length:]
    return _renumbered(left[: len(right)] * (len(left) + length) + right)


def _renumbered(numbers: np.ndarray) -> np.ndarray:
    return np.unique(numbers, return_inverse=True)[1]


def _found(windows: np.ndarray, starts: list[int]) -> np.ndarray:
    """Which windows that begin in the texts stand in the source, (at most starts[-1],) bool."""
    return np.isin(windows[: starts[-1]], windows[starts[-1] :])
