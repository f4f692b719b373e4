"""Answers that read well in both places: rendered Markdown in Jupyter, plain ASCII-friendly text in a terminal."""

import re

from gptlib.utils.text import Shown


class Reply(Shown):
    """What the functions of this package return; its text is the Markdown without its marks, if none is given."""

    def __init__(self, markdown: str, text: str | None = None):
        super().__init__(markdown, plain(markdown) if text is None else text)


def span(text: str) -> str:
    """`text` as inline code, whatever it holds."""
    ticks = _more_ticks_than(text, 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{' '.join(text.split())}{pad}{ticks}"


def block(text: str, language: str = "") -> str:
    """`text` as a block of code, whatever it holds."""
    ticks = _more_ticks_than(text, 3)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def _more_ticks_than(text: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    """A Markdown table; `right` numbers the columns that are aligned to the right."""
    rule = ["--:" if i in right else ":--" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def aligned(rows: list[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    """The same for a terminal: columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for cells in rows:
        padded = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def plain(markdown: str) -> str:
    """Markdown without its marks; code is left as it is, and blocks of it are indented."""
    lines, fence = [], ""
    for line in markdown.splitlines():
        mark = re.match(r"(`{3,})", line)
        if mark and not fence:
            fence = mark[1]
        elif fence and line == fence:
            fence = ""
        elif fence:
            lines.append(f"    {line}".rstrip())
        else:
            lines.append(_plain_line(line))
    return "\n".join(lines)


def _plain_line(line: str) -> str:
    """One line of prose: no heading marks, no bold, no ticks around code."""
    pieces = re.split(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.sub(r"^#+ ", "", line))
    for i in range(0, len(pieces), 3):  # prose, ticks, code, prose, ticks, code, prose ...
        pieces[i] = pieces[i].replace("**", "")
    return "".join(piece for i, piece in enumerate(pieces) if i % 3 != 1)
