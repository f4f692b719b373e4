"""The distribution of the next token, as temperature, top-k and top-p make it, and tokens drawn from it."""

from xml.sax.saxutils import escape

import torch
from torch import Tensor

from gptlib.generation import check_sampling, encode_prompts, next_logits, next_token_probabilities
from gptlib.model import GPTModel, eval_mode
from gptlib.plots.base import BLUE, DARK_ORANGE, ORANGE
from gptlib.tokenizers import Tokenizer
from gptlib.widgets import drawing as svg
from gptlib.widgets.base import Explorer, check_model, check_text, control, row
from gptlib.widgets.drawing import MARGIN, MONO, QUIET, WIDTH, Picture

ROWS = 20
LONGEST_STORY, COLUMNS = 450, 90  # characters of the text so far that are shown, and of one line
BEFORE, NOW = {"fill": "none", "stroke": BLUE, "stroke_width": 1.5}, {"fill": svg.tint(ORANGE, 0.75)}
TOP_K = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 50, 75, 100, 200, 500, 1000)


class SamplingExplorer(Explorer):
    """What may come after `prompt`, before and after temperature, top-k and top-p; buttons draw from it.

    temperature, top_k, top_p: the settings shown first, as in `generate`. Raises ValueError, naming the parameter,
    if one makes no sense, the tokenizer can't be the model's, or `prompt` is no str.
    Controls: `prompt`, `temperature`, `top_k` (None: all), `top_p` (1: all), `sample`, `write`, `reset` (buttons).
    `ids` are the prompt's tokens and those drawn since, `logits` (1, V) the scores of the next.
    """

    def __init__(
        self,
        model: GPTModel,
        tokenizer: Tokenizer,
        prompt: str,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> None:
        check_model(model, tokenizer)
        check_text("prompt", prompt)
        check_sampling(1, temperature, top_k, top_p)
        self.model, self.tokenizer = model, tokenizer
        ks = sorted(k for k in {*TOP_K, top_k} - {None} if k < tokenizer.vocab_size)
        options: list[tuple[str, int | None]] = [*((f"{k:,}", k) for k in ks), ("all", None)]
        place = ks.index(top_k) if top_k in ks else len(ks)
        self.prompt = control("Textarea", "Prompt", prompt, "98%", rows=2)
        self.temperature = control(
            "FloatSlider", "Temperature", temperature, min=0.0, max=max(2.0, temperature), step=0.05
        )
        self.top_k = control("SelectionSlider", "Top-k", options=options, index=place)
        self.top_p = control("FloatSlider", "Top-p", top_p or 1.0, min=min(0.01, top_p or 1.0), max=1.0, step=0.01)
        self.sample = control("Button", "Sample", width="110px")
        self.write = control("Button", "Write 20 tokens", width="150px")
        self.reset = control("Button", "Reset", width="110px")
        for each in (self.temperature, self.top_k, self.top_p):
            each.observe(self.redraw, "value")
        self.prompt.observe(self._begin, "value")
        self.reset.on_click(self._begin)
        self.sample.on_click(lambda _: self.draw_tokens(1))
        self.write.on_click(lambda _: self.draw_tokens(20))
        self._begin()
        rows = [row(self.temperature, self.top_k), row(self.top_p, row(self.sample, self.write, self.reset))]
        super().__init__(self.prompt, *rows)

    def _begin(self, _change: object = None) -> None:
        """Forget what was drawn, and read the prompt."""
        try:
            self.ids, _ = encode_prompts(self.tokenizer, [self.prompt.value])  # (1, T)
            self.problem = None
        except ValueError as error:
            self.problem = error
        if not self.problem:
            self.n_prompt = self.ids.shape[1]
            self._cache = self.model.new_cache()
            self._score()
        self.redraw()

    def _score(self) -> None:
        with eval_mode(self.model):
            logits = next_logits(self.model, self.ids.to(self.model.device), self._cache)
        self.logits = logits[:, : self.tokenizer.vocab_size].float().cpu()  # (1, V)

    @property
    def ended(self) -> bool:
        """Whether the last token drawn ends the text."""
        drawn = self.ids[0, self.n_prompt :].tolist()
        return bool(drawn) and drawn[-1] == self.tokenizer.eos_id

    def probabilities(self) -> Tensor:
        """The distribution (V,) that the controls make, and that the buttons draw from."""
        return next_token_probabilities(self.logits, self.temperature.value, self.top_k.value, self.top_p.value)[0]

    def draw_tokens(self, n: int) -> None:
        """Draw n tokens, each from the distribution behind those before it, and append them; fewer if the text ends."""
        for _ in range(n):
            if self.problem or self.ended:
                break
            self.ids = torch.cat((self.ids, self.probabilities().multinomial(1)[None]), dim=1)
            self._score()
        self.redraw()

    def draw(self) -> Picture:
        if self.problem:
            raise self.problem
        self.sample.disabled = self.write.disabled = self.ended
        ids = self.ids[0].tolist()
        prompt = self.tokenizer.decode(ids[: self.n_prompt])
        both = self.tokenizer.decode(ids)
        before, after = next_token_probabilities(self.logits)[0], self.probabilities()
        likeliest = before.topk(min(ROWS, len(before))).indices.tolist()
        bars = [
            (svg.token_label(self.tokenizer.token_bytes(i), 16), before[i].item(), after[i].item()) for i in likeliest
        ]
        left = f"{svg.count(int((after > 0).sum()), 'token')} of {len(after):,} left"
        k = "all" if self.top_k.value is None else f"{self.top_k.value:,}"
        settings = f"Temperature {self.temperature.value:g}, top-k {k}, top-p {self.top_p.value:g}:"
        facts = f"{left}; entropy {entropy(after):.2f} nats, before {entropy(before):.2f}."
        drawn = both[len(prompt) :] + (" (the text ends here)" if self.ended else " …")
        return draw_distribution(prompt, drawn, bars, settings, facts)


def entropy(probabilities: Tensor) -> float:
    """The entropy of a distribution (V,) in nats: how surprising the next token is, on average."""
    return abs(float(torch.special.entr(probabilities.double()).sum()))


def draw_distribution(
    prompt: str, drawn: str, bars: list[tuple[str, float, float]], settings: str, facts: str
) -> Picture:
    """The text so far, the facts, and for each token a bar: (label, probability before, probability after)."""
    parts, y = draw_story(prompt, drawn, 28)
    parts += [svg.label(MARGIN, y + 8, settings), svg.label(MARGIN, y + 28, facts, 14, font_weight="bold")]
    top, left, right = y + 46, MARGIN + 150, WIDTH - 190
    longest = max(max(before, after) for _, before, after in bars) or 1.0
    parts.append(svg.box(right + 16, top - 6, 20, 11, **BEFORE))
    parts.append(svg.label(right + 80, top + 4, "before", 12, text_anchor="end", fill=QUIET))
    parts.append(svg.box(right + 100, top - 6, 20, 11, **NOW))
    parts.append(svg.label(right + 150, top + 4, "now", 12, text_anchor="end", fill=DARK_ORANGE))
    for i, (text, before, after) in enumerate(bars):
        y = top + 12 + i * 19
        parts.append(svg.label(left - 8, y + 12, text, 13, mono=True, text_anchor="end"))
        width = (right - left) / longest
        said = svg.hover(f"{text}: {before:.2%} before, {after:.2%} now")
        parts.append(svg.box(left, y + 1, max(after * width, 0.1), 14, said, **NOW))
        parts.append(svg.box(left, y + 1, max(before * width, 0.5), 14, said, **BEFORE))
        parts.append(svg.label(right + 80, y + 12, f"{before:.2%}", 12, text_anchor="end", fill=QUIET))
        now = f"{after:.2%}" if after else "out"
        parts.append(svg.label(right + 150, y + 12, now, 12, text_anchor="end", fill=DARK_ORANGE))
    listed = ", ".join(f"{text} {before:.1%} → {after:.1%}" for text, before, after in bars)
    text = (prompt + drawn)[-LONGEST_STORY:].removesuffix(" …")
    words = f"Behind “{text}”: {settings} {facts} The likeliest tokens, before → now: {listed}."
    return svg.drawing(top + 12 + len(bars) * 19 + 12, words, parts)


def draw_story(prompt: str, drawn: str, top: float) -> tuple[list[str], float]:
    """The prompt, and in bold what was drawn behind it, in lines; only the last LONGEST_STORY characters of both."""
    prompt, drawn = (svg.printable(text.replace("\n", " ")) for text in (prompt, drawn))
    story = prompt + drawn
    start = max(len(story) - LONGEST_STORY, 0)
    parts: list[str] = []
    while start < len(story):
        end = end_of_line(story, start)
        cut = min(max(len(prompt), start), end)
        both = [svg.element("tspan", escape(story[start:cut]), fill=QUIET)] if cut > start else []
        if end > cut:
            both.append(svg.element("tspan", escape(story[cut:end]), font_weight="bold"))
        parts.append(svg.element("text", *both, x=MARGIN, y=top, font_size=13, font_family=MONO))
        start, top = end, top + 18
    return parts, top


def end_of_line(story: str, start: int) -> int:
    """Where the line that begins at `start` ends: behind the last space that fits in COLUMNS, if there is one."""
    end = min(start + COLUMNS, len(story))
    while svg.n_cells(story[start:end]) > COLUMNS:
        end -= 1
    space = story.rfind(" ", start, end)
    return end if end == len(story) or space < 0 else space + 1
