"""A loss's way down: slope and steps, a fit, the paths of optimizers, gradients clipped and gradients compared."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from gptlib.plots.base import BLUE, GREY, INK, ORANGE, annotate, in_style, legend_beside, looks_of, new_axes
from gptlib.plots.checks import as_array, as_matrix, as_row, one_for_each
from gptlib.plots.labels import number_label


@in_style
def plot_descent(
    loss_of: Callable[[float], float], points: Sequence[float], slope: float | None = None, ax: Axes | None = None
) -> Axes:
    """A loss over its one weight, and the points that gradient descent visits, in order; `slope` is the first one's.

    Raises ValueError where there is no point.
    """
    points = as_row(points, "points")
    heights = np.asarray([float(loss_of(point)) for point in points])
    reach = max(np.ptp(points), 2.5)
    curve = np.linspace(points.min() - 0.5 * reach, points.max() + reach, 200)
    ax = new_axes(ax, (6.0, 3.2))
    ax.plot(curve, [float(loss_of(w)) for w in curve], color=GREY, label="loss")
    low, high = ax.get_ylim()
    if slope is not None:
        near = points[0] + np.array([-0.4, 0.4]) * reach
        tangent = heights[0] + slope * (near - points[0])
        ax.plot(near, tangent, color=ORANGE, ls="--", label=f"slope {number_label(slope)}")
    ax.plot(points, heights, color=BLUE, marker="o", ls=":" if len(points) > 1 else "", label="weight")
    if len(points) > 1:
        for i in (0, len(points) - 1):
            annotate(ax, f"step {i}", (points[i], heights[i]), (7, 5), fontsize=9)
    ax.set(xlabel="w", ylabel="loss", ylim=(low, high))
    ax.legend()
    return ax


@in_style
def plot_fit(x, y, lines: Mapping[str, tuple[float, float]], ax: Axes | None = None) -> Axes:
    """Points, and lines through them: {label: (weight, bias)} draws weight * x + bias, each in a colour and dash.

    Raises ValueError where there is not one y for each x.
    """
    x, y = as_row(x, "x"), as_row(y, "y")
    one_for_each(y, len(x), "y", "x")
    looks = looks_of(lines, "lines") if lines else {}
    ax = new_axes(ax, (6.0, 3.4))
    ax.plot(x, y, "o", color=GREY, markersize=4, label="data")
    ends = np.array([x.min(), x.max()], float)
    for label, line in lines.items():
        weight, bias = (as_array(number).item() for number in line)
        color, dash, _ = looks[label]
        ax.plot(ends, weight * ends + bias, color=color, linestyle=dash, label=label)
    ax.set(xlabel="x", ylabel="y")
    ax.legend()
    return ax


@in_style
def plot_paths(
    surface: Callable[[np.ndarray, np.ndarray], np.ndarray],
    paths: Mapping[str, Sequence[Sequence[float]]],
    ax: Axes | None = None,
) -> Axes:
    """The ways down a surface of two weights, a path (steps + 1, 2) for each name, over the surface's contour lines.

    Raises ValueError where a path is not a row of pairs.
    """
    looks = looks_of(paths, "paths")
    arrays = {name: _pairs(path, f"The path {name!r}", "steps + 1") for name, path in paths.items()}
    ax = new_axes(ax, (7.2, 3.6))
    points = np.concatenate([*arrays.values(), np.zeros((1, 2))])
    low, high = points.min(axis=0), points.max(axis=0)
    low, high = low - 0.15 * (high - low), high + 0.15 * (high - low)
    xs, ys = np.meshgrid(np.linspace(low[0], high[0], 120), np.linspace(low[1], high[1], 120))
    heights = surface(xs, ys)
    levels = np.quantile(heights, np.linspace(0.02, 0.95, 10))
    ax.contour(xs, ys, heights, levels=levels, colors="#B8B4A8", linewidths=1)
    for name, path in arrays.items():
        color, dash, marker = looks[name]
        ax.plot(*path.T, color=color, linestyle=dash, marker=marker, markersize=4, linewidth=1.3, label=name)
    ax.plot(0, 0, color=INK, marker="x", markersize=8, linestyle="none", label="lowest point")
    ax.grid(visible=False)
    ax.set(xlabel="first weight", ylabel="second weight", title="The way down")
    legend_beside(ax)
    return ax


@in_style
def plot_clipping(
    before: Sequence[Sequence[float]],
    after: Sequence[Sequence[float]],
    max_norm: float,
    ax: Axes | None = None,
) -> Axes:
    """Gradients of two weights as arrows, before clipping and after, with the circle of radius max_norm.

    Raises ValueError where the two are not of one shape (n, 2).
    """
    before, after = _pairs(before, "before", "n"), _pairs(after, "after", "n")
    one_for_each(after, len(before), "gradients after", "gradient before")
    ax = new_axes(ax, (6.4, 3.6))
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        for end, color, width, name in ((old, GREY, 0.004, "before"), (new, ORANGE, 0.010, "after")):
            look = {"color": color, "width": width, "label": None if i else name}
            ax.quiver(0, 0, *end, angles="xy", scale_units="xy", scale=1, **look)
    ax.add_patch(Circle((0, 0), max_norm, fill=False, color=BLUE, linestyle="--", label=f"norm {max_norm:g}"))
    points = np.concatenate([before, after, [[-max_norm, -max_norm], [max_norm, max_norm]]])
    margin = 0.08 * (points.max() - points.min())
    ax.set(xlim=(points[:, 0].min() - margin, points[:, 0].max() + margin))
    ax.set(ylim=(points[:, 1].min() - margin, points[:, 1].max() + margin), aspect="equal")
    ax.set(xlabel="gradient of the first weight", ylabel="of the second", title="Clipping by norm")
    legend_beside(ax)
    return ax


@in_style
def plot_agreement(expected: Sequence[float], others: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Numbers that should be equal, as points: expected across, each of the others upwards; equal ones lie on the line.

    Raises ValueError where one has another number of values.
    """
    expected = as_row(expected, "expected")
    arrays = {name: as_row(values, f"{name!r}") for name, values in others.items()}
    for name, values in arrays.items():
        one_for_each(values, len(expected), f"values in {name!r}", "expected one")
    looks = looks_of(others, "rows")
    ax = new_axes(ax, (7.2, 3.6))
    span = np.array([expected.min(), expected.max()])
    ax.plot(span, span, color=GREY, linewidth=1, label="equal")
    for name, values in arrays.items():
        color, _, marker = looks[name]
        ax.plot(expected, values, color=color, marker=marker, markersize=3.5, linestyle="none", alpha=0.7, label=name)
    ax.set(xlabel="one large batch", ylabel="accumulated", title="Gradients")
    legend_beside(ax)
    return ax


def _pairs(values, name: str, rows: str) -> np.ndarray:
    array = as_matrix(values, name, f"({rows}, 2)")
    if array.shape[1] != 2:
        raise ValueError(f"{name} has the shape {array.shape}; pass ({rows}, 2), a pair for each.")
    return array
