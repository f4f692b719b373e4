"""Byte-pair encoding, one merge at a time, on a text short enough to watch."""

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from gptlib.plots.base import BLUE, DARK_ORANGE, GREY
from gptlib.tokenizers.base import repair_surrogates
from gptlib.tokenizers.bpe import token_table
from gptlib.tokenizers.merging import N_BYTES, Pair, PairIndex, learn_merges, merge_all
from gptlib.tokenizers.splitting import split_chunks
from gptlib.utils.validation import whole_number
from gptlib.widgets import drawing as svg
from gptlib.widgets.base import Explorer, check_text, control, row
from gptlib.widgets.drawing import MARGIN, QUIET, WIDTH, Picture

LONGEST_TEXT = 400  # characters
ROWS_OF_TABLE, COLUMNS_OF_TABLE, LABEL_IN_TABLE = 15, 2, 11
LEGEND = "White: one byte. Blue: merged, dark blue by the last merge. Orange frame: merged next."


class Step(NamedTuple):
    """The text after some merges: its chunks as lists of ids, and the pair that is merged next, if there is one."""

    chunks: list[list[int]]
    pair: Pair | None
    pair_count: int


class Merges:
    """The first `n_merges` merges that BPE learns on `text`, and the text after each number of them.

    pairs[k] is merge k, which makes id 256 + k; counts[k] how often the pair stood in the text then; tokens[id] the
    bytes of an id.
    """

    def __init__(self, text: str, n_merges: int) -> None:
        self.asked_for = n_merges
        self._chunks = [chunk.encode() for chunk in split_chunks(repair_surrogates(text))]
        chunk_counts = Counter(self._chunks)
        self.pairs = learn_merges(chunk_counts, n_merges)
        self.tokens = token_table(self.pairs)
        index = PairIndex(chunk_counts.keys(), chunk_counts.values())
        self.counts: list[int] = []
        for k, pair in enumerate(self.pairs):
            self.counts.append(index.counts[pair])
            index.merge(pair, N_BYTES + k)

    def step(self, k: int) -> Step:
        """The text after the first k merges."""
        done = self.pairs[:k]
        new_ids = {pair: N_BYTES + i for i, pair in enumerate(done)}
        chunks = [merge_all(list(chunk), done, new_ids) for chunk in self._chunks]
        more = k < len(self.pairs)
        return Step(chunks, self.pairs[k] if more else None, self.counts[k] if more else 0)

    def label(self, token_id: int) -> str:
        """A token as it is written in the picture."""
        return svg.token_label(self.tokens[token_id], 12)


class MergeStepper(Explorer):
    """A slider over the first `n_merges` merges that byte-pair encoding learns on `text`, from single bytes on.

    Raises ValueError if the text is empty or has no pair to merge, or n_merges is below 1.
    Controls: `text`, `step` (a slider, how many merges are done), `back` and `next` (buttons).
    """

    def __init__(self, text: str, n_merges: int = 20) -> None:
        check_text("text", text)
        self.n_merges = whole_number("n_merges", n_merges, 1)
        self.merges = Merges(text[:LONGEST_TEXT], self.n_merges)
        if not self.merges.pairs:
            raise ValueError(f"text={text!r} has no two neighbouring bytes to merge; give a few words.")
        self.text = control("Textarea", "Text", text, "98%", rows=2)
        self.step = control("IntSlider", "Merges done", 0, max=len(self.merges.pairs))
        self.back = control("Button", "Back", width="90px")
        self.next = control("Button", "Next", width="90px")
        self.back.on_click(lambda _: self._move(-1))
        self.next.on_click(lambda _: self._move(+1))
        self.step.observe(self.redraw, "value")
        self.text.observe(self._learn, "value")
        super().__init__(self.text, row(self.step, row(self.back, self.next)))

    def _move(self, by: int) -> None:
        self.step.value = min(max(self.step.value + by, 0), self.step.max)

    def _learn(self, _change: object) -> None:
        self.merges = Merges(self.text.value[:LONGEST_TEXT], self.n_merges)
        with self.hold():  # its value may change with its limit
            self.step.max = len(self.merges.pairs)
            self.step.value = 0

    def draw(self) -> Picture:
        k = self.step.value
        self.back.disabled, self.next.disabled = k == 0, k == self.step.max
        if not self.merges.pairs:
            return svg.sentence("This text has no two neighbouring bytes to merge; type a few words.")
        return draw_step(self.merges, k, cut_from=len(self.text.value))


def draw_step(merges: Merges, k: int, cut_from: int = 0) -> Picture:
    """The text's tokens after k merges, the pair that comes next, and the table of the merges so far."""
    step = merges.step(k)
    n_tokens = sum(map(len, step.chunks))
    heading = f"After {svg.count(k, 'merge')}: {svg.count(n_tokens, 'token')}, {N_BYTES + k} in the vocabulary."
    if step.pair:
        first, second, new = (merges.label(i) for i in (*step.pair, N_BYTES + k))
        following = (
            f"Next: {first} + {second} becomes {new}, the commonest pair ({svg.count(step.pair_count, 'time')})."
        )
    else:
        done = f"All {k} merges asked for are done" if k == merges.asked_for else "No pair is left to merge"
        following = f"{done}."
    if cut_from > LONGEST_TEXT:
        following += f" Only the first {LONGEST_TEXT} of the text's {cut_from:,} characters are used."
    parts = [svg.label(MARGIN, 28, heading, 14, font_weight="bold")]
    drawn, y = svg.wrapped(MARGIN, 50, following, fill=DARK_ORANGE if step.pair else QUIET)
    tokens, y = draw_chunks(merges, step, N_BYTES + k - 1, y - 6)
    parts.append(svg.label(MARGIN, y + 8, LEGEND, 12, fill=QUIET))
    y += 18
    table, y = draw_table(merges, k, y + 22)
    text = " | ".join(" ".join(map(merges.label, chunk)) for chunk in step.chunks)
    words = f"{heading} {following} The tokens, with | between chunks that no merge spans: {text}"
    return svg.drawing(y + 6, words, [*parts, drawn, *tokens, *table])


