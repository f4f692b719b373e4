"""Attention weights as a heat map."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from gptlib.plots.base import in_style, new_axes


@in_style
def plot_attention(weights, tokens: Sequence[str] | None = None, ax: Axes | None = None, title: str = "") -> Axes:
    """A heat map of attention weights (T, S): row i is what position i looks at; dark is much. tokens label both axes.

    Raises ValueError where the weights are not one matrix.
    """
    weights = np.asarray(weights.detach().float().cpu() if hasattr(weights, "detach") else weights)
    if weights.ndim != 2 or weights.size == 0:
        raise ValueError(f"The weights have the shape {weights.shape}; pass those of one head, (queries, keys).")
    if tokens is not None and len(tokens) < max(weights.shape):
        raise ValueError(f"There are {len(tokens)} tokens for weights of shape {weights.shape}; pass one for each key.")
    n = max(weights.shape)
    ax = new_axes(ax, (min(2.6 + 0.26 * n, 9), min(2.2 + 0.26 * n, 8.4)))
    image = ax.imshow(weights, cmap="Blues", vmin=0, vmax=max(float(weights.max()), 1e-9))
    ax.grid(visible=False)
    if tokens is not None:
        labels = [token.replace("\n", "\\n").replace(" ", "␣") for token in tokens]
        ax.set_xticks(range(weights.shape[1]), labels[-weights.shape[1] :], rotation=90, fontsize=8)
        ax.set_yticks(range(weights.shape[0]), labels[-weights.shape[0] :], fontsize=8)
    ax.set(xlabel="looked at (key)", ylabel="looking (query)", title=title)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="weight")
    return ax
