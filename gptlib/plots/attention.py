"""Attention: its weights as heat maps, who may look at whom, which numbers are whose head's, which keys a cache keeps.

Letters: H heads, T positions that look (queries), S positions that are seen (keys), C channels, D = C / H.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from gptlib.plots.base import BLUE, PALE, PALE_BLUE, PALE_GREY, in_style, new_panels
from gptlib.plots.cells import as_grid, cell_legend, draw_cell
from gptlib.plots.checks import as_array, as_matrices, as_matrix
from gptlib.plots.labels import token_label
from gptlib.plots.matrices import draw_heat_map, plot_matrices
from gptlib.utils.validation import whole_number


@in_style
def plot_attention(
    weights: Mapping[str, object],
    tokens: Sequence[str] | None = None,
    axes: Sequence[Axes] | None = None,
    numbers: bool = True,
) -> list[Axes]:
    """Heat maps {title: attention weights (T, S)} side by side, in one scale: row i is what position i looks at.

    tokens: one for each key; with a cache, the queries are the last of them. numbers: written into the cells.
    Raises ValueError where the weights are not one matrix, or there are fewer tokens than keys.
    """
    matrices = as_matrices(weights, "of one head (queries, keys)")
    T, S = next(iter(matrices.values()), np.empty((0, 0))).shape
    if tokens is not None and len(tokens) < max(T, S):
        raise ValueError(f"There are {len(tokens)} tokens for weights of shape {(T, S)}; pass one for each key.")
    labels = None if tokens is None else [token_label(token) for token in tokens]
    rows, columns = (None, None) if labels is None else (labels[-T:], labels[-S:])
    names = {"xlabel": "looked at (key)", "ylabel": "looking (query)"}
    return plot_matrices(matrices, rows, columns, axes, numbers=numbers, **names)


@in_style
def plot_heads(attention: Sequence, axes: np.ndarray | None = None) -> np.ndarray:
    """A small heat map of every head of every layer; attention is one (H, T, T) for each layer.

    Each map has its own scale, from white (0) to its own largest weight. axes: (layers, heads) of them.
    Raises ValueError where a layer has another form.
    """
    layers = [as_array(layer) for layer in attention]
    shapes = [layer.shape for layer in layers]
    if not layers or any(layer.ndim != 3 or layer.size == 0 for layer in layers) or len(set(shapes)) > 1:
        raise ValueError(f"The layers have shapes {shapes}; pass weights (heads, queries, keys) for each, all alike.")
    rows, columns = len(layers), len(layers[0])
    if axes is None:
        width = min(1.3, 9 / columns)
        size = (width * columns + 0.5, width * rows + 0.5)
        axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)[1]
    for i, layer in enumerate(layers):
        for j, weights in enumerate(layer):
            draw_heat_map(axes[i, j], as_matrix(weights, f"Head {j} of layer {i}"))
            axes[i, j].set(xticks=[], yticks=[])
        axes[i, 0].set_ylabel(f"layer {i}", fontsize=9)
    for j in range(columns):
        axes[0, j].set_title(f"head {j}", fontsize=9, loc="center")
    return axes


@in_style
def plot_masks(masks: Mapping[str, tuple], axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Masks side by side: row i is blue, with a dot, where position i may look.

    masks: {title: (mask (T, T) of True and False, a token for each position)}.
    """
    masks = {title: (as_array(mask), list(map(token_label, tokens))) for title, (mask, tokens) in masks.items()}
    for mask, tokens in masks.values():
        if mask.shape != (len(tokens), len(tokens)) or mask.size == 0 or mask.dtype != bool:
            raise ValueError(
                f"The mask has the shape {mask.shape} and type {mask.dtype} for {len(tokens)} tokens; pass a square "
                "matrix of True and False, as large as there are tokens."
            )
    largest = max((len(tokens) for _, tokens in masks.values()), default=0)
    axes = new_panels(axes, len(masks), (max(3.4, 1.3 + 0.42 * largest) * len(masks), 3.2))
    for ax, (title, (mask, tokens)) in zip(axes, masks.items(), strict=True):
        n = len(tokens)
        ax.imshow(mask, cmap=ListedColormap(["#FFFFFF", PALE_BLUE]), vmin=0, vmax=1, aspect="auto")
        rows, columns = np.nonzero(mask)
        ax.scatter(columns, rows, s=18, color=BLUE)
        ax.hlines(np.arange(n + 1) - 0.5, -0.5, n - 0.5, color=PALE_GREY, linewidth=1)
        ax.vlines(np.arange(n + 1) - 0.5, -0.5, n - 0.5, color=PALE_GREY, linewidth=1)
        ax.set_xticks(range(n), tokens, rotation=90, fontsize=9)
        ax.set_yticks(range(n), tokens, fontsize=9)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.grid(visible=False)
        ax.set(xlabel="may look at ...", title=title)
    axes[0].set_ylabel("this position ...")
    return axes


@in_style
def plot_split(heads: Mapping[str, object], axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Which head each number of x (T, C) goes to; heads is {title: (H, T, D)}, made of x = 0, 1, 2 ... in that order.

    The cells are coloured by head. Raises ValueError where the numbers are not those of x.
    """
    arrays = {title: as_array(array) for title, array in heads.items()}
    for array in arrays.values():
        if array.ndim != 3 or array.size == 0 or sorted(array.ravel()) != list(range(array.size)):
            raise ValueError(
                f"The heads have the shape {array.shape}; pass (heads, positions, channels), made of 0, 1, 2 and so on."
            )
    H, T, D = next(iter(arrays.values()), np.empty((0, 0, 0))).shape
    axes = new_panels(axes, len(arrays), ((1.2 + 0.6 * H * D) * len(arrays), 1.3 + 0.4 * T))
    for ax, (title, array) in zip(axes, arrays.items(), strict=True):
        H, T, D = array.shape
        for (head, _, _), number in np.ndenumerate(array):
            row, column = divmod(int(number), H * D)
            draw_cell(ax, column, row, f"{number:g}\nhead {head}", PALE[head % len(PALE)])
        as_grid(ax, H * D, T)
        ax.set(xlabel="channel", ylabel="position", title=title, yticks=range(T))
    return axes


@in_style
def plot_computed_keys(prompt: int, new: int, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Which positions' keys and values each run of the model computes, without a KV cache and with one.

    prompt: tokens of the prompt; new: how many follow, each the result of one run. A row of the picture is a run.
    """
    whole_number("prompt", prompt, 1)
    whole_number("new", new, 1)
    axes = new_panels(axes, 2, (2 * (0.9 + 0.34 * (prompt + new)), 1.5 + 0.34 * new))
    looks = {"computed": {"face": BLUE}, "kept": {"face": PALE_GREY, "hatch": "///"}}
    for ax, cache in zip(axes, (False, True), strict=True):
        total = 0
        for run in range(new):
            for position in range(prompt + run):
                is_kept = cache and run > 0 and position < prompt + run - 1
                total += not is_kept
                draw_cell(ax, position, run, **looks["kept" if is_kept else "computed"])
        as_grid(ax, prompt + new - 1, new)
        ax.set_yticks(range(new), [f"run {i + 1}" for i in range(new)])
        ax.set(xlabel="position", title=f"{'with' if cache else 'without'} a cache: {total} computed")
    cell_legend(axes[0], looks, "lower center")
    return axes
