"""The shape of a GPT in one place: its fields, what they may be, and the sizes that have a name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import ClassVar, Literal

from gptlib.utils.validation import is_number, whole_number


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT; the defaults are GPT-2 124M's, with bias-free queries and an output head of its own."""

    vocab_size: int = 50257
    """Number of tokens in the vocabulary (set from the tokenizer when training)."""
    context_length: int = 1024
    """Longest sequence the model can see, in tokens."""
    emb_dim: int = 768
    """Width of the embeddings and of everything between the blocks; a multiple of n_heads."""
    n_heads: int = 12
    """Attention heads in each block."""
    n_layers: int = 12
    """Number of transformer blocks."""
    drop_rate: float = 0.1
    """Dropout on embeddings, attention weights and residual branches while training, from 0 up to below 1."""
    qkv_bias: bool = False
    """Whether the query, key and value projections have a bias (the official GPT-2 weights do)."""
    weight_tying: bool = False
    """Whether the output head shares the token embedding's weights (the official GPT-2 weights do)."""
    positions: Literal["learned", "sinusoidal"] = "learned"
    """How positions are given: "learned" embeddings as in GPT-2, or "sinusoidal" as in the first transformer."""

    architecture: ClassVar[str] = "gpt2"
    """What a checkpoint calls models of this kind; no field."""

    def __post_init__(self):
        for name in ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), 1))
        if self.emb_dim % self.n_heads:
            raise ValueError(
                f"emb_dim={self.emb_dim} cannot be shared equally among n_heads={self.n_heads}; "
                "choose n_heads that divides it."
            )
        if not is_number(self.drop_rate) or not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate={self.drop_rate!r} is out of range; give a number from 0 up to below 1.")
        for name in ("qkv_bias", "weight_tying"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} is neither True nor False; give one of them.")
        if self.positions not in ("learned", "sinusoidal"):
            raise ValueError(f"positions={self.positions!r} is unknown; give 'learned' or 'sinusoidal'.")

    @classmethod
    def from_dict(cls, config: "GPTConfig | Mapping") -> "GPTConfig":
        """A config from a plain dict with these keys; what is missing takes the default. ValueError on other keys."""
        if isinstance(config, GPTConfig):
            return config
        if not isinstance(config, Mapping):
            raise ValueError(f"A model's config is a GPTConfig or a dict, not {type(config).__name__}: {config!r}.")
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(map(str, config)) - set(known)):
            raise ValueError(f"Unknown config key {unknown[0]!r}; the keys are {', '.join(known)}.")
        return cls(**config)

    def to_dict(self) -> dict:
        """The config as a plain dict, as it stands in a checkpoint."""
        return asdict(self)

    # With these two, {**GPT_CONFIG_SMALL, "n_layers": 2} makes the dict that one means.
    def keys(self) -> list[str]:
        """The names of the fields, as a dict has them."""
        return [field.name for field in fields(self)]

    def __getitem__(self, key: str) -> int | float | bool | str:
        if key not in self.keys():
            raise KeyError(f"Unknown config key {key!r}; the keys are {', '.join(self.keys())}.")
        return getattr(self, key)


GPT_CONFIG_124M = GPTConfig()
GPT_CONFIG_SMALL = GPTConfig(context_length=256, emb_dim=384, n_heads=6, n_layers=6)

_OFFICIAL = GPTConfig(qkv_bias=True, weight_tying=True)
GPT2_CONFIGS = {
    "124M": _OFFICIAL,
    "355M": replace(_OFFICIAL, emb_dim=1024, n_heads=16, n_layers=24),
    "774M": replace(_OFFICIAL, emb_dim=1280, n_heads=20, n_layers=36),
    "1558M": replace(_OFFICIAL, emb_dim=1600, n_heads=25, n_layers=48),
}
"""The four official sizes, as OpenAI's and Hugging Face's weights need them."""
