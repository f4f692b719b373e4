"""A copy of a model for inference only, with its matrices in 16 or 8 bits: half or a quarter to read for each token.

Decoding waits for the weights to come from memory, so fewer bytes are more tokens a second. The copy is made once, when
a model is loaded, and has no parameter that could be trained: nothing in it can go stale.
"""

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.model import GPTModel
from gptlib.model.lora import LoRALinear, adapters_of, lora_layers
from gptlib.ops.backend import LARGE, Backend, default_backend, set_backend
from gptlib.ops.devices import DTYPES, NATIVELY, PrecisionChoice
from gptlib.ops.linear import Linear, can_pack, pack_weight, packed_linear

INFERENCE_PRECISIONS = ("auto", "fp32", "bf16", "int8")
FEW_ROWS = 32
"""Up to so many rows the 8-bit product is the faster; with more, turning the weights back into bf16 pays."""

_WHOLE = 32  # the 8-bit product takes K in steps of so many, and reads past the end of what has another number

_AT_ONCE = 2**20  # numbers of a matrix that are turned into 8 bits, which takes several times their memory


def with_precision(
    model: GPTModel, precision: str = "auto", backend: Backend | None = None, *, consume: bool = False
) -> tuple[GPTModel, PrecisionChoice]:
    """The model in another precision, for inference, and what was chosen and why.

    precision: "fp32" leaves float32 weights as they are; "bf16" rounds all to 16 bits; "int8" keeps matrices in 8 bits
    with one scale a row and computes in bf16 (CPU only); "auto" takes bf16 if the model is large and decodes faster in
    it on this machine, else what the model has. backend: what the copy computes by, and "auto" goes by; None is the
    default one. The model itself is left as it is; if nothing changes, it is what comes back, else a copy that says in
    `.precision` what was chosen. Of a model with adapters, the copy is a plain one with the active adapter merged,
    whose matrices are read once. consume: convert the model itself, layer by layer, so that only one is held twice;
    use what comes back, and the model no more.

    Raises ValueError for another precision, or one that the device can't do, and for a model that was quantized.
    """
    check_precision(precision, model.device)
    if _is_quantized(model):
        if precision != "auto":
            raise ValueError("The model was quantized before; take the one that it was made from.")
        return model, model.precision
    dtype, on_cpu = next(model.parameters()).dtype, model.device.type == "cpu"
    choice = PrecisionChoice(precision, "as asked")
    if precision == "auto":
        choice = _pick(model, dtype, backend or default_backend())
    wanted, kind = DTYPES.get(choice.precision, dtype), None
    if choice.precision == "int8":
        wanted, kind = torch.bfloat16, QuantizedLinear
    elif choice.precision == "bf16" and on_cpu and can_pack() and (precision != "auto" or dtype != torch.bfloat16):
        in_rows = (backend or default_backend()).compiles(model.parameter_count())
        kind = partial(PackedLinear, in_rows=in_rows)
    changes = wanted != dtype or precision == "bf16" or kind is not None or bool(adapters_of(model))
    if (changes or backend is not None) and not consume:
        model = _with_the_same_tensors(model)
    if changes:
        _convert(model, wanted, kind)
    if changes or consume or backend is not None:
        model.precision = choice
    if backend is not None:
        set_backend(model, backend)
    return model, choice


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ValueError for a precision that there is not, or not on this device."""
    if precision not in INFERENCE_PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; give one of {', '.join(INFERENCE_PRECISIONS)}.")
    if precision == "int8" and device.type != "cpu":
        raise ValueError(f"precision='int8' works on the CPU only, and the model is on {device}; give 'bf16'.")


def _pick(model: GPTModel, dtype: torch.dtype, backend: Backend) -> PrecisionChoice:
    stored = next((name for name, stored in DTYPES.items() if stored == dtype), str(dtype).removeprefix("torch."))
    if stored != "fp32" or model.parameter_count() < LARGE or model.device.type == "mps":
        return PrecisionChoice(stored, "as stored")
    if model.device.type == "cuda":
        there = torch.cuda.is_bf16_supported(including_emulation=False)
        return PrecisionChoice("bf16", "which this GPU computes in") if there else PrecisionChoice(stored, "as stored")
    if backend.bf16_decoding:
        return PrecisionChoice("bf16", f"{NATIVELY} and reads in half the time", automatic=True)
    return PrecisionChoice("fp32", "since bf16 is not known to be faster on this processor", automatic=True)


def _is_quantized(model: GPTModel) -> bool:
    return not any(isinstance(module, Linear) for module in model.modules())


def _with_the_same_tensors(model: GPTModel) -> GPTModel:
    """A copy of the modules alone."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


