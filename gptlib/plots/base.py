"""One style for every figure: Axes in, Axes out.

Each figure brings its own light background, so that it reads the same in a light and a dark JupyterLab; the colours
are told apart by colour-blind readers too (Okabe & Ito 2008), and lines differ in dash as well.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gptlib.files import write_atomically

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


def save_figure(figure: Axes | Figure, path: str | Path) -> Path:
    """Write the figure, or that of the Axes, as PNG, atomically, and close it; the path."""
    figure = figure.figure if isinstance(figure, Axes) else figure
    with write_atomically(path) as file:
        figure.savefig(file, format="png", dpi=150)
    plt.close(figure)
    return Path(path)
