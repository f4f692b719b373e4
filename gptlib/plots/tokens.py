"""Texts as tokens: how often each occurs."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from gptlib.checks import whole_number
from gptlib.plots.base import BLUE, in_style, new_axes


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