@torch.no_grad()
def _convert(model: GPTModel, dtype: torch.dtype, kind: Callable[[Tensor, Tensor | None], nn.Module] | None) -> None:
    """Give the modules, in place, parameters of this type, and linear layers another kind, adapters merged.

    No tensor is changed, and each may be forgotten as soon as its layer is done. If head and token embedding are one
    table, they are one in the copy, too, unless the head is in blocks.
    """
    tied = model.config.weight_tying
    for path in _layers(model):
        layer = model.get_submodule(path)
        if isinstance(layer, LoRALinear):
            exact = torch.promote_types(layer.base_layer.weight.dtype, torch.float32)
            layer = copy.deepcopy(layer).to(exact).as_linear()  # the sum is rounded once
        if tied and kind is None and path == "output_head":
            continue  # until the embedding is done
        if tied and kind is QuantizedLinear and path == "token_embedding":
            layer = QuantizedEmbedding(model.output_head)
        elif kind is not None and isinstance(layer, Linear):
            layer = kind(layer.weight, layer.bias)
        elif tied and path == "token_embedding" and kind is not None and model.output_head.packed is None:
            layer.weight = nn.Parameter(model.output_head.weight, requires_grad=False)
            continue
        for name, parameter in layer.named_parameters(recurse=False):
            shared = parameter.dtype == dtype == torch.float32  # what has 16 bits may be trained on
            tensor = parameter.detach().to(dtype, copy=not shared)
            setattr(layer, name, nn.Parameter(tensor, requires_grad=False))
        model.set_submodule(path, layer)
        if kind is None and path == "token_embedding":
            model.tie_weights()
    model.eval()


def _layers(model: GPTModel) -> list[str]:
    """The paths of all modules with tensors of their own, and of those with adapters, the blocks last.

    The output head comes first, and then the token embedding, which may be the same tensor, the largest of all.
    """
    adapted = tuple(f"{path}." for path, _ in lora_layers(model))
    found = [
        path
        for path, module in model.named_modules()
        if isinstance(module, LoRALinear) or (module._parameters and not path.startswith(adapted))
    ]
    return sorted(found, key=lambda path: (path.startswith("blocks."), path != "output_head"))


def _in_bf16(tensor: Tensor | None) -> Tensor | None:
    """A copy even of what is in bf16 already: the original may be trained on."""
    return None if tensor is None else tensor.detach().to(torch.bfloat16, copy=True)


class _ForInference(nn.Module):
    """A layer without parameters, in a form that can't be saved or trained."""

    def _save_to_state_dict(self, *_) -> None:
        raise ValueError(
            "The model was quantized for inference and can't be saved or exported; use the one that it was made from."
        )


class PackedLinear(_ForInference):
    """x W^T + b in bf16, with W in the order of oneDNN's kernels. x (..., K) of any type -> (..., N) bf16.

    in_rows: keep W as it is for compiled decoding, and reorder a copy of it only when several texts are decoded at
    once, where that saves most.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, in_rows: bool = False):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = _in_bf16(weight).contiguous() if in_rows else pack_weight(weight)
        self.packed = None if in_rows else self.weight
        self.bias = _in_bf16(bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is None and x.ndim == 3 and x.shape[1] == 1 < len(x):
            self.packed = pack_weight(self.weight)
        if self.packed is None:
            return F.linear(x.to(torch.bfloat16), self.weight, self.bias)
        return packed_linear(x, self.packed, self.bias)


class QuantizedLinear(_ForInference):
    """x W^T + b with W = scale * (whole numbers from -127 to 127), one scale a row. x (..., K) -> (..., N) bf16."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = torch.empty(weight.shape, dtype=torch.int8)  # (N, K)
        self.scale = torch.empty(len(weight), dtype=torch.bfloat16)  # (N,)
        parts = (tensor.split(max(_AT_ONCE // self.in_features, 1)) for tensor in (weight, self.weight, self.scale))
        for rows, whole, scale in zip(*parts, strict=True):
            _to_8_bits(rows.detach(), whole, scale)
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


def _to_8_bits(rows: Tensor, whole: Tensor, scale: Tensor) -> None:
    """Write rows (n, K) as whole (n, K) from -127 to 127 and scale (n,) (Dettmers et al. 2022, section 2.1, absmax)."""
    rows = rows.float()
    scale.copy_((rows.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.bfloat16).tiny))
    # The scale is rounded first, so that the whole numbers fit the one that is used.
    whole.copy_((rows / scale.float()[:, None]).round_().clamp_(-127, 127))


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
