"""Texts for people: shown in Jupyter and in a terminal, or from elsewhere and fit for a message."""


class Shown:
    """Jupyter renders the Markdown of a cell's last expression; `print` and the Python prompt show the text."""

    def __init__(self, markdown: str, text: str):
        self.markdown, self.text = markdown, text

    def _repr_markdown_(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return self.text


def shorten(text: object, length: int = 120, end: int = 0) -> str:
    """A text from elsewhere in one line of at most `length` characters, without its full stop.

    end: how many of its last characters to keep, if it has to be cut: what a long error is about often comes last.
    """
    return cut(" ".join(str(text).split()).rstrip("."), length, end)


def cut(text: str, length: int, end: int = 0) -> str:
    """`text` as it stands, if it has at most `length` characters, else its beginning, and its `end`.

    Example: cut("abcdefghij", 8) -> "abcdef …"; cut("abcdefghij", 8, end=2) -> "abc … ij"
    """
    if len(text) <= length:
        return text
    return f"{text[: length - 3 - end]} … {text[-end:]}" if end else f"{text[: length - 2]} …"
