"""A copy of a model for inference only, with its matrices in 16 or 8 bits: half or a quarter to read for each token.

Decoding waits for the weights to come from memory, so fewer bytes are more tokens a second. The copy is made once, when
a model is loaded, and has no parameter that could be trained: nothing in it can go stale.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.model import GPTModel
from gptlib.model.lora import adapters_of, merged_copy
from gptlib.ops.backend import Backend, default_backend, set_backend
from gptlib.ops.devices import DTYPES, NATIVELY, PrecisionChoice
from gptlib.ops.linear import Linear, can_pack, pack_weight, packed_linear

INFERENCE_PRECISIONS = ("auto", "fp32", "bf16", "int8")
FEW_ROWS = 32
"""Up to so many rows the 8-bit product is the faster; with more, turning the weights back into bf16 pays."""

_WHOLE = 32  # the 8-bit product takes K in steps of so many, and reads past the end of what has another number

_LARGE = 20_000_000  # parameters; a smaller model is fast enough in fp32, and exact


def with_precision(
    model: GPTModel, precision: str = "auto", backend: Backend | None = None
) -> tuple[GPTModel, PrecisionChoice]:
    """The model in another precision, for inference, and what was chosen and why.

    precision: "fp32" leaves float32 weights as they are; "bf16" rounds all to 16 bits; "int8" keeps matrices in 8 bits
    with one scale a row and computes in bf16 (CPU only); "auto" takes bf16 if the model is large and decodes faster in
    it on this machine, else what the model has. backend: what the copy computes by, and "auto" goes by; None is the
    default one. The model itself is left as it is; if nothing changes, it is what comes back, else a copy that says in
    `.precision` what was chosen. Of a model with adapters, the copy is a plain one with the active adapter merged,
    whose matrices are read once. Raises ValueError for another precision, or one that the device can't do.
    """
    check_precision(precision, model.device)
    original, dtype, on_cpu = model, next(model.parameters()).dtype, model.device.type == "cpu"
    choice = PrecisionChoice(precision, "as asked")
    if precision == "auto":
        choice = _pick(model, dtype, backend or default_backend())
    if adapters_of(model):
        if choice.precision == "fp32" and dtype != torch.float32:
            model = _copy_in(torch.float32, model)  # first, so that the sum is not rounded to 16 bits
            dtype = torch.float32
        model = merged_copy(model).eval().requires_grad_(False)
    if choice.precision == "int8":
        model = quantize(model)
    elif choice.precision == "bf16" and on_cpu and (precision != "auto" or dtype != torch.bfloat16):
        model = pack(model)
    elif (wanted := DTYPES.get(choice.precision, dtype)) != dtype:
        model = _copy_in(wanted, model)
    elif backend is not None:
        model = _with_the_same_tensors(model)
    if backend is not None:
        set_backend(model, backend)
    if model is not original:
        model.precision = choice
    return model, choice


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ValueError for a precision that there is not, or not on this device."""
    if precision not in INFERENCE_PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; give one of {', '.join(INFERENCE_PRECISIONS)}.")
    if precision == "int8" and device.type != "cpu":
        raise ValueError(f"precision='int8' works on the CPU only, and the model is on {device}; give 'bf16'.")


def _pick(model: GPTModel, dtype: torch.dtype, backend: Backend) -> PrecisionChoice:
    stored = next((name for name, stored in DTYPES.items() if stored == dtype), str(dtype).removeprefix("torch."))
    if stored != "fp32" or model.parameter_count() < _LARGE or model.device.type == "mps":
        return PrecisionChoice(stored, "as stored")
    if model.device.type == "cuda":
        there = torch.cuda.is_bf16_supported(including_emulation=False)
        return PrecisionChoice("bf16", "which this GPU computes in") if there else PrecisionChoice(stored, "as stored")
    if backend.bf16_decoding:
        return PrecisionChoice("bf16", f"{NATIVELY} and reads in half the time", automatic=True)
    return PrecisionChoice("fp32", "since bf16 is not known to be faster on this processor", automatic=True)


def pack(model: GPTModel) -> GPTModel:
    """The model in bf16, its matrices reordered into the blocks that oneDNN reads in one sweep, if it has them."""
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


def _with_the_same_tensors(model: GPTModel) -> GPTModel:
    """A copy of the modules alone."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


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
        self.weight = pack_weight(weight)
        self.bias = _in_bf16(bias)

    def forward(self, x: Tensor) -> Tensor:
        return packed_linear(x, self.weight, self.bias)


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
