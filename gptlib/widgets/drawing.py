"""SVG as strings, from small pure functions: escaped, on a light background of its own, with its meaning in words.

Nothing here knows of widgets, models or tokenizers; a picture is drawn anew on every move of a slider, so nothing here
is slow either.
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from gptlib.plots.base import GREY, STYLE

WIDTH = 760  # of every picture, in pixels: it fits beside JupyterLab's file browser on a laptop
MARGIN = 14
BACKGROUND, INK, QUIET = STYLE["figure.facecolor"], STYLE["text.color"], "#555555"
MONO = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
SANS = "system-ui, 'DejaVu Sans', 'Segoe UI', Helvetica, Arial, sans-serif"
CELL = 0.62  # width of a monospaced character, in parts of the font size; a little more than any of the fonts needs

_ESCAPES = {" ": "␣", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}
_UNSEEN = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp", "Zs"}  # categories without a shape of their own


class Picture(NamedTuple):
    """A drawing, and the same in words, for who can't see it."""

    svg: str
    words: str


def visible(text: str) -> str:
    """`text` with a shape for all that has none: a space is ␣, a newline \\n, a zero-width space \\u200b.

    Example: "a\\tb\\x00" -> "a\\\\tb\\\\x00"
    """
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if unicodedata.category(character) in _UNSEEN:
        code = ord(character)
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    return character


def printable(text: str) -> str:
    """`text` as it stands, but for what no line of XML can hold or nobody can see; that is made visible."""
    return "".join(c if c.isprintable() else _visible_character(c) for c in text)


def token_label(token: bytes, longest: int = 24) -> str:
    """What a token is written as: its text, made visible, with bytes that are no whole character in hexadecimal.

    Example: b" the" -> "␣the"; b" \xe2\x82" -> "␣<E2 82>"; more than `longest` columns are cut: "aaa…"
    """
    # surrogateescape turns bytes that are no UTF-8 into U+DC80 … U+DCFF, which no valid UTF-8 gives.
    pieces = re.split("([\udc80-\udcff]+)", token.decode("utf-8", "surrogateescape"))
    pieces[::2] = map(visible, pieces[::2])
    pieces[1::2] = [f"<{piece.encode('utf-8', 'surrogateescape').hex(' ').upper()}>" for piece in pieces[1::2]]
    label = "".join(pieces) or "(empty)"
    if unicodedata.combining(label[:1] or " "):
        label = "◌" + label  # an accent needs something to stand on
    return shorten(label, longest)


def shorten(text: str, longest: int) -> str:
    """`text`, cut to `longest` columns where it has more. Example: "abcdef", 4 -> "abc…" """
    most = 3 * longest  # characters; a heap of accents takes no column, and goes through the line above
    if n_cells(text) <= longest and len(text) <= most:
        return text
    text = text[: most - 1]
    while n_cells(text) > longest - 1:
        text = text[:-1]
    return text + "…"


def count(n: int, what: str) -> str:
    """Example: 1, "token" -> "1 token"; 2000, "token" -> "2,000 tokens" """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def n_cells(text: str) -> int:
    """How many columns `text` takes in a monospaced font: 2 for wide characters (Chinese, emoji), 0 for accents."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def mono_width(text: str, size: float) -> float:
    """The width of `text` in pixels, in the monospaced font."""
    return n_cells(text) * CELL * size


def tint(colour: str, strength: float) -> str:
    """`colour` mixed with white: strength 0 is white, 1 the colour. Example: "#000000", 0.5 -> "#808080" """
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (channel - 255) * strength):02x}" for channel in channels)


def element(name: str, *children: str, **attributes: object) -> str:
    """One XML element. Attribute values are escaped, children are XML already; stroke_width becomes stroke-width."""
    written = "".join(f" {k.replace('_', '-')}={quoteattr(_written(v))}" for k, v in attributes.items())
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def _written(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else printable(str(value))


def label(x: float, y: float, text: str, size: int = 13, *, mono: bool = False, **attributes: object) -> str:
    """Text with its baseline at y. Monospaced text that isn't ASCII is fitted to the width that `mono_width` says."""
    options: dict[str, object] = {"x": float(x), "y": float(y), "font_size": size}
    if mono:
        options["font_family"] = MONO
        if not text.isascii():
            options |= {"textLength": mono_width(text, size), "lengthAdjust": "spacingAndGlyphs"}
    return element("text", escape(printable(text)), **(options | attributes))


def box(x: float, y: float, width: float, height: float, *children: str, **attributes: object) -> str:
    """A rectangle with round corners; a child may be a `hover`."""
    options = {"x": float(x), "y": float(y), "width": float(width), "height": float(height), "rx": 3}
    return element("rect", *children, **(options | attributes))


def hover(text: str) -> str:
    """A title: browsers show it while the mouse rests on the element that it is in."""
    return element("title", escape(printable(text)))


def wrapped(
    x: float, y: float, text: str, size: int = 13, columns: int = 100, **attributes: object
) -> tuple[str, float]:
    """Prose in as many lines as it needs, and the y below them."""
    lines = textwrap.wrap(printable(text), columns) or [""]
    step = size + 5
    drawn = [label(x, y + i * step, line, size, **attributes) for i, line in enumerate(lines)]
    return "".join(drawn), y + len(lines) * step


def lines_of(widths: Iterable[float], gap: float) -> list[list[tuple[int, float]]]:
    """Boxes of these widths in lines across the picture: in each line the (number, x) of its boxes."""
    lines: list[list[tuple[int, float]]] = [[]]
    x = float(MARGIN)
    for i, width in enumerate(widths):
        if lines[-1] and x + width > WIDTH - MARGIN:
            lines.append([])
            x = float(MARGIN)
        lines[-1].append((i, x))
        x += width + gap
    return lines


def drawing(height: float, words: str, parts: Iterable[str]) -> Picture:
    """The parts on one panel of WIDTH x height pixels."""
    words = printable(words)
    style = ".gptlib-hover:hover{stroke:#222222;stroke-width:2.5px}"
    panel = box(0.5, 0.5, WIDTH - 1, height - 1, fill=BACKGROUND, stroke="#D8D4C8", rx=6)
    svg = element(
        "svg",
        element("style", style),
        panel,
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height:.0f}",
        width=WIDTH,
        height=f"{height:.0f}",
        role="img",
        aria_label=words,
        font_family=SANS,
        fill=INK,
    )
    return Picture(svg, words)


def sentence(text: str) -> Picture:
    """A picture that is one sentence: what is wrong, instead of a drawing."""
    drawn, y = wrapped(MARGIN + 22, 28, text)
    mark = label(MARGIN, 28, "⚠", 14, fill=GREY)
    return drawing(y - 4, text, [mark, drawn])
