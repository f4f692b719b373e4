"""Training to look at: curves side by side, a sweep, the way down a valley, clipped gradients, a gallery of runs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle

from gptlib.plots.base import BLUE, DARK_ORANGE, GREEN, GREY, ORANGE, PURPLE, in_style, new_axes

LOOKS = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, (0, (5, 1.5, 1, 1.5, 1, 1.5))), ("#222222", ":"))
"""Colour and dash of the first curve, the second, and so on."""
Curve = Sequence[float] | tuple[Sequence[float], Sequence[float]]


def xs_and_ys(name: str, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays of a curve: a pair (xs, ys), or ys alone, which stand at 1, 2, 3 and so on."""
    if not isinstance(curve, tuple):
        curve = np.arange(1, len(curve) + 1), curve
    xs, ys = (np.asarray([np.nan if value is None else value for value in part], float) for part in curve)
    if len(xs) != len(ys) or len(ys) == 0:
        raise ValueError(f"The curve {name!r} has {len(xs)} xs and {len(ys)} ys; give as many of both, at least one.")
    return xs, ys


@in_style
def plot_series(
    curves: Mapping[str, Curve],
    ax: Axes | None = None,
    *,
    title: str = "Loss",
    xlabel: str = "step",
    ylabel: str = "loss (nats a token)",
    log_x: bool = False,
    log_y: bool = False,
    smooth: int = 1,
    levels: Mapping[str, float] | None = None,
) -> Axes:
    """Several curves by name, each ys alone (at 1, 2, 3, ...) or a pair (xs, ys); at most five.

    smooth: draw the mean of the last so many values, and the values themselves faintly behind it.
    levels: named heights, drawn as dotted horizontal lines.
    Raises ValueError where there is no curve or too many, or one whose xs and ys differ in number.
    """
    if not 1 <= len(curves) <= len(LOOKS):
        raise ValueError(f"There are {len(curves)} curves to draw; give 1 to {len(LOOKS)}, so that they can be told.")
    ax = new_axes(ax, (7.2, 3.4))
    for (name, curve), (color, dash) in zip(curves.items(), LOOKS, strict=False):
        xs, ys = xs_and_ys(name, curve)
        if smooth > 1:
            ax.plot(xs, ys, color=color, alpha=0.2, linewidth=0.7)
            ys = trailing_mean(ys, smooth)
        ax.plot(xs, ys, color=color, linestyle=dash, label=name)
    for name, height in (levels or {}).items():
        ax.axhline(height, color=GREY, linestyle=(0, (1, 2)), linewidth=1.4, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.set_xscale("log" if log_x else "linear")
    ax.set_yscale("log" if log_y else "linear")
    if len(curves) + len(levels or {}) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)  # beside the curves, where it hides none
    return ax


