"""Numbers that callers give: refused in one sentence, the same everywhere, if they make no sense.

Ours, because Python takes True for 1 and PyTorch says "an integer is required" only when the number is used.
"""

import operator
import sys
from typing import Any

LARGEST = 2**63 - 1
"""What PyTorch counts up to."""


def whole_number(name: str, value: Any, least: int, otherwise: str = "") -> int:
    """`value` as int, if it is a whole number (NumPy's too) from `least` to LARGEST; else ValueError with `name`.

    otherwise: what else the caller would take, for the message, as ", or None for all of them".
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ValueError(f"{name}={value!r} is out of range; give a whole number of at least {least}{otherwise}.")
    if number > LARGEST:
        raise ValueError(f"{name}={value!r} is beyond 64 bits; give a whole number of at most {LARGEST}{otherwise}.")
    return number


def is_number(value: Any) -> bool:
    """Whether `value` is an int or a float, neither infinite nor beyond all floats, and not True or False."""
    # math.isfinite would raise OverflowError for 10**400.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
