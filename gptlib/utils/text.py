"""Foreign text in messages: one sentence stays one sentence, whatever a file, a server or a user gives."""


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
