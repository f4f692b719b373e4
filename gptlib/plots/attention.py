"""Attention weights as heat maps, and what the chapter on attention draws around them."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import LogLocator, MaxNLocator

from gptlib.plots.base import BLUE, GREEN, GREY, ORANGE, PURPLE, in_style, new_axes

LOOKS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D"))  # colour, dash, marker
PALE = ("#A9D3EC", "#F6C59B", "#A5DCC8", "#E9CBDB", "#E8E2A0", "#D2D2D2")  # dark text can be read on each
TURN = 0.715  # of the largest weight: from there on, white text is easier to read than black


@in_style
def plot_attention(
    weights, tokens: Sequence[str] | None = None, ax: Axes | None = None, title: str = "", numbers: bool = False
) -> Axes:
    """A heat map of attention weights (T, S): row i is what position i looks at; dark is much. tokens label both axes.

    numbers: write each weight into its cell. Raises ValueError where the weights are not one matrix.
    """
    weights = _matrix(weights)
    tokens = _labels(tokens, weights)
    n = max(weights.shape)
    ax = new_axes(ax, (min(2.6 + 0.26 * n, 9), min(2.2 + 0.26 * n, 8.4)))
    image = _heat_map(ax, weights, max(float(weights.max()), 1e-9), numbers)
    _label_axes(ax, weights, tokens)
    ax.set(xlabel="looked at (key)", ylabel="looking (query)", title=title)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="weight")
    return ax


@in_style
def plot_attentions(
    weights: Mapping[str, object],
    tokens: Sequence[str] | None = None,
    axes: Sequence[Axes] | None = None,
    numbers: bool = True,
) -> Sequence[Axes]:
    """Heat maps {title: weights (T, S)} side by side, in one scale; numbers: write each weight into its cell.

    Raises ValueError where one of them is no matrix, or where their number is not that of the axes.
    """
    matrices = {title: _matrix(matrix) for title, matrix in weights.items()}
    n = max((max(matrix.shape) for matrix in matrices.values()), default=0)
    side = 1.1 + (0.42 if numbers else 0.2) * n
    axes = _panels(axes, len(matrices), (side * len(matrices), side + 0.3))
    top = max(float(matrix.max()) for matrix in matrices.values())
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        _heat_map(ax, matrix, max(top, 1e-9), numbers)
        _label_axes(ax, matrix, _labels(tokens, matrix))
        ax.set(xlabel="looked at (key)", title=title)
    axes[0].set_ylabel("looking (query)")
    return axes


@in_style
def plot_heads(attention: Sequence, axes: np.ndarray | None = None) -> np.ndarray:
    """A small heat map of every head of every layer; attention is one (H, T, T) for each layer.

    Each map has its own scale, from white (0) to its own largest weight. axes: (layers, heads) of them.
    Raises ValueError where a layer has another form.
    """
    layers = [_array(layer) for layer in attention]
    if not layers or any(layer.ndim != 3 or layer.size == 0 for layer in layers) or len({x.shape for x in layers}) > 1:
        shapes = [layer.shape for layer in layers]
        raise ValueError(
            f"The layers have the shapes {shapes}; pass weights (heads, queries, keys) for each, all alike."
        )
    rows, columns = len(layers), len(layers[0])
    if axes is None:
        width = min(1.3, 9 / columns)
        size = (width * columns + 0.5, width * rows + 0.5)
        axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)[1]
    for i, layer in enumerate(layers):
        for j, weights in enumerate(layer):
            _heat_map(axes[i, j], weights, max(float(weights.max()), 1e-9), numbers=False)
            axes[i, j].set(xticks=[], yticks=[])
        axes[i, 0].set_ylabel(f"layer {i}", fontsize=9)
    for j in range(columns):
        axes[0, j].set_title(f"head {j}", fontsize=9, loc="center")
    return axes


@in_style
def plot_head_scores(scores: Mapping[str, object], axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """One number for each head, {title: (layers, heads)}, written into heat maps side by side, in one scale.

    Raises ValueError where one of them is no matrix, or where their number is not that of the axes.
    """
    matrices = {title: _matrix(matrix, "(layers, heads)") for title, matrix in scores.items()}
    rows, columns = next(iter(matrices.values()), np.empty((0, 0))).shape
    axes = _panels(axes, len(matrices), ((0.7 + 0.42 * columns) * len(matrices), 1.1 + 0.42 * rows))
    top = max(float(matrix.max()) for matrix in matrices.values())
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        _heat_map(ax, matrix, max(top, 1e-9), numbers=True)
        ax.set_xticks(range(matrix.shape[1]))
        ax.set_yticks(range(matrix.shape[0]))
        ax.set(xlabel="head", title=title)
    axes[0].set_ylabel("layer")
    return axes


@in_style
def plot_sharpness(scores: Mapping[str, Sequence[float]], labels: Sequence[str], ax: Axes | None = None) -> Axes:
    """Bars {title: weights} in groups, one group for each label, as of one row of weights made sharper and sharper.

    Raises ValueError where the weights are not one for each label.
    """
    rows = {name: _array(row) for name, row in scores.items()}
    if not rows or any(row.shape != (len(labels),) for row in rows.values()):
        shapes = {name: row.shape for name, row in rows.items()}
        raise ValueError(f"The rows have the shapes {shapes}; pass one weight for each of the {len(labels)} labels.")
    ax = new_axes(ax, (6.4, 2.9))
    width = 0.8 / len(rows)
    hatches = cycle(("", "///", "...", "xxx"))
    for i, ((name, row), (color, _, _), hatch) in enumerate(zip(rows.items(), cycle(LOOKS), hatches, strict=False)):
        places = np.arange(len(labels)) + (i - (len(rows) - 1) / 2) * width
        ax.bar(places, row, width * 0.92, color=color, hatch=hatch, edgecolor="#FBFAF6", linewidth=0, label=name)
    ax.set_xticks(range(len(labels)), labels)
    ax.grid(axis="x", visible=False)
    ax.set(ylabel="weight", ylim=(0, 1.05))
    ax.legend()
    return ax


@in_style
def plot_growth(
    xs: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    axes: Sequence[Axes] | None = None,
    xlabel: str = "",
    guide: float | None = None,
) -> Sequence[Axes]:
    """Panels {what is measured: {curve's name: values}} side by side against xs, both axes logarithmic.

    guide: draw in grey how what grows with that power of x would rise, from the first curve's last point backwards.
    Raises ValueError where a curve has not one positive value for each x.
    """
    axes = _panels(axes, len(panels), ((4.4 if len(panels) < 3 else 3.4) * len(panels), 3.2))
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        for (name, values), (color, dash, marker) in zip(curves.items(), cycle(LOOKS), strict=False):
            if len(values) != len(xs) or min(values) <= 0:
                raise ValueError(f"The curve {name!r} needs a positive value for each of the {len(xs)} places.")
            ax.loglog(xs, values, color=color, linestyle=dash, marker=marker, markersize=4, label=name)
        if guide is not None:
            end = next(iter(curves.values()))[-1]
            rise = [end * (x / xs[-1]) ** guide for x in xs]
            ax.loglog(
                xs, rise, color=GREY, linewidth=1, linestyle=(0, (1, 2)), label=f"grows with {xlabel}$^{guide:g}$"
            )
        ax.set_xticks(xs, [f"{x:g}" for x in xs], fontsize=9)
        ax.minorticks_off()
        decades = np.log10(ax.get_ylim()[1] / ax.get_ylim()[0])
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 3 else (1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set(xlabel=xlabel, title=title)
    axes[0].legend()
    return axes


@in_style
def plot_split(heads: Mapping[str, object], axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Which head each number of x (T, C) goes to; heads is {title: (H, T, D)}, made of x = 0, 1, 2 ... in that order.

    The cells are coloured by head. Raises ValueError where the numbers are not those of x.
    """
    arrays = {title: _array(array) for title, array in heads.items()}
    for array in arrays.values():
        if array.ndim != 3 or sorted(array.ravel()) != list(range(array.size)):
            raise ValueError(
                f"The heads have the shape {array.shape}; pass (heads, positions, channels), made of 0, 1, 2 and so on."
            )
    first = next(iter(arrays.values()), np.empty((0, 0, 0)))
    T, C = first.shape[1], first.shape[0] * first.shape[2]
    axes = _panels(axes, len(arrays), ((1.2 + 0.44 * C) * len(arrays), 1.3 + 0.4 * T))
    for ax, (title, array) in zip(axes, arrays.items(), strict=True):
        owner = np.empty(array.size, int)
        for head, numbers in enumerate(array):
            owner[numbers.ravel().astype(int)] = head
        ax.imshow(owner.reshape(T, C) % len(PALE), cmap=ListedColormap(PALE), vmin=0, vmax=len(PALE) - 1)
        for number, head in enumerate(owner):
            ax.text(number % C, number // C, f"{number}\nhead {head}", ha="center", va="center", fontsize=8)
        ax.grid(visible=False)
        ax.set_xticks(range(C))
        ax.set_yticks(range(T))
        ax.set(xlabel="channel", ylabel="position", title=title)
    return axes


def _array(values) -> np.ndarray:
    return np.asarray(values.detach().float().cpu() if hasattr(values, "detach") else values)


def _matrix(weights, shape: str = "(queries, keys)") -> np.ndarray:
    weights = _array(weights)
    if weights.ndim != 2 or weights.size == 0:
        whose = "those of one head, " if shape == "(queries, keys)" else "a number for each head, "
        raise ValueError(f"The weights have the shape {weights.shape}; pass {whose}{shape}.")
    return weights


def _labels(tokens: Sequence[str] | None, weights: np.ndarray) -> list[str] | None:
    if tokens is not None and len(tokens) < max(weights.shape):
        raise ValueError(f"There are {len(tokens)} tokens for weights of shape {weights.shape}; pass one for each key.")
    return None if tokens is None else [token.replace("\n", "\\n").replace(" ", "␣") for token in tokens]


def _label_axes(ax: Axes, weights: np.ndarray, labels: list[str] | None) -> None:
    if labels is not None:
        ax.set_xticks(range(weights.shape[1]), labels[-weights.shape[1] :], rotation=90, fontsize=8)
        ax.set_yticks(range(weights.shape[0]), labels[-weights.shape[0] :], fontsize=8)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _heat_map(ax: Axes, weights: np.ndarray, top: float, numbers: bool):
    image = ax.imshow(weights, cmap="Blues", vmin=0, vmax=top)
    ax.grid(visible=False)
    if numbers:
        for (i, j), weight in np.ndenumerate(weights):
            color = "white" if weight > TURN * top else "black"
            text = f"{weight:.2f}" if weight else "0"  # 0.00 is small, 0 is nothing at all
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=color)
    return image


def _panels(axes: Sequence[Axes] | None, n: int, size: tuple[float, float]) -> Sequence[Axes]:
    """The axes given, or n new ones in a row."""
    if n == 0:
        raise ValueError("There is nothing to draw; pass a dict with at least one title and what belongs under it.")
    if axes is None:
        return plt.subplots(1, n, figsize=size, layout="constrained", squeeze=False)[1][0]
    if len(axes) != n:
        raise ValueError(f"There are {len(axes)} Axes for {n} panels; pass as many.")
    return axes
