"""LoRA (Hu et al. 2021, section 4.1): a frozen matrix W learns a small update, the product of two thin matrices B A.

A layer computes x W^T + b + (alpha / rank) x A^T B^T, with A (rank, K) and B (N, rank) for W (N, K). B starts as zeros,
so that a new adapter changes nothing.
"""

import copy
import math

import torch
from torch import Tensor, nn

from gptlib.model.lora_config import LoRAConfig
from gptlib.ops.backend import Backend
from gptlib.ops.linear import Linear, linear


class Adapter(nn.Module):
    """The update of one layer, x (..., K) -> (alpha / rank) x A^T B^T (..., N).

    A starts as `nn.Linear` does, B as zeros. Both are in float32 if the layer has 16 bits, too few for small steps.
    """

    backend: Backend | None = None
    """None: `default_backend()`."""

    def __init__(self, layer: nn.Linear, config: LoRAConfig):
        super().__init__()
        self.config = config
        dtype = torch.promote_types(layer.weight.dtype, torch.float32)
        options = {"dtype": dtype, "device": layer.weight.device}
        self.A = nn.Parameter(torch.empty(config.rank, layer.in_features, **options))
        self.B = nn.Parameter(torch.zeros(layer.out_features, config.rank, **options))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.config.alpha / self.config.rank

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.dropout(x.to(self.A.dtype), self.config.dropout, self.training)
        thin = linear(x, self.A, backend=self.backend) * self.scale  # (..., rank)
        return linear(thin, self.B, backend=self.backend)

    def update(self) -> Tensor:
        """What the adapter adds to the layer's weight, (N, K)."""
        return self.B @ self.A * self.scale


class LoRALinear(nn.Module):
    """A linear layer, `base_layer`, with adapters by name; `active` is the one that counts, or None."""

    def __init__(self, base_layer: Linear):
        super().__init__()
        self.base_layer = base_layer
        self.adapters = nn.ModuleDict()
        self.active: str | None = None
        self.merged = False
        """Whether the active adapter's update is in the base layer's weight, and not computed apart."""

    def forward(self, x: Tensor) -> Tensor:
        out = self.base_layer(x)
        if self.active is None or self.merged:
            return out
        return (out + self.adapters[self.active](x)).to(out.dtype)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the active adapter's update to the base layer's weight."""
        if self.active is not None:
            self.base_layer.weight += self.adapters[self.active].update()
        self.merged = True

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take it off again."""
        if self.active is not None:
            self.base_layer.weight -= self.adapters[self.active].update()
        self.merged = False

    def as_linear(self) -> Linear:
        """A linear layer of its own that computes the same."""
        layer = copy.deepcopy(self)
        if not layer.merged:
            layer.merge()
        return layer.base_layer
