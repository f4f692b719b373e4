"""What single tokens of a text cost a model, as colour behind the text."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle

from gptlib.plots.base import INK, in_style
from gptlib.plots.checks import as_row, one_for_each
from gptlib.plots.labels import Token, visible
from gptlib.plots.tokens import laid_out, text_axes, write_token
from gptlib.utils.validation import whole_number

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
    grounds = list(laid_out([visible(token, width) for token in tokens], width))
    ax = text_axes(ax, width, grounds[-1][0] + 1, title, beside=0.9)
    scale = Normalize(0, highest, clip=True)
    for (row, column, text), cost in zip(grounds, costs, strict=True):
        face = _SCALE(scale(cost))
        ax.add_patch(Rectangle((column, row + 0.06), len(text) - 0.08, 0.88, facecolor=face, linewidth=0))
        write_token(ax, row, column + len(text) / 2, text, INK)
    ax.figure.colorbar(ScalarMappable(scale, _SCALE), ax=ax, label=label, fraction=0.03, pad=0.01)
    return ax
