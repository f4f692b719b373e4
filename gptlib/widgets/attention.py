"""What each token looks at: the attention weights of one head of one layer, as a heat map and token by token."""

import torch
from torch import Tensor

from gptlib.generation import encode_prompts
from gptlib.model import GPTModel, eval_mode
from gptlib.tokenizers import Tokenizer
from gptlib.utils.validation import whole_number
from gptlib.widgets.base import Explorer, check_model, check_text, control, row
from gptlib.widgets.drawing import Picture, token_label
from gptlib.widgets.heads import draw_head

LONGEST_TEXT = 4000  # characters that are encoded
MOST_TOKENS = 40  # in the heat map; more would be too small to read


class AttentionExplorer(Explorer):
    """The attention weights of `model` on `text`: choose a layer, a head, and the token that looks.

    layer, head: those shown first, counted from 0. Raises ValueError if the model has no such layer or head, the
    tokenizer can't be the model's, or `text` is no str.
    Controls: `text`, `layer`, `head`, `query` (the position of the token that looks). `weights` (L, H, T, T) are those
    of the text that is shown, for all L layers: each row sums to 1.
    """

    def __init__(self, model: GPTModel, tokenizer: Tokenizer, text: str, *, layer: int = 0, head: int = 0) -> None:
        check_model(model, tokenizer)
        check_text("text", text)
        self.model, self.tokenizer = model, tokenizer
        self.text = control("Textarea", "Text", text, "98%", rows=2)
        self.layer = _slider("layer", layer, model.config.n_layers)
        self.head = _slider("head", head, model.config.n_heads)
        self.query = control("SelectionSlider", "Token that looks", options=[("", 0)], width="98%")
        self._read()
        for each in (self.layer, self.head, self.query):
            each.observe(self.redraw, "value")
        self.text.observe(self._read_again, "value")
        super().__init__(self.text, row(self.layer, self.head), self.query)

    def _read_again(self, _change: object) -> None:
        with self.hold():
            self._read()

    def _read(self) -> None:
        """Compute the weights of the text, of all layers and heads at once, and let its last token look."""
        limit = min(MOST_TOKENS, self.model.config.context_length)
        try:
            ids, _ = encode_prompts(self.tokenizer, [self.text.value[:LONGEST_TEXT]])  # (1, n)
            self.problem = None
        except ValueError as error:  # a character that the tokenizer doesn't know: `draw` shows the sentence
            self.problem = error
            return
        self.n_tokens = ids.shape[1]
        self.weights = attention_weights(self.model, ids[:, :limit])
        self.labels = [token_label(self.tokenizer.token_bytes(i)) for i in ids[0, :limit].tolist()]
        self.query.options = [(f"{i}: {label}", i) for i, label in enumerate(self.labels)]
        self.query.value = len(self.labels) - 1

    def draw(self) -> Picture:
        if self.problem:
            raise self.problem
        layer, head = self.layer.value, self.head.value
        shown = len(self.labels)
        note = f"Only the first {shown} tokens of the text are shown." if self.n_tokens > shown else ""
        weights = self.weights[layer, head].tolist()
        return draw_head(weights, self.labels, self.query.value, f"Layer {layer}, head {head}", note)


def _slider(name: str, value: int, n: int) -> object:
    """A slider from 0 to n - 1. Raises ValueError, by `name`, where `value` is not among them."""
    if whole_number(name, value, 0) >= n:
        raise ValueError(f"{name}={value} is out of range; the model's {n} count from 0, so give at most {n - 1}.")
    return control("IntSlider", f"{name.capitalize()} (0–{n - 1})", int(value), max=n - 1)


@torch.no_grad()
def attention_weights(model: GPTModel, ids: Tensor) -> Tensor:
    """ids (1, T) -> the weights of every layer and head (L, H, T, T), without dropout."""
    with eval_mode(model):
        _, weights = model(ids.to(model.device), return_attention=True)  # L times (1, H, T, T)
    return torch.cat(weights).float().cpu()
