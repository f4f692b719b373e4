"""How tokens and numbers are written in a figure: white space as signs, so that every character can be seen."""

import unicodedata
from functools import cache

import numpy as np
from matplotlib.font_manager import findfont, get_font

Token = str | bytes

MONO = "DejaVu Sans Mono"  # comes with matplotlib, so that it is the same everywhere
MINUS = "\N{MINUS SIGN}"
_SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥"}
_END = 8  # characters of a long token's end that are shown, where there is room for it


def visible(token: Token, longest: int = 74) -> str:
    """What stands for a token: white space as signs, a byte that is no whole character as \\xf0, a character that the
    font lacks as U+1F642; cut to the `longest` number of characters.

    Example: b" a\\xc3" -> "␣a\\\\xc3"
    """
    text = token.decode("utf-8", errors="backslashreplace") if isinstance(token, bytes) else token
    shown = "".join(_SIGNS.get(c) or (c if _has_glyph(c) else f"U+{ord(c):04X}") for c in text) or "(empty)"
    if len(shown) <= longest:
        return shown
    end = _END if longest > 2 * _END else 0
    return f"{shown[: longest - 1 - end]}…{shown[len(shown) - end :]}"


def token_label(token: Token | int, longest: int = 12) -> str:
    """A token (or its id) as a label that Matplotlib draws as it stands, and doesn't read as a formula."""
    return visible(str(token) if isinstance(token, int) else token, longest).replace("$", r"\$")


def number_label(number: float) -> str:
    """Four digits of a number, or True or False."""
    return str(number) if isinstance(number, bool | np.bool_) else f"{number:.4g}".replace("-", MINUS)


@cache
def _has_glyph(character: str) -> bool:
    """Whether the font can draw it by itself, one column wide."""
    if not character.isprintable() or unicodedata.combining(character):
        return False
    return get_font(findfont(MONO)).get_char_index(ord(character)) != 0
