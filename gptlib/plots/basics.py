"""The first steps with tensors: their numbers in cells, broadcasting, a slope and the steps down it, a line's fit."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from gptlib.plots.base import BLUE, DARK_ORANGE, GREEN, GREY, ORANGE, PURPLE, in_style, new_axes

TINTS = ("#D8EAF7", "#FBE3D3", "#D5EFE6", "#F6E3ED")
"""Of blue, orange, green and purple: what numbers can be read on."""
COPY = "#ECEAE4"
GAP = 0.9  # between matrices, in cells
DASHES = ("--", "-", "-.", ":")


def _array(values, name: str = "values") -> np.ndarray:
    """A tensor, array or list of numbers as an array.

    Raises: ValueError where it has no numbers, or more dimensions than a page.
    """
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if not 1 <= array.ndim <= 3 or array.size == 0:
        raise ValueError(
            f"{name} of shape {array.shape} can't be drawn; pass 1, 2 or 3 dimensions, none of them empty."
        )
    return array


def _label(number) -> str:
    return str(number) if isinstance(number, bool | np.bool_) else f"{number:.4g}".replace("-", "\N{MINUS SIGN}")


def _cell(ax: Axes, x: float, y: float, text: str, color: str, soft: bool = False) -> None:
    edge = {"edgecolor": GREY if soft else "#333333", "linewidth": 0.8, "linestyle": ":" if soft else "-"}
    ax.add_patch(Rectangle((x, y), 1, 1, facecolor=color, **edge))
    ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=9, color=GREY if soft else "#222222")


def _bare(ax: Axes, width: float, height: float) -> None:
    """A sheet of cells: row 0 at the top, no axes."""
    ax.set(xlim=(-0.6, width + 0.1), ylim=(height + 0.1, -0.6), aspect="equal")
    ax.axis("off")


@in_style
def plot_tensor(values, groups=None, ax: Axes | None = None, title: str = "") -> Axes:
    """The numbers of a tensor in cells: a row, a matrix, or several matrices side by side; indices at the edges.

    groups: of the same shape, whole numbers that choose each cell's colour (0 to 3), by default all of one.
    Raises ValueError for what has no cells, more than three dimensions, or groups of another shape.
    """
    values = _array(values)
    groups = np.zeros(values.shape, int) if groups is None else _array(groups, "groups")
    if groups.shape != values.shape:
        raise ValueError(f"The groups have the shape {groups.shape} and the values {values.shape}; make them alike.")
    shape = values.shape
    matrices = values.reshape((1,) * (3 - values.ndim) + shape)  # (matrices, rows, columns)
    colors = groups.reshape(matrices.shape)
    n, rows, columns = matrices.shape
    width = n * columns + (n - 1) * GAP
    ax = new_axes(ax, (0.45 * width + 0.8, 0.45 * rows + 0.9))
    _bare(ax, width, rows)
    small = {"ha": "center", "va": "center", "fontsize": 8, "color": GREY}
    for m, left in enumerate(np.arange(n) * (columns + GAP)):
        for i, j in np.ndindex(rows, columns):
            _cell(ax, left + j, i, _label(matrices[m, i, j]), TINTS[colors[m, i, j] % len(TINTS)])
        for j in range(columns):
            ax.text(left + j + 0.5, -0.3, str(j), **small)
        for i in range(rows if values.ndim > 1 else 0):
            ax.text(left - 0.3, i + 0.5, str(i), **small)
    ax.set_title(title or f"shape {shape}")
    return ax


@in_style
def plot_broadcasting(a, b, ax: Axes | None = None) -> Axes:
    """a + b with every copy that broadcasting makes: drawn in grey and dotted, since nothing is stored for it.

    Raises ValueError where the shapes don't fit each other, or the sum has more than two dimensions.
    """
    a, b = _array(a, "a"), _array(b, "b")
    try:
        rows, columns = np.broadcast_shapes((1, 1), a.shape, b.shape)
    except ValueError:
        raise ValueError(
            f"The shapes {a.shape} and {b.shape} don't give a sum in two dimensions; seen from the right, sizes have "
            "to be equal, or one of them 1."
        ) from None
    width = 3 * columns + 2 * 1.4
    ax = new_axes(ax, (0.45 * width + 0.8, 0.45 * rows + 0.9))
    _bare(ax, width, rows)
    result = np.broadcast_to(a, (rows, columns)) + np.broadcast_to(b, (rows, columns))
    lefts = np.arange(3) * (columns + 1.4)
    for matrix, left, color in zip((a, b, result), lefts, (TINTS[0], TINTS[1], TINTS[2]), strict=True):
        own = (1,) * (2 - matrix.ndim) + matrix.shape
        numbers = np.broadcast_to(matrix, (rows, columns))
        for i, j in np.ndindex(rows, columns):
            copy = i >= own[0] or j >= own[1]
            _cell(ax, left + j, i, _label(numbers[i, j]), COPY if copy else color, copy)
        ax.text(left, -0.3, str(matrix.shape), fontsize=9, va="center")
    for left, sign in zip(lefts[1:], "+=", strict=True):
        ax.text(left - 0.7, rows / 2, sign, ha="center", va="center", fontsize=13)
    return ax


@in_style
def plot_descent(
    loss_of: Callable[[float], float], points: Sequence[float], slope: float | None = None, ax: Axes | None = None
) -> Axes:
    """A loss over its one weight, and the points that gradient descent visits, in order; `slope` is the first one's.

    Raises ValueError where there is no point.
    """
    points = np.asarray([float(point) for point in points])
    if points.size == 0:
        raise ValueError("There is no point to draw; pass one weight at least.")
    heights = np.asarray([float(loss_of(point)) for point in points])
    reach = max(np.ptp(points), 2.5)
    curve = np.linspace(points.min() - 0.5 * reach, points.max() + reach, 200)
    ax = new_axes(ax, (6.0, 3.2))
    ax.plot(curve, [float(loss_of(w)) for w in curve], color=GREY, label="loss")
    low, high = ax.get_ylim()
    if slope is not None:
        near = points[0] + np.array([-0.4, 0.4]) * reach
        ax.plot(near, heights[0] + slope * (near - points[0]), color=ORANGE, ls="--", label=f"slope {_label(slope)}")
    ax.plot(points, heights, color=BLUE, marker="o", ls=":" if len(points) > 1 else "", label="weight")
    if len(points) > 1:
        for i in (0, len(points) - 1):
            ax.annotate(f"step {i}", (points[i], heights[i]), xytext=(7, 5), textcoords="offset points", fontsize=9)
    ax.set(xlabel="w", ylabel="loss", ylim=(low, high))
    ax.legend()
    return ax


@in_style
def plot_fit(x, y, lines: Mapping[str, tuple[float, float]], ax: Axes | None = None) -> Axes:
    """Points, and lines through them: {label: (weight, bias)} draws weight * x + bias, each in a colour and dash.

    Raises ValueError where x and y are not two rows of equal length.
    """
    x, y = _array(x, "x"), _array(y, "y")
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x has the shape {x.shape} and y {y.shape}; pass two rows of the same length.")
    ax = new_axes(ax, (6.0, 3.4))
    ax.plot(x, y, "o", color=GREY, markersize=4, label="data")
    ends = np.array([x.min(), x.max()], float)
    colors = (PURPLE, BLUE, DARK_ORANGE, GREEN)
    for i, (label, line) in enumerate(lines.items()):
        weight, bias = (float(number.detach() if hasattr(number, "detach") else number) for number in line)
        look = {"color": colors[i % len(colors)], "ls": DASHES[i % len(DASHES)]}
        ax.plot(ends, weight * ends + bias, label=label, **look)
    ax.set(xlabel="x", ylabel="y")
    ax.legend()
    return ax
