"""A copy of a model for inference only, with its matrices in 16 or 8 bits: half or a quarter to read for each token.

Decoding waits for the weights to come from memory, so fewer bytes are more tokens a second. The copy is made once, when
a model is loaded, and has no parameter that could be trained: nothing in it can go stale.
"""

import copy
import time
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.model import GPTModel
from gptlib.ops.linear import Linear, linear

INFERENCE_PRECISIONS = ("auto", "fp32", "bf16", "int8")
FEW_ROWS = 32
"""Up to so many rows the 8-bit product is the faster; with more, turning the weights back into bf16 pays."""

_WHOLE = 32  # the 8-bit product takes K in steps of so many, and reads past the end of what has another number

_LARGE = 20_000_000  # parameters; a smaller model is fast enough in fp32, and exact
_MARGIN = 1.3  # bf16 must be so many times as fast to be taken unasked


def with_precision(model: GPTModel, precision: str = "auto") -> tuple[GPTModel, str]:
    """The model in another precision, for inference, and one sentence on it.

    precision: "fp32" leaves float32 weights as they are; "bf16" rounds all to 16 bits; "int8" keeps matrices in 8 bits
    with one scale a row and computes in bf16 (CPU only); "auto" takes bf16 where it was tried to be faster by a third
    and the model is large, else what the model has. The model itself is left as it is; where nothing changes, it is
    what comes back. Raises ValueError for another precision, or one that the device can't do.
    """
    if precision not in INFERENCE_PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; give one of {', '.join(INFERENCE_PRECISIONS)}.")
    dtype, on_cpu = next(model.parameters()).dtype, model.device.type == "cpu"
    why = f"{precision}, as asked"
    if precision == "auto":
        precision, why = _pick(model, dtype)
    if precision == "int8" and not on_cpu:
        raise ValueError(f"precision='int8' works on the CPU only, and the model is on {model.device}; give 'bf16'.")
    if precision == "int8":
        return quantize(model), why
    if precision == "bf16" and on_cpu:
        return pack(model), why
    wanted = {"fp32": torch.float32, "bf16": torch.bfloat16}.get(precision, dtype)
    return (model if wanted == dtype else _copy_in(wanted, model)), why


def _pick(model: GPTModel, dtype: torch.dtype) -> tuple[str, str]:
    if dtype != torch.float32 or model.parameter_count() < _LARGE or model.device.type == "mps":
        return str(dtype).removeprefix("torch."), f"{dtype}, as stored".removeprefix("torch.")
    if model.device.type == "cuda":
        there = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16", "bf16, which this GPU computes in") if there else ("fp32", "fp32, as stored")
    ratio = bf16_decoding_speedup()
    chosen = "bf16" if ratio > _MARGIN else "fp32"
    return chosen, f"{chosen}, because bf16 reads its weights at {ratio:.1f} times the speed of fp32 here"


def pack(model: GPTModel) -> GPTModel:
    """The model in bf16, its matrices reordered into the blocks that oneDNN reads in one sweep, where it has them."""
    if not can_pack():
        return _copy_in(torch.bfloat16, model)
    return _rebuilt(model, PackedLinear)


def quantize(model: GPTModel) -> GPTModel:
    """The model with its matrices in 8 bits (Dettmers et al. 2022, section 2.1, absmax), the rest in bf16.

    Where the head is the token embedding, both use the same 8-bit table.
    """
    smaller = _rebuilt(model, QuantizedLinear)
    if model.config.weight_tying:
        smaller.token_embedding = QuantizedEmbedding(smaller.output_head)
    return smaller


def _copy_in(dtype: torch.dtype, model: GPTModel) -> GPTModel:
    return copy.deepcopy(model).to(dtype).eval().requires_grad_(False)


