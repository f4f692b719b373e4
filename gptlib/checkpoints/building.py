"""A model that takes over tensors from a file, without ever having memory for weights of its own."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gptlib.checkpoints.tensors import (
    apart,
    check_names,
    check_one_dtype,
    check_plain,
    check_shapes,
    shapes_of,
    tied_names,
)
from gptlib.model import GPTConfig, GPTModel
from gptlib.model.architectures import ARCHITECTURES
from gptlib.model.lora import adapter_parameters, rebuild_lora
from gptlib.utils.errors import CheckpointError
from gptlib.utils.text import shorten

REMEDY = "use a file that gptlib wrote"


class NoInitialWeights(TorchFunctionMode):
    """Lets a model be made without drawing its weights.

    Even with no memory to draw them into, PyTorch would load a library for symbolic mathematics for it: most of a
    second and 80 MB.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == nn.init.__name__:
            return None  # these functions change a tensor in place, and nobody uses what they return
        return func(*args, **(kwargs or {}))


def empty_model(config: GPTConfig) -> GPTModel:
    """The model with shapes and no memory."""
    with torch.device("meta"), NoInitialWeights():
        return ARCHITECTURES[config.architecture](config)


@torch.no_grad()
def assign_parameters(model: GPTModel, read: Callable[[str], Tensor], names: Iterable[str]) -> GPTModel:
    """Make what `read(name)` returns for each name the model's parameter; the model, in eval mode.

    Tied weights are one parameter again afterwards: if both were assigned, an optimizer would step twice.
    """
    for name in names:
        place, _, last = name.rpartition(".")
        module = model.get_submodule(place)
        setattr(module, last, nn.Parameter(read(name), requires_grad=getattr(module, last).requires_grad))
    model.tie_weights()
    return model.eval()


def build_model(
    path: str | Path, config: GPTConfig, weights: Mapping[str, Tensor], lora: dict[str, Any] | None = None
) -> GPTModel:
    """A model that takes over the given tensors, in eval mode.

    lora: of a model with adapters, what `lora_state` has said of them.
    Raises CheckpointError, naming the tensor, if one is missing, surplus, of another shape or not a plain tensor.
    """
    _check_blocks(path, config, weights)
    model = _empty(path, config)
    if lora is not None:
        try:
            with NoInitialWeights():
                rebuild_lora(model, lora)
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            reason = shorten(error, 300, end=140)
            raise CheckpointError(f"'{path}' holds adapters that make no sense ({reason}); {REMEDY}.") from None
    weights = checked_weights(path, model, weights)
    return assign_parameters(model, weights.__getitem__, weights)


def load_weights(path: str | Path, model: GPTModel, weights: Mapping[str, Tensor]) -> None:
    """Copy the tensors into the model's parameters; CheckpointError as from `build_model`, `path` being their file."""
    model.load_state_dict(checked_weights(path, model, weights), strict=False)  # the tied names may be absent


def checked_weights(path: str | Path, model: GPTModel, weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file by the names of the model's parameters, tied ones once; CheckpointError if they don't fit.

    All are of one type but for adapters, which are in float32 on a model of 16 bits.
    """
    where, tied = f"'{path}'", tied_names(model)
    expected = {name: shape for name, shape in shapes_of(model).items() if name not in tied}
    weights = {name: tensor for name, tensor in weights.items() if name not in tied}
    check_names(where, weights, expected, REMEDY)
    check_plain(where, weights, REMEDY)
    check_shapes(where, {name: tensor.shape for name, tensor in weights.items()}, expected, REMEDY)
    adapters = adapter_parameters(model)
    check_one_dtype(where, weights, [name for name in expected if name not in adapters], REMEDY)
    check_one_dtype(where, weights, [name for name in expected if name in adapters], REMEDY)
    return apart({name: weights[name] for name in expected})


def _empty(path: str | Path, config: GPTConfig) -> GPTModel:
    try:
        return empty_model(config)
    except (RuntimeError, TypeError, OverflowError):  # numbers that PyTorch can't multiply
        reason = shorten(config, 300, end=140)
        raise CheckpointError(f"'{path}' holds a config that makes no model ({reason}); {REMEDY}.") from None


def _check_blocks(path: str | Path, config: GPTConfig, weights: Mapping[str, Any]) -> None:
    """Refuse a config that lies about its blocks: it could ask for a billion, and a name in a file costs nothing.

    So as many must be in the file, each with as many tensors as a block has, of which one is built to see.
    """
    blocks = Counter(str(name).split(".")[1] for name in weights if str(name).startswith("blocks."))
    one = _empty(path, replace(config, n_layers=1))
    least = sum(name.startswith("blocks.") for name in shapes_of(one))
    if len(blocks) != config.n_layers or min(blocks.values()) < least:
        tensors = f"{sum(blocks.values())} tensors of {len(blocks)} blocks"
        raise CheckpointError(f"'{path}' has {tensors}, and its config says {config.n_layers} blocks; {REMEDY}.")
