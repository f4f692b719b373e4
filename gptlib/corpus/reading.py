"""Text files as str: one, several, or a folder of them, whole or as a stream.

What comes out is always clean: UTF-8 decoded, without a byte order mark, lines ending in "\\n". A stream holds a block
or two in memory, however large the files are. This file knows nothing of tokens.
"""

import codecs
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gptlib.corpus.named import CORPORA
from gptlib.utils.text import cut

Texts = str | os.PathLike | Iterable[str | os.PathLike]
"""A path, a corpus's name, or several of them."""

BLOCK = 2**20  # bytes read at once
SPLIT_NAMES = ("train.txt", "valid.txt", "test.txt")  # what split_text_file writes


@dataclass(frozen=True)
class Source:
    """Where bytes of text come from: a file, or `data` in memory if there is no path."""

    name: str
    path: Path | None = None
    data: bytes = b""

    def open(self) -> BinaryIO:
        return self.path.open("rb") if self.path else io.BytesIO(self.data)

    @property
    def n_bytes(self) -> int:
        return self.path.stat().st_size if self.path else len(self.data)


def read_text(paths: Texts) -> str:
    """The text of a file, of several, of all .txt in a folder (sorted by name, subfolders not), or of a named corpus.

    Files are UTF-8, with or without a byte order mark, which is dropped; "\\r\\n" becomes "\\n". Where a file does not
    end in a newline and another follows, one is put between them.
    Raises: FileNotFoundError for a path with nothing at it; ValueError for a file that is empty or no UTF-8 text.
    """
    return "".join(joined(find_sources(paths)))


def find_sources(paths: Texts) -> list[Source]:
    """The files that `paths` name, folders listed, named corpora fetched. Raises: as `read_text`."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if not isinstance(paths, Iterable) or isinstance(paths, bytes):
        raise ValueError(f"{paths!r} is no path: give a file, a folder, {' or '.join(CORPORA)}, or a list of them.")
    sources = [source for path in paths for source in _sources_at(path)]
    if not sources:
        raise ValueError("The list of texts is empty ([]): name at least one file, folder or corpus.")
    return sources


def _sources_at(place: str | os.PathLike) -> list[Source]:
    if not isinstance(place, str | os.PathLike):
        raise ValueError(f"{place!r} among the texts is no path: give str or Path.")
    if place in CORPORA:
        return [Source(place, data=CORPORA[place]())]
    path = Path(place).expanduser()
    try:
        found, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
    except OSError:  # the name is too long, say, because it is a text and not a path
        found = is_folder = is_file = False
    if is_folder:
        return [Source(file.name, file) for file in _texts_in(path)]
    if is_file:
        return [Source(path.name, path)]
    if found:
        raise ValueError(f"'{path}' is neither a file nor a folder: give a text file or a folder of .txt files.")
    raise FileNotFoundError(
        f"There is no file or folder at '{cut(str(place), 200)}': check the path, or choose a corpus by name "
        f"({', '.join(CORPORA)})."
    )


def _texts_in(folder: Path) -> list[Path]:
    """The .txt files of a folder by name, without hidden ones and without the parts of a split of another one."""
    # is_file last: a folder may be named x.txt. Hidden files are what file managers and editors leave behind.
    files = [p for p in folder.iterdir() if p.suffix.lower() == ".txt" and p.name[0] != "." and p.is_file()]
    parts = {p for p in files if p.name in SPLIT_NAMES}
    if len(parts) == len(SPLIT_NAMES) < len(files):
        # Reading them too would have every text twice, and so validation text in training.
        warnings.warn(
            f"{', '.join(SPLIT_NAMES)} in '{folder.name}' are left out, as parts of another text there; "
            "name the files one by one to read them.",
            stacklevel=5,
        )
        files = [p for p in files if p not in parts]
    if not files:
        raise FileNotFoundError(f"The folder '{folder}' has no .txt file: put texts there, or give another folder.")
    return sorted(files, key=lambda p: p.name)


def joined(
    sources: Iterable[Source],
    seen: Callable[[bytes], object] | None = None,
    clean: Callable[[Iterable[str]], Iterator[str]] | None = None,
) -> Iterator[str]:
    """The texts of all sources, one after another, in blocks.

    seen: is called with each block of bytes as it is read. clean: what to do to each source's text, as a stream.
    """
    last = "\n"
    for source in sources:
        blocks = decoded(source, seen)
        left = 0
        for block in clean(blocks) if clean else blocks:
            if block:
                yield block if last == "\n" or left else "\n" + block
                left += len(block)
                last = block[-1]
        if not left:
            raise ValueError(f"Nothing of '{source.name}' is left after stripping: check the file, or don't strip it.")


def decoded(source: Source, seen: Callable[[bytes], object] | None = None) -> Iterator[str]:
    """One source's text in blocks. Raises: ValueError if it is empty, not UTF-8 or has NUL bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read, held, empty = 0, "", True  # held: a "\r" whose "\n" may be in the next block
    with source.open() as file:
        while True:
            block = file.read(BLOCK)
            if seen:
                seen(block)
            if b"\0" in block:
                raise ValueError(_no_text(source, read + block.index(0), "is a NUL"))
            pending = len(decoder.getstate()[0])  # bytes of a character that the last block cut
            try:
                text = held + decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise ValueError(_no_text(source, read - pending + error.start, "is not UTF-8")) from None
            if empty and text:
                text, empty = text.removeprefix("\ufeff"), text == "\ufeff"
            read += len(block)
            held = "\r" if text.endswith("\r") and block else ""
            text = text[: len(text) - len(held)].replace("\r\n", "\n")
            if text:
                yield text
            if not block:
                break
    if empty:
        raise ValueError(f"The file '{source.name}' is empty: put a text into it, or leave it out.")


def _no_text(source: Source, offset: int, what: str) -> str:
    with source.open() as file:
        start = file.read(2)
        file.seek(offset)
        byte = file.read(1)[0]
    if what == "is a NUL" and start not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        remedy = "give a plain text file (from a .docx, .pdf or .epub, export one)"
    else:
        encoding = "UTF-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "WINDOWS-1252"
        remedy = f"save it as UTF-8 in an editor, or run `iconv -f {encoding} -t UTF-8 '{source.name}' > new.txt`"
    return f"'{source.name}' is not a UTF-8 text: byte 0x{byte:02X} at offset {offset:,} {what}; {remedy}."


def in_chunks(texts: Iterable[str], size: int) -> Iterator[str]:
    """The same text in chunks of at most `size` characters that end at the end of a line if they can."""
    rest = ""
    for text in texts:
        rest += text
        start = 0
        while len(rest) - start > size:
            end = rest.rfind("\n", start, start + size) + 1 or start + size
            yield rest[start:end]
            start = end
        rest = rest[start:]
    if rest:
        yield rest
