"""Bars: one for each name, in groups, or cut into shares."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from gptlib.plots.base import BLUE, GREEN, GREY, HATCHES, ORANGE, PURPLE, in_style, legend_beside, looks_of, new_axes
from gptlib.plots.checks import as_row, one_for_each

WIDE = 0.045  # of the whole bar: a part that has room for its per cent


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
    """A lying bar for each name, the first on top, with its value at its end, written by `form`.

    level: a value to draw a line at, and what it is called.
    Raises ValueError where there are no values, or one is below zero or not finite.
    """
    lengths = np.asarray([float(value) for value in values.values()])
    if not len(lengths) or not (np.isfinite(lengths) & (lengths >= 0)).all():
        raise ValueError(f"The bars are {dict(values)}; pass finite values of zero or above, as {{name: value}}.")
    ax = new_axes(ax, (6.4, 1.3 + 0.34 * len(lengths)))
    bars = ax.barh(range(len(lengths)), lengths, color=BLUE, height=0.62)
    # On a ground of its own, so that the level's line passes behind the number and not through it.
    ground = {"boxstyle": "square,pad=0.15", "facecolor": ax.get_facecolor(), "edgecolor": "none"}
    ax.bar_label(bars, [form.format(length) for length in lengths], padding=4, fontsize=9, bbox=ground)
    name_rows(ax, [name.replace("\n", "\\n") for name in values])
    ax.margins(x=0.14)
    if level is not None:
        ax.axvline(level[0], color=ORANGE, linestyle="--", linewidth=1.4, label=level[1])
        ax.figure.legend(loc="outside lower right")
    ax.set(xlabel=xlabel, title=title)
    return ax


def name_rows(ax: Axes, names: Sequence[str], **text_style) -> None:
    """Name lying bars, the first on top."""
    ax.set_yticks(range(len(names)), names, **text_style)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")


@in_style
def plot_bar_groups(
    rows: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    ax: Axes | None = None,
    *,
    title: str = "",
    ylabel: str = "",
) -> Axes:
    """Standing bars, a group for each label: {name: a value for each label}; names differ in colour and hatching.

    Raises ValueError where the values are not one for each label.
    """
    looks = looks_of(rows, "rows of bars")
    heights = {name: as_row(row, f"The row {name!r}") for name, row in rows.items()}
    for name, row in heights.items():
        one_for_each(row, len(labels), f"values in {name!r}", "label")
    ax = new_axes(ax, (7.2, 2.9))
    width = 0.8 / len(heights)
    for i, (name, row) in enumerate(heights.items()):
        color, hatch = looks[name][0], HATCHES[i]
        places = np.arange(len(labels)) + (i - (len(heights) - 1) / 2) * width
        ax.bar(places, row, width * 0.92, color=color, hatch=hatch, edgecolor="white", linewidth=0, label=name)
    ax.set_xticks(range(len(labels)), labels)
    ax.grid(axis="x", visible=False)
    ax.set(ylabel=ylabel, title=title)
    legend_beside(ax)
    return ax


@in_style
def plot_parameter_shares(counts: Mapping[str, Mapping[str, int]], ax: Axes | None = None, title: str = "") -> Axes:
    """A lying bar for each model, cut into its parts' shares of all its parameters; the total stands with the name.

    counts: {"124M": {"token embedding": 38597376, ...}, ...}, with the same parts for each model.
    Raises ValueError where there is nothing to draw, or the parts differ.
    """
    parts = list(next(iter(counts.values()), ()))
    if not parts or len(parts) > len(HATCHES) or any(list(model) != parts for model in counts.values()):
        raise ValueError(f"The models are {dict(counts)}; pass the same 1 to {len(HATCHES)} parts for each of them.")
    ax = new_axes(ax, (7.6, 1.6 + 0.5 * len(counts)))
    totals = np.array([sum(model.values()) for model in counts.values()], dtype=float)
    left = np.zeros(len(counts))
    colors = (GREEN, GREY, BLUE, ORANGE, PURPLE, "#E69F00")
    for part, color, hatch in zip(parts, colors, HATCHES, strict=False):
        shares = np.array([model[part] for model in counts.values()]) / totals
        style = {"color": color, "edgecolor": "white", "hatch": hatch, "height": 0.68}
        ax.barh(range(len(counts)), shares, left=left, label=part, **style)
        for row, (share, start) in enumerate(zip(shares, left, strict=True)):
            if share >= WIDE:
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
                ax.text(start + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=8.5, bbox=box)
        left = left + shares
    name_rows(ax, [f"{name}\n{total / 1e6:,.1f} M" for name, total in zip(counts, totals, strict=True)], fontsize=9)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set(xlim=(0, 1), xlabel="share of all parameters", title=title)
    ax.grid(visible=False)
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return ax
