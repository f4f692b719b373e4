"""The types of the commands' options, and what each allows in words."""

from types import NoneType
from typing import Any, Literal, get_args, get_origin

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveInt, register_type, restricted_number_type

__all__ = ["NonNegativeFloat", "NonNegativeInt", "PositiveInt", "Ratios", "Share", "allowed"]

Share = restricted_number_type("Share", float, [(">", 0), ("<=", 1)])


class Ratios(tuple[float, float, float]):
    """Shares of train, val and test, written as 0.9,0.05,0.05, in brackets of either kind or none."""

    @classmethod
    def read(cls, value: Any) -> "Ratios":
        numbers = value.strip("()[] ").replace(",", " ").split() if isinstance(value, str) else value
        try:
            train, val, test = map(float, numbers)
        except (TypeError, ValueError):
            raise ValueError(f"Got value: {value}") from None
        return cls((train, val, test))


register_type(Ratios, list, Ratios.read)

WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    NoneType: "null",
    PositiveInt: "a whole number, 1 or more",
    NonNegativeInt: "a whole number, 0 or more",
    NonNegativeFloat: "a number, 0 or more",
    Share: "a number above 0 and at most 1",
    Ratios: "three shares that add up to 1, as 0.9,0.05,0.05",
    tuple[float, float]: "two numbers, as [0.9,0.99]",
}


def allowed(kind: Any) -> str:
    """What a type allows: "a whole number, or null" for int | None."""
    if kind in WORDS:
        return WORDS[kind]
    if get_origin(kind) is Literal:
        *others, last = map(str, get_args(kind))
        return f"{', '.join(others)} or {last}"
    if get_origin(kind) is tuple:
        return "a list, as [a,b]"
    return ", or ".join(map(allowed, get_args(kind)))
