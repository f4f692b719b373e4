"""GPT-2 (Radford et al. 2019): each part, and the whole model, in the order of reading.

Letters in the shape comments: B batch, T positions, C embedding width (emb_dim), V vocabulary size.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gptlib.model.attention import KVCache, MultiHeadAttention, attention_mask
from gptlib.model.config import GPTConfig
from gptlib.model.peft import usable_by_peft
from gptlib.ops.devices import PrecisionChoice
from gptlib.ops.linear import Linear


class LayerNorm(nn.Module):
    """Each position's channels brought to mean 0 and variance 1, then scaled and shifted (Ba et al. 2016).

    (..., C) -> (..., C); the variance is the biased one, and eps keeps it from zero, as in GPT-2.
    """

    def __init__(self, emb_dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(emb_dim))
        self.bias = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class GELU(nn.Module):
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): GPT-2's approximation (Hendrycks & Gimpel 2016, section 2)."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(x, approximate="tanh")


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them, four times as wide inside; each position on its own."""

    def __init__(self, emb_dim: int):
        super().__init__()
        self.c_fc = Linear(emb_dim, 4 * emb_dim)
        self.gelu = GELU()
        self.c_proj = Linear(4 * emb_dim, emb_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.gelu(self.c_fc(x)))  # (B, T, C) -> (B, T, 4C) -> (B, T, C)


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each after a LayerNorm and added to what came in (pre-LayerNorm, as GPT-2)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.norm_1 = LayerNorm(config.emb_dim)
        self.attention = MultiHeadAttention(config.emb_dim, config.n_heads, config.drop_rate, config.qkv_bias)
        self.norm_2 = LayerNorm(config.emb_dim)
        self.feed_forward = FeedForward(config.emb_dim)
        self.dropout = nn.Dropout(config.drop_rate)

    def forward(self, x: Tensor, *, return_weights: bool = False, **options) -> Tensor | tuple[Tensor, Tensor]:
        """(B, T, C) -> (B, T, C), with return_weights also (B, H, T, S); options as MultiHeadAttention.forward's."""
        attended = self.attention(self.norm_1(x), return_weights=return_weights, **options)
        attended, weights = attended if return_weights else (attended, None)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.feed_forward(self.norm_2(x)))
        return (x, weights) if return_weights else x


class SinusoidalPositions(nn.Module):
    """Sines and cosines of geometrically falling frequency, nothing learned (Vaswani et al. 2017, section 3.5)."""

    def __init__(self, emb_dim: int):
        super().__init__()
        self.emb_dim = emb_dim

    def forward(self, positions: Tensor) -> Tensor:
        """positions (...) of integers -> (..., C)."""
        channel = torch.arange(0, self.emb_dim, 2, device=positions.device)
        angle = positions[..., None] * torch.exp(channel * (-math.log(10000.0) / self.emb_dim))  # (..., C/2)
        table = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)  # sin and cos take turns
        return table[..., : self.emb_dim]


