"""A model prepared to decode one or two texts on a CPU: each new position by the kernels of `gptlib.ops.compiled`.

What it computes is what `GPTModel.forward` computes with a cache, up to rounding. It is made anew for each generation,
from the parameters as they are then, most of which it shares; that takes a millisecond.
"""

import os
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from gptlib.generation.quantization import PackedLinear, QuantizedLinear
from gptlib.model import GPTModel
from gptlib.model.attention import KVCache, MultiHeadAttention
from gptlib.model.gpt import GELU, FeedForward, LayerNorm, TransformerBlock
from gptlib.model.lora import LoRALinear
from gptlib.ops.backend import default_backend
from gptlib.ops.linear import Linear

ROWS = 2
"""Up to so many texts at once are decoded here, or one if a matrix is stored transposed."""

_PARTS = (GPTModel, TransformerBlock, MultiHeadAttention, FeedForward, GELU, LayerNorm)
_LINEAR = (Linear, LoRALinear, PackedLinear, QuantizedLinear)

_process: int | None = None  # that has compiled kernels; after a fork, their threads are gone


class Decoder:
    """The rest of a generation: call it with the ids of the newest position, (B, 1), for the next logits, (B, V).

    cache: what the model has filled with the prompt. pad_lengths (B,): how many of its positions are padding.
    """

    def __init__(self, model: GPTModel, cache: KVCache, pad_lengths: Tensor | None, kernels: ModuleType):
        self._model, self._cache, self._kernels = model, cache, kernels
        batch = cache.keys.shape[1]
        self._first = np.zeros(batch, np.int64) if pad_lengths is None else pad_lengths.numpy().astype(np.int64)
        self._blocks = [
            (
                _norm(block.norm_1),
                self._matrix(block.attention.c_attn),
                self._matrix(block.attention.c_proj),
                _norm(block.norm_2),
                self._matrix(block.feed_forward.c_fc),
                self._matrix(block.feed_forward.c_proj),
                np.float32(block.norm_1.eps),
                _stored(cache.keys[layer]),
                _stored(cache.values[layer]),
            )
            for layer, block in enumerate(model.blocks)
        ]
        self._final_norm = _norm(model.final_norm)
        self._head = self._matrix(model.output_head)

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> Tensor:
        model, cache, kernels, threads = self._model, self._cache, self._kernels, torch.get_num_threads()
        positions = torch.from_numpy((cache.length - self._first).clip(min=0))
        x = model.embed(ids, positions[:, None])[:, 0].float().contiguous().numpy()  # (B, C)
        for block in self._blocks:
            kernels.gpt2_block(x, *block, self._first, cache.length, threads)
        cache.advance(1)
        normed, logits = np.empty_like(x), np.empty((len(x), len(self._head.bias)), np.float32)
        kernels.normalize(x, *self._final_norm, np.float32(model.final_norm.eps), normed)
        kernels.multiply(normed, self._head, logits, threads)
        return torch.from_numpy(logits)

    def _matrix(self, layer: nn.Module) -> tuple:
        down, up = np.empty((0, 0), np.float32), np.empty((0, 0), np.float32)
        if isinstance(layer, LoRALinear):
            if layer.active is not None and not layer.merged:
                adapter = layer.adapters[layer.active]
                down, up = _float32(adapter.A), _float32(adapter.B * adapter.scale)
            layer = layer.base_layer
        weight = layer.weight.detach()
        n, transposed = len(weight), _is_transposed(weight)
        scale = _float32(layer.scale) if isinstance(layer, QuantizedLinear) else np.ones(n, np.float32)
        bias = np.zeros(n, np.float32) if layer.bias is None else _float32(layer.bias)
        return self._kernels.Matrix(_stored(weight.t() if transposed else weight), transposed, scale, bias, down, up)


def decoder_for(model: GPTModel, cache: KVCache, pad_lengths: Tensor | None = None) -> Decoder | None:
    """The decoder of a model and its cache; None if the model is to decode by its own forward.

    So it is if the backend says so, on GPUs, with more texts at once, and if any part is not the one that the kernels
    stand for: of a class of one's own, with hooks, or in a type that is neither float32 nor bfloat16.
    """
    if not can_compile(model) or cache.keys.shape[1] > ROWS:
        return None
    weights = [layer.weight for layer in model.modules() if type(layer) in _LINEAR and hasattr(layer, "weight")]
    if any(_is_transposed(weight) for weight in weights) and cache.keys.shape[1] > 1:
        return None
    kernels = _kernels()
    return None if kernels is None else Decoder(model, cache, pad_lengths, kernels)


def can_compile(model: nn.Module) -> bool:
    """Whether the backend wants compiled decoding for this model, and the kernels stand for all its parts."""
    if type(model) is not GPTModel or model.device.type != "cpu":
        return False
    backend = model.blocks[0].attention.backend or default_backend()
    return backend.compiles(_count(model)) and _is_as_written(model)


def _count(model: GPTModel) -> int:
    """About as many numbers as its matrices have, whatever they are stored in."""
    c = model.config
    return c.emb_dim * (12 * c.emb_dim * c.n_layers + c.vocab_size)


def _is_as_written(model: GPTModel) -> bool:
    if torch.is_autocast_enabled("cpu"):
        return False
    for block in model.blocks:
        parts = (block, block.attention, block.feed_forward, block.norm_1, block.norm_2, block.feed_forward.gelu)
        linear = (block.attention.c_attn, block.attention.c_proj, block.feed_forward.c_fc, block.feed_forward.c_proj)
        if not all(type(part) in _PARTS for part in parts) or not all(type(layer) in _LINEAR for layer in linear):
            return False
    if type(model.output_head) not in _LINEAR or type(model.final_norm) is not LayerNorm:
        return False
    for module in model.modules():
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return False
        if type(module) in (Linear, PackedLinear) and not _is_readable(module.weight):
            return False
    return True


def _is_readable(weight: Tensor) -> bool:
    dense = weight.layout == torch.strided and (weight.is_contiguous() or _is_transposed(weight))
    return dense and weight.dtype in (torch.float32, torch.bfloat16)


def _is_transposed(weight: Tensor) -> bool:
    return weight.ndim == 2 and not weight.is_contiguous() and weight.t().is_contiguous()


def _kernels() -> ModuleType | None:
    """`gptlib.ops.compiled`, if Numba works here with threads that several callers may use at once."""
    global _process
    if _process not in (None, os.getpid()):
        return None  # the threads of GNU's OpenMP don't survive a fork
    try:
        from gptlib.ops import compiled
    except Exception:  # not installed, or not for this Python or NumPy: PyTorch's kernels do it
        return None
    if not compiled.has_threads():
        return None
    _process = os.getpid()
    return compiled


def _norm(norm: LayerNorm) -> tuple[np.ndarray, np.ndarray]:
    return _float32(norm.weight), _float32(norm.bias)


def _float32(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()


def _stored(tensor: Tensor) -> np.ndarray:
    """The same memory as an array; NumPy knows no bfloat16, so that its bits are uint16."""
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
