"""Texts as tokens: pieces in two colours, wrapped like text."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from gptlib.plots.base import in_style, new_axes
from gptlib.plots.labels import MONO, Token, visible
from gptlib.utils.validation import whole_number

LIGHT_BLUE, LIGHT_ORANGE, DARK = "#BBDDF2", "#F8DDB4", "#333333"  # of boxes; apart in lightness too
_POINTS = 9
_COLUMN, _LINE = 0.602 * _POINTS / 72, 1.85 * _POINTS / 72  # inches of a character and of a line
_PADDING, _GAP = 0.3, 0.15  # columns between a token's text and its box, and between boxes


@in_style
def plot_tokens(
    tokens: Mapping[str, Sequence[Token]],
    ax: Axes | None = None,
    title: str = "",
    width: int = 76,
    marked: Collection[Token] = (),
) -> Axes:
    """One text cut in several ways: for each name its tokens, as boxes in two colours in turn, wrapped at `width`.

    A space is drawn as ␣. Tokens may be bytes (tokenizer.token_bytes): a byte that is no whole character is drawn as
    \\xf0, a character that the font lacks as U+1F642. Those among `marked`, as "<|unk|>", are drawn dark.
    Raises ValueError where there is nothing to draw, or what is drawn is one str instead of a list of tokens.
    """
    if not tokens or not all(len(pieces) for pieces in tokens.values()):
        raise ValueError("There is no token to draw; pass {name: list of tokens} with at least one token for each.")
    for name, pieces in tokens.items():
        if isinstance(pieces, str | bytes):
            raise ValueError(f"{name!r} is one {type(pieces).__name__}; pass its tokens, a list of str or bytes.")
    whole_number("width", width, 16)
    dark = {visible(token, width - 2) for token in marked}
    counts = {name: f"{len(p):,} token{'s' if len(p) != 1 else ''}" for name, p in tokens.items()}
    margin = 3 + max(max(len(name), len(count)) for name, count in counts.items())
    line = 0
    boxes, labels = [], []
    for name, pieces in tokens.items():
        labels.append((line, name, counts[name]))
        last = 0
        shown = [visible(token, width - 2) for token in pieces]
        for place, (row, column, text) in enumerate(laid_out(shown, width, _PADDING, _GAP)):
            boxes.append((line + row, margin + column, text, place % 2))
            last = row
        line += max(last + 1, 2) + 0.6
    ax = text_axes(ax, margin + width, line - 0.6, title)
    for row, name, count in labels:
        ax.text(0, row + 0.5, name, va="center", weight="bold", fontsize=_POINTS, clip_on=True)
        ax.text(0, row + 1.4, count, va="center", color="#555555", fontsize=_POINTS - 1, clip_on=True)
    for row, column, text, turn in boxes:
        _draw_box(ax, row, column, text, DARK if text in dark else (LIGHT_BLUE, LIGHT_ORANGE)[turn])
    return ax


def laid_out(
    texts: Iterable[str], width: int, padding: float = 0.0, gap: float = 0.0
) -> Iterator[tuple[int, float, str]]:
    """Each text with its line, of `width` characters, and the column where its box begins.

    padding: columns within a box before and behind the text; gap: those between boxes.
    """
    row, column = 0, 0.0
    for text in texts:
        taken = len(text) + 2 * padding
        if column and column + taken > width:
            row, column = row + 1, 0.0
        yield row, column, text
        column += taken + gap


def text_axes(ax: Axes | None, columns: float, lines: float, title: str = "", beside: float = 0.15) -> Axes:
    """The Axes given, or new ones, for lines of text: a unit is a character or a line, and the first line is on top.

    beside: inches of a new figure that the text doesn't take.
    """
    ax = new_axes(ax, (beside + columns * _COLUMN, 0.15 + lines * _LINE + (0.3 if title else 0)))
    ax.set(xlim=(0, columns), ylim=(lines, 0), title=title)
    ax.set_axis_off()
    return ax


def write_token(ax: Axes, row: float, middle: float, text: str, ink: str) -> None:
    """The text of a token in its line, with its middle at a column."""
    look = {"family": MONO, "fontsize": _POINTS, "color": ink, "parse_math": False, "clip_on": True}
    ax.text(middle, row + 0.52, text, ha="center", va="center", **look)


def _draw_box(ax: Axes, row: float, column: float, text: str, color: str) -> None:
    style = {"boxstyle": "round,pad=0,rounding_size=0.25", "mutation_aspect": _COLUMN / _LINE, "edgecolor": "none"}
    ax.add_patch(FancyBboxPatch((column, row + 0.08), len(text) + 2 * _PADDING, 0.84, facecolor=color, **style))
    write_token(ax, row, column + _PADDING + len(text) / 2, text, "#FFFFFF" if color == DARK else "#111111")
