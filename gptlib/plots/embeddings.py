"""Vectors of tokens and positions: as heat maps, as rows of a table, as waves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from gptlib.plots.base import BLUE, DARK_ORANGE, GREEN, GREY, PURPLE, in_style, new_axes

MOST_NUMBERS = 120  # that are written into a heat map's cells


@in_style
def plot_vectors(
    vectors,
    ax: Axes | None = None,
    row_labels: Sequence[str] | None = None,
    title: str = "",
    xlabel: str = "channel",
    ylabel: str = "position",
    numbers: bool = False,
) -> Axes:
    """A heat map of vectors, one a row: (rows, channels). Red is below zero, white zero, blue above; numbers: written
    into the cells as well."""
    vectors = _matrix(vectors)
    rows, columns = vectors.shape
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"There are {len(row_labels)} labels for {rows} rows; pass one for each row.")
    if numbers and vectors.size > MOST_NUMBERS:
        raise ValueError(f"{vectors.size} numbers are too many to be read in a figure; pass numbers=False, or less.")
    ax = new_axes(ax, (2.6 + 0.48 * columns, 1.3 + 0.32 * rows) if numbers else (6.4, 3.6))
    largest = max(float(np.abs(vectors).max()), 1e-9)
    image = ax.imshow(vectors, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
    if numbers:
        _write_numbers(ax, vectors, image)
    if row_labels is not None:
        ax.set_yticks(range(rows), row_labels, fontsize=9)
    for axis in (ax.xaxis, ax.yaxis) if row_labels is None else (ax.xaxis,):
        axis.get_major_locator().set_params(integer=True)
    ax.grid(visible=False)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.figure.colorbar(image, ax=ax, shrink=0.9, label="value")
    return ax


@in_style
def plot_lookup(ids: Sequence[int], table, ax: Axes | None = None, title: str = "") -> Axes:
    """A table (vocabulary, channels) at the left, and at the right the rows of it that `ids` name, in their order."""
    table, ids = _matrix(table), [int(i) for i in ids]
    V, C = table.shape
    if not ids or min(ids) < 0 or max(ids) >= V:
        raise ValueError(f"The ids are {ids}; pass at least one, each from 0 to {V - 1}, a row of the table.")
    if table.size + len(ids) * C > MOST_NUMBERS:
        raise ValueError(f"A table of shape {table.shape} is too large to be read in a figure; pass a smaller one.")
    gap = C + 2.5
    ax = new_axes(ax, (1.4 + 0.55 * (gap + C), 1.1 + 0.34 * max(V, len(ids))))
    largest = max(float(np.abs(table).max()), 1e-9)
    for left, rows in ((0.0, table), (gap, table[ids])):
        extent = (left - 0.5, left + C - 0.5, len(rows) - 0.5, -0.5)
        image = ax.imshow(rows, cmap="RdBu", vmin=-largest, vmax=largest, extent=extent)
        _write_numbers(ax, rows, image, left)
    for place, row in enumerate(ids):
        ax.annotate(
            "",
            (gap - 1.15, place),
            (C - 0.45, row),
            arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0},
        )
        ax.text(gap - 0.85, place, str(row), ha="center", va="center", fontsize=9)
    ax.set(xlim=(-0.6, gap + C - 0.4), ylim=(max(V, len(ids)) - 0.4, -0.6), aspect="auto", title=title)
    ax.set_xticks([(C - 1) / 2, gap + (C - 1) / 2], ["the table (V, C)", "looked up (T, C)"])
    ax.set_yticks(range(V))
    ax.set_ylabel("token id")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    return ax


@in_style
def plot_waves(table, channels: Sequence[int], ax: Axes | None = None, title: str = "") -> Axes:
    """Some channels of position vectors (positions, channels), each as a line over the positions."""
    table = _matrix(table)
    looks = list(zip((BLUE, DARK_ORANGE, GREEN, PURPLE), ("-", "--", "-.", ":"), strict=True))
    if not 1 <= len(channels) <= len(looks) or min(channels) < 0 or max(channels) >= table.shape[1]:
        raise ValueError(
            f"The channels are {list(channels)}; pass one to {len(looks)} of them, from 0 to {table.shape[1] - 1}."
        )
    ax = new_axes(ax, (6.8, 3.0))
    for channel, (colour, dash) in zip(channels, looks, strict=False):
        ax.plot(table[:, channel], color=colour, linestyle=dash, label=f"channel {channel}")
    ax.set(xlabel="position", ylabel="value", title=title)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _matrix(values) -> np.ndarray:
    values = np.asarray(values.detach().float().cpu() if hasattr(values, "detach") else values, dtype=float)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"The values have the shape {values.shape}; pass one matrix, (rows, channels), not empty.")
    return values


def _write_numbers(ax: Axes, values: np.ndarray, image, left: float = 0.0) -> None:
    """Each number in its cell, white where the cell is dark."""
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if _luminance(image.cmap(image.norm(value))) < 0.179 else "black"
        ax.text(left + column, row, f"{value:.2g}", ha="center", va="center", fontsize=8, color=colour)


def _luminance(colour: Sequence[float]) -> float:
    """WCAG 2: at 0.179 white and black text have the same contrast."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))
