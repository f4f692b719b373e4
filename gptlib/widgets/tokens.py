"""A text as coloured tokens with their ids: type, and switch the tokenizer."""

from collections.abc import Mapping

from gptlib.plots.base import COLOURS
from gptlib.tokenizers import Tokenizer
from gptlib.widgets import drawing as svg
from gptlib.widgets.base import Explorer, check_text, control, row
from gptlib.widgets.drawing import MARGIN, QUIET, Picture

LONGEST_TEXT = 4000  # characters that are encoded
MOST_TOKENS = 240  # that are drawn


class TokenExplorer(Explorer):
    """A text box and its tokens, each with its id, by any of the tokenizers: {"name": tokenizer, ...}.

    Raises ValueError if there is no tokenizer, or something else in its place.
    Controls: `text`, `tokenizer` (a name).
    """

    def __init__(self, text: str, tokenizers: Mapping[str, Tokenizer]) -> None:
        check_text("text", text)
        if not isinstance(tokenizers, Mapping) or not tokenizers:
            raise ValueError(f'tokenizers={tokenizers!r} is no dict of tokenizers; pass {{"name": tokenizer, ...}}.')
        for name, tokenizer in tokenizers.items():
            if not isinstance(name, str) or not isinstance(tokenizer, Tokenizer):
                raise ValueError(f"{name!r}: {tokenizer!r} is not a name and a tokenizer; pass load_tokenizer(...).")
        self.tokenizers = dict(tokenizers)
        self.text = control("Textarea", "Text", text, "98%", rows=3)
        self.tokenizer = control("Dropdown", "Tokenizer", options=list(self.tokenizers))
        for each in (self.text, self.tokenizer):
            each.observe(self.redraw, "value")
        super().__init__(self.text, row(self.tokenizer))

    def draw(self) -> Picture:
        return draw_tokens(self.text.value, self.tokenizers[self.tokenizer.value], self.tokenizer.value)


def draw_tokens(text: str, tokenizer: Tokenizer, name: str) -> Picture:
    """The tokens of `text` as boxes, in lines, each with its id below."""
    ids = tokenizer.encode(text[:LONGEST_TEXT])
    n_characters = len(text[:LONGEST_TEXT])
    labels = [svg.token_label(tokenizer.token_bytes(i)) for i in ids[:MOST_TOKENS]]
    parts, bottom = flow(labels, [str(i) for i in ids[:MOST_TOKENS]], 50)
    per_token = f", {n_characters / len(ids):.2f} characters per token" if ids else ""
    heading = f"{name}: {svg.count(len(ids), 'token')} for {svg.count(n_characters, 'character')}{per_token}."
    parts.append(svg.label(MARGIN, 28, heading, 14, font_weight="bold"))
    notes = []
    if len(text) > LONGEST_TEXT:
        notes.append(f"Only the first {LONGEST_TEXT:,} of the text's {len(text):,} characters are encoded.")
    if len(ids) > MOST_TOKENS:
        notes.append(f"Only the first {MOST_TOKENS} tokens are drawn.")
    if notes:
        drawn, bottom = svg.wrapped(MARGIN, bottom + 18, " ".join(notes), fill=QUIET)
        parts.append(drawn)
    listed = " ".join(f"{text} ({i})" for text, i in zip(labels, ids, strict=False))
    words = " ".join([heading, *notes, f"The tokens and their ids: {listed}." if ids else ""]).strip()
    return svg.drawing(bottom + 10, words, parts)


def flow(labels: list[str], below: list[str], top: float) -> tuple[list[str], float]:
    """Boxes in lines of WIDTH, `labels[i]` with `below[i]` under it; the parts, and the y where they end."""
    parts: list[str] = []
    widths = [
        max(svg.mono_width(text, 14), svg.mono_width(under, 11)) + 10 for text, under in zip(labels, below, strict=True)
    ]
    y = top
    for line in svg.lines_of(widths, 4):
        for i, x in line:
            colour, middle = COLOURS[i % 4], x + widths[i] / 2
            look = {"fill": svg.tint(colour, 0.22), "stroke": colour, "class": "gptlib-hover"}
            said = svg.hover(f"token {i}: {labels[i]}, id {below[i]}")
            parts.append(svg.box(x, y, widths[i], 38, said, **look))
            for text, size, down in ((labels[i], 14, 16), (below[i], 11, 32)):
                parts.append(
                    svg.label(middle, y + down, text, size, mono=True, text_anchor="middle", pointer_events="none")
                )
        y += 44
    return parts, y
