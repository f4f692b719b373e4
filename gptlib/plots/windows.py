"""A text cut up for training: its parts, windows, and the order of batches."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from gptlib.plots.base import COLOURS, GREY, PALE_BLUE, PALE_GREY, PALE_ORANGE, in_style, legend_below, new_axes
from gptlib.plots.cells import as_grid, draw_cell
from gptlib.plots.labels import MONO, token_label
from gptlib.utils.validation import whole_number

INPUT, TARGET, FADED, PLAIN = PALE_BLUE, PALE_ORANGE, PALE_GREY, "#FFFFFF"
MARKERS = "osD^v"
MOST_TOKENS, MOST_WINDOWS = 24, 12  # that a drawn text can have, to be read


@in_style
def plot_parts(
    rows: Mapping[str, Sequence[int]],
    names: Sequence[str],
    ax: Axes | None = None,
    title: str = "",
    xlabel: str = "place in the text",
) -> Axes:
    """Strips, one above the other: to which part (0, 1, ..., an index into `names`) each piece of the text belongs.

    rows: {label of a strip: the parts of its pieces, from the beginning of the text to its end}.
    """
    if not rows or len({len(parts) for parts in rows.values()}) != 1 or not len(next(iter(rows.values()))):
        raise ValueError(
            f"The strips have {[len(parts) for parts in rows.values()]} pieces; pass one strip or more, all of the "
            "same length."
        )
    grid = np.array([np.asarray(parts, int) for parts in rows.values()])
    n = len(names)
    if not 1 <= n <= len(COLOURS) or grid.min() < 0 or grid.max() >= n:
        raise ValueError(
            f"Parts go from {grid.min()} to {grid.max()} and {n} have a name; use numbers from 0 to {n - 1}, at most "
            f"{len(COLOURS)} of them."
        )
    ax = new_axes(ax, (6.8, 1.4 + 0.42 * len(rows)))
    colours = ListedColormap(COLOURS[:n])
    ax.imshow(grid, aspect="auto", cmap=colours, vmin=-0.5, vmax=n - 0.5, interpolation="nearest")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.hlines(np.arange(1, len(rows)) - 0.5, -0.5, grid.shape[1] - 0.5, color="white", linewidth=5)
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    ax.set(xlabel=xlabel, title=title)
    legend_below(ax, handles=[Patch(color=colour, label=name) for colour, name in zip(COLOURS, names, strict=False)])
    return ax


@in_style
def plot_windows(
    tokens: Sequence[str], context_length: int, stride: int | None = None, ax: Axes | None = None, title: str = ""
) -> Axes:
    """A row of tokens, and below it each window over it: its inputs, and its targets one place to the right.

    Tokens that are nobody's target are grey in the text's own row. stride: by default context_length.
    """
    T = whole_number("context_length", context_length, 1)
    stride = T if stride is None else whole_number("stride", stride, 1)
    n = len(tokens)
    starts = range(0, n - T, stride)
    if not starts or n > MOST_TOKENS or len(starts) > MOST_WINDOWS:
        raise ValueError(
            f"{n} tokens have {len(starts)} windows of context_length={T} at stride={stride}; pass at least {T + 1} "
            f"tokens and at most {MOST_TOKENS}, and a stride that gives at most {MOST_WINDOWS} windows."
        )
    ax = new_axes(ax, (1.6 + 0.58 * n, 1.5 + 0.66 * len(starts)))
    labels = [token_label(token, 9) for token in tokens]
    targets = {i for start in starts for i in range(start + 1, start + T + 1)}
    for i, label in enumerate(labels):
        draw_cell(ax, i, 0, label, PLAIN if i in targets else FADED, family=MONO)
    rows = [(0, "text")]
    for number, start in enumerate(starts):
        y = 1.35 + 2.35 * number
        rows += [(y, f"window {number}: inputs"), (y + 1, "targets")]
        for i in range(start, start + T):
            draw_cell(ax, i, y, labels[i], INPUT, family=MONO)
            draw_cell(ax, i + 1, y + 1, labels[i + 1], TARGET, family=MONO)
    as_grid(ax, n, rows[-1][0] + 1)
    ax.set_yticks(*zip(*rows, strict=True))
    count = f"{len(starts)} window{'s' if len(starts) > 1 else ''}"
    ax.set(xlabel="position in the text", title=title or f"context length {T}, stride {stride}: {count}")
    names = {"inputs": INPUT, "targets": TARGET} | ({"nobody's target": FADED} if len(targets) < n else {})
    legend_below(ax, handles=[Patch(facecolor=face, edgecolor=GREY, label=name) for name, face in names.items()])
    return ax


@in_style
def plot_batch_order(
    batches: Sequence[Sequence[int]], per_epoch: int, ax: Axes | None = None, first: int = 0, title: str = ""
) -> Axes:
    """Which windows (up) each batch (across) is made of; epochs differ in colour and marker.

    per_epoch: batches in an epoch. first: the number of the first batch that is given.
    """
    whole_number("per_epoch", per_epoch, 1)
    if not len(batches):
        raise ValueError("There is no batch to draw; pass one or more.")
    ax = new_axes(ax)
    numbers = np.arange(first, first + len(batches))
    for epoch in np.unique(numbers // per_epoch):
        its = [(n, window) for n in numbers[numbers // per_epoch == epoch] for window in batches[n - first]]
        look = {"color": COLOURS[epoch % len(MARKERS)], "marker": MARKERS[epoch % len(MARKERS)]}
        ax.scatter(*zip(*its, strict=True), s=16, label=f"epoch {epoch}", **look)
        if epoch * per_epoch > first:
            ax.axvline(epoch * per_epoch - 0.5, color=GREY, linestyle=":", linewidth=1)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="batch number (step)", ylabel="window, by its place in the text", title=title)
    legend_below(ax)
    return ax
