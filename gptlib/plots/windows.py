"""A text cut up for training: its parts, windows, batches and their order, padding, and who may look at whom."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import ScaledTranslation

from gptlib.checks import whole_number
from gptlib.plots.base import BLUE, GREEN, GREY, ORANGE, PURPLE, in_style, new_axes

INPUT, TARGET, FADED, PLAIN = "#CBE1F1", "#FADCC6", "#DDDAD1", "#FFFFFF"
"""Faces of cells, light enough for dark text on them."""
PART_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
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
    if not 1 <= n <= len(PART_COLOURS) or grid.min() < 0 or grid.max() >= n:
        raise ValueError(
            f"Parts go from {grid.min()} to {grid.max()} and {n} have a name; use numbers from 0 to {n - 1}, at most "
            f"{len(PART_COLOURS)} of them."
        )
    ax = new_axes(ax, (6.8, 1.4 + 0.42 * len(rows)))
    colours = ListedColormap(PART_COLOURS[:n])
    ax.imshow(grid, aspect="auto", cmap=colours, vmin=-0.5, vmax=n - 0.5, interpolation="nearest")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.hlines(np.arange(1, len(rows)) - 0.5, -0.5, grid.shape[1] - 0.5, color="white", linewidth=5)
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    ax.set(xlabel=xlabel, title=title)
    patches = [Patch(color=colour, label=name) for colour, name in zip(PART_COLOURS, names, strict=False)]
    _legend_below(ax, handles=patches)
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
    labels = [_visible(token) for token in tokens]
    targets = {i for start in starts for i in range(start + 1, start + T + 1)}
    for i, label in enumerate(labels):
        _cell(ax, i, 0, label, PLAIN if i in targets else FADED)
    rows = [(0, "text")]
    for number, start in enumerate(starts):
        y = 1.35 + 2.35 * number
        rows += [(y, f"window {number}: inputs"), (y + 1, "targets")]
        for i in range(start, start + T):
            _cell(ax, i, y, labels[i], INPUT)
            _cell(ax, i + 1, y + 1, labels[i + 1], TARGET)
    ax.set_yticks(*zip(*rows, strict=True), fontsize=9)
    _as_grid(ax, n, rows[-1][0] + 1)
    count = f"{len(starts)} window{'s' if len(starts) > 1 else ''}"
    ax.set(xlabel="position in the text", title=title or f"context length {T}, stride {stride}: {count}")
    names = {"inputs": INPUT, "targets": TARGET} | ({"nobody's target": FADED} if len(targets) < n else {})
    patches = [Patch(facecolor=face, edgecolor=GREY, label=name) for name, face in names.items()]
    _legend_below(ax, handles=patches)
    return ax


@in_style
def plot_token_rows(
    rows: Sequence[Sequence[str | int]],
    faded: Sequence[Sequence[bool]] | None = None,
    row_labels: Sequence[str] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Rows of tokens or ids as a table, as a batch is one; the `faded` ones grey. Rows may differ in
    length."""
    if not rows or not all(map(len, rows)):
        raise ValueError(f"The rows have {[len(row) for row in rows]} tokens; pass one row or more, none empty.")
    for name, given in (("faded", faded), ("row_labels", row_labels)):
        if given is not None and len(given) != len(rows):
            raise ValueError(f"{name} has {len(given)} items for {len(rows)} rows; pass one for each row.")
    width = max(map(len, rows))
    ax = new_axes(ax, (1.3 + 0.58 * width, 1.0 + 0.33 * len(rows)))
    for y, row in enumerate(rows):
        for x, token in enumerate(row):
            _cell(ax, x, y, _visible(token), FADED if faded is not None and faded[y][x] else INPUT)
    ax.set_yticks(range(len(rows)), row_labels or [f"row {y}" for y in range(len(rows))], fontsize=9)
    _as_grid(ax, width, len(rows))
    ax.set(xlabel="position in the row", title=title)
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
        points = [
            (number, window)
            for number, batch in zip(numbers, batches, strict=True)
            if number // per_epoch == epoch
            for window in batch
        ]
        look = epoch % len(MARKERS)
        ax.scatter(
            *zip(*points, strict=True), s=16, color=PART_COLOURS[look], marker=MARKERS[look], label=f"epoch {epoch}"
        )
        if epoch * per_epoch > first:
            ax.axvline(epoch * per_epoch - 0.5, color=GREY, linestyle=":", linewidth=1)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="batch number (step)", ylabel="window, by its place in the text", title=title)
    _legend_below(ax)
    return ax


@in_style
def plot_masks(masks: Mapping[str, tuple], axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Masks side by side: row i is blue, with a dot, where position i may look.

    masks: {title: (mask (positions, positions) of True and False, a token for each position)}.
    """
    masks = {title: (np.asarray(mask), list(tokens)) for title, (mask, tokens) in masks.items()}
    for mask, tokens in masks.values():
        if mask.shape != (len(tokens), len(tokens)) or mask.size == 0 or mask.dtype != bool:
            raise ValueError(
                f"The mask has the shape {mask.shape} and type {mask.dtype} for {len(tokens)} tokens; pass a square "
                "matrix of True and False, as large as there are tokens."
            )
    if not masks or (axes is not None and len(axes) != len(masks)):
        raise ValueError(f"There are {len(masks)} masks; pass one or more, and as many axes if any.")
    if axes is None:
        size = (max(3.4, 1.3 + 0.42 * max(len(tokens) for _, tokens in masks.values())) * len(masks), 3.2)
        axes = plt.subplots(1, len(masks), figsize=size, layout="constrained", squeeze=False)[1][0]
    for ax, (title, (mask, tokens)) in zip(axes, masks.items(), strict=True):
        _draw_mask(ax, mask, [_visible(token) for token in tokens])
        ax.set(xlabel="may look at ...", ylabel="this position ...", title=title)
    return axes


def _draw_mask(ax: Axes, mask: np.ndarray, labels: Sequence[str]) -> None:
    n = len(labels)
    ax.imshow(mask, cmap=ListedColormap([PLAIN, INPUT]), vmin=0, vmax=1, aspect="auto")
    rows, columns = np.nonzero(mask)
    ax.scatter(columns, rows, s=18, color=BLUE)
    ax.hlines(np.arange(n + 1) - 0.5, -0.5, n - 0.5, color=FADED, linewidth=1)
    ax.vlines(np.arange(n + 1) - 0.5, -0.5, n - 0.5, color=FADED, linewidth=1)
    ax.set_xticks(range(n), labels, rotation=90, fontsize=9)
    ax.set_yticks(range(n), labels, fontsize=9)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)


def _visible(token: str | int) -> str:
    return str(token).replace("\n", "\\n").replace(" ", "␣")


def _cell(ax: Axes, x: int, y: float, text: str, face: str) -> None:
    """A cell in column x whose middle is at height y, with a text in it."""
    ax.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=face, edgecolor="#8A8A8A", linewidth=0.7))
    ax.text(x, y, text, ha="center", va="center", fontsize=8, family="monospace", clip_on=True)


def _as_grid(ax: Axes, columns: int, bottom: float) -> None:
    """Axes for cells: position numbers below, first row on top, no lines of its own."""
    ax.set(xlim=(-0.6, columns - 0.4), ylim=(bottom - 0.3, -0.7), xticks=range(columns))
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)


def _legend_below(ax: Axes, **options) -> None:
    """A legend in one line, below the label of the x axis however high the Axes are."""
    below = ax.transAxes + ScaledTranslation(0, -40 / 72, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, ncols=5, fontsize=9, **options)