def trailing_mean(values: np.ndarray, n: int) -> np.ndarray:
    """The mean of each value and the n - 1 before it, of fewer at the beginning."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - n, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


@in_style
def plot_target_probabilities(
    probabilities: Sequence[Sequence[float]],
    targets: Sequence[int],
    rows: Sequence[str],
    columns: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Probabilities (T, V) as a heat map, a number in each cell and a frame round the target's; rows and columns named.

    Raises ValueError where the sizes do not fit, or a target is no column.
    """
    table = np.asarray(probabilities, float)
    if table.shape != (len(rows), len(columns)) or len(targets) != len(rows):
        raise ValueError(
            f"Probabilities of shape {table.shape} with {len(targets)} targets do not fit {len(rows)} rows and "
            f"{len(columns)} columns; give a name for each and a target for each row."
        )
    if any(not 0 <= target < len(columns) for target in targets):
        raise ValueError(f"A target of {list(targets)} is no column; give numbers from 0 to {len(columns) - 1}.")
    ax = new_axes(ax, (1.6 + 0.9 * len(columns), 1.2 + 0.5 * len(rows)))
    ax.grid(visible=False)
    ax.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, target in enumerate(targets):
        for column in range(len(columns)):
            value = table[row, column]
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "#222222")
        frame = Rectangle((target - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor=ORANGE, linewidth=2.4)
        ax.add_patch(frame)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(title="Probability of the next token (framed: the right one)")
    return ax


@in_style
def plot_sweep(rates: Sequence[float], losses: Sequence[float], ax: Axes | None = None) -> Axes:
    """The loss that each learning rate of a sweep ended at, on a log axis, the best one marked.

    Raises ValueError where there are not as many of both, a rate is not above 0, or no loss is a number.
    """
    rates, losses = np.asarray(rates, float), np.asarray(losses, float)
    if rates.shape != losses.shape or rates.ndim != 1 or rates.size == 0:
        raise ValueError(f"{rates.size} rates and {losses.size} losses make no sweep; give as many of both.")
    if (rates <= 0).any():
        raise ValueError(f"A learning rate of {rates.min():g} has no place on a log axis; give rates above 0.")
    if np.isnan(losses).all():
        raise ValueError("Of the losses of the sweep none is a number; try lower rates.")
    ax = new_axes(ax)
    order = np.argsort(rates)
    rates, losses = rates[order], losses[order]
    ax.plot(rates, losses, color=BLUE, marker="o", markersize=5)
    best = int(np.nanargmin(losses))
    ax.plot(rates[best], losses[best], color=ORANGE, marker="*", markersize=16, linestyle="none")
    ax.annotate(
        f"best: {rates[best]:g}",
        (rates[best], losses[best]),
        textcoords="offset points",
        xytext=(0, -10),
        ha="center",
        va="top",
        color=DARK_ORANGE,
    )
    ax.margins(y=0.16)  # room for it
    ax.set_xscale("log")
    ax.set(xlabel="learning rate (log axis)", ylabel="validation loss at the end", title="Learning-rate sweep")
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
    arrays = {name: np.asarray(path, float) for name, path in paths.items()}
    for name, path in arrays.items():
        if path.ndim != 2 or path.shape[1] != 2:
            raise ValueError(
                f"The path {name!r} has the shape {path.shape}; give (steps + 1, 2), a pair for each step."
            )
    ax = new_axes(ax, (7.2, 3.6))
    points = np.concatenate([*arrays.values(), np.zeros((1, 2))])
    low, high = points.min(axis=0), points.max(axis=0)
    low, high = low - 0.15 * (high - low), high + 0.15 * (high - low)
    xs, ys = np.meshgrid(np.linspace(low[0], high[0], 120), np.linspace(low[1], high[1], 120))
    heights = surface(xs, ys)
    ax.contour(
        xs, ys, heights, levels=np.quantile(heights, np.linspace(0.02, 0.95, 10)), colors="#B8B4A8", linewidths=1
    )
    markers = cycle("os^D")
    for (name, path), (color, dash), marker in zip(arrays.items(), LOOKS, markers, strict=False):
        ax.plot(*path.T, color=color, linestyle=dash, marker=marker, markersize=4, linewidth=1.3, label=name)
    ax.plot(0, 0, color="#222222", marker="x", markersize=8, linestyle="none", label="lowest point")
    ax.grid(visible=False)
    ax.set(xlabel="first weight", ylabel="second weight", title="The way down")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
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
    before, after = np.asarray(before, float), np.asarray(after, float)
    if before.shape != after.shape or before.ndim != 2 or before.shape[1] != 2:
        raise ValueError(f"Gradients of shapes {before.shape} and {after.shape} can't be drawn; give (n, 2) of both.")
    ax = new_axes(ax, (6.4, 3.6))
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        for end, color, width, name in ((old, GREY, 0.004, "before"), (new, ORANGE, 0.010, "after")):
            ax.quiver(
                0, 0, *end, angles="xy", scale_units="xy", scale=1, color=color, width=width, label=None if i else name
            )
    ax.add_patch(Circle((0, 0), max_norm, fill=False, color=BLUE, linestyle="--", label=f"norm {max_norm:g}"))
    points = np.concatenate([before, after, [[-max_norm, -max_norm], [max_norm, max_norm]]])
    margin = 0.08 * (points.max() - points.min())
    ax.set(xlim=(points[:, 0].min() - margin, points[:, 0].max() + margin))
    ax.set(ylim=(points[:, 1].min() - margin, points[:, 1].max() + margin), aspect="equal")
    ax.set(xlabel="gradient of the first weight", ylabel="of the second", title="Clipping by norm")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return ax


@in_style
def plot_agreement(expected: Sequence[float], others: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Numbers that should be equal, as points: expected across, each of the others upwards; equal ones lie on the line.

    Raises ValueError where one has another number of values.
    """
    expected = np.asarray(expected, float).ravel()
    ax = new_axes(ax, (7.2, 3.6))
    span = np.array([expected.min(), expected.max()])
    ax.plot(span, span, color=GREY, linewidth=1, label="equal")
    for (name, values), (color, _), marker in zip(others.items(), LOOKS, "os^D", strict=False):
        values = np.asarray(values, float).ravel()
        if values.shape != expected.shape:
            raise ValueError(f"{name!r} has {values.size} values, and {expected.size} are expected; give as many.")
        ax.plot(expected, values, color=color, marker=marker, markersize=3.5, linestyle="none", alpha=0.7, label=name)
    ax.set(xlabel="one large batch", ylabel="accumulated", title="Gradients")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return ax


@in_style
def plot_gallery(
    runs: Mapping[str, Mapping[str, Curve]], columns: int = 3, ylim: tuple[float, float] | None = None
) -> list[Axes]:
    """Small pictures side by side, one a run, each with its curves by name; all on one scale if `ylim` is given.

    A curve has the look of its name's first place, so that "training" looks the same everywhere.
    Raises ValueError where there is no run.
    """
    if not runs:
        raise ValueError("There is no run to draw; give at least one, as {title: {name: losses}}.")
    rows = -(-len(runs) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.1 * columns, 2.3 * rows + 0.3), layout="constrained", squeeze=False
    )
    names = list(dict.fromkeys(name for curves in runs.values() for name in curves))
    looks = dict(zip(names, LOOKS, strict=False))
    handles = {}
    for ax, (title, curves) in zip(axes.flat, runs.items(), strict=False):
        for name, curve in curves.items():
            xs, ys = xs_and_ys(name, curve)
            color, dash = looks[name]
            [handles[name]] = ax.plot(xs, ys, color=color, linestyle=dash)
        ax.set_title(title, fontsize=10)
        ax.tick_params(labelsize=8)
        if ylim:
            ax.set_ylim(*ylim)
    for ax in list(axes.flat)[len(runs) :]:
        ax.set_visible(False)
    figure.supxlabel("step", fontsize=9)
    figure.supylabel("loss (nats a token)", fontsize=9)
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles), fontsize=9)
    return list(axes.flat)[: len(runs)]
