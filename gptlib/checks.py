"""One sentence for a number that makes no sense, the same everywhere."""

import math
import operator
from typing import Any


def whole_number(name: str, value: Any, least: int, otherwise: str = "") -> int:
    """`value` as int, where it is a whole number (NumPy's too) of at least `least`; else ValueError, by `name`.

    otherwise: what else the caller would take, for the message, as ", or None for all of them".
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ValueError(f"{name}={value!r} is out of range; give a whole number of at least {least}{otherwise}.")
    return number


def is_number(value: Any) -> bool:
    """Whether `value` is a finite int or float, and not True or False."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
