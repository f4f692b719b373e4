"""Corpora that have a name instead of a path: "python-docs" and "tiny-shakespeare".

Both are about a megabyte or less, so they are handed around as bytes, whole.
"""

import hashlib
import http.client
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from gptlib.files import project_root, write_atomically

_TIMEOUT = 20  # seconds without an answer


@dataclass(frozen=True)
class _Download:
    url: str
    n_bytes: int
    sha256: str

    def is_whole(self, content: bytes) -> bool:
        return len(content) == self.n_bytes and hashlib.sha256(content).hexdigest() == self.sha256


_TINY_SHAKESPEARE = _Download(
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    1_115_394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)


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
    """The file data/tiny-shakespeare.txt; fetched where it is missing or not the whole, right one."""
    path = project_root() / "data" / "tiny-shakespeare.txt"
    if path.is_file() and _TINY_SHAKESPEARE.is_whole(content := path.read_bytes()):
        return content
    content = _fetch(_TINY_SHAKESPEARE, f"get that file by other means and save it as '{path}'")
    with write_atomically(path) as file:
        file.write(content)
    return content


def _fetch(wanted: _Download, otherwise: str) -> bytes:
    """What is at wanted.url, checked. Raises: FileNotFoundError, with what to do `otherwise`."""
    try:
        with urllib.request.urlopen(wanted.url, timeout=_TIMEOUT) as answer:
            content = answer.read(wanted.n_bytes + 1)  # one more, to notice a longer file without reading all of it
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise FileNotFoundError(f"{wanted.url} could not be fetched ({error}): {otherwise}.") from None
    if not wanted.is_whole(content):
        raise FileNotFoundError(
            f"What {wanted.url} sent is not the {wanted.n_bytes:,} bytes expected (its size or sha256 differs): "
            f"{otherwise}."
        )
    return content


CORPORA: dict[str, Callable[[], bytes]] = {"python-docs": _python_docs, "tiny-shakespeare": _tiny_shakespeare}


def corpus_text(name: str) -> str:
    """The text of a corpus by name: "python-docs" (in every Python, offline) or "tiny-shakespeare" (downloaded once).

    Raises: ValueError for another name; FileNotFoundError where it can't be had, saying where to put it by hand.
    """
    if name not in CORPORA:
        raise ValueError(f"{name!r} is no corpus: choose {' or '.join(CORPORA)}, or read a file with read_text.")
    return CORPORA[name]().decode()
