"""A yes-or-no question, to whoever is at the terminal or the notebook; and knowing when nobody is."""

import sys


def ask_yes_no(question: str, default: bool) -> bool | None:
    """The answer; `default` for an empty one; None if nobody can answer (a batch job, CI, nbconvert, nbmake).

    What is neither yes nor no counts as no.
    """
    # A notebook's stdin is no terminal, its `input` asks the frontend. IPython is looked for and not imported: where
    # it runs, it is there already.
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
    if not in_notebook and (sys.stdin is None or not sys.stdin.isatty()):
        return None
    try:
        answer = input(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
    # A kernel whose frontend takes no input says so with a NotImplementedError.
    except (EOFError, NotImplementedError, OSError):
        return None
    return answer in ("y", "yes") if answer else default
