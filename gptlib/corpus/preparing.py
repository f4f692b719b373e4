"""Texts of any size to token files, in memory that does not grow with them.

In four passes: the texts are read, checked and written as one clean text; that is split; the tokenizer is trained on
a part of it; each part is encoded, piece by piece. All of it happens in a temporary folder, which takes its final
name when everything is there.
"""

import codecs
import hashlib
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from gptlib.corpus.encoding import AnyTokenizer, encode_stream, ready_tokenizer, token_dtype, trained_tokenizer
from gptlib.corpus.gutenberg import GutenbergStripper
from gptlib.corpus.prepared import FILES, FORMAT, META_FILE, PARTS, read_meta
from gptlib.corpus.reading import Source, Texts, find_sources, joined
from gptlib.corpus.splitting import RATIOS, Ratios, Span, blocks_in, check_ratios, file_spans
from gptlib.tokenizers import TOKENIZER_FILE, Tokenizer
from gptlib.utils.files import write_atomically, write_folder_atomically, write_json


def prepare_corpus(
    texts: Texts,
    out: str | Path,
    tokenizer: AnyTokenizer = "bpe",
    *,
    vocab_size: int | None = None,
    ratios: Ratios = RATIOS,
    strip_gutenberg: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Turn texts into the folder `out`: train.bin, val.bin, test.bin, gptlib_tokenizer.json, meta.json; returns meta.

    texts: a file, a folder of .txt, "python-docs", "tiny-shakespeare", or a list of them, as `read_text` takes them.
    tokenizer: a Tokenizer, the path of a saved one, or a name. "word", "bpe" and "sentencepiece" are trained on the
        training part, "char" on the whole text, so that no character of the other parts is unknown. "gpt2" is ready.
    vocab_size: for a tokenizer that is trained. Without it, "bpe" and "sentencepiece" get one token for 100 bytes of
        the training part, from 512 to 4096 ("bpe" fewer, if the text has no more pairs); "word" and "char" get all.
    strip_gutenberg: drop Project Gutenberg's header and footer of each text, and surplus blank lines.
    progress: show bars.

    The .bin files are the ids and nothing else, little-endian uint16, or uint32 if vocab_size is above 65536.
    Beside the memory, as much disk as the texts take is needed until the end.
    A prepared corpus in `out` is replaced when the new one is whole; if anything goes wrong it stays as it was. Two
    processes don't write it at once: the second waits.

    Raises: ValueError for bad arguments or texts, and if `out` holds something else; FileNotFoundError for a missing
    text or tokenizer; OSError if it can't be written.
    """
    check_ratios(ratios)
    out = Path(out).expanduser().resolve()
    _check_replaceable(out)
    ready = ready_tokenizer(tokenizer, vocab_size)
    sources = find_sources(texts)
    busy = f"Another process is preparing '{out}'; waiting for it."
    with write_folder_atomically(out, on_waiting=lambda: tqdm.write(busy)) as folder:
        text = folder / "text.txt"
        meta = {"format": FORMAT} | _write_clean_text(sources, text, strip_gutenberg, progress)
        spans = dict(zip(PARTS, file_spans(text, ratios), strict=True))
        if ready is None:
            ready = _train(str(tokenizer), vocab_size, text, spans, progress)
        ready.save(folder / TOKENIZER_FILE)
        counts = _encode_parts(ready, text, spans, folder, progress)
        text.unlink()
        meta |= {
            "tokenizer": getattr(ready, "type", type(ready).__name__),
            "vocab_size": ready.vocab_size,
            "dtype": token_dtype(ready.vocab_size).name,
            "ratios": list(check_ratios(ratios)),
            "bytes": {part: end - start for part, (start, end) in spans.items()},
        } | counts
        write_json(folder / META_FILE, meta)
    return meta


def _check_replaceable(out: Path) -> None:
    """Refuse to replace anything but nothing, an empty folder, or a prepared corpus with no other files in it.

    Raises: ValueError, with what stands in the way.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"'{out}' is a file, and the prepared corpus is a folder: choose another name for it.")
    there = {path.name for path in out.iterdir()}
    if not there:
        return
    # Replacing the folder would delete what is not ours with it.
    if strange := sorted(there - set(FILES)):
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise ValueError(
            f"The folder '{out}' holds '{strange[0]}'{more}, which is no part of a prepared corpus: choose a new "
            "folder, or move that elsewhere."
        )
    try:
        read_meta(out)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"The folder '{out}' is not empty and no prepared corpus: choose a new one, or delete it ({error})"
        ) from None


def _write_clean_text(sources: list[Source], path: Path, strip: bool, progress: bool) -> dict[str, Any]:
    """Write all sources as one text: UTF-8, "\\n" at line ends; returns what meta.json says about them."""
    sha256, stripper = hashlib.sha256(), GutenbergStripper() if strip else None
    n_bytes = sum(source.n_bytes for source in sources)
    with _bar("reading", n_bytes, progress) as bar, path.open("wb") as file:

        def seen(block: bytes) -> None:
            sha256.update(block)
            bar.update(len(block))

        for block in joined(sources, seen, stripper):
            file.write(block.encode())
    meta: dict[str, Any] = {
        "sources": [source.name for source in sources],  # names only: the folders they were in are nobody's business
        "source_bytes": n_bytes,
        "source_sha256": sha256.hexdigest(),  # of their bytes one after another, as `cat FILES | sha256sum` gives
    }
    if "python-docs" in meta["sources"]:
        meta["python"] = platform.python_version()
    if stripper:
        meta["stripped"] = stripper.report()
        print(meta["stripped"])
    return meta


def _train(name: str, vocab_size: int | None, text: Path, spans: dict[str, Span], progress: bool) -> Tokenizer:
    whole, train = (0, spans["test"][1]), spans["train"]
    with _bar("learning the vocabulary", (whole if name == "char" else train)[1], progress) as bar:
        return trained_tokenizer(
            name,
            vocab_size,
            train=lambda: _read_span(text, train, bar.update),
            whole=lambda: _read_span(text, whole, bar.update),
            size=train[1],
        )


def _encode_parts(
    tokenizer: Tokenizer, text: Path, spans: dict[str, Span], folder: Path, progress: bool
) -> dict[str, dict[str, int]]:
    """Write the .bin files; returns {"tokens": …, "characters": …}, each by part."""
    tokens, characters = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    with _bar("encoding", spans["test"][1], progress) as bar:
        for part, span in spans.items():

            def counted(part: str = part, span: Span = span) -> Iterator[str]:
                for block in _read_span(text, span, bar.update):
                    characters[part] += len(block)
                    yield block

            with write_atomically(folder / f"{part}.bin") as file:
                # An empty part has no stream to encode.
                for ids in encode_stream(tokenizer, counted(), f"the {part} part") if span[0] < span[1] else ():
                    file.write(ids.tobytes())
                    tokens[part] += len(ids)
    return {"tokens": tokens, "characters": characters}


def _read_span(path: Path, span: Span, seen: Callable[[int], object]) -> Iterator[str]:
    """The text between two line ends of a UTF-8 file, in blocks; `seen` is called with the bytes of each."""

    def blocks() -> Iterator[bytes]:
        with path.open("rb") as file:
            for block in blocks_in(file, span):
                yield block
                seen(len(block))

    return codecs.iterdecode(blocks(), "utf-8")


def _bar(what: str, n_bytes: int, progress: bool) -> tqdm:
    return tqdm(total=n_bytes, desc=what, unit="B", unit_scale=True, disable=not progress)
