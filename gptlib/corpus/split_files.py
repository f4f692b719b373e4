"""A text file cut into train.txt, valid.txt and test.txt beside it: asks before, tells after, overwrites nobody's work.

Bytes are copied as they are, a block at a time, so files of any size and any line ends come out as they went in.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from gptlib.corpus.asking import ask_yes_no
from gptlib.corpus.gutenberg import GutenbergStripper
from gptlib.corpus.reading import SPLIT_NAMES, Source, decoded, find_sources, joined
from gptlib.corpus.splitting import PARTS, RATIOS, Ratios, Span, blocks_in, check_ratios, file_spans
from gptlib.utils.files import write_atomically


def split_text_file(
    path: str | Path, ratios: Ratios = RATIOS, ask: bool = True, *, strip_gutenberg: bool = False
) -> dict[str, Path]:
    """Write train.txt, valid.txt and test.txt next to a UTF-8 text file.

    Returns their paths, with the keys "train", "valid", "test".

    Every byte of the file is in exactly one part, in order; parts end where lines do. With `strip_gutenberg` a
    Project-Gutenberg-style header and footer and surplus blank lines go first, and what is cut is clean text: no byte
    order mark, "\\n" at line ends.

    ask: ask first, if someone can answer; if nobody can (CI, a batch job), say so and split. After a "no"
    nothing is written, and only the paths of those parts are returned that are there already.

    Parts that are there already and are just what would be written are kept. Others, made by hand or from an older
    text, are never overwritten: they are renamed, with the date, as train.txt.2026-11-21_093000.bak.

    Raises: FileNotFoundError if there is no file; ValueError if it isn't UTF-8 text, has fewer lines than
    parts, or has a part's name itself.
    """
    path = _one_file(path)
    check_ratios(ratios)
    targets = {part: path.with_name(name) for part, name in zip(PARTS, SPLIT_NAMES, strict=True)}
    with _text_to_cut(path, strip_gutenberg) as (text, report):
        spans = dict(zip(PARTS, file_spans(text, ratios), strict=True))
        there = {part: target for part, target in targets.items() if target.exists()}
        if len(there) == len(PARTS) and all(_is_copy(targets[part], text, spans[part]) for part in PARTS):
            print(f"{path.name} is split already: {', '.join(SPLIT_NAMES)} are kept as they are.")
            return targets
        if ask and not _go_ahead(path, there):
            print("Nothing was written.")
            return there
        lines = _write_parts(text, spans, targets, there)
    if report:
        print(report)
    _tell(path, spans, lines)
    return targets


def _one_file(path: str | Path) -> Path:
    if isinstance(path, str | Path) and Path(path).expanduser().is_dir():
        raise ValueError(f"'{path}' is a folder: name one text file in it, or pass the folder to prepare_corpus.")
    source, *others = find_sources(path)
    if others or source.path is None:
        raise ValueError(f"{path!r} is not one file: split a text file, or pass this to prepare_corpus.")
    # Names are compared as on Windows and macOS, where Train.txt is train.txt.
    if source.name.lower() in SPLIT_NAMES:
        raise ValueError(f"'{path}' has the name that a part will get: rename it first, to input.txt, say.")
    return source.path


@contextmanager
def _text_to_cut(path: Path, strip: bool) -> Iterator[tuple[Path, str]]:
    """The file whose bytes are cut, checked to be UTF-8 text, and a sentence on what was stripped, or ""."""
    if not strip:
        for _ in decoded(Source(path.name, path)):
            pass
        yield path, ""
        return
    stripper = GutenbergStripper()
    # Beside the text, because /tmp may be too small for it.
    with TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as folder:
        stripped = Path(folder, path.name)
        with stripped.open("wb") as file:
            for text in joined([Source(path.name, path)], clean=stripper):
                file.write(text.encode())
        yield stripped, stripper.report()


def _go_ahead(path: Path, there: dict[str, Path]) -> bool:
    names = ", ".join(target.name for target in there.values())
    if there:
        question = f"Split {path.name} again? {names}, which differ from that, will be renamed to .bak and kept."
    else:
        question = f"Split {path.name} into {', '.join(SPLIT_NAMES)}, next to it?"
    answer = ask_yes_no(question, default=not there)
    if answer is None:
        print(f"Nobody can be asked here, so {path.name} is split" + (f"; {names} differ from that." if there else "."))
    return answer is not False


def _is_copy(part: Path, text: Path, span: Span) -> bool:
    """Whether the file `part` holds just the bytes of `text` in `span`."""
    if not part.is_file() or part.stat().st_size != span[1] - span[0]:
        return False
    with part.open("rb") as mine, text.open("rb") as whole:
        return all(mine.read(len(block)) == block for block in blocks_in(whole, span))


def _write_parts(
    text: Path, spans: dict[str, Span], targets: dict[str, Path], there: dict[str, Path]
) -> dict[str, int]:
    """Write the parts and rename what is `there`; returns the number of lines of each part."""
    lines = {}
    with text.open("rb") as source, ExitStack() as files:
        for part, target in targets.items():
            file = files.enter_context(write_atomically(target))
            lines[part], block = 0, b""
            for block in blocks_in(source, spans[part]):
                file.write(block)
                lines[part] += block.count(b"\n")
            lines[part] += bool(block) and not block.endswith(b"\n")
            file.flush()  # a full disk is noticed here, while the old parts have their names
        # All old parts go before the first new one comes: a kill in between leaves parts missing, never mixed.
        stamp = datetime.now().strftime("%Y-%m-%d_%H%M%S")
        for old in there.values():
            print(f"Kept the old {old.name} as {_put_aside(old, stamp)}.")
    return lines


def _put_aside(old: Path, stamp: str) -> str:
    # Not .txt at the end, or whoever reads the folder's texts would read it too.
    kept, n = old.with_name(f"{old.name}.{stamp}.bak"), 1
    while kept.exists():
        n += 1
        kept = old.with_name(f"{old.name}.{stamp}-{n}.bak")
    return old.rename(kept).name


def _tell(path: Path, spans: dict[str, Span], lines: dict[str, int]) -> None:
    size = spans["test"][1]
    print(f"Split {path.name}, {size:,} bytes, next to it:")
    for part, name in zip(PARTS, SPLIT_NAMES, strict=True):
        n = spans[part][1] - spans[part][0]
        print(f"  {name:<9}  {n:>14,} bytes  {lines[part]:>11,} lines  {100 * n / size:5.1f} %")
