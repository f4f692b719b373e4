"""Chapter 4's wrong implementations, each as learners write it; `gpt_model.py` says what is wrong with them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gptlib.model import GELU, FeedForward, TransformerBlock
from gptlib.model.config import GPTConfig

NO_DROPOUT = (
    "In eval mode your block is right. In training mode, dropout is missing behind attention, behind the feed-forward "
    "layer, or behind both."
)
DROPS_THE_STREAM = (
    "In eval mode your block is right. In training mode your dropout also drops what came in: it belongs on each "
    "branch, before that is added."
)


def norm_unbiased(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + eps) * weight + bias


def norm_eps_outside(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True, correction=0) + eps) * weight + bias


def norm_by_std(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps) * weight + bias


def norm_without_keepdim(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return (x - x.mean(-1)) / torch.sqrt(x.var(-1, correction=0) + eps) * weight + bias


def norm_with_flat_mean(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    mean = x.mean(-1)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1) + eps) * weight + bias


def norm_rooted_twice(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.std(-1, keepdim=True) + eps) * weight + bias


def norm_own_eps(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, 1e-5)


def norm_without_brackets(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    return x - mean / torch.sqrt(variance + eps) * weight + bias


def norm_without_eps(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return norm_eps_outside(x, weight, bias, eps=0)


def _norm_over(dim: int | None, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    mean, variance = x.mean(dim, keepdim=True), x.var(dim, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def norm_over_rows(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return _norm_over(0, x, weight, bias, eps)


def norm_over_positions(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return _norm_over(1, x, weight, bias, eps)


def norm_over_all(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return _norm_over(None, x, weight, bias, eps)


def norm_by_variance(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + eps) * weight + bias


def norm_without_bias(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, weight.shape, weight, None, eps)


def norm_without_weight(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, weight.shape, None, bias, eps)


def norm_in_place(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    x -= x.mean(-1, keepdim=True)
    x /= torch.sqrt((x * x).mean(-1, keepdim=True) + eps)
    return x * weight + bias


def gelu_exact(x: Tensor) -> Tensor:
    return F.gelu(x)


def _gelu(x: Tensor, inner: Tensor, factor: float = math.sqrt(2 / math.pi), half: float = 0.5) -> Tensor:
    return half * x * (1 + torch.tanh(factor * inner))


def gelu_square(x: Tensor) -> Tensor:
    return _gelu(x, x + 0.044715 * x**2)


def gelu_without_cube(x: Tensor) -> Tensor:
    return _gelu(x, x)


def gelu_without_half(x: Tensor) -> Tensor:
    return _gelu(x, x + 0.044715 * x**3, half=1.0)


def gelu_root(x: Tensor) -> Tensor:
    return _gelu(x, x + 0.044715 * x**3, factor=math.sqrt(2) / math.pi)


def gelu_factor_of_x_only(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * x + 0.044715 * x**3))


def gelu_without_brackets(x: Tensor) -> Tensor:
    return 0.5 * x * 1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def gelu_math(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_torch_sqrt(x: Tensor) -> Tensor:
    return _gelu(x, x + 0.044715 * x**3, factor=torch.sqrt(2 / math.pi))


def gelu_sigmoid(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class NoActivation(FeedForward):
    def forward(self, x):
        return self.c_proj(self.c_fc(x))


class Relu(FeedForward):
    def forward(self, x):
        return self.c_proj(torch.relu(self.c_fc(x)))


class ExactGelu(FeedForward):
    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class GeluClassCalled(FeedForward):
    def forward(self, x):
        return self.c_proj(GELU(self.c_fc(x)))


class GeluAtTheEnd(FeedForward):
    def forward(self, x):
        return self.gelu(super().forward(x))


class ResidualInside(FeedForward):
    def forward(self, x):
        return x + super().forward(x)


class PostNorm(TransformerBlock):
    def forward(self, x):
        x = self.norm_1(x + self.dropout(self.attention(x)))
        return self.norm_2(x + self.dropout(self.feed_forward(x)))


class NoResidual(TransformerBlock):
    def forward(self, x):
        x = self.dropout(self.attention(self.norm_1(x)))
        return self.dropout(self.feed_forward(self.norm_2(x)))


class OneResidual(TransformerBlock):
    def forward(self, x):
        x = x + self.dropout(self.attention(self.norm_1(x)))
        return self.dropout(self.feed_forward(self.norm_2(x)))


class OneNorm(TransformerBlock):
    def forward(self, x):
        x = x + self.dropout(self.attention(self.norm_1(x)))
        return x + self.dropout(self.feed_forward(self.norm_1(x)))


class NormedResidual(TransformerBlock):
    def forward(self, x):
        x = self.norm_1(x)
        x = x + self.dropout(self.attention(x))
        x = self.norm_2(x)
        return x + self.dropout(self.feed_forward(x))


class NoNorm(TransformerBlock):
    def forward(self, x):
        x = x + self.dropout(self.attention(x))
        return x + self.dropout(self.feed_forward(x))


class NormBehind(TransformerBlock):
    def forward(self, x):
        x = x + self.dropout(self.norm_1(self.attention(x)))
        return x + self.dropout(self.norm_2(self.feed_forward(x)))


class FirstHalf(TransformerBlock):
    def forward(self, x):
        return x + self.dropout(self.attention(self.norm_1(x)))


class BranchOnly(TransformerBlock):
    def forward(self, x):
        attended = self.dropout(self.attention(self.norm_1(x)))
        return x + self.dropout(self.feed_forward(self.norm_2(attended)))


class Parallel(TransformerBlock):
    def forward(self, x):
        attended = self.dropout(self.attention(self.norm_1(x)))
        return x + attended + self.dropout(self.feed_forward(self.norm_2(x)))


class FeedForwardFirst(TransformerBlock):
    def forward(self, x):
        x = x + self.dropout(self.feed_forward(self.norm_1(x)))
        return x + self.dropout(self.attention(self.norm_2(x)))


class ResidualOfInput(TransformerBlock):
    def forward(self, x):
        h = x + self.dropout(self.attention(self.norm_1(x)))
        return x + self.dropout(self.feed_forward(self.norm_2(h)))


class NoDropoutBlock(TransformerBlock):
    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.feed_forward(self.norm_2(x))


class StreamDropout(TransformerBlock):
    def forward(self, x):
        x = self.dropout(x + self.attention(self.norm_1(x)))
        return self.dropout(x + self.feed_forward(self.norm_2(x)))


def _count(config: GPTConfig, **changes: int) -> int:
    """The right number, with some of its pieces replaced."""
    V, C = config.vocab_size, config.emb_dim
    pieces = {
        "qkv_bias": 3 * C if config.qkv_bias else 0,
        "biases": C + 4 * C + C,
        "norms": 4 * C,
        "positions": config.context_length * C if config.positions == "learned" else 0,
        "final_norm": 2 * C,
        "head": 0 if config.weight_tying else V * C,
    } | changes
    block = 12 * C * C + pieces["qkv_bias"] + pieces["biases"] + pieces["norms"]
    return V * C + pieces["positions"] + config.n_layers * block + pieces["final_norm"] + pieces["head"]


def count_as_official(config: GPTConfig) -> int:
    C = config.emb_dim
    return _count(config, head=0, qkv_bias=3 * C, positions=config.context_length * C)


def count_without_biases(config: GPTConfig) -> int:
    return _count(config, biases=0, qkv_bias=0)


def count_tied_twice(config: GPTConfig) -> int:
    return _count(config, head=config.vocab_size * config.emb_dim)


def count_never_head(config: GPTConfig) -> int:
    return _count(config, head=0)


def count_without_positions(config: GPTConfig) -> int:
    return _count(config, positions=0)


def count_always_positions(config: GPTConfig) -> int:
    return _count(config, positions=config.context_length * config.emb_dim)


def count_qkv_bias_always(config: GPTConfig) -> int:
    return _count(config, qkv_bias=3 * config.emb_dim)


def count_qkv_bias_never(config: GPTConfig) -> int:
    return _count(config, qkv_bias=0)


def count_qkv_bias_as_one(config: GPTConfig) -> int:
    return _count(config, qkv_bias=(3 if config.qkv_bias else 2) * config.emb_dim)


def count_bias_of_c_proj_too(config: GPTConfig) -> int:
    return _count(config, qkv_bias=(3 if config.qkv_bias else -1) * config.emb_dim)


def count_without_final_norm(config: GPTConfig) -> int:
    return _count(config, final_norm=0)


def count_norms_once(config: GPTConfig) -> int:
    return _count(config, norms=2 * config.emb_dim)


def count_head_bias(config: GPTConfig) -> int:
    return _count(config) + config.vocab_size
