"""Adapters on a whole model: a model holds any number of them by name, of which one at most is active.

Only the active one learns. What an adapter computes is in lora_linear.py; files of adapters are in
`gptlib.weights.adapters`.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from gptlib.model.gpt import GPTModel
from gptlib.model.lora_config import TARGETS, LoRAConfig
from gptlib.model.lora_linear import Adapter, LoRALinear
from gptlib.ops.linear import Linear

__all__ = [
    "TARGETS",
    "Adapter",
    "LoRAConfig",
    "LoRALinear",
    "active_adapter",
    "adapters_of",
    "add_lora",
    "is_merged",
    "lora_state",
    "merge",
    "merged_copy",
    "rebuild_lora",
    "remove_lora",
    "switch",
    "trainable_parameters",
    "unmerge",
]

_HEAD = "output_head"


def add_lora(model: GPTModel, config: LoRAConfig | None = None, name: str = "default") -> GPTModel:
    """Give the model a new adapter, in place, and make it the active one, alone to be trained; the same model.

    Its A is drawn from PyTorch's global random state. Raises ValueError if the model has an adapter of this name,
    an adapter is merged, and what `check_fits` raises.
    """
    config = config or LoRAConfig()
    _check_name(name)
    check_fits(model, config)
    if name in adapters_of(model):
        raise ValueError(f"The model has an adapter {name!r} already; give another name, or remove_lora it.")
    _refuse_merged(model)
    for path, layer in linear_layers(model).items():
        if config.targets(path):
            lora = model.get_submodule(path)
            if not isinstance(lora, LoRALinear):
                lora = LoRALinear(layer).train(layer.training)
                model.set_submodule(path, lora)
            lora.adapters[name] = Adapter(layer, config).train(layer.training)
    switch(model, name)
    return model


def remove_lora(model: GPTModel, name: str) -> None:
    """Forget an adapter. If it was the active one, the base alone is left; without the last one, a plain model.

    Raises ValueError if there is none of this name, or an adapter is merged.
    """
    _check_there(model, name)
    _refuse_merged(model)
    active = active_adapter(model)
    for path, layer in list(lora_layers(model)):
        if name in layer.adapters:
            del layer.adapters[name]
        if not layer.adapters:
            model.set_submodule(path, layer.base_layer)
    switch(model, None if name == active else active)


def switch(model: GPTModel, name: str | None) -> None:
    """Make this adapter the active one, alone to be trained, or with None the base, of which nothing is trained.

    A model without adapters is trained whole. Raises ValueError if there is no such adapter, or one is merged.
    """
    if name is not None:
        _check_there(model, name)
    _refuse_merged(model)
    layers = [layer for _, layer in lora_layers(model)]
    model.requires_grad_(not layers)
    for layer in layers:
        layer.active = name if name in layer.adapters else None
        if layer.active is not None:
            layer.adapters[name].requires_grad_(True)


def merge(model: GPTModel) -> None:
    """Add the active adapter to the base's weights, in place: the same outputs at the base's speed, nothing to train.

    A merged model stays as it is. Raises ValueError if no adapter is active, or the model is quantized.
    """
    _refuse_quantized(model)
    if active_adapter(model) is None:
        raise ValueError("The model has no active adapter to merge; use switch(model, name), or add_lora first.")
    if not is_merged(model):
        for _, layer in lora_layers(model):
            layer.merge()
            layer.adapters.requires_grad_(False)


def unmerge(model: GPTModel) -> None:
    """Take the merged adapter out of the base's weights again, in place, up to rounding; it can be trained then.

    A model that is not merged stays as it is. Raises ValueError if the model is quantized.
    """
    _refuse_quantized(model)
    if is_merged(model):
        for _, layer in lora_layers(model):
            layer.unmerge()
        switch(model, active_adapter(model))


def merged_copy(model: GPTModel) -> GPTModel:
    """A plain GPTModel that computes the same, to save, export or quantize; the model itself is left as it is.

    Raises ValueError if the model is quantized already.
    """
    _refuse_quantized(model)
    plain = {id(layer): layer.as_linear() for _, layer in lora_layers(model)}
    return copy.deepcopy(model, plain).requires_grad_(True)  # what is in the second takes the place of its original


def adapters_of(model: nn.Module) -> dict[str, LoRAConfig]:
    """The model's adapters by name, in the order in which they came."""
    return {name: adapter.config for _, layer in lora_layers(model) for name, adapter in layer.adapters.items()}


