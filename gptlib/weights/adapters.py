"""Files of LoRA adapters, in PEFT's format: a folder with adapter_config.json and adapter_model.safetensors.

The base model is not in it, so that it takes kilobytes. PEFT reads what is written here, for our own model or for
transformers' GPT2LMHeadModel, and what PEFT has written for either is read here. No pickle is ever read.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gptlib.checkpoints.building import NoInitialWeights
from gptlib.checkpoints.tensors import Shape, check_tensors
from gptlib.model import GPTModel
from gptlib.model.lora import (
    TARGETS,
    LoRAConfig,
    active_adapter,
    adapters_of,
    add_lora,
    check_fits,
    linear_layers,
    lora_layers,
)
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import read_json, remove_leftovers, write_atomically, write_json
from gptlib.utils.text import shorten
from gptlib.weights.names import names_of
from gptlib.weights.safetensors import TensorReader, check_dtypes, library, read_header

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
REMEDY = "use an adapter that was made for this model"

_PREFIX = "base_model.model."
_NUMBERS = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "target_modules": "target_modules"}
_KIND: dict[str, tuple] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "init_lora_weights": (True, False, "gaussian", None),  # the others change the base's weights, too
}
"""Settings that say which kind of adapter it is, with the values that ours can be."""

_OF_NO_CONCERN = (
    *("task_type", "base_model_name_or_path", "inference_mode", "fan_in_fan_out", "auto_mapping", "peft_version"),
    *("revision", "megatron_core", "qalora_group_size", "runtime_config"),
)
"""Settings that change nothing in what is computed; all others are for kinds of LoRA that ours is not."""


def save_adapter(model: GPTModel, folder: str | Path, name: str | None = None, *, transformers: bool = False) -> Path:
    """Write one adapter, by default the active one, as a folder for `load_adapter` and PEFT; the folder.

    transformers: for GPT2LMHeadModel's names instead of ours. An adapter of the same configuration in the folder is
    replaced, by a single renaming: whoever is killed leaves the old one or the new one.

    Raises ValueError if there is no such adapter, it has layers that transformers has not, or the folder holds an
    adapter of another configuration; CheckpointError if it can't be written.
    """
    folder = Path(folder)
    name = name if name is not None else active_adapter(model)
    if name not in adapters_of(model):
        there = ", ".join(adapters_of(model)) or "none"
        raise ValueError(f"The model has no adapter {name!r} to save (it has: {there}); give the name of one.")
    config = _sorted(adapters_of(model)[name])
    if transformers and (ours_alone := sorted(set(config.target_modules) - set(TARGETS))):
        raise ValueError(f"transformers has no layers named {ours_alone[0]!r}; use target_modules of {list(TARGETS)}.")
    try:
        if not _holds_same_kind(folder, config, transformers):
            write_json(folder / CONFIG, _peft_config(config, transformers))
        remove_leftovers(folder / TENSORS)
        with write_atomically(folder / TENSORS) as file:
            file.write(_serialized(_tensors_of(model, name, transformers)))
    except OSError as error:
        raise CheckpointError(
            f"The adapter '{folder}' could not be written ({error.strerror or error}); free some space or choose "
            "another folder. An earlier adapter there is as it was."
        ) from error
    return folder


def load_adapter(model: GPTModel, folder: str | Path, name: str = "default") -> LoRAConfig:
    """Give the model the adapter of a folder, under this name, and make it the active one; its configuration.

    Everything is checked before the model is touched. Raises FileNotFoundError if no adapter is there,
    CheckpointError if it is damaged, of another model or of a kind that ours is not, and what `add_lora` raises.
    """
    folder = Path(folder)
    config, transformers = read_config(folder)
    path = _tensor_file(folder)
    expected = _expected(model, folder, config, transformers)
    stored = {tensor.name: tensor for tensor in read_header(path)}
    check_tensors(f"'{path}'", {name: tensor.shape for name, tensor in stored.items()}, expected, REMEDY)
    check_dtypes(f"'{path}'", stored.values(), REMEDY)
    reader = TensorReader()
    tensors = {tensor.name: reader.read(tensor) for tensor in stored.values()}
    with NoInitialWeights():
        add_lora(model, config, name)
    for stored_name, tensor in _tensors_of(model, name, transformers).items():
        tensor.copy_(tensors[stored_name])
    return config


def read_config(folder: str | Path) -> tuple[LoRAConfig, bool]:
    """What a folder's adapter_config.json says, and whether the adapter is for transformers' GPT2LMHeadModel.

    Raises FileNotFoundError if there is none, CheckpointError if it is not a plain LoRA adapter's.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"The folder '{folder}' has no {CONFIG}, so that no adapter is there; check the path, or save_adapter one."
        )
    try:
        found = read_json(path, "configuration")
    except ValueError as error:
        raise CheckpointError(f"{shorten(error, 300)}; {REMEDY}.") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"'{path}' holds {shorten(repr(found))} and no settings; {REMEDY}.")
    wrong = [key for key, values in _KIND.items() if found.get(key, values[0]) not in values]
    known = {*_KIND, *_OF_NO_CONCERN, *_NUMBERS.values()}
    wrong += [key for key, value in found.items() if key not in known and value]
    if wrong:
        raise CheckpointError(
            f"'{path}' has {shorten(wrong[0])}={shorten(repr(found[wrong[0]]))}, which plain LoRA does not have; "
            "use an adapter without it."
        )
    try:
        config = LoRAConfig(**{ours: found[theirs] for ours, theirs in _NUMBERS.items()})
    except KeyError as error:
        raise CheckpointError(f"'{path}' lacks {error}; {REMEDY}.") from None
    except (ValueError, OverflowError) as error:
        raise CheckpointError(f"'{path}' makes no sense ({shorten(error, 300)}); {REMEDY}.") from None
    return _sorted(config), bool(found.get("fan_in_fan_out"))


