"""Curves by name, in one figure or in panels side by side, told apart by colour, dash and (few points) marker."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullFormatter

from gptlib.plots.base import GREY, in_style, legend_beside, looks_of, new_axes, new_panels
from gptlib.plots.checks import as_row
from gptlib.utils.validation import whole_number

Curve = Sequence[float] | tuple[Sequence[float], Sequence[float]]
"""Its ys alone, or a pair (xs, ys)."""
Limits = tuple[float | None, float | None]
FEW = 25  # points that still get a marker each
DOTS = (0, (1, 2))


@in_style
def plot_lines(
    curves: Mapping[str, Curve],
    x: Sequence[float] | None = None,
    ax: Axes | None = None,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
    ylim: Limits | None = None,
    smooth: int = 1,
    levels: Mapping[str, float] | None = None,
) -> Axes:
    """Up to five curves by name: each its ys over `x` (by default 1, 2, 3, ...), or a pair (xs, ys) of its own.

    A curve of one point is a mark. log: "x", "y" or "xy", the axes that are logarithmic. smooth: draw the mean of the
    last so many values, and the values themselves faintly behind it. levels: {name: height} of lines across, grey and
    dotted; one that is named like a curve belongs to it, and has its look, but thinner.
    Raises ValueError where a curve has not one y for each x, or a log axis can't show it.
    """
    points = _checked(curves, x, log)
    looks = looks_of(points)
    whole_number("smooth", smooth, 1)
    ax = new_axes(ax, (7.2, 3.4))
    _draw(ax, points, looks, smooth)
    for name, height in (levels or {}).items():
        color, dash = looks[name][:2] if name in looks else (GREY, DOTS)
        ax.axhline(height, color=color, linestyle=dash, linewidth=1, label=None if name in looks else name)
    ax.autoscale_view(scalex=False)  # with some room above the highest level too
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    _scale(ax, points, log, ylim)
    if len(ax.get_legend_handles_labels()[1]) > 1:
        legend_beside(ax)
    return ax


@in_style
def plot_line_panels(
    panels: Mapping[str, Mapping[str, Curve]],
    x: Sequence[float] | None = None,
    axes: Sequence[Axes] | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
    ylim: Limits | None = None,
    guide: float | None = None,
    columns: int = 3,
) -> list[Axes]:
    """Panels {title: curves as for `plot_lines`} side by side; a name has one look in all of them.

    guide: draw in grey how what grows with that power of x would rise, from the first curve's last point backwards.
    """
    points = {title: _checked(curves, x, log) for title, curves in panels.items()}
    looks = looks_of(name for curves in points.values() for name in curves)
    columns = len(points) if axes is not None else max(1, min(columns, len(points)))
    rows = -(-len(points) // columns)
    width, height = (4.2 if columns < 3 else 3.1), (3.0 if rows == 1 else 2.3)
    axes = new_panels(axes, len(points), (width * columns + 1.2, height * rows), columns)
    handles = {}
    for place, (ax, (title, curves)) in enumerate(zip(axes, points.items(), strict=True)):
        _draw(ax, curves, looks)
        if guide is not None:
            xs, ys = next(iter(curves.values()))
            rise = ys[-1] * (xs / xs[-1]) ** guide
            ax.plot(xs, rise, color=GREY, linewidth=1, linestyle=DOTS, label=f"grows with {xlabel}$^{{{guide:g}}}$")
        is_lowest, is_first = place + columns >= len(points), place % columns == 0
        ax.set(title=title, xlabel=xlabel if is_lowest else "", ylabel=ylabel if is_first else "")
        ax.tick_params(labelsize=9)
        _scale(ax, curves, log, ylim)
        handles |= {handle.get_label(): handle for handle in ax.get_legend_handles_labels()[0]}
    if len(handles) > 1:
        legend_beside(axes[columns - 1], list(handles.values()), list(handles))
    return axes


def trailing_mean(values: np.ndarray, n: int) -> np.ndarray:
    """The mean of each value and the n - 1 before it, of fewer at the beginning."""
    return np.convolve(values, np.ones(n))[: len(values)] / np.minimum(np.arange(1, len(values) + 1), n)


Points = dict[str, tuple[np.ndarray, np.ndarray]]
"""The xs and ys of each curve by its name."""


def _checked(curves: Mapping[str, Curve], x: Sequence[float] | None, log: str) -> Points:
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log={log!r} names no axis; give 'x', 'y' or 'xy'.")
    points = {}
    for name, curve in curves.items():
        is_pair = isinstance(curve, tuple) and len(curve) == 2 and np.ndim(curve[0]) > 0
        xs, ys = curve if is_pair else (x, curve)
        ys = as_row(ys, f"The curve {name!r}")
        xs = np.arange(1.0, len(ys) + 1) if xs is None else as_row(xs, f"x of the curve {name!r}")
        if len(xs) != len(ys):
            raise ValueError(f"The curve {name!r} has {len(xs)} xs and {len(ys)} ys; give as many of both.")
        for letter, values in (("x", xs), ("y", ys)):
            if letter in log and (values <= 0).any():
                lowest = np.nanmin(values)
                raise ValueError(
                    f"{letter} of {name!r} reaches {lowest:g}, which no log axis shows; pass numbers above 0."
                )
        points[name] = xs, ys
    return points


def _draw(ax: Axes, points: Points, looks: dict[str, tuple], smooth: int = 1) -> None:
    for name, (xs, ys) in points.items():
        color, dash, marker = looks[name]
        if smooth > 1:
            ax.plot(xs, ys, color=color, alpha=0.2, linewidth=0.7)
            ys = trailing_mean(ys, smooth)
        style = {"linestyle": dash, "marker": marker if len(xs) <= FEW else "", "markersize": 4}
        if len(xs) == 1:
            style |= {"linestyle": "none", "markersize": 8}
        ax.plot(xs, ys, color=color, label=name, **style)


def _scale(ax: Axes, points: Points, log: str, ylim: Limits | None) -> None:
    if ylim is not None:
        ax.set_ylim(*ylim)
    if "x" in log:
        ax.set_xscale("log")
        places = np.unique(np.concatenate([xs for xs, _ in points.values()]))
        gaps = np.diff(np.log(places))
        if len(places) > 1 and gaps.min() * 12 > gaps.sum():  # few, and no two too close to each other
            ax.set_xticks(places, [f"{place:,g}" for place in places])
            ax.xaxis.minorticks_off()
        else:
            _set_log_ticks(ax.xaxis, dense=2)
    if "y" in log:
        ax.set_yscale("log")
        _set_log_ticks(ax.yaxis, dense=3)


def _set_log_ticks(axis: Axis, dense: float) -> None:
    """Ticks at 1, 2, 5, 10 over up to `dense` powers of ten, at each power over more; written out where short."""
    low, high = axis.get_view_interval()
    powers = np.log10(high / low)
    if powers <= dense:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    if powers <= 6 and low > 1e-5 and high < 1e7:
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.set_minor_formatter(NullFormatter())