@usable_by_peft
class GPTModel(nn.Module):
    """GPT-2: token and position embeddings, `n_layers` blocks, a final LayerNorm, and a head that scores every token.

    config: a GPTConfig, or a plain dict with its keys. Weights start as GPT-2's did: normal with deviation 0.02, the
    projections back into the residual stream divided by sqrt(2 n_layers), biases zero (Radford et al. 2019, 2.3).
    """

    config_class = GPTConfig
    """What `config` is; by its `architecture`, `ARCHITECTURES` finds this class."""

    precision: PrecisionChoice | None = None
    """Of a model for inference only: what its weights are in, and why. None: as they are, to be trained or not."""

    def __init__(self, config: GPTConfig | Mapping):
        super().__init__()
        self.config = config = GPTConfig.from_dict(config)
        self.token_embedding = nn.Embedding(config.vocab_size, config.emb_dim)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context_length, config.emb_dim)
        else:
            self.position_embedding = SinusoidalPositions(config.emb_dim)
        self.dropout = nn.Dropout(config.drop_rate)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.final_norm = LayerNorm(config.emb_dim)
        self.output_head = Linear(config.emb_dim, config.vocab_size, bias=False)
        self.tie_weights()
        self.apply(self._initialize)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layers))

    def tie_weights(self) -> None:
        """Make head and token embedding one parameter again, if the config says so (after loading, say)."""
        if self.config.weight_tying:
            self.output_head.weight = self.token_embedding.weight

    @staticmethod
    def _initialize(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(
        self,
        ids: Tensor,
        *,
        cache: KVCache | None = None,
        pad_lengths: Tensor | None = None,
        last_only: bool = False,
        return_hidden: bool = False,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Token ids (B, T) -> logits (B, T, V): at each position, a score for every token that could come next.

        cache: from `new_cache`; `ids` are then the tokens after those it has seen, and it keeps what it needs of
        them. pad_lengths: (B,), how many tokens at the left of each row (cached ones counted) are padding: nobody
        looks at them, and positions count from the first real token. last_only: only the last position's logits,
        (B, 1, V), since generation needs no others. return_hidden: in place of logits what the output head would
        get, (B, T, C). return_attention: also the attention weights, one (B, H, T, S) for each block.

        Raises ValueError if T, with what is cached, is over context_length, or an id is not in the vocabulary.
        """
        seen = cache.length if cache is not None else 0
        self._check_ids(ids, seen)
        positions, mask = self._positions_and_mask(ids, seen, pad_lengths)
        x = self.dropout(self.embed(ids, positions))  # (B, T, C)
        attention = []
        for layer, block in enumerate(self.blocks):
            x = block(x, cache=cache, layer=layer, mask=mask, return_weights=return_attention)
            if return_attention:
                x, weights = x
                attention.append(weights)
        if cache is not None:
            cache.advance(ids.shape[1])
        x = self.final_norm(x[:, -1:] if last_only else x)  # (B, T, C)
        out = x if return_hidden else self.output_head(x)  # (B, T, V)
        return (out, attention) if return_attention else out

    def _positions_and_mask(self, ids: Tensor, seen: int, pad_lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The positions, (T,) or with padding (B, T), and the mask that padding needs, (B, 1, T, S)."""
        T = ids.shape[1]
        positions = torch.arange(seen, seen + T, device=ids.device)
        if pad_lengths is None:
            return positions, None
        mask = attention_mask(T, seen + T, pad_lengths, device=ids.device)
        return (positions - pad_lengths[:, None]).clamp(min=0), mask

    def _check_ids(self, ids: Tensor, seen: int) -> None:
        if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
            what = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
            raise ValueError(f"The model takes a tensor of whole numbers, not {what}; pass torch.tensor(ids).long().")
        if ids.ndim != 2 or ids.numel() == 0:
            raise ValueError(
                f"The model takes ids of shape (batch, tokens), at least one each, not {tuple(ids.shape)}."
            )
        if (length := seen + ids.shape[1]) > self.config.context_length:
            raise ValueError(
                f"{length} tokens are more than the model's context_length={self.config.context_length}; "
                "pass the last context_length of them."
            )
        if ids.device.type != "cpu" or torch.compiler.is_compiling():
            return  # reading the ids there would stall the device
        low, high = ids.min().item(), ids.max().item()
        if low < 0 or high >= self.config.vocab_size:
            raise ValueError(
                f"Token id {low if low < 0 else high} is not in the model's vocabulary of {self.config.vocab_size}; "
                "is this the tokenizer that the model was trained with?"
            )

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """The sum of token and position embeddings, ids (B, T) and positions (T,) or (B, T) -> (B, T, C)."""
        tokens = self.token_embedding(ids)
        if self.config.positions == "sinusoidal":
            tokens = tokens * math.sqrt(self.config.emb_dim)  # Vaswani et al. 2017, section 3.4: both of like size
        return tokens + self.position_embedding(positions).to(tokens.dtype)

    def new_cache(self, batch_size: int = 1, max_length: int | None = None) -> KVCache:
        """An empty KV cache for `batch_size` rows of up to max_length (default: context_length) tokens."""
        weight = self.final_norm.weight  # of the type that the model computes in
        c = self.config
        length = min(max_length or c.context_length, c.context_length)
        return KVCache(
            c.n_layers, batch_size, c.n_heads, length, c.emb_dim // c.n_heads, dtype=weight.dtype, device=weight.device
        )

    def parameter_count(self, embeddings: bool = True) -> int:
        """Number of parameters, tied ones counted once; without `embeddings`, those of tables only looked up left out.

        Those are the positions, and the tokens unless they are tied: the output head multiplies and always counts.
        """
        count = sum(parameter.numel() for parameter in self.parameters())
        if not embeddings:
            count -= sum(p.numel() for p in self.position_embedding.parameters())
            if not self.config.weight_tying:
                count -= self.token_embedding.weight.numel()
        return count

    def flops_per_token(self) -> float:
        """Floating-point operations to train on one token of a full context, forward and backward.

        Six for each parameter that multiplies, and 12 n_layers emb_dim context_length for the attention scores
        (Chowdhery et al. 2022, PaLM, appendix B).
        """
        c = self.config
        return 6 * self.parameter_count(embeddings=False) + 12 * c.n_layers * c.emb_dim * c.context_length

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.token_embedding.weight.device


@contextmanager
def eval_mode(model: nn.Module | list[nn.Module]) -> Iterator[None]:
    """Switch dropout off for a while; afterwards each module is in the mode that it was in.

    model: a model, or the list of its modules, since finding them takes half a millisecond.
    """
    modules = model if isinstance(model, list) else model.modules()
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
