"""Figures of one style, a module for each topic; every function takes Axes (or makes them) and returns them."""

from gptlib.plots.attention import plot_attention
from gptlib.plots.base import BLUE, DARK_ORANGE, GREEN, GREY, ORANGE, PURPLE, STYLE, in_style, new_axes, save_figure
from gptlib.plots.losses import LiveLosses, plot_learning_rate, plot_losses
from gptlib.plots.tokens import plot_token_counts

__all__ = [
    "BLUE",
    "DARK_ORANGE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "STYLE",
    "LiveLosses",
    "in_style",
    "new_axes",
    "plot_attention",
    "plot_learning_rate",
    "plot_losses",
    "plot_token_counts",
    "save_figure",
]
