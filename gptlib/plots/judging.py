"""What single tokens of a text cost a model, as colour behind the text."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle

from gptlib.checks import whole_number
from gptlib.plots.base import INK, in_style, new_axes
from gptlib.plots.checks import as_row, one_for_each
from gptlib.plots.labels import MONO, Token, visible

_POINTS = 9
_COLUMN, _LINE = 0.602 * _POINTS / 72, 1.85 * _POINTS / 72  # inches of a character and of a line
_SCALE = LinearSegmentedColormap.from_list("costs", colormaps["Oranges"](np.linspace(0.02, 0.55, 64)))  # ink on all


@in_style
def plot_token_costs(
    tokens: Sequence[Token],
    costs: Sequence[float],
    ax: Axes | None = None,
    *,
    title: str = "",
    label: str = "nats",
    highest: float = 10.0,
    width: int = 90,
) -> Axes:
    """A text with each token on a ground that is the darker, the more it costs; all above `highest` are alike.

    White space is drawn as signs, and a line of text is `width` characters long.
    Raises ValueError where there is no token, there are not as many costs, or one is not finite.
    """
    costs = as_row(costs, "costs")
    one_for_each(costs, len(tokens), "costs", "token")
    if not np.isfinite(costs).all():
        raise ValueError(f"Of the costs {int((~np.isfinite(costs)).sum())} are not finite; pass finite numbers.")
    whole_number("width", width, 16)
    boxes, row, column = [], 0, 0
    for token in tokens:
        text = visible(token, width)
        if column + len(text) > width:
            row, column = row + 1, 0
        boxes.append((row, column, text))
        column += len(text)
    ax = new_axes(ax, (0.9 + width * _COLUMN, 0.2 + (row + 1) * _LINE + (0.3 if title else 0)))
    scale = Normalize(0, highest, clip=True)
    for (row, column, text), cost in zip(boxes, costs, strict=True):
        ax.add_patch(
            Rectangle((column, row + 0.06), len(text) - 0.08, 0.88, facecolor=_SCALE(scale(cost)), linewidth=0)
        )
        style = {"family": MONO, "fontsize": _POINTS, "color": INK, "parse_math": False, "clip_on": True}
        ax.text(column + len(text) / 2, row + 0.52, text, ha="center", va="center", **style)
    ax.set(xlim=(0, width), ylim=(boxes[-1][0] + 1, 0), title=title)
    ax.set_axis_off()
    ax.figure.colorbar(ScalarMappable(scale, _SCALE), ax=ax, label=label, fraction=0.03, pad=0.01)
    return ax
