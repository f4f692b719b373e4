"""The shape of a LoRA adapter in one place: its fields, and what they may be."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from gptlib.utils.validation import is_number, whole_number

TARGETS = ("c_attn", "c_proj", "c_fc")
"""The four projections of every block (c_proj names two of them)."""


@dataclass(frozen=True)
class LoRAConfig:
    """The shape of an adapter."""

    rank: int = 8
    """Rows of A and columns of B: the rank of the update is at most this."""
    alpha: float = 16.0
    """The update is multiplied by alpha / rank."""
    dropout: float = 0.0
    """Dropout on the input of A while training, from 0 up to below 1."""
    target_modules: tuple[str, ...] = TARGETS
    """Names of the linear layers to adapt, or ends of their names, as "c_proj" or "attention.c_proj"."""

    def __post_init__(self):
        rank = whole_number("rank", self.rank, 1)
        if not is_number(self.alpha) or self.alpha <= 0:
            raise ValueError(f"alpha={self.alpha!r} is out of range; give a number above 0.")
        if not is_number(self.dropout) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout!r} is out of range; give a number from 0 up to below 1.")
        targets = self.target_modules
        is_list = isinstance(targets, list | tuple | set | frozenset)
        if not is_list or not targets or not all(isinstance(name, str) and name for name in targets):
            raise ValueError(f"target_modules={targets!r} names no layers; give a list such as {list(TARGETS)}.")
        targets = sorted(targets) if isinstance(targets, set | frozenset) else targets  # a set has no order of its own
        # Python's own types, since a checkpoint with NumPy's could be written, and not read again.
        object.__setattr__(self, "rank", rank)
        object.__setattr__(self, "alpha", float(self.alpha))
        object.__setattr__(self, "dropout", float(self.dropout))
        object.__setattr__(self, "target_modules", tuple(targets))

    @classmethod
    def from_dict(cls, config: Mapping) -> "LoRAConfig":
        """A config from a plain dict with these keys. Raises ValueError if it is none, or has other keys."""
        known = [field.name for field in fields(cls)]
        if not isinstance(config, Mapping) or (unknown := sorted(set(map(str, config)) - set(known))):
            what = f"unknown key {unknown[0]!r}" if isinstance(config, Mapping) else f"{config!r}"
            raise ValueError(f"An adapter's config has the keys {', '.join(known)}, and here is: {what}; leave it out.")
        return cls(**config)

    def to_dict(self) -> dict[str, Any]:
        """The config as plain data."""
        return asdict(self) | {"target_modules": list(self.target_modules)}

    def targets(self, name: str) -> bool:
        """Whether the layer of this name is to be adapted: it is one of target_modules, or ends in one after a dot."""
        return any(name == target or name.endswith(f".{target}") for target in self.target_modules)
