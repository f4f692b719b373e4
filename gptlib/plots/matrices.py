"""Matrices as heat maps, in one figure or in panels side by side, with labels, numbers and frames."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from gptlib.plots.base import GREY, ORANGE, in_style, new_axes, new_panels
from gptlib.plots.checks import as_matrices, as_matrix, one_for_each
from gptlib.plots.labels import MINUS

MOST_NUMBERS = 120  # that are written into a heat map's cells
CHARACTER = 0.072  # inches of a small one


@in_style
def plot_matrix(
    values,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    title: str = "",
    xlabel: str | None = None,
    ylabel: str | None = None,
    numbers: bool = False,
    framed: Sequence[int] | None = None,
) -> Axes:
    """A heat map of a matrix (rows, columns): white is zero, blue above, red below; beside it, what the colours mean.

    rows, columns: their labels; without them they are numbered, and called positions and channels unless ylabel and
    xlabel say otherwise. numbers: written into the cells. framed: a column for each row, whose cell gets a frame.
    """
    values = as_matrix(values, "The matrix")
    _check_labels(values, rows, columns, numbers)
    one_for_each(framed, len(values), "framed columns", "row")
    if framed is not None and not all(0 <= column < values.shape[1] for column in framed):
        raise ValueError(f"The framed columns are {list(framed)}; pass numbers from 0 to {values.shape[1] - 1}.")
    size = (6.4, 3.6)
    if numbers:
        size = (1.6 + _cell_width(values) * values.shape[1] + _longest(rows) * CHARACTER, 1.3 + 0.34 * len(values))
    ax = new_axes(ax, size)
    image = draw_heat_map(ax, values, numbers=numbers, aspect="auto")
    _label_axes(ax, values, rows, columns)
    for row, column in enumerate(framed if framed is not None else ()):
        frame = Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor=ORANGE, linewidth=2.4)
        ax.add_patch(frame)
    default_x, default_y = "channel" if columns is None else "", "position" if rows is None else ""
    ax.set(title=title, xlabel=default_x if xlabel is None else xlabel, ylabel=default_y if ylabel is None else ylabel)
    if not numbers:
        ax.figure.colorbar(image, ax=ax, shrink=0.9, label="value")
    return ax


@in_style
def plot_matrices(
    matrices: Mapping[str, object],
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    axes: Sequence[Axes] | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    numbers: bool = True,
) -> list[Axes]:
    """Heat maps {title: (rows, columns)} side by side, in one scale; otherwise as `plot_matrix`."""
    matrices = as_matrices(matrices)
    first = next(iter(matrices.values()), np.empty((0, 0)))
    for values in matrices.values():
        _check_labels(values, rows, columns, numbers)
    side = max(map(_cell_width, matrices.values()), default=0) if numbers else 0.2
    margin = 0.5 + (_longest(rows) + (0 if columns is None else 2)) * CHARACTER
    width = max(margin + side * first.shape[1], margin + 0.085 * _longest(list(matrices)), 1.6)
    height = 0.8 + _longest(columns) * CHARACTER + side * len(first)
    axes = new_panels(axes, len(matrices), (width * len(matrices) + (0 if numbers else 0.8), max(height, 1.6)))
    largest = max(float(np.abs(values).max()) for values in matrices.values())
    below = any((values < 0).any() for values in matrices.values())
    for ax, (title, values) in zip(axes, matrices.items(), strict=True):
        image = draw_heat_map(ax, values, largest=largest, below=below, numbers=numbers)
        _label_axes(ax, values, rows, columns)
        ax.set(xlabel=xlabel, title=title)
    axes[0].set_ylabel(ylabel)
    if not numbers:
        axes[0].figure.colorbar(image, ax=axes, shrink=0.8)
    return axes


@in_style
def plot_lookup(ids: Sequence[int], table, ax: Axes | None = None, title: str = "") -> Axes:
    """A table (V, C) at the left, and at the right the rows of it that the ids (T,) name, in their order."""
    table, ids = as_matrix(table, "The table", "(vocabulary, channels)"), [int(i) for i in ids]
    V, C = table.shape
    if not ids or min(ids) < 0 or max(ids) >= V:
        raise ValueError(f"The ids are {ids}; pass at least one, each from 0 to {V - 1}, a row of the table.")
    if table.size + len(ids) * C > MOST_NUMBERS:
        raise ValueError(f"A table of shape {table.shape} is too large to be read in a figure; pass a smaller one.")
    gap = C + 2.5
    height = max(V, len(ids))
    ax = new_axes(ax, (1.4 + 0.55 * (gap + C), 1.1 + 0.34 * height))
    for left, rows in ((0.0, table), (gap, table[ids])):
        largest = float(np.abs(table).max())
        draw_heat_map(ax, rows, largest=largest, below=bool((table < 0).any()), numbers=True, left=left)
    arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0}
    for place, row in enumerate(ids):
        ax.annotate("", (gap - 1.15, place), (C - 0.45, row), arrowprops=arrow)
        ax.text(gap - 0.85, place, str(row), ha="center", va="center", fontsize=9)
    ax.set(xlim=(-0.6, gap + C - 0.4), ylim=(height - 0.4, -0.6), aspect="auto", title=title)
    ax.set_xticks([(C - 1) / 2, gap + (C - 1) / 2], ["the table (V, C)", "looked up (T, C)"])
    ax.set(yticks=range(V), ylabel="token id")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def draw_heat_map(
    ax: Axes,
    values: np.ndarray,
    *,
    largest: float | None = None,
    below: bool | None = None,
    numbers: bool = False,
    aspect: str = "equal",
    left: float = 0.0,
) -> AxesImage:
    """Values (rows, columns) as colours, white at zero, the darkest at `largest`; the first column's middle at `left`.

    below: whether the scale goes below zero too. By default both are those of the values.
    """
    largest = max(float(np.abs(values).max()) if largest is None else largest, 1e-9)
    below = bool((values < 0).any()) if below is None else below
    extent = (left - 0.5, left + values.shape[1] - 0.5, len(values) - 0.5, -0.5)
    colors = {"cmap": "RdBu" if below else "Blues", "vmin": -largest if below else 0, "vmax": largest}
    image = ax.imshow(values, **colors, aspect=aspect, extent=extent, interpolation="nearest")
    ax.grid(visible=False)
    if numbers:
        for (row, column), value in np.ndenumerate(values):
            color = "white" if _luminance(image.cmap(image.norm(value))) < 0.179 else "black"
            ax.text(left + column, row, _short(value), ha="center", va="center", fontsize=8, color=color)
    return image


def _short(value: float) -> str:
    """A number in few characters: whole ones as such, so that 0 is nothing at all, and 0.00 is small."""
    form = ".4g" if value == round(value) else f".{2 if abs(value) < 10 else 1 if abs(value) < 100 else 0}f"
    return format(value, form).replace("-", MINUS)


def _luminance(color: Sequence[float]) -> float:
    """WCAG 2: at 0.179 white and black text have the same contrast."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))


