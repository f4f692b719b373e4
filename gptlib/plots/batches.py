"""Batches of instructions: what is given, what is learned, and what only fills the rows up."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from gptlib.plots.base import ORANGE, PALE_BLUE, PALE_GREEN, PALE_GREY, PALE_ORANGE, in_style, new_axes, new_panels
from gptlib.plots.cells import as_grid, cell_legend, draw_cell
from gptlib.plots.checks import as_array
from gptlib.plots.labels import MONO, Token, token_label

KINDS = {"prompt: not learned": PALE_BLUE, "learned": ORANGE, "padding": PALE_GREY}
TOKENS = {"prompt": PALE_BLUE, "not learned": PALE_GREY, "answer": PALE_ORANGE, "its end": PALE_GREEN}


@in_style
def plot_targets(
    inputs: Sequence[Token], targets: Sequence[Token | None], ax: Axes | None = None, title: str = "", end: Token = ""
) -> Axes:
    """A row of inputs, and below each its target: grey where it is None, so -100, else in the answer's colour.

    end: a token that has a colour of its own, as the end of the text.
    Raises ValueError where there is nothing to draw, or not a target for each input.
    """
    if not inputs or len(inputs) != len(targets):
        raise ValueError(f"There are {len(inputs)} inputs and {len(targets)} targets; pass as many, at least one.")
    ax = new_axes(ax, (max(1.1 + 0.5 * len(inputs), 4.8), 1.8))
    for x, (token, target) in enumerate(zip(inputs, targets, strict=True)):
        given = x == 0 or targets[x - 1] is None  # an input is of the answer where it was a target to be learned
        draw_cell(ax, x, 0, token_label(token, 6), TOKENS["prompt" if given else "answer"], family=MONO)
        kind = "not learned" if target is None else "its end" if target == end else "answer"
        text = "−100" if target is None else token_label(target, 6)
        draw_cell(ax, x, 1, text, TOKENS[kind], family=MONO)
    as_grid(ax, len(inputs), 2)
    ax.set_yticks([0, 1], ["input", "target"])
    ax.set(title=title, xlabel="position")
    cell_legend(ax, {kind: {"face": colour} for kind, colour in TOKENS.items()})
    return ax


@in_style
def plot_batches(batches: Mapping[str, tuple], axes: Sequence[Axes] | None = None, columns: int = 0) -> list[Axes]:
    """Batches {title: (targets (B, T), attention_mask (B, T))} as pictures, a cell for each position.

    A target below zero is not learned. All panels have the width of the longest batch.
    Raises ValueError where there is nothing to draw, or the two have not one shape (B, T).
    """
    pictures = {}
    for title, (targets, real) in batches.items():
        targets, real = as_array(targets), as_array(real)
        if targets.ndim != 2 or targets.shape != real.shape or not targets.size:
            raise ValueError(
                f"{title!r} has targets of shape {targets.shape} and a mask of {real.shape}; pass two (B, T)."
            )
        pictures[title] = np.where(real, targets >= 0, 2)
    longest = max((picture.shape[1] for picture in pictures.values()), default=0)
    columns = columns or len(pictures)
    rows = -(-len(pictures) // max(columns, 1))
    axes = new_panels(axes, len(pictures), (3.1 * columns, 0.7 + 2.2 * rows), columns)
    for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
        ax.pcolormesh(picture, cmap=ListedColormap(list(KINDS.values())), vmin=0, vmax=2)
        ax.hlines(range(1, len(picture)), 0, longest, color="white", linewidth=1)
        ax.set(title=title, xlabel="position", ylabel="row", xlim=(0, longest), ylim=(len(picture), 0))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        every = max(1, len(picture) // 4)
        ax.set_yticks(np.arange(0, len(picture), every) + 0.5, range(0, len(picture), every))
        ax.grid(visible=False)
    cell_legend(axes[0], {kind: {"face": colour} for kind, colour in KINDS.items()})
    return axes
