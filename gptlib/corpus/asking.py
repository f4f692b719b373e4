"""A yes-or-no question, to whoever is at the terminal or the notebook; and knowing when nobody is."""

import sys


def ask_yes_no(question: str, default: bool) -> bool | None:
    """The answer; `default` for an empty one; None if nobody can answer (a batch job, CI, nbconvert, nbmake).

    What is neither yes nor no counts as no.
    """
    if not _someone_may_answer():
        return None
    try:
        answer = input(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
    # A kernel whose frontend takes no input says so with a NotImplementedError.
    except (EOFError, NotImplementedError, OSError):
        return None
    return answer in ("y", "yes") if answer else default


def _someone_may_answer() -> bool:
    # A notebook's stdin is no terminal, its `input` asks the frontend. IPython is looked for and not imported: where
    # it runs, it is there already.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is not None:
        return True
    return sys.stdin is not None and sys.stdin.isatty()
