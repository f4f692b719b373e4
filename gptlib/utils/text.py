"""Text for messages."""


def shorten(text: object, length: int = 120) -> str:
    """A text from elsewhere in one line of bounded length, without a full stop."""
    text = " ".join(str(text).split()).rstrip(".")
    return text if len(text) <= length else f"{text[:length]} …"
