"""The library's own source, shown right after a chapter has derived it: defined once, read in two places."""

import inspect
import textwrap

from gptlib.utils.text import Shown


def show_source(*objects) -> Shown:
    """The source of functions, classes and methods as it stands in gptlib, each under a comment with its module's name.

    Raises TypeError for anything without source in Python (a number, a built-in function).
    """
    pieces = []
    for shown in objects:
        try:
            code = textwrap.dedent(inspect.getsource(shown)).rstrip()
        except (TypeError, OSError):
            raise TypeError(f"{shown!r} has no source to show; pass a function, a class or a method.") from None
        pieces.append(f"# {shown.__module__}\n{code}")
    code = "\n\n\n".join(pieces)
    return Shown(f"```python\n{code}\n```", code)
