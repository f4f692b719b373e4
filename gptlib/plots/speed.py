"""Speed: the roof that a machine puts over all programs, and where the time of some goes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gptlib.plots.bars import plot_bar_groups, plot_bars
from gptlib.plots.base import GREY, annotate, in_style, new_panels
from gptlib.plots.lines import DOTS, plot_lines

Pairs = Mapping[str, tuple[float, float]]


@in_style
def plot_roofline(roofs: Pairs, points: Pairs | None = None, ax: Axes | None = None, title: str = "") -> Axes:
    """The operations a second that can be reached, over operations for each byte (Williams et al. 2009, figure 1).

    roofs: {name: (bytes a second, operations a second)}; the first one's ridge is marked. points: {name: (operations
    for each byte, operations a second)} of programs; five names at most, roofs and points together.
    Raises ValueError where there is no roof, or a number is not above zero.
    """
    points = dict(points or {})
    numbers = np.array([*roofs.values(), *points.values()], dtype=float)
    if not roofs or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"Roofs are {dict(roofs)} and points {points}; pass a roof at least, and numbers above 0.")
    ridges = [computes / reads for reads, computes in roofs.values()]
    places = [*ridges, *(intensity for intensity, _ in points.values())]
    x = np.unique([*ridges, *np.geomspace(min(places) / 8, max(places) * 8, 60)])
    giga = {name: (x, np.minimum(x * reads, computes) / 1e9) for name, (reads, computes) in roofs.items()}
    giga |= {name: ([intensity], [rate / 1e9]) for name, (intensity, rate) in points.items()}
    labels = {"xlabel": "operations for each byte read or written", "ylabel": "GFLOP a second", "title": title}
    ax = plot_lines(giga, ax=ax, log="xy", **labels)
    ax.axvline(ridges[0], color=GREY, linestyle=DOTS, linewidth=1)
    annotate(ax, f"ridge: {ridges[0]:.3g}", (ridges[0], ax.get_ylim()[0]), (5, 8), fontsize=9)
    return ax


@in_style
def plot_time_shares(jobs: Mapping[str, Mapping[str, float]], axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Where the time of each job goes: {job: {kind of operation: seconds}}, in shares, each panel's longest on top.

    Raises ValueError where there is no job, or one takes no time at all.
    """
    for job, seconds in jobs.items():
        if not sum(seconds.values()) > 0:
            raise ValueError(f"The seconds of {job!r} are {dict(seconds)}; pass the time of each kind, above 0 in all.")
    rows = max((len(seconds) for seconds in jobs.values()), default=0)
    axes = new_panels(axes, len(jobs), (4.7 * len(jobs), 1.0 + 0.3 * rows))
    for ax, (job, seconds) in zip(axes, jobs.items(), strict=True):
        whole = sum(seconds.values())
        shares = {kind: seconds[kind] / whole for kind in sorted(seconds, key=seconds.get, reverse=True)}
        plot_bars(shares, ax, title=job, xlabel="share of the time", form="{:.0%}")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return axes


RATE = " tok/s"


@in_style
def plot_rates(rows: Sequence[Mapping[str, Any]], ax: Axes | None = None, title: str = "") -> Axes:
    """Rows of a benchmark's table: a group for each, named by its first column, a bar for each column "... tok/s".

    A row that lacks a column, or has None there, has no such bar. Raises ValueError where no column is a rate.
    """
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name.endswith(RATE)]
    if not columns:
        raise ValueError(f"The rows {list(rows)[:1]} have no column whose name ends in '{RATE}'; pass others.")
    bars = {name.removesuffix(RATE): [row.get(name) or 0.0 for row in rows] for name in columns}
    labels = [str(next(iter(row.values()))).replace(", ", "\n") for row in rows]
    return plot_bar_groups(bars, labels, ax, ylabel="tokens a second", title=title)