@torch.no_grad()
def _rebuilt(model: GPTModel, kind: type[nn.Module]) -> GPTModel:
    """A copy in bf16 whose linear layers are of another kind."""
    if not any(isinstance(module, Linear) for module in model.modules()):
        raise ValueError("The model was quantized before; quantize the one that it was made from.")
    layers = {id(module): kind(module.weight, module.bias) for module in model.modules() if isinstance(module, Linear)}
    rest = {id(p): _in_bf16(p) for name, p in model.named_parameters() if not _multiplies(model, name)}
    memo = layers | {key: nn.Parameter(tensor, requires_grad=False) for key, tensor in rest.items()}
    return copy.deepcopy(model, memo).eval()  # what is in memo takes the place of its original


def _in_bf16(tensor: Tensor | None) -> Tensor | None:
    """A copy even of what is in bf16 already: the original may be trained on."""
    return None if tensor is None else tensor.detach().to(torch.bfloat16, copy=True)


def _multiplies(model: GPTModel, name: str) -> bool:
    return isinstance(model.get_submodule(name.rpartition(".")[0]), Linear)


class _ForInference(nn.Module):
    """A layer without parameters, in a form that can't be saved or trained."""

    def _save_to_state_dict(self, *_) -> None:
        raise ValueError(
            "The model was quantized for inference and can't be saved or exported; use the one that it was made from."
        )


class PackedLinear(_ForInference):
    """x W^T + b in bf16, with W in the order of oneDNN's kernels. x (..., K) of any type -> (..., N) bf16."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        dense = weight.detach().to(torch.bfloat16).contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(dense, 1)
        self.bias = _in_bf16(bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x.to(torch.bfloat16), self.weight, self.bias, "none", [], "")


class QuantizedLinear(_ForInference):
    """x W^T + b with W = scale * (whole numbers from -127 to 127), one scale a row. x (..., K) -> (..., N) bf16."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        weight = weight.detach().float().contiguous()
        scale = (weight.abs().amax(dim=1, keepdim=True) / 127).clamp(min=torch.finfo(torch.bfloat16).tiny)
        scale = scale.to(torch.bfloat16)  # rounded first, so that the whole numbers fit the scale that is used
        self.weight = (weight / scale.float()).round().clamp(-127, 127).to(torch.int8)  # (N, K)
        self.scale = scale[:, 0]  # (N,)
        self.bias = _in_bf16(bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.bfloat16)
        rows = x.reshape(-1, self.in_features)
        if len(rows) <= FEW_ROWS and self.in_features % _WHOLE == 0:
            out = torch._weight_int8pack_mm(rows, self.weight, self.scale)
        else:
            out = F.linear(rows, self.weight.to(torch.bfloat16)) * self.scale
        out = out.view(*x.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias


class QuantizedEmbedding(_ForInference):
    """A table to look up in that is a quantized head's: ids (...) -> (..., C) bf16."""

    def __init__(self, head: QuantizedLinear):
        super().__init__()
        self.head = head

    @property
    def weight(self) -> Tensor:
        """The 8-bit table, (V, C)."""
        return self.head.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head.weight[ids].to(torch.bfloat16) * self.head.scale[ids][..., None]


@lru_cache
def can_pack() -> bool:
    """Whether this PyTorch, on this processor, has oneDNN's blocks for bf16."""
    try:
        layer = PackedLinear(torch.ones(64, 64), None)
        return bool((layer(torch.ones(1, 64)) == 64).all())
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


@lru_cache
def bf16_decoding_speedup() -> float:
    """How many times as fast as in float32 the CPU multiplies one row by matrices of bf16, tried once."""
    weights = [torch.ones(3072, 768) for _ in range(6)]
    row = torch.ones(1, 768)
    packed = [PackedLinear(w, None) if can_pack() else w.to(torch.bfloat16) for w in weights]

    def seconds(way) -> float:
        start = time.perf_counter()
        for full, half in zip(weights, packed, strict=True):
            way(full, half)
        return time.perf_counter() - start

    def in_bf16(_, half) -> Tensor:
        return half(row) if can_pack() else linear(row.to(torch.bfloat16), half)

    with torch.no_grad():
        times = [(seconds(lambda full, _: linear(row, full)), seconds(in_bf16)) for _ in range(5)]
    return min(t for t, _ in times[1:]) / min(t for _, t in times[1:])
