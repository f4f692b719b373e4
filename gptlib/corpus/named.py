"""Corpora that have a name instead of a path: "python-docs" and "tiny-shakespeare".

Both are about a megabyte or less, so they are handed around as bytes, whole.
"""

from collections.abc import Callable

from gptlib.utils.download import fetch
from gptlib.utils.errors import DownloadError
from gptlib.utils.folders import project_root

_TINY_SHAKESPEARE = {  # as `fetch` takes it
    "urls": ["https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"],
    "size": 1_115_394,
    "sha256": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
}


def _python_docs() -> bytes:
    """The language reference that every Python carries for `help("with")`: its topics by name, one after another."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FileNotFoundError(
            "'python-docs' needs the module pydoc_data, which this Python was installed without: install Python's "
            "full standard library, or use a text file."
        ) from None
    return ("\n\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n").encode()


def _tiny_shakespeare() -> bytes:
    """The file data/tiny-shakespeare.txt; fetched if it is missing, incomplete or another one."""
    path = project_root() / "data" / "tiny-shakespeare.txt"
    by_hand = f"get that file by other means and save it as '{path}'"
    try:
        fetch(path=path, **_TINY_SHAKESPEARE, otherwise=by_hand, progress=False)
    except DownloadError as error:
        raise FileNotFoundError(str(error)) from None
    return path.read_bytes()


CORPORA: dict[str, Callable[[], bytes]] = {"python-docs": _python_docs, "tiny-shakespeare": _tiny_shakespeare}
