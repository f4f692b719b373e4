"""Taking Project Gutenberg's header and footer, and surplus blank lines, off a book.

A model that reads a hundred books reads the licence a hundred times, and learns that best of all.
"""

import io
import re
from collections.abc import Iterable, Iterator

from gptlib.corpus.reading import BLOCK, in_chunks

# "*** START OF THE PROJECT GUTENBERG EBOOK EMMA ***", "***START OF THIS EBOOK***", and, before 2004 or so,
# "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*", after which the book began.
_OF_EBOOK = r"\s+OF\s+(?:THE\s+|THIS\s+)?(?:PROJECT\s+GUTENBERG|E-?BOOK|E-?TEXT)"
_START = re.compile(rf"\s*(?:\*{{3}}\s*START{_OF_EBOOK}|\*END\s*\*?\s*THE SMALL PRINT)", re.IGNORECASE)
# "*** END OF …", or, a line or two above it, "End of the Project Gutenberg EBook of Emma, by Jane Austen".
_END = re.compile(rf"\s*(?:\*{{3}}\s*END{_OF_EBOOK}|END\s+OF\s+(?:THE\s+|THIS\s+)?PROJECT\s+GUTENBERG)", re.IGNORECASE)

_LONGEST_HEADER = 100_000  # characters; a text without a START line by then has no header
_LONGEST_MARKER = 4  # lines; a long title makes the START line wrap


def strip_gutenberg(text: str) -> tuple[str, str]:
    """`text` without a Project-Gutenberg-style header and footer, and a sentence on how much went.

    Everything up to the line "*** START OF …" and from "*** END OF …" on goes, for each book in turn if there are
    several. Of blank lines in a row one stays, at the beginning and the end none. A text without such lines loses
    nothing but blank lines.
    """
    stripper = GutenbergStripper()
    return "".join(stripper([text])), stripper.report()


class GutenbergStripper:
    """`strip_gutenberg` for streams: call it with the blocks of a text. Its counts add up over several texts."""

    def __init__(self) -> None:
        self.read = self.kept = self.blank_lines = 0  # the first two in characters
        self.headers = self.footers = 0

    def __call__(self, blocks: Iterable[str]) -> Iterator[str]:
        for line in self._without_blank_runs(self._books(self._lines(blocks))):
            self.kept += len(line)
            yield line

    def report(self) -> str:
        """How much went, in a sentence."""
        gone = self.read - self.kept
        share = 100 * gone / max(self.read, 1)
        return (
            f"Stripped {self.headers} header(s), {self.footers} footer(s) and {self.blank_lines:,} surplus blank "
            f"lines: {gone:,} of {self.read:,} characters ({share:.1f} %)."
        )

    def _lines(self, blocks: Iterable[str]) -> Iterator[str]:
        for chunk in in_chunks(blocks, BLOCK):
            self.read += len(chunk)
            # Not splitlines(), which also breaks at form feeds and other characters.
            yield from io.StringIO(chunk, newline="\n")

    def _books(self, lines: Iterator[str]) -> Iterator[str]:
        """The lines between START and END; if no START comes, the lines from the beginning."""
        beginning: list[str] | None = []  # kept back until it is clear whether it is a header; None once it is
        length, inside = 0, True
        for line in lines:
            if _may_mark(line):
                if _START.match(line):
                    self.headers += 1
                    beginning, inside = None, True
                    _skip_wrapped(line, lines)
                    continue
                if inside and _END.match(line):
                    yield from beginning or ()
                    self.footers += 1
                    beginning, inside = None, False
            if beginning is not None:
                beginning.append(line)
                length += len(line)
                if length > _LONGEST_HEADER:
                    yield from beginning
                    beginning = None
            elif inside:
                yield line
        yield from beginning or ()

    def _without_blank_runs(self, lines: Iterator[str]) -> Iterator[str]:
        begun, blanks = False, 0
        for line in lines:
            if not line.strip():
                blanks += 1
                continue
            if blanks:
                if begun:
                    yield "\n"
                self.blank_lines += blanks - begun
            begun, blanks = True, 0
            yield line
        self.blank_lines += blanks


def _may_mark(line: str) -> bool:
    """A quick look that spares nearly all lines the patterns."""
    start = line.lstrip()[:3].upper()
    return start in ("***", "*EN", "END")


def _skip_wrapped(marker: str, lines: Iterator[str]) -> None:
    """Take from `lines` the rest of a START line that goes on until "***" at a line's end."""
    for _ in range(_LONGEST_MARKER - 1):
        if marker.rstrip().endswith("*") or not marker.strip():
            return
        marker = next(lines, "")