def active_adapter(model: nn.Module) -> str | None:
    """The name of the active adapter; None if the base computes alone."""
    return next((layer.active for _, layer in lora_layers(model) if layer.active is not None), None)


def is_merged(model: nn.Module) -> bool:
    """Whether the active adapter is in the base's weights."""
    return any(layer.merged for _, layer in lora_layers(model))


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def adapter_parameters(model: nn.Module) -> set[str]:
    """The names of all parameters of adapters."""
    return {
        f"{path}.adapters.{name}" for path, layer in lora_layers(model) for name, _ in layer.adapters.named_parameters()
    }


def lora_state(model: nn.Module) -> dict[str, Any] | None:
    """All about the model's adapters but their tensors, as plain data, for a checkpoint; None if it has none."""
    configs = {name: config.to_dict() for name, config in adapters_of(model).items()}
    return {"adapters": configs, "active": active_adapter(model), "merged": is_merged(model)} if configs else None


def rebuild_lora(model: GPTModel, state: Mapping[str, Any]) -> None:
    """Give a plain model the adapters that `lora_state` tells of, their tensors still to be loaded.

    Raises ValueError, KeyError, TypeError or AttributeError if the state makes no sense.
    """
    for name, config in state["adapters"].items():
        add_lora(model, LoRAConfig.from_dict(config), name)
    switch(model, state["active"])
    if state["merged"] and state["active"] is not None:
        for _, layer in lora_layers(model):  # the weights to come hold the update
            layer.merged = True
            layer.requires_grad_(False)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """Each adapted layer with its name."""
    return ((path, module) for path, module in model.named_modules() if isinstance(module, LoRALinear))


def linear_layers(model: GPTModel) -> dict[str, Linear]:
    """Each linear layer of the blocks by its name in a plain model, whether it has adapters or not."""
    plain = {f"{path}.base_layer": path for path, _ in lora_layers(model)}
    found = {path: module for path, module in model.named_modules() if isinstance(module, Linear) and path != _HEAD}
    return {plain.get(path, path): layer for path, layer in found.items()}


def check_fits(model: GPTModel, config: LoRAConfig) -> None:
    """Raise ValueError if such an adapter makes no sense for the model.

    Each of target_modules has to be a linear layer of the blocks, and not the head, whose weight may be the token
    embedding's; the rank must not be above the width of all of them; and a quantized model takes no new adapter.
    """
    _refuse_quantized(model)
    layers = linear_layers(model)
    for target in config.target_modules:
        if not any(replace(config, target_modules=(target,)).targets(path) for path in layers):
            known = ", ".join(sorted({path.rpartition(".")[2] for path in layers}))
            raise ValueError(
                f"target_modules has {target!r}, which is no linear layer of the blocks; give any of {known}."
            )
    widest = max(max(layer.weight.shape) for layer in layers.values())
    if config.rank > widest:
        raise ValueError(f"rank={config.rank} is more than the model's widest layer has channels; give 1 to {widest}.")


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name) or hasattr(nn.ModuleDict(), name):
        raise ValueError(
            f"The adapter's name {name!r} can't be used; give another one of letters, digits, - and _, as 'default'."
        )


def _check_there(model: nn.Module, name: str) -> None:
    found = adapters_of(model)
    if name not in found:
        there = ", ".join(found) or "none"
        raise ValueError(f"The model has no adapter {name!r} (it has: {there}); give one of them, or add_lora it.")


def _refuse_quantized(model: nn.Module) -> None:
    if not any(isinstance(module, Linear) for module in model.modules()):
        raise ValueError("The model was quantized for inference; use the one that it was made from.")


def _refuse_merged(model: nn.Module) -> None:
    if is_merged(model):
        raise ValueError(f"The adapter {active_adapter(model)!r} is merged into the base; use unmerge(model) first.")
