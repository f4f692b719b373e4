"""A model's parts in figures: curves over numbers or layers, bars, shares of parameters."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from gptlib.plots.base import BLUE, GREEN, GREY, ORANGE, PURPLE, in_style, new_axes

LOOKS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D"))
HATCHES = ("", "//", "..", "\\\\", "xx", "++")
FEW = 64  # points that still get a marker each
WIDE = 0.045  # of the whole bar: a part that has room for its per cent


def _plain(values) -> np.ndarray:
    values = values.detach().float().cpu() if hasattr(values, "detach") else values
    return np.asarray(values, dtype=float)


@in_style
def plot_curves(
    x,
    curves: Mapping[str, Sequence[float]],
    ax: Axes | None = None,
    *,
    title: str = "",
    xlabel: str = "x",
    ylabel: str = "",
    log: bool = False,
    level: tuple[float, str] | None = None,
) -> Axes:
    """Up to four curves over the same x, told apart by colour, dash and (where points are few) marker.

    log: a logarithmic y axis. level: a value to draw a grey line at, and what it is called.
    Raises ValueError where a curve is not as long as x, or a log axis can't show one.
    """
    x = _plain(x)
    if not 1 <= len(curves) <= len(LOOKS):
        raise ValueError(f"There are {len(curves)} curves; pass 1 to {len(LOOKS)} of them, as {{name: values}}.")
    ax = new_axes(ax)
    for (name, values), (colour, dash, marker) in zip(curves.items(), LOOKS, strict=False):
        y = _plain(values)
        if y.shape != x.shape or x.ndim != 1:
            raise ValueError(f"The curve {name!r} has the shape {y.shape} and x has {x.shape}; they must be as long.")
        if log and not (y > 0).all():
            raise ValueError(f"The curve {name!r} reaches {y.min():g}, which a log axis can't show; pass log=False.")
        marker = marker if len(x) <= FEW else ""
        ax.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=3.5, label=name)
    if level is not None:
        ax.axhline(level[0], color=GREY, linewidth=1, linestyle=(0, (1, 2)), label=level[1])
    if log:
        ax.set_yscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(curves) > 1 or level is not None:
        ax.legend()
    return ax


@in_style
def plot_bars(
    values: Mapping[str, float],
    ax: Axes | None = None,
    *,
    title: str = "",
    xlabel: str = "",
    level: tuple[float, str] | None = None,
    form: str = "{:.2f}",
) -> Axes:
    """A lying bar for each name, the first on top, with its value at its end. level as for `plot_curves`.

    Raises ValueError where there are no values, or one is below zero or not finite.
    """
    heights = _plain(list(values.values()))
    if not len(heights) or not (np.isfinite(heights) & (heights >= 0)).all():
        raise ValueError(f"The bars are {dict(values)}; pass finite values of zero or above, as {{name: value}}.")
    ax = new_axes(ax, (6.4, 1.3 + 0.34 * len(heights)))
    bars = ax.barh(range(len(heights)), heights, color=BLUE, height=0.62)
    ax.bar_label(bars, [form.format(height) for height in heights], padding=4, fontsize=9)
    ax.set_yticks(range(len(heights)), [name.replace("\n", "\\n") for name in values])
    ax.invert_yaxis()
    ax.margins(x=0.14)
    ax.grid(visible=False, axis="y")
    if level is not None:
        ax.axvline(level[0], color=ORANGE, linestyle="--", linewidth=1.4, label=level[1])
        ax.figure.legend(loc="outside lower right")
    ax.set(xlabel=xlabel, title=title)
    return ax


@in_style
def plot_parameter_shares(counts: Mapping[str, Mapping[str, int]], ax: Axes | None = None, title: str = "") -> Axes:
    """A lying bar for each model, cut into its parts' shares of all its parameters; the total stands with the name.

    counts: {"124M": {"token embedding": 38597376, ...}, ...}, with the same parts for each model.
    Raises ValueError where there is nothing to draw, or the parts differ.
    """
    parts = list(next(iter(counts.values()), ()))
    if not parts or len(parts) > len(HATCHES) or any(list(model) != parts for model in counts.values()):
        raise ValueError(f"Every model must have the same 1 to {len(HATCHES)} parts, and these are {dict(counts)}.")
    ax = new_axes(ax, (7.6, 1.6 + 0.5 * len(counts)))
    totals = np.array([sum(model.values()) for model in counts.values()], dtype=float)
    left = np.zeros(len(counts))
    colours = (GREEN, GREY, BLUE, ORANGE, PURPLE, "#E69F00")
    for part, colour, hatch in zip(parts, colours, HATCHES, strict=False):
        shares = np.array([model[part] for model in counts.values()]) / totals
        ax.barh(
            range(len(counts)), shares, left=left, color=colour, edgecolor="white", hatch=hatch, label=part, height=0.68
        )
        for row, (share, start) in enumerate(zip(shares, left, strict=True)):
            if share >= WIDE:
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
                ax.text(start + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=8.5, bbox=box)
        left = left + shares
    names = [f"{name}\n{total / 1e6:,.1f} M" for name, total in zip(counts, totals, strict=True)]
    ax.set_yticks(range(len(counts)), names, fontsize=9)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set(xlim=(0, 1), xlabel="share of all parameters", title=title)
    ax.grid(visible=False)
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return ax