def _cell_width(values: np.ndarray) -> float:
    """Inches that the longest number needs."""
    return max(0.42, 0.12 + CHARACTER * max(len(_short(value)) for value in values.ravel()))


def _longest(labels: Sequence[str] | None) -> int:
    return max(map(len, labels), default=0) if labels is not None else 0


def _check_labels(values: np.ndarray, rows: Sequence[str] | None, columns: Sequence[str] | None, numbers: bool) -> None:
    one_for_each(rows, len(values), "labels", "row")
    one_for_each(columns, values.shape[1], "labels", "column")
    if numbers and values.size > MOST_NUMBERS:
        raise ValueError(f"{values.size} numbers are too many to be read in a figure; pass numbers=False, or less.")


def _label_axes(ax: Axes, values: np.ndarray, rows: Sequence[str] | None, columns: Sequence[str] | None) -> None:
    for axis, labels in ((ax.xaxis, columns), (ax.yaxis, rows)):
        if labels is None:
            axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        else:
            axis.set_ticks(range(len(labels)), labels, fontsize=9)
    width = ax.get_window_extent().width / ax.figure.dpi / values.shape[1]  # inches of a cell
    if _longest(columns) * CHARACTER > 0.9 * width:
        ax.tick_params(axis="x", labelrotation=90)