def draw_chunks(merges: Merges, step: Step, latest: int, top: float) -> tuple[list[str], float]:
    """The tokens in lines, a gap between chunks; what is merged next is framed, and the id `latest` darker.

    Returns the parts and the y where they end.
    """
    tokens: list[str] = []
    frames: list[str] = []  # drawn over the tokens
    labels = [[merges.label(i) for i in chunk] for chunk in step.chunks]
    widths = [[svg.mono_width(text, 14) + 8 for text in chunk] for chunk in labels]
    places = place_chunks(widths, top)
    for c, chunk in enumerate(step.chunks):
        for token, text, width, (x, y) in zip(chunk, labels[c], widths[c], places[c], strict=True):
            look = {"fill": "#FFFFFF", "stroke": GREY}
            if token >= N_BYTES:
                look = {"fill": svg.tint(BLUE, 0.4 if token == latest else 0.18), "stroke": BLUE}
            tokens.append(svg.box(x, y, width, 24, svg.hover(f"{text}: id {token}"), **look))
            look = {"text_anchor": "middle", "pointer_events": "none"}
            tokens.append(svg.label(x + width / 2, y + 17, text, 14, mono=True, **look))
        for i in occurrences(chunk, step.pair):
            (x, y), (x2, y2) = places[c][i : i + 2]
            if y == y2:
                frames.append(frame(x, y, x2 - x + widths[c][i + 1]))
            else:  # the line ends between the two
                frames += [frame(x, y, widths[c][i]), frame(x2, y2, widths[c][i + 1])]
    bottom = places[-1][-1][1] + 34 if places else top
    return [*tokens, *frames], bottom


def place_chunks(widths: list[list[float]], top: float) -> list[list[tuple[float, float]]]:
    """(x, y) of each box of each chunk; a chunk is kept in one line where it fits into one."""
    places: list[list[tuple[float, float]]] = []
    x, y, right = float(MARGIN), top, WIDTH - MARGIN
    for chunk in widths:
        if x > MARGIN and x + sum(chunk) + len(chunk) > right:
            x, y = float(MARGIN), y + 34
        places.append([])
        for width in chunk:
            if x > MARGIN and x + width > right:
                x, y = float(MARGIN), y + 34
            places[-1].append((x, y))
            x += width + 1
        x += 7
    return places


def frame(x: float, y: float, width: float) -> str:
    """The mark of what is merged next."""
    return svg.box(
        x - 1, y - 2, width + 2, 28, fill="none", stroke=DARK_ORANGE, stroke_width=2.5, pointer_events="none"
    )


def occurrences(chunk: list[int], pair: Pair | None) -> set[int]:
    """Where `pair` will be merged in `chunk`, from left to right. Example: [1, 1, 1], (1, 1) -> {0}"""
    found: set[int] = set()
    for i, two in enumerate(pairwise(chunk)):
        if two == pair and i - 1 not in found:
            found.add(i)
    return found


def draw_table(merges: Merges, k: int, top: float) -> tuple[list[str], float]:
    """The first k merges, in columns of ROWS_OF_TABLE rows, the latest last; the parts and the y where they end."""
    first = max(0, (k - 1) // ROWS_OF_TABLE + 1 - COLUMNS_OF_TABLE) * ROWS_OF_TABLE
    column = (WIDTH - 2 * MARGIN) / COLUMNS_OF_TABLE
    parts = [svg.label(MARGIN, top, "Merges so far" if k else "Merges so far: none", 13, font_weight="bold")]
    if first:
        parts.append(svg.label(MARGIN + 110, top, f"(the first {first} are not shown)", 13, fill=QUIET))
    for i in range(first, k):
        x = MARGIN + (i - first) // ROWS_OF_TABLE * column
        y = top + 22 + (i - first) % ROWS_OF_TABLE * 19
        left, right, new = (svg.shorten(merges.label(t), LABEL_IN_TABLE) for t in (*merges.pairs[i], N_BYTES + i))
        parts.append(svg.label(x, y, f"{N_BYTES + i}", 12, mono=True, fill=QUIET))
        weight = {"font_weight": "bold"} if i == k - 1 else {}
        parts.append(svg.label(x + 36, y, f"{left} + {right} → {new}", 12, mono=True, **weight))
        parts.append(
            svg.label(x + column - 26, y, f"{merges.counts[i]}×", 12, mono=True, text_anchor="end", fill=QUIET)
        )
    return parts, top + 22 + min(k - first, ROWS_OF_TABLE) * 19
