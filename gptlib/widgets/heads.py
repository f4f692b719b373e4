"""One attention head drawn: the heat map of its weights, and the row of one token as bars over the text.

Nothing here knows of models: weights are lists of numbers, tokens are labels.
"""

from gptlib.plots.base import BLUE, DARK_ORANGE, GREY
from gptlib.widgets import drawing as svg
from gptlib.widgets.drawing import INK, MARGIN, QUIET, WIDTH, Picture

LABEL = 12  # columns of a token at the heat map's edge
BAR, GAP = 44, 3  # pixels: the longest bar, and between tokens
LARGEST_CELL, ROOM_FOR_NUMBERS = 34.0, 30.0
SEEN, UNSEEN, DARKEST = svg.tint(BLUE, 0.12), "#EFEDE6", "#00456F"
EXPLANATION = "Row: the token that looks. Column: what it looks at. Blank: what comes later, which it can't see."

Weights = list[list[float]]  # (T, T)


def draw_head(weights: Weights, labels: list[str], query: int, name: str, note: str = "") -> Picture:
    """The row of `query` as bars over the text, and below it the heat map of all rows."""
    heading = f"{name}: what “{labels[query]}” (position {query}) looks at"
    bars, y = draw_row(weights[query], labels, query, 44)
    parts = [svg.label(MARGIN, 28, heading, 14, font_weight="bold"), *bars, svg.label(MARGIN, y + 14, EXPLANATION)]
    heat, y = draw_heat_map(weights, labels, query, y + 26)
    parts += heat
    if note:
        drawn, y = svg.wrapped(MARGIN, y + 18, note, fill=QUIET)
        parts.append(drawn)
    looked = sorted(range(query + 1), key=lambda key: -weights[query][key])[:5]
    most = ", ".join(f"“{labels[key]}” (position {key}) {weights[query][key]:.2f}" for key in looked)
    words = (
        f"{name}, {svg.count(len(labels), 'token')}. “{labels[query]}” (position {query}) looks most at {most}. {note}"
    )
    return svg.drawing(y + 10, words.strip(), parts)


def draw_row(row: list[float], labels: list[str], query: int, top: float) -> tuple[list[str], float]:
    """The tokens in lines, over each a bar for its weight, the largest full; what comes behind the query is grey."""
    parts: list[str] = []
    widths = [max(svg.mono_width(text, 14), 26) + 8 for text in labels]
    y = top
    for line in svg.lines_of(widths, GAP):
        room = BAR + 14 if line[0][0] <= query else 0  # where there are no bars they need no room
        for key, x in line:
            width, middle, seen = widths[key], x + widths[key] / 2, key <= query
            if seen:
                bar = BAR * row[key] / max(row)
                said = svg.hover(said_of(labels, query, key, row[key]))
                parts.append(svg.box(x, y + room - bar, width, bar, said, fill=BLUE))
                parts.append(svg.label(middle, y + room - bar - 4, f"{row[key]:.2f}", 11, text_anchor="middle"))
            frame = {"stroke": DARK_ORANGE, "stroke_width": 2.5} if key == query else {"stroke": GREY}
            parts.append(svg.box(x, y + room + 2, width, 24, fill=SEEN if seen else UNSEEN, **frame))
            look = {"text_anchor": "middle", "fill": INK if seen else QUIET}
            parts.append(svg.label(middle, y + room + 19, labels[key], 14, mono=True, **look))
        y += room + 34
    return parts, y


def draw_heat_map(weights: Weights, labels: list[str], query: int, top: float) -> tuple[list[str], float]:
    """A cell for each weight, dark where it is large; with the number in it where there is room."""
    T = len(labels)
    labels = [svg.shorten(text, LABEL) for text in labels]
    longest = max(svg.mono_width(text, 12) for text in labels)
    left = MARGIN + longest + 8
    cell = min(LARGEST_CELL, (WIDTH - MARGIN - left - longest / 2) / T)
    y0 = top + longest * 0.87 + 16  # the sine of the labels' 60 degrees
    parts = []
    for i, text in enumerate(labels):
        chosen = {"font_weight": "bold", "fill": DARK_ORANGE} if i == query else {}
        parts.append(svg.label(left - 6, y0 + (i + 0.5) * cell + 4, text, 12, mono=True, text_anchor="end", **chosen))
        x, y = left + (i + 0.5) * cell + 4, y0 - 5
        parts.append(svg.label(x, y, text, 12, mono=True, transform=f"rotate(-60 {x:.1f} {y:.1f})"))
        for key in range(i + 1):
            said = said_of(labels, i, key, weights[i][key])
            parts.append(draw_cell(left + key * cell, y0 + i * cell, cell, weights[i][key], said))
    frame = {"fill": "none", "stroke": DARK_ORANGE, "stroke_width": 2, "pointer_events": "none"}
    parts.append(svg.box(left - 1, y0 + query * cell - 1, (query + 1) * cell + 1, cell + 1, **frame))
    bottom = y0 + T * cell + 4
    return (parts, bottom) if cell >= ROOM_FOR_NUMBERS else ([*parts, *draw_scale(left, bottom + 8)], bottom + 30)


def draw_cell(x: float, y: float, size: float, weight: float, said: str) -> str:
    """One weight; the mouse on it shows `said`."""
    look = {"class": "gptlib-hover", "fill": svg.tint(DARKEST, strength(weight)), "rx": 1}
    square = svg.box(x, y, size - 1, size - 1, svg.hover(said), **look)
    if size < ROOM_FOR_NUMBERS:
        return square
    ink = "#FFFFFF" if strength(weight) > 0.7 else "#000000"  # there both have the same contrast
    look = {"text_anchor": "middle", "fill": ink, "pointer_events": "none"}
    return square + svg.label(x + size / 2, y + size / 2 + 4, f"{weight:.2f}".removeprefix("0"), 11, **look)


def draw_scale(x: float, y: float) -> list[str]:
    """Which colour is which weight, for a heat map without room for numbers."""
    parts = [svg.label(x, y + 12, "weight", 12, fill=QUIET)]
    for i, weight in enumerate((0.0, 0.05, 0.1, 0.25, 0.5, 1.0)):
        left = x + 56 + i * 70
        parts.append(svg.box(left, y, 22, 16, fill=svg.tint(DARKEST, strength(weight)), stroke=GREY, rx=1))
        parts.append(svg.label(left + 27, y + 12, f"{weight:g}", 12, fill=QUIET))
    return parts


def strength(weight: float) -> float:
    """How dark a weight is drawn, from 0 to 1; not in proportion, so that small weights differ too."""
    return 0.03 + 0.97 * min(max(weight, 0.0), 1.0) ** 0.7


def said_of(labels: list[str], query: int, key: int, weight: float) -> str:
    """Example: “␣cat” (2) looks at “The” (0): 0.42"""
    return f"“{labels[query]}” ({query}) looks at “{labels[key]}” ({key}): {weight:.2f}"
