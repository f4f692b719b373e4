"""One table of names: what each of our parameters is called in OpenAI's checkpoints and in Hugging Face's files.

The loaders of both sources, the tree of `download_and_load_gpt2` and the exporter are made from it. OpenAI wrote its
linear layers as one-dimensional convolutions, "Conv1D", which keep the weight as [in, out]: the transpose of ours.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from gptlib.checkpoints.tensors import Shape
from gptlib.model import GPTConfig


@dataclass(frozen=True)
class Name:
    """One parameter by its three names; `{i}` stands for the number of the block, from 0."""

    ours: str
    openai: str | None
    """The TensorFlow variable; None where OpenAI's checkpoints hold none, as for the head, which is tied."""
    huggingface: str
    """The tensor in model.safetensors; save_pretrained writes "transformer." before all but the head's."""
    transposed: bool = False
    """Whether both of them store it as [in, out], and we as [out, in]; OpenAI with one more dimension, [1, in, out]."""

    def numbered(self, i: int) -> "Name":
        """The name in block i."""
        ours, openai, theirs = (
            name.replace("{i}", str(i)) for name in (self.ours, self.openai or "", self.huggingface)
        )
        return replace(self, ours=ours, openai=openai or None, huggingface=theirs)

    def openai_shape(self, shape: Shape) -> Shape:
        """The shape of OpenAI's variable, from that of our parameter: (out, in) -> (1, in, out)."""
        return (1, *reversed(shape)) if self.transposed else shape

    def stored_shape(self, shape: Shape) -> Shape:
        """The shape of Hugging Face's tensor, from that of our parameter: (out, in) -> (in, out)."""
        return tuple(reversed(shape)) if self.transposed else shape

    def turned(self, tensor: Tensor) -> Tensor:
        """Hugging Face's tensor as ours, and ours as theirs: a view, (in, out) <-> (out, in) where transposed."""
        return tensor.t() if self.transposed else tensor

    def tree_path(self) -> tuple[str | int, ...]:
        """Where the variable is in the tree of `download_and_load_gpt2`.

        Example: model/h3/attn/c_attn/w -> ("blocks", 3, "attn", "c_attn", "w"), model/ln_f/g -> ("g",)
        """
        first, *rest = self.openai.removeprefix("model/").split("/")
        if first == "ln_f":
            return tuple(rest)
        return ("blocks", int(first.removeprefix("h")), *rest) if rest else (first,)


OUTER = (
    Name("token_embedding.weight", "model/wte", "wte.weight"),
    Name("position_embedding.weight", "model/wpe", "wpe.weight"),
    Name("final_norm.weight", "model/ln_f/g", "ln_f.weight"),
    Name("final_norm.bias", "model/ln_f/b", "ln_f.bias"),
)
HEAD = Name("output_head.weight", None, "lm_head.weight")
BLOCK = tuple(
    Name(f"blocks.{{i}}.{ours}.{ours_end}", f"model/h{{i}}/{openai}/{openai_end}", f"h.{{i}}.{theirs}.{ours_end}", turn)
    for ours, openai, theirs, ends in (
        ("norm_1", "ln_1", "ln_1", "norm"),
        ("attention.c_attn", "attn/c_attn", "attn.c_attn", "linear"),
        ("attention.c_proj", "attn/c_proj", "attn.c_proj", "linear"),
        ("norm_2", "ln_2", "ln_2", "norm"),
        ("feed_forward.c_fc", "mlp/c_fc", "mlp.c_fc", "linear"),
        ("feed_forward.c_proj", "mlp/c_proj", "mlp.c_proj", "linear"),
    )
    for ours_end, openai_end, turn in (
        ("weight", "g" if ends == "norm" else "w", ends == "linear"),
        ("bias", "b", False),
    )
)
"""The twelve parameters of a block."""


def parameter_names(config: GPTConfig) -> list[Name]:
    """All parameters of a model with biases and learned positions, the head's only where it is not tied.

    The largest, the token embedding, comes first: what a reader needs for a moment is then needed on top of nothing.
    """
    blocks = [name.numbered(i) for i in range(config.n_layers) for name in BLOCK]
    return [*OUTER, *blocks] if config.weight_tying else [*OUTER, HEAD, *blocks]
