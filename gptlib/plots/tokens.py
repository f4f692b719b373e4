"""Texts as tokens: coloured pieces, how often each occurs, and what a larger vocabulary buys."""

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import FancyBboxPatch

from gptlib.checks import whole_number
from gptlib.plots.base import BLUE, GREEN, GREY, ORANGE, PURPLE, in_style, new_axes

Token = str | bytes

LIGHT_BLUE, LIGHT_ORANGE = "#BBDDF2", "#F8DDB4"  # behind dark text; apart in lightness too
_FONT, _POINTS = "DejaVu Sans Mono", 9  # comes with matplotlib, so that it is the same everywhere
_COLUMN, _LINE = 0.602 * _POINTS / 72, 1.85 * _POINTS / 72  # inches of a character and of a line
_PADDING = 0.3  # columns between a token's text and its box
_SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥"}
_LOOKS = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, ":", "^"),
    (PURPLE, "-.", "D"),
    (GREY, (0, (5, 1)), "v"),
)


@in_style
def plot_tokens(
    tokens: Mapping[str, Sequence[Token]],
    ax: Axes | None = None,
    title: str = "",
    width: int = 76,
    marked: Collection[Token] = (),
) -> Axes:
    """One text cut in several ways: for each name its tokens, as boxes in two colours in turn, wrapped at `width`.

    A space is drawn as ␣. Tokens may be bytes (tokenizer.token_bytes): a byte that is no whole character is drawn as
    \\xf0, a character that the font lacks as U+1F642. Those among `marked`, as "<|unk|>", are drawn dark.
    Raises ValueError where there is nothing to draw, or what is drawn is one str instead of a list of tokens.
    """
    if not tokens or not all(len(pieces) for pieces in tokens.values()):
        raise ValueError("There is no token to draw; pass {name: list of tokens} with at least one token for each.")
    for name, pieces in tokens.items():
        if isinstance(pieces, str | bytes):
            raise ValueError(f"{name!r} is one {type(pieces).__name__}; pass its tokens, a list of str or bytes.")
    whole_number("width", width, 16)
    dark = {visible(token, width) for token in marked}
    counts = {name: f"{len(p):,} token{'s' if len(p) != 1 else ''}" for name, p in tokens.items()}
    margin = 3 + max(max(len(name), len(count)) for name, count in counts.items())
    line = 0
    boxes, labels = [], []
    for name, pieces in tokens.items():
        labels.append((line, name, counts[name]))
        last = 0
        for place, (row, column, text) in enumerate(_laid_out([visible(token, width) for token in pieces], width)):
            boxes.append((line + row, margin + column, text, place % 2))
            last = row
        line += max(last + 1, 2) + 0.6
    height = line - 0.6
    ax = new_axes(ax, (0.15 + (margin + width) * _COLUMN, 0.15 + height * _LINE + (0.3 if title else 0)))
    for row, name, count in labels:
        ax.text(0, row + 0.5, name, va="center", weight="bold", fontsize=_POINTS, clip_on=True)
        ax.text(0, row + 1.4, count, va="center", color="#555555", fontsize=_POINTS - 1, clip_on=True)
    for row, column, text, turn in boxes:
        _draw_box(ax, row, column, text, "#333333" if text in dark else (LIGHT_BLUE, LIGHT_ORANGE)[turn])
    ax.set(xlim=(0, margin + width), ylim=(height, 0), title=title)
    ax.set_axis_off()
    return ax


def visible(token: Token, longest: int = 76) -> str:
    """What stands for a token in a figure: white space as signs, everything else so that it can be seen.

    Example: b" a\\xc3" -> "␣a\\\\xc3"
    """
    text = token.decode("utf-8", errors="backslashreplace") if isinstance(token, bytes) else token
    shown = "".join(_SIGNS.get(c) or (c if _has_glyph(c) else f"U+{ord(c):04X}") for c in text) or "(empty)"
    return shown if len(shown) <= longest - 2 else f"{shown[: longest - 12]}…{shown[-8:]}"


@cache
def _has_glyph(character: str) -> bool:
    """Whether the font can draw it by itself, one column wide."""
    if not character.isprintable() or unicodedata.combining(character):
        return False
    return get_font(findfont(_FONT)).get_char_index(ord(character)) != 0


def _laid_out(texts: Sequence[str], width: int) -> Iterator[tuple[int, float, str]]:
    """Each text with its line and the column where its box begins."""
    row, column = 0, 0.0
    for text in texts:
        taken = len(text) + 2 * _PADDING
        if column and column + taken > width:
            row, column = row + 1, 0.0
        yield row, column, text
        column += taken + 0.15


