"""One style for every figure: Axes in, Axes out.

Each figure brings its own light background, so that it reads the same in a light and a dark JupyterLab; the colours
are told apart by colour-blind readers too (Okabe & Ito 2008), and lines differ in dash as well.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from gptlib.utils.files import write_atomically

INK = "#222222"
DARK_ORANGE = "#A84600"  # ORANGE as text
COLOURS = BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B6B6B"
PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_PURPLE, PALE_GREY = "#C6DFF1", "#FADCC6", "#CBEBDF", "#F3DBE8", "#E1DED5"
PALE = (PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_PURPLE, PALE_GREY)
"""Faces of cells and boxes: dark text can be read on each."""
LOOKS = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (INK, (0, (5, 1.5, 1, 1.5, 1, 1.5)), "v"),
)
"""Colour, dash and marker of the first curve, the second, and so on: as many as can be told apart."""
HATCHES = ("", "//", "..", "\\\\", "xx", "++")
"""Of the first bars, the second, and so on."""
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
    "text.color": INK,
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


def new_panels(axes: Sequence[Axes] | None, n: int, size: tuple[float, float], columns: int = 0) -> list[Axes]:
    """The n Axes given, or those of a new figure of `size` inches, in rows of `columns` (by default, in one row).

    Raises ValueError where there is nothing to draw, or another number of Axes.
    """
    if n == 0:
        raise ValueError("There is nothing to draw; pass a dict with at least one title and what belongs under it.")
    if axes is not None:
        if len(axes) != n:
            raise ValueError(f"There are {len(axes)} Axes for {n} panels; pass as many.")
        return list(axes)
    columns = columns or n
    figure, grid = plt.subplots(-(-n // columns), columns, figsize=size, layout="constrained", squeeze=False)
    for unused in grid.flat[n:]:
        figure.delaxes(unused)
    return list(grid.flat[:n])


def looks_of(names: Iterable[str], what: str = "curves") -> dict[str, tuple]:
    """The look (of LOOKS) of each name, in their order. Raises ValueError for more than can be told apart."""
    names = list(dict.fromkeys(names))
    if not 1 <= len(names) <= len(LOOKS):
        raise ValueError(f"There are {len(names)} {what}; pass 1 to {len(LOOKS)} of them, as {{name: values}}.")
    return dict(zip(names, LOOKS, strict=False))


def legend_beside(ax: Axes, *handles_and_labels) -> None:
    """A legend at the right of the Axes, where it hides nothing."""
    ax.legend(*handles_and_labels, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)


def legend_below(ax: Axes, **options) -> None:
    """A legend in one line, below the label of the x axis however high the Axes are."""
    below = ax.transAxes + ScaledTranslation(0, -40 / 72, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, ncols=5, fontsize=9, **options)


def annotate(ax: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **style) -> None:
    """Write a text at a point's side; offset: in points."""
    ax.annotate(text, at, xytext=offset, textcoords="offset points", **style)


def save_figure(figure: Axes | Figure, path: str | Path) -> Path:
    """Write the figure, or that of the Axes, as PNG, atomically, and close it; the path."""
    figure = figure.figure if isinstance(figure, Axes) else figure
    with write_atomically(path) as file:
        figure.savefig(file, format="png", dpi=150)
    plt.close(figure)
    return Path(path)
