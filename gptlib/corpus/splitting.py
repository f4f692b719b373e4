"""Where a text is cut into its training, validation and test parts: at line ends, near the ratios asked for.

Ratios are of UTF-8 bytes, in files and in memory alike, so that the same text is cut at the same places by
`split_text`, `split_text_file` and `prepare_corpus`.
"""

import math
import mmap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from gptlib.corpus.reading import BLOCK

Ratios = Sequence[float]
RATIOS = (0.9, 0.05, 0.05)
PARTS = ("train", "valid", "test")

Span = tuple[int, int]
"""From the first byte of a part to the one after its last."""


def split_text(text: str, ratios: Ratios = RATIOS) -> tuple[str, str, str]:
    """(train, valid, test): three parts that joined are `text`, each ending at the end of a line.

    ratios: how much of the text each gets, to the nearest line; a part whose ratio is 0 is "".
    Raises: ValueError for ratios that are none, and for a text with fewer lines than parts.

    Example: split_text("a\\nb\\nc\\nd\\n", (0.5, 0.25, 0.25)) -> ("a\\nb\\n", "c\\n", "d\\n")
    """
    data = text.encode("utf-8", "surrogatepass")  # any str, even one that no file can hold
    train, valid, test = (data[start:end].decode("utf-8", "surrogatepass") for start, end in spans(data, ratios))
    return train, valid, test


def file_spans(path: Path, ratios: Ratios) -> list[Span]:
    """`spans` of a file's bytes, of which only those near the cuts are read."""
    if not path.stat().st_size:
        return spans(b"", ratios)  # an empty file can't be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return spans(data, ratios)


def blocks_in(file: BinaryIO, span: Span) -> Iterator[bytes]:
    """The bytes of a span, a block at a time. Raises: ValueError if the file has become shorter than that."""
    start, end = span
    file.seek(start)
    while start < end:
        block = file.read(min(BLOCK, end - start))
        if not block:
            raise ValueError(f"'{file.name}' became shorter while it was read: close what writes to it and try again.")
        yield block
        start += len(block)


def check_ratios(ratios: Ratios) -> tuple[float, float, float]:
    """`ratios` as floats. Raises: ValueError if they aren't three numbers >= 0 with sum 1, the first above 0."""
    try:
        train, valid, test = map(float, ratios)
    except (TypeError, ValueError):
        train = valid = test = math.nan
    # A comparison with nan is False.
    if isinstance(ratios, str) or not (
        train > 0 and valid >= 0 and test >= 0 and abs(train + valid + test - 1) <= 1e-6
    ):
        raise ValueError(
            f"ratios is {ratios!r}: give the shares of train, valid and test as three numbers that add up to 1, "
            f"train's above 0 and none negative, as {RATIOS}."
        )
    return train, valid, test


def spans(data: bytes | mmap.mmap, ratios: Ratios) -> list[Span]:
    """The spans of train, valid and test in `data`; only the last may end without a newline.

    Raises: ValueError for bad ratios, and if there aren't enough lines to give each wanted part one.
    """
    train, valid, test = check_ratios(ratios)
    wanted = [train > 0, valid > 0, test > 0]
    size = len(data)
    # latest[k] is where a cut has to be, at the latest, so that k more lines come after it
    latest = [size]
    for _ in range(1, sum(wanted)):
        latest.append(_line_start(data, latest[-1]))
    if not latest[-1]:
        raise ValueError(
            f"The text of {size:,} bytes has fewer lines than parts: train, valid and test with a ratio above 0 need a "
            f"line each; add text or line breaks, or use ratios=(1, 0, 0), which leaves it whole."
        )
    cuts = [0]
    for k, share in enumerate((train, train + valid, 1.0)):
        after = sum(wanted[k + 1 :])  # parts that still want a line
        if not wanted[k]:
            cuts.append(cuts[-1])
        elif not after:
            cuts.append(size)
        else:
            earliest = data.find(b"\n", cuts[-1]) + 1
            cuts.append(min(max(_nearest(data, share * size), earliest), latest[after]))
    return list(pairwise(cuts))


def _line_start(data: bytes | mmap.mmap, end: int) -> int:
    """The start of the line that ends at `end`, with or without a newline there."""
    return data.rfind(b"\n", 0, max(end - 1, 0)) + 1


def _nearest(data: bytes | mmap.mmap, target: float) -> int:
    """The place after a newline that is closest to `target`."""
    middle = int(target)
    before = data.rfind(b"\n", 0, middle) + 1
    after = data.find(b"\n", middle) + 1 or len(data)
    return before if target - before <= after - target else after