def _draw_box(ax: Axes, row: float, column: float, text: str, color: str) -> None:
    box = FancyBboxPatch(
        (column, row + 0.08),
        len(text) + 2 * _PADDING,
        0.84,
        boxstyle="round,pad=0,rounding_size=0.25",
        facecolor=color,
        edgecolor="none",
        mutation_aspect=_COLUMN / _LINE,
    )
    ax.add_patch(box)
    ink = "#FFFFFF" if color == "#333333" else "#111111"
    middle = column + _PADDING + len(text) / 2
    look = {"family": _FONT, "fontsize": _POINTS, "color": ink, "parse_math": False, "clip_on": True}
    ax.text(middle, row + 0.52, text, ha="center", va="center", **look)


@in_style
def plot_token_counts(
    token_ids: Sequence[int] | np.ndarray,
    decode: Callable[[list[int]], str],
    ax: Axes | None = None,
    top: int = 30,
) -> Axes:
    """How often the `top` commonest tokens occur; decode turns a list of ids into text (tokenizer.decode)."""
    token_ids = np.asarray(token_ids)
    if token_ids.size == 0:
        raise ValueError("There is no token to count; pass at least one id.")
    if token_ids.ndim != 1 or not np.issubdtype(token_ids.dtype, np.integer) or token_ids.min() < 0:
        raise ValueError(
            f"Token ids are whole numbers from 0 on, in a row, not of shape {token_ids.shape}, type {token_ids.dtype} "
            f"and lowest {token_ids.min()}; encode the text first."
        )
    whole_number("top", top, 1)
    counts = np.bincount(token_ids)
    commonest = counts.argsort(kind="stable")[::-1][:top]
    commonest = commonest[counts[commonest] > 0]
    ax = new_axes(ax, (6.4, 0.9 + 0.19 * len(commonest)))
    labels = [repr(decode([int(token)]))[1:-1].replace(" ", "␣") for token in commonest]
    ax.barh(range(len(commonest)), counts[commonest], color=BLUE)
    ax.set_yticks(range(len(commonest)), labels, family="monospace", fontsize=8)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="occurrences", title=f"The {len(commonest)} commonest of {np.count_nonzero(counts):,} tokens used")
    return ax


@in_style
def plot_vocabulary_growth(pieces: Mapping[str, Sequence[Token]], ax: Axes | None = None) -> Axes:
    """How many different pieces have been met, as a text is read: for each name a line, over the share read so far.

    Raises ValueError where a text has no piece.
    """
    if not pieces or not all(len(some) for some in pieces.values()):
        raise ValueError("There is nothing to count; pass {name: list of pieces} with at least one piece for each.")
    looks = _looks(len(pieces))
    ax = new_axes(ax)
    for (name, some), (color, dash, _) in zip(pieces.items(), looks, strict=True):
        met: set[Token] = set()
        different = [0]
        for piece in some:
            met.add(piece)
            different.append(len(met))
        read = np.linspace(0, 100, len(different))
        ax.plot(read, different, color=color, linestyle=dash, label=f"{name}: {different[-1]:,}")
    ax.set(xlabel="% of the text read", ylabel="different ones met", title="How the vocabulary grows", xlim=(0, 100))
    ax.legend()
    return ax


@in_style
def plot_by_vocabulary_size(
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    ylabel: str,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """For each name its vocabulary sizes and a value at each: a curve, or a mark alone where there is one size.

    Raises ValueError where a name has not as many values as sizes, or none, or a size below 1.
    """
    if not curves:
        raise ValueError("There is no curve to draw; pass {name: (sizes, values)}.")
    for name, (sizes, values) in curves.items():
        if len(sizes) != len(values) or not len(sizes) or min(sizes) < 1:
            raise ValueError(
                f"{name!r} has {len(sizes)} sizes and {len(values)} values; pass one value for each size from 1 on."
            )
    looks = _looks(len(curves))
    ax = new_axes(ax, (6.8, 3.8))
    for (name, (sizes, values)), (color, dash, marker) in zip(curves.items(), looks, strict=True):
        alone = len(sizes) == 1
        style = {"linestyle": "none" if alone else dash, "marker": marker, "markersize": 8 if alone else 5}
        ax.plot(sizes, values, color=color, label=name, **style)
    every = [size for sizes, _ in curves.values() for size in sizes]
    ax.set_xscale("log", base=2)
    ticks = [2**k for k in range(int(np.log2(min(every))), int(np.ceil(np.log2(max(every)))) + 1)]
    ticks = ticks[:: 1 + len(ticks) // 10]  # more would overlap
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.set(xlabel="vocabulary size", ylabel=ylabel, title=title)
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=9)
    return ax


def _looks(count: int) -> tuple:
    """A colour, a dash and a marker for each of `count` lines. Raises ValueError for more than can be told apart."""
    if count > len(_LOOKS):
        raise ValueError(f"There are {count} lines; pass at most {len(_LOOKS)}, as more can't be told apart.")
    return _LOOKS[:count]
