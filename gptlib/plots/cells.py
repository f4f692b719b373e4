"""Cells with something written in them: tensors, broadcasting, rows of tokens."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from gptlib.plots.base import GREY, INK, PALE, PALE_BLUE, PALE_GREEN, PALE_GREY, PALE_ORANGE, in_style, new_axes
from gptlib.plots.checks import as_array, one_for_each
from gptlib.plots.labels import MONO, Token, number_label, token_label

GAP = 1.4  # between matrices, in cells
KINDS = {  # of a token in a row: the look of its cell, and whether its text is shown
    "token": ({"face": PALE_BLUE}, True),
    "prompt": ({"face": PALE_BLUE}, True),
    "new": ({"face": PALE_ORANGE}, True),
    "padding": ({"face": PALE_GREY, "hatch": "///"}, False),
    "end": ({"face": PALE_GREEN}, True),
    "filled up": ({"face": PALE_GREY, "hatch": "..."}, False),
}


def draw_cell(
    ax: Axes, x: float, y: float, text: str = "", face: str = PALE_BLUE, *, hatch: str = "", soft: bool = False, **style
) -> None:
    """A cell with its middle at (x, y) and a text in it; soft: its edge dotted, its text grey. style: of the text."""
    edge = {"edgecolor": "#8A8A8A", "linewidth": 0.7, "linestyle": ":" if soft else "-"}
    ax.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=face, hatch=hatch, **edge))
    if text:
        style = {"fontsize": 8, "color": "#666666" if soft else INK} | style
        ax.text(x, y, text, ha="center", va="center", clip_on=True, **style)


def as_grid(ax: Axes, columns: float, rows: float) -> None:
    """Axes for cells: the first row on top, column numbers below, no lines of its own."""
    ax.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6), xticks=range(int(columns)))
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)


def cell_legend(ax: Axes, looks: Mapping[str, Mapping[str, str]], place: str = "upper right") -> None:
    """What each look of a cell means ({name: options of `draw_cell`}), in one line, outside the Axes."""
    patches = [
        Patch(facecolor=x["face"], hatch=x.get("hatch"), edgecolor=GREY, label=name) for name, x in looks.items()
    ]
    ax.figure.legend(handles=patches, loc=f"outside {place}", ncols=len(patches), fontsize=9)


@in_style
def plot_tensor(values, groups=None, ax: Axes | None = None, title: str = "") -> Axes:
    """The numbers of a tensor in cells: a row, a matrix, or several matrices side by side; indices at the edges.

    groups: of the same shape, whole numbers that choose each cell's colour (0 to 4), by default all of one.
    Raises ValueError for what has no cells, more than three dimensions, or groups of another shape.
    """
    values = _drawable(values, "values")
    groups = np.zeros(values.shape, int) if groups is None else _drawable(groups, "groups").astype(int)
    if groups.shape != values.shape:
        raise ValueError(f"The groups have the shape {groups.shape} and the values {values.shape}; make them alike.")
    matrices = values.reshape((1,) * (3 - values.ndim) + values.shape)  # (matrices, rows, columns)
    n, rows, columns = matrices.shape
    ax = _sheet(ax, n * columns + (n - 1) * GAP, rows)
    for (m, i, j), group in np.ndenumerate(groups.reshape(matrices.shape)):
        left = m * (columns + GAP)
        draw_cell(ax, left + j, i, number_label(matrices[m, i, j]), PALE[group % len(PALE)], fontsize=9)
        index = {"ha": "center", "va": "center", "fontsize": 8, "color": GREY}
        if i == 0:
            ax.text(left + j, -0.8, str(j), **index)
        if j == 0 and values.ndim > 1:
            ax.text(left - 0.8, i, str(i), **index)
    ax.set_title(title or f"shape {values.shape}")
    return ax


@in_style
def plot_broadcasting(a, b, ax: Axes | None = None) -> Axes:
    """a + b with every copy that broadcasting makes: drawn in grey and dotted, since nothing is stored for it.

    Raises ValueError where the shapes don't fit each other, or the sum has more than two dimensions.
    """
    a, b = _drawable(a, "a"), _drawable(b, "b")
    try:
        rows, columns = np.broadcast_shapes((1, 1), a.shape, b.shape)
    except ValueError:
        raise ValueError(
            f"The shapes {a.shape} and {b.shape} don't give a sum in two dimensions; pass sizes that are equal, seen "
            "from the right, or one of them 1."
        ) from None
    ax = _sheet(ax, 3 * columns + 2 * GAP, rows)
    result = np.broadcast_to(a, (rows, columns)) + np.broadcast_to(b, (rows, columns))
    lefts = np.arange(3) * (columns + GAP)
    for matrix, left, face in zip((a, b, result), lefts, PALE, strict=False):
        own = (1,) * (2 - matrix.ndim) + matrix.shape
        for (i, j), number in np.ndenumerate(np.broadcast_to(matrix, (rows, columns))):
            copy = i >= own[0] or j >= own[1]
            face_or_copy = PALE_GREY if copy else face
            draw_cell(ax, left + j, i, number_label(number), face_or_copy, soft=copy, fontsize=9)
        ax.text(left - 0.5, -0.8, str(matrix.shape), fontsize=9, va="center")
    for left, sign in zip(lefts[1:], "+=", strict=True):
        ax.text(left - 1.2, (rows - 1) / 2, sign, ha="center", va="center", fontsize=13)
    return ax


@in_style
def plot_token_rows(
    rows: Sequence[Sequence[Token | int]],
    kinds: Sequence[Sequence[str]] | None = None,
    notes: Sequence[Sequence[object]] | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Rows of tokens or ids in cells, as a batch is one; rows may differ in length.

    kinds: of each token "token", "prompt", "new", "padding", "end" or "filled up" (its row had ended); padding and what
    is filled up stay without their text. notes: something small below each token, as its position. names: of the rows.
    """
    lengths = [len(row) for row in rows]
    if not lengths or not all(lengths):
        raise ValueError(f"The rows have {lengths} tokens; pass one row or more, none empty.")
    for name, given in (("kinds", kinds), ("notes", notes)):
        if given is not None and [len(row) for row in given] != lengths:
            raise ValueError(f"The rows have {lengths} tokens and {[len(row) for row in given]} {name}; pass as many.")
    one_for_each(names, len(rows), "names", "row")
    if unknown := {kind for row in kinds or () for kind in row} - KINDS.keys():
        raise ValueError(f"{min(unknown)!r} is no kind of token; give one of {', '.join(KINDS)}.")
    used = [kind for kind in KINDS if any(kind in row for row in kinds or ())]
    columns = max(lengths)
    width = max(min(1.3 + 0.58 * columns, 10), 1.2 * len(used))
    ax = new_axes(ax, (width, (0.8 if notes else 1.0) + (0.5 if notes else 0.33) * len(rows)))
    for y, row in enumerate(rows):
        for x, token in enumerate(row):
            look, shown = KINDS[kinds[y][x] if kinds else "token"]
            text = token_label(token, 9) if shown else ""
            note = f"\n{notes[y][x]}" if notes else ""
            draw_cell(ax, x, y, text + note, **look, family=MONO)
    as_grid(ax, columns, len(rows))
    ax.set_yticks(range(len(rows)), names or [f"row {y}" for y in range(len(rows))])
    ax.set(title=title, xlabel="position in the row")
    if notes:
        ax.set(xlabel="", xticks=[])
    if used:
        cell_legend(ax, {kind: KINDS[kind][0] for kind in used})
    return ax


def _drawable(values, name: str) -> np.ndarray:
    array = as_array(values)
    if not 1 <= array.ndim <= 3 or array.size == 0:
        raise ValueError(
            f"{name} of shape {array.shape} can't be drawn; pass 1, 2 or 3 dimensions, none of them empty."
        )
    return array


def _sheet(ax: Axes | None, width: float, height: int) -> Axes:
    """Axes for square cells with something written above and to the left of them; no ticks."""
    ax = new_axes(ax, (0.45 * width + 0.8, 0.45 * height + 0.9))
    ax.set(xlim=(-1.1, width - 0.4), ylim=(height - 0.4, -1.1), aspect="equal")
    ax.axis("off")
    return ax
