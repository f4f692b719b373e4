"""Figures of one style: loss curves, learning rate, token counts, attention. Axes in, Axes out.

Each figure brings its own light background, so that it reads the same in a light and a dark JupyterLab; the colours
are told apart by colour-blind readers too (Okabe & Ito 2008), and lines differ in dash as well.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gptlib.checks import whole_number
from gptlib.files import write_atomically

if TYPE_CHECKING:
    from gptlib.history import History

DARK_ORANGE = "#A84600"  # ORANGE as text
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B6B6B"
STYLE = {
    "figure.facecolor": "#FBFAF6",
    "savefig.facecolor": "#FBFAF6",
    "axes.facecolor": "#FBFAF6",
    "axes.edgecolor": "#8A8A8A",
    "axes.labelcolor": "#333333",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E1D8",
    "grid.linewidth": 0.8,
    "text.color": "#222222",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "font.size": 10,
    "figure.dpi": 110,
}


def in_style(plot: Callable[..., Axes]) -> Callable[..., Axes]:
    """Let a plotting function draw in the workbook's style, and leave everybody else's as it is."""

    @wraps(plot)
    def styled(*arguments, **options) -> Axes:
        # Jupyter's backend changes settings when it is loaded, at its first use; those have to outlive the context.
        plt.draw_if_interactive()
        with plt.rc_context(STYLE):
            return plot(*arguments, **options)

    return styled


def new_axes(ax: Axes | None = None, size: tuple[float, float] = (6.4, 3.4)) -> Axes:
    """The Axes given, or those of a new figure of `size` inches."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


@in_style
def plot_losses(history: "History", ax: Axes | None = None, x: str = "step") -> Axes:
    """Training and validation loss, in nats a token, against "step", "tokens" or "seconds"; batch losses behind them.

    The lowest validation loss is marked, since the weights of that step are the ones that are kept.
    Raises ValueError where x is none of the three.
    """
    if x not in ("step", "tokens", "seconds"):
        raise ValueError(f"x={x!r} can't be an axis; give 'step', 'tokens' or 'seconds'.")
    ax = new_axes(ax)
    steps, places = history["step"], history[x]
    if history.step_losses and len(steps) > 1:
        every_step = np.interp(np.arange(1, len(history.step_losses) + 1), steps, places)
        behind = len(history.step_losses) - steps[-1]  # steps since the last evaluation: on at the pace so far
        if behind > 0:
            every_step[-behind:] = places[-1] + np.arange(1, behind + 1) * (places[-1] - places[0]) / (
                steps[-1] - steps[0]
            )
        ax.plot(every_step, history.step_losses, color=GREY, alpha=0.25, linewidth=0.7, label="each batch")
    ax.plot(places, history["train_loss"], color=BLUE, marker="o", markersize=3, label="training")
    if any(loss is not None for loss in history["val_loss"]):
        ax.plot(places, history["val_loss"], color=ORANGE, linestyle="--", marker="s", markersize=3, label="validation")
        best = history.best
        ax.annotate(
            f"{best['val_loss']:.3f}",
            (best[x], best["val_loss"]),
            textcoords="offset points",
            xytext=(0, 9),
            ha="center",
            color=DARK_ORANGE,
        )
    ax.set(xlabel=x if x != "seconds" else "seconds of training", ylabel="loss (nats a token)", title="Loss")
    ax.legend()
    return ax


@in_style
def plot_learning_rate(history: "History", ax: Axes | None = None) -> Axes:
    """The learning rate at each evaluation of a run."""
    ax = new_axes(ax)
    ax.plot(history["step"], history["learning_rate"], color=GREEN, marker="o", markersize=3)
    ax.set(xlabel="step", ylabel="learning rate", title="Learning rate", ylim=(0, None))
    return ax


@in_style
def plot_token_counts(
    token_ids: Sequence[int] | np.ndarray,
    decode: Callable[[list[int]], str],
    ax: Axes | None = None,
    top: int = 30,
) -> Axes:
    """How often the `top` commonest tokens occur; decode turns a list of ids into text (tokenizer.decode)."""
    token_ids = np.asarray(token_ids)
    if token_ids.size == 0:
        raise ValueError("There is no token to count; pass at least one id.")
    if token_ids.ndim != 1 or not np.issubdtype(token_ids.dtype, np.integer) or token_ids.min() < 0:
        raise ValueError(
            f"Token ids are whole numbers from 0 on, in a row, not of shape {token_ids.shape}, type {token_ids.dtype} "
            f"and lowest {token_ids.min()}; encode the text first."
        )
    whole_number("top", top, 1)
    counts = np.bincount(token_ids)
    commonest = counts.argsort(kind="stable")[::-1][:top]
    commonest = commonest[counts[commonest] > 0]
    ax = new_axes(ax, (6.4, 0.9 + 0.19 * len(commonest)))
    labels = [repr(decode([int(token)]))[1:-1].replace(" ", "␣") for token in commonest]
    ax.barh(range(len(commonest)), counts[commonest], color=BLUE)
    ax.set_yticks(range(len(commonest)), labels, family="monospace", fontsize=8)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="occurrences", title=f"The {len(commonest)} commonest of {np.count_nonzero(counts):,} tokens used")
    return ax


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


class LiveLosses:
    """A loss curve in Jupyter, redrawn in place at each evaluation: `train(..., on_evaluation=LiveLosses())`."""

    def __init__(self):
        self.handle = None

    def __call__(self, history: "History") -> None:
        from IPython.display import display

        figure = plot_losses(history).figure
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        plt.close(figure)  # else Jupyter would show it once more at the end of the cell


def save_figure(figure: Axes | Figure, path: str | Path) -> Path:
    """Write the figure, or that of the Axes, as PNG, atomically, and close it; the path."""
    figure = figure.figure if isinstance(figure, Axes) else figure
    with write_atomically(path) as file:
        figure.savefig(file, format="png", dpi=150)
    plt.close(figure)
    return Path(path)