def _peft_config(config: LoRAConfig, transformers: bool) -> dict[str, Any]:
    """The content of adapter_config.json."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if transformers else None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        **{theirs: config.to_dict()[ours] for ours, theirs in _NUMBERS.items()},
        "bias": "none",
        "fan_in_fan_out": transformers,  # theirs are Conv1D layers, with the weight as [in, out]
    }


def _sorted(config: LoRAConfig) -> LoRAConfig:
    """With target_modules in one order, since PEFT writes a set."""
    return replace(config, target_modules=tuple(sorted(config.target_modules)))


def _holds_same_kind(folder: Path, config: LoRAConfig, transformers: bool) -> bool:
    """Whether the folder has an adapter of this configuration, of which the tensors alone have to be replaced.

    Raises ValueError if it has another one, since two files can't be replaced at once.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"'{folder}' is a file; give the name of a folder.")
    if not any((folder / file).is_file() for file in (TENSORS, PICKLE)):
        return False
    try:
        same = read_config(folder) == (config, transformers)
    except (CheckpointError, FileNotFoundError):
        same = False
    if not same:
        raise ValueError(
            f"The folder '{folder}' holds an adapter of another configuration, which would be lost; give a new folder."
        )
    return True


def _tensor_file(folder: Path) -> Path:
    path = folder / TENSORS
    if path.is_file():
        return path
    if (folder / PICKLE).is_file():
        raise CheckpointError(
            f"The folder '{folder}' has {PICKLE} and no {TENSORS}; such files are pickles, which could run "
            f"any code and are never loaded here; use an adapter that was saved as {TENSORS}."
        )
    raise FileNotFoundError(f"The folder '{folder}' has no {TENSORS}; use a complete copy of it.")


def _expected(model: GPTModel, folder: Path, config: LoRAConfig, transformers: bool) -> dict[str, Shape]:
    """The tensors that the file must have for this model, with their shapes."""
    try:
        check_fits(model, config)
    except ValueError as error:
        raise CheckpointError(f"The adapter '{folder}' does not fit the model: {shorten(error, 300)}.") from None
    expected = {}
    for path, layer in linear_layers(model).items():
        if config.targets(path):
            shapes = {"A": (config.rank, layer.in_features), "B": (layer.out_features, config.rank)}
            expected |= {_stored_name(model, path, part, transformers): shape for part, shape in shapes.items()}
    return expected


def _tensors_of(model: GPTModel, name: str, transformers: bool) -> dict[str, Tensor]:
    """The tensors of the model's adapter, themselves and not copies, by their names in the file."""
    return {
        _stored_name(model, path, part, transformers): parameter.detach()
        for path, layer in lora_layers(model)
        if name in layer.adapters
        for part, parameter in layer.adapters[name].named_parameters()
    }


def _serialized(tensors: dict[str, Tensor]) -> bytes:
    """The bytes of the file; adapters are small enough to be twice in memory."""
    return library().torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"format": "pt"})


def _stored_name(model: GPTModel, path: str, part: str, transformers: bool) -> str:
    """PEFT's name of the tensor A or B of a layer.

    Example: blocks.3.attention.c_attn, "A" -> base_model.model.blocks.3.attention.c_attn.lora_A.weight, or with
    transformers base_model.model.transformer.h.3.attn.c_attn.lora_A.weight
    """
    if transformers:
        table = names_of(model.config)
        weight = next(name for name in table.parameters(model.config) if name.ours == f"{path}.weight")
        path = table.saved_as(weight).removesuffix(".weight")
    return f"{_PREFIX}{path}.lora_{part}.weight"
