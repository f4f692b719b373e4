"""A table of names for each architecture: what its parameters are called in OpenAI's and in Hugging Face's files.

The loaders of both sources, the tree of `download_and_load_gpt2` and the exporter are made from it. OpenAI wrote
GPT-2's linear layers as one-dimensional convolutions, "Conv1D", which keep the weight as [in, out]: the transpose of
ours.
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
    """The TensorFlow variable; None if OpenAI's checkpoints hold none, as for the head, which is tied."""
    huggingface: str
    """The tensor in model.safetensors."""
    is_conv1d: bool = False
    """Whether both of them store it as [in, out], and we as [out, in]; OpenAI with one more dimension, [1, in, out]."""

    def numbered(self, i: int) -> "Name":
        """The name in block i."""
        ours, openai, theirs = (
            name.replace("{i}", str(i)) for name in (self.ours, self.openai or "", self.huggingface)
        )
        return replace(self, ours=ours, openai=openai or None, huggingface=theirs)

    def openai_shape(self, shape: Shape) -> Shape:
        """The shape of OpenAI's variable, from that of our parameter: (out, in) -> (1, in, out)."""
        return (1, *reversed(shape)) if self.is_conv1d else shape

    def stored_shape(self, shape: Shape) -> Shape:
        """The shape of Hugging Face's tensor, from that of our parameter: (out, in) -> (in, out)."""
        return tuple(reversed(shape)) if self.is_conv1d else shape

    def transposed(self, tensor: Tensor) -> Tensor:
        """Hugging Face's tensor as ours, and ours as theirs: a view, (in, out) <-> (out, in) of a Conv1D."""
        return tensor.t() if self.is_conv1d else tensor

    def tree_path(self) -> tuple[str | int, ...]:
        """Where the variable is in the tree of `download_and_load_gpt2`.

        Example: model/h3/attn/c_attn/w -> ("blocks", 3, "attn", "c_attn", "w"), model/ln_f/g -> ("g",)
        """
        first, *rest = self.openai.removeprefix("model/").split("/")
        if first == "ln_f":
            return tuple(rest)
        return ("blocks", int(first.removeprefix("h")), *rest) if rest else (first,)


@dataclass(frozen=True)
class NameTable:
    """The names of one architecture's parameters; a model of any size is spelled out from it by `parameters`."""

    outer: tuple[Name, ...]
    """Those outside the blocks but for the head, the token embedding first."""
    head: Name
    block: tuple[Name, ...]
    """Those of a block, with "{i}" for its number."""
    prefix: str = ""
    """What save_pretrained writes before all names but the head's; files on the Hub may have it or not."""
    buffers: tuple[str, ...] = ()
    """Ends of names in blocks that are no parameters, and left out."""

    def parameters(self, config: GPTConfig) -> list[Name]:
        """All parameters of a model with biases and learned positions, the head's only if it is not tied.

        The largest, the token embedding, comes first: what a reader needs for a moment is then needed on top of
        nothing.
        """
        head = () if config.weight_tying else (self.head,)
        return [*self.outer, *head, *(name.numbered(i) for i in range(config.n_layers) for name in self.block)]

    def saved_as(self, name: Name) -> str:
        """The name as save_pretrained writes it."""
        return name.huggingface if name == self.head else f"{self.prefix}{name.huggingface}"


def _gpt2_block() -> tuple[Name, ...]:
    layers = (
        ("norm_1", "ln_1", "ln_1"),
        ("attention.c_attn", "attn/c_attn", "attn.c_attn"),
        ("attention.c_proj", "attn/c_proj", "attn.c_proj"),
        ("norm_2", "ln_2", "ln_2"),
        ("feed_forward.c_fc", "mlp/c_fc", "mlp.c_fc"),
        ("feed_forward.c_proj", "mlp/c_proj", "mlp.c_proj"),
    )
    names = []
    for ours, openai, theirs in layers:
        is_linear = not ours.startswith("norm")
        for end, openai_end in (("weight", "w" if is_linear else "g"), ("bias", "b")):
            names.append(
                Name(
                    f"blocks.{{i}}.{ours}.{end}",
                    f"model/h{{i}}/{openai}/{openai_end}",
                    f"h.{{i}}.{theirs}.{end}",
                    is_conv1d=is_linear and end == "weight",
                )
            )
    return tuple(names)


GPT2_NAMES = NameTable(
    outer=(
        Name("token_embedding.weight", "model/wte", "wte.weight"),
        Name("position_embedding.weight", "model/wpe", "wpe.weight"),
        Name("final_norm.weight", "model/ln_f/g", "ln_f.weight"),
        Name("final_norm.bias", "model/ln_f/b", "ln_f.bias"),
    ),
    head=Name("output_head.weight", None, "lm_head.weight"),
    block=_gpt2_block(),
    prefix="transformer.",
    buffers=(".attn.bias", ".attn.masked_bias"),  # triangles of ones that old versions kept with the weights
)

TABLES = {GPTConfig.architecture: GPT2_NAMES}
"""The table of each architecture; a new one adds its own."""


def names_of(config: GPTConfig) -> NameTable:
    """The table of a model's architecture."""
    return TABLES[config.architecture]
