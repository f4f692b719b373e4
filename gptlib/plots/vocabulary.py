"""Numbers for the tokens of a vocabulary: how often each occurs, how likely each is next, and what filters leave.

`decode` turns a list of ids into text (tokenizer.decode); V is the size of the vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gptlib.plots.bars import name_rows
from gptlib.plots.base import BLUE, DARK_ORANGE, GREY, PALE_GREY, in_style, new_axes, new_panels
from gptlib.plots.checks import as_array, as_distribution
from gptlib.plots.labels import MONO, Token, token_label
from gptlib.plots.lines import plot_lines
from gptlib.utils.validation import whole_number

Decode = Callable[[list[int]], str]


@in_style
def plot_token_counts(
    token_ids: Sequence[int] | np.ndarray, decode: Decode, ax: Axes | None = None, top: int = 30
) -> Axes:
    """How often the `top` commonest of the tokens (N,) occur."""
    token_ids = as_array(token_ids)
    if token_ids.size == 0:
        raise ValueError("There is no token to count; pass at least one id.")
    if token_ids.ndim != 1 or not np.issubdtype(token_ids.dtype, np.integer) or token_ids.min() < 0:
        raise ValueError(
            f"Token ids are whole numbers from 0 on, in a row, not of shape {token_ids.shape}, type {token_ids.dtype} "
            f"and lowest {token_ids.min()}; encode the text first."
        )
    counts = np.bincount(token_ids)
    commonest = _top(counts, top)
    commonest = commonest[counts[commonest] > 0]
    ax = new_axes(ax, (6.4, 0.9 + 0.19 * len(commonest)))
    ax.barh(range(len(commonest)), counts[commonest], color=BLUE)
    _name_tokens(ax, commonest, decode)
    ax.set(xlabel="occurrences", title=f"The {len(commonest)} commonest of {np.count_nonzero(counts):,} tokens used")
    return ax


@in_style
def plot_vocabulary_growth(pieces: Mapping[str, Sequence[Token]], ax: Axes | None = None) -> Axes:
    """How many different pieces have been met, as a text is read: for each name a line, over the share read so far.

    Raises ValueError where a text has no piece.
    """
    if not pieces or not all(len(some) for some in pieces.values()):
        raise ValueError("There is nothing to count; pass {name: list of pieces} with at least one piece for each.")
    curves = {}
    for name, some in pieces.items():
        met: set[Token] = set()
        different = [0]
        for piece in some:
            met.add(piece)
            different.append(len(met))
        curves[f"{name}: {len(met):,}"] = (np.linspace(0, 100, len(different)), different)
    ax = plot_lines(curves, ax=ax, xlabel="% of the text read", ylabel="different ones met")
    ax.set(xlim=(0, 100), title="How the vocabulary grows")
    return ax


@in_style
def plot_next_tokens(
    probabilities, decode: Decode, before=None, top: int = 12, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Bars of the `top` likeliest next tokens; with `before`, the distribution before a filter as outlines.

    probabilities, before: (V,), summing to 1; the order is that of `before`.
    """
    after = as_distribution(probabilities, "probabilities")
    first = after if before is None else as_distribution(before, "before")
    if first.shape != after.shape:
        raise ValueError(f"There are {after.size} probabilities and {first.size} before; pass two over one vocabulary.")
    tokens = _top(first, top)
    ax = new_axes(ax, (5.2, 0.9 + 0.21 * len(tokens)))
    ax.barh(range(len(tokens)), after[tokens], color=BLUE, label="after" if before is not None else None)
    if before is not None:
        ax.barh(range(len(tokens)), first[tokens], fill=False, edgecolor=DARK_ORANGE, linewidth=1.2, label="before")
        ax.legend(loc="lower right", fontsize=9)
    _name_tokens(ax, tokens, decode)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))  # with more, long ones as 0.00005 would touch
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.tick_params(axis="x", labelsize=9)
    ax.set(xlabel="probability", title=title)
    return ax


@in_style
def plot_filters(
    panels: Mapping[str, tuple], decode: Decode, top: int = 10, axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """`plot_next_tokens` several times side by side, on one scale: {title: (probabilities, before)}."""
    for title, (after, before) in panels.items():
        as_distribution(after, f"{title!r}")
        as_distribution(before, f"{title!r} before")
    whole_number("top", top, 1)
    axes = new_panels(axes, len(panels), (3.2 * len(panels), 1.1 + 0.21 * top))
    for ax, (title, (after, before)) in zip(axes, panels.items(), strict=True):
        plot_next_tokens(after, decode, before, top, ax, title)
        if ax is not axes[0]:
            ax.get_legend().remove()
    widest = max(ax.get_xlim()[1] for ax in axes)
    for ax in axes:
        ax.set_xlim(0, widest)
    return axes


@in_style
def plot_running_sum(probabilities, decode: Decode, p: float, top: int = 12, ax: Axes | None = None) -> Axes:
    """The likeliest tokens of (V,), each bar beginning where the last one ends, and the line at p, to be reached."""
    values = as_distribution(probabilities, "probabilities")
    if not 0 < p <= 1:
        raise ValueError(f"p={p!r} is out of range; give a number above 0 and at most 1.")
    tokens = _top(values, top)
    widths = values[tokens]
    starts = widths.cumsum() - widths
    kept = starts < p - 1e-9
    ax = new_axes(ax, (6.0, 1.0 + 0.21 * len(tokens)))
    looks = {
        "kept": (kept, {"color": BLUE}),
        "removed": (~kept, {"facecolor": PALE_GREY, "edgecolor": GREY, "hatch": "///"}),
    }
    for label, (chosen, look) in looks.items():
        where = np.flatnonzero(chosen)
        if where.size:
            ax.barh(where, widths[where], left=starts[where], label=label, **look)
    ax.axvline(p, color=DARK_ORANGE, linestyle="--", label=f"p = {p:g}")
    _name_tokens(ax, tokens, decode)
    ax.legend(loc="lower left", fontsize=9)
    ax.set(xlabel="probability, summed up from the top", xlim=(0, 1))
    return ax


def _top(values: np.ndarray, top: int) -> np.ndarray:
    """The ids of the largest of the values (V,), the largest first."""
    return (-values).argsort(kind="stable")[: whole_number("top", top, 1)]


def _name_tokens(ax: Axes, tokens: Sequence[int], decode: Decode) -> None:
    name_rows(ax, [token_label(decode([int(token)])) for token in tokens], family=MONO, fontsize=8)
