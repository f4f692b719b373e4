"""Losses and learning rates: of a run from its history, of several runs, of a sweep."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from gptlib.plots.base import BLUE, DARK_ORANGE, GREEN, GREY, ORANGE, annotate, in_style, new_axes
from gptlib.plots.checks import as_row, one_for_each
from gptlib.plots.lines import Curve, plot_lines

LOSS = "loss (nats a token)"


class RunHistory(Protocol):
    """What is drawn of a run: `gptlib.training.history.History`, or anything that answers like it."""

    step_losses: list[float]
    best: dict[str, Any] | None

    def __getitem__(self, column: str) -> list:
        """A column of the evaluations, as "step" or "val_loss"."""


@in_style
def plot_losses(history: RunHistory, ax: Axes | None = None, x: str = "step") -> Axes:
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
            pace = (places[-1] - places[0]) / (steps[-1] - steps[0])
            every_step[-behind:] = places[-1] + np.arange(1, behind + 1) * pace
        ax.plot(every_step, history.step_losses, color=GREY, alpha=0.25, linewidth=0.7, label="each batch")
    ax.plot(places, history["train_loss"], color=BLUE, marker="o", markersize=3, label="training")
    if any(loss is not None for loss in history["val_loss"]):
        ax.plot(places, history["val_loss"], color=ORANGE, linestyle="--", marker="s", markersize=3, label="validation")
        best = history.best
        place = best[x], best["val_loss"]
        annotate(ax, f"{best['val_loss']:.3f}", place, (0, 9), ha="center", color=DARK_ORANGE)
    ax.set(xlabel=x if x != "seconds" else "seconds of training", ylabel=LOSS, title="Loss")
    ax.legend()
    return ax


@in_style
def plot_learning_rate(history: RunHistory, ax: Axes | None = None) -> Axes:
    """The learning rate at each evaluation of a run."""
    ax = new_axes(ax)
    ax.plot(history["step"], history["learning_rate"], color=GREEN, marker="o", markersize=3)
    ax.set(xlabel="step", ylabel="learning rate", title="Learning rate", ylim=(0, None))
    return ax


@in_style
def plot_loss_curves(curves: Mapping[str, Curve], ax: Axes | None = None, **options) -> Axes:
    """Losses of several runs by name, each one a step or a pair (steps, losses); options as for `plot_lines`."""
    return plot_lines(curves, ax=ax, xlabel="step", ylabel=LOSS, **options)


@in_style
def plot_sweep(rates: Sequence[float], losses: Sequence[float], ax: Axes | None = None) -> Axes:
    """The loss that each learning rate of a sweep ended at, on a log axis, the best one marked.

    Raises ValueError where there are not as many of both, a rate is not above 0, or no loss is a number.
    """
    rates, losses = as_row(rates, "rates"), as_row(losses, "losses")
    if np.isnan(losses).all():
        raise ValueError("Of the losses of the sweep none is a number; try lower rates.")
    one_for_each(losses, len(rates), "losses", "rate")
    order = np.argsort(rates)
    rates, losses = rates[order], losses[order]
    names = {"title": "Learning-rate sweep", "xlabel": "learning rate", "ylabel": "validation loss at the end"}
    ax = plot_lines({"sweep": (rates, losses)}, ax=ax, log="x", **names)
    best = int(np.nanargmin(losses))
    ax.plot(rates[best], losses[best], color=ORANGE, marker="*", markersize=16, linestyle="none")
    place, style = (rates[best], losses[best]), {"ha": "center", "va": "top", "color": DARK_ORANGE}
    annotate(ax, f"best: {rates[best]:g}", place, (0, -10), **style)
    ax.margins(y=0.16)  # room for it
    return ax


class LiveLosses:
    """A loss curve in Jupyter, redrawn in place at each evaluation: `train(..., on_evaluation=LiveLosses())`."""

    def __init__(self):
        self.handle = None

    def __call__(self, history: RunHistory) -> None:
        from IPython.display import display

        figure = plot_losses(history).figure
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        plt.close(figure)  # else Jupyter would show it once more at the end of the cell
