"""A model in one file: its configuration, weights and tokenizer, and for resuming the state of its training.

A run writes two: NAME.pth, the best model, for inference, and NAME.last.pth, the latest, with all that is needed to
go on. Nothing is pickled but tensors and plain data, and no pickle is ever executed on loading.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gptlib.model import GPTConfig, GPTModel
from gptlib.model.lora import lora_state, rebuild_lora
from gptlib.tokenizers import Tokenizer, tokenizer_from_dict
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import write_atomically
from gptlib.utils.folders import project_root
from gptlib.utils.text import shorten

FORMAT = 1


@dataclass
class Checkpoint:
    """What `load_checkpoint` found: the model in eval mode, its tokenizer, and the training state, if there was one."""

    model: GPTModel
    tokenizer: Tokenizer | None
    training: dict[str, Any] | None


def save_checkpoint(
    path: str | Path, model: nn.Module, tokenizer: Tokenizer | None = None, training: dict[str, Any] | None = None
) -> None:
    """Write the model, its tokenizer and (to resume) the training state to `path`, atomically.

    A compiled model is saved as the plain one it was made from, and tied weights are stored once. training: tensors
    and plain data only. Raises CheckpointError where the file can't be written; an earlier file is then untouched.
    """
    model = getattr(model, "_orig_mod", model)
    weights = model.state_dict()
    if model.config.weight_tying:
        del weights["output_head.weight"]
    content = {
        "format": FORMAT,
        "config": model.config.to_dict(),
        "model": weights,
        "tokenizer": tokenizer.to_dict() if tokenizer is not None else None,
    }
    if (adapters := lora_state(model)) is not None:
        content["lora"] = adapters
    if training is not None:
        _check_plain(training)
        content["training"] = training
    try:
        with write_atomically(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CheckpointError(
            f"The checkpoint '{path}' could not be written ({reason}); free some space or choose another folder. "
            "An earlier checkpoint of that name is as it was."
        ) from error


def _check_plain(data: Any) -> None:
    """Raise ValueError on what could be written, but would be refused on reading."""
    if isinstance(data, Mapping):
        data = [*data.keys(), *data.values()]
    if isinstance(data, list | tuple):
        for part in data:
            _check_plain(part)
    elif data is not None and type(data) not in (str, int, float, bool) and not isinstance(data, Tensor):
        raise ValueError(f"{data!r} can't be stored in a checkpoint; use tensors, text, numbers, lists and dicts.")


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu", *, mapped: bool = False) -> Checkpoint:
    """Read a file of `save_checkpoint`: its .model (GPTModel in eval mode, with .config), .tokenizer and .training.

    mapped: use the file as the model's memory, for a file that nobody will write anew while the model lives (Windows
    would not allow it). Training the model changes no file.

    Raises FileNotFoundError where there is none, CheckpointError where it is truncated, foreign or contradicts itself.
    """
    content = read_checkpoint(path, mapped=mapped)
    config = _config(path, content)
    model = build_model(path, config, content["model"], content.get("lora"))
    try:
        stored = content.get("tokenizer")
        tokenizer = None if stored is None else tokenizer_from_dict(stored)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise _unfit(path, f"holds a tokenizer that can't be used ({shorten(error, 300, end=140)})") from None
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"'{path}' holds a tokenizer of {tokenizer.vocab_size} tokens and a model of {config.vocab_size}: "
            "they do not belong together; use a file that gptlib wrote."
        )
    return Checkpoint(model.to(device).eval(), tokenizer, content.get("training"))


def read_checkpoint(path: str | Path, *, mapped: bool = False) -> dict[str, Any]:
    """The content of a checkpoint file as plain data and tensors, on the CPU, its outer form checked.

    mapped: the tensors are private views of the file's memory.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no checkpoint at '{path}'; `gptlib train --out {path}` makes one, or check the path."
        )
    try:
        _check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch.load raises a dozen kinds, depending on where the file breaks
        raise CheckpointError(
            f"'{path}' can't be read as a checkpoint: it is truncated, damaged or of another program "
            f"({_first_sentence(error)}); use another copy, or train again."
        ) from None
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"'{path}' is not a checkpoint of gptlib (it has no 'format'); use a file it wrote.")
    if type(content["format"]) is not int or content["format"] != FORMAT:
        raise CheckpointError(
            f"'{path}' has the format {shorten(repr(content['format']))}, and this gptlib reads {FORMAT}; "
            "update gptlib."
        )
    if not isinstance(content.get("config"), dict) or not isinstance(content.get("model"), Mapping):
        raise CheckpointError(f"'{path}' lacks its 'config' or its 'model'; use a complete file.")
    return content


def _check_sums(path: Path) -> None:
    """Compare the zip's check sums, which torch.load does not: a flipped bit would be another weight."""
    if not zipfile.is_zipfile(path):
        return  # torch.load says what it is
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("its parts are compressed")
        if damaged := archive.testzip():
            raise ValueError(f"the check sum of its part {damaged} is wrong")


def _unfit(path: str | Path, what: str) -> CheckpointError:
    return CheckpointError(f"'{path}' {what}; use a file that gptlib wrote.")


def _first_sentence(error: Exception) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    if "weights_only" in str(error) or "Unsupported" in str(error):
        return "it holds Python objects, which are never loaded because they could run code"
    return shorten(text[0].split(". ")[0])


def _config(path: str | Path, content: dict[str, Any]) -> GPTConfig:
    try:
        return GPTConfig.from_dict(content["config"])
    except (ValueError, TypeError) as error:
        raise _unfit(path, f"holds a config that makes no model ({shorten(error, 300, end=140)})") from None


class NoInitialWeights(TorchFunctionMode):
    """Lets a model be made without drawing its weights.

    Even where there is no memory to draw them into, PyTorch would load a library for symbolic mathematics for it: most
    of a second and 80 MB.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == nn.init.__name__:
            return None  # these functions change a tensor in place, and nobody uses what they return
        return func(*args, **(kwargs or {}))


def empty_model(config: GPTConfig) -> GPTModel:
    """The model with shapes and no memory."""
    with torch.device("meta"), NoInitialWeights():
        return GPTModel(config)


def build_model(
    path: str | Path, config: GPTConfig, weights: Mapping[str, Tensor], lora: dict[str, Any] | None = None
) -> GPTModel:
    """A GPTModel that takes over the given tensors, without ever having memory for weights of its own.

    lora: of a model with adapters, what `lora_state` has said of them.
    Raises CheckpointError, naming the tensor, where one is missing, surplus, of another shape or not a plain tensor.
    """
    parts = [name.split(".")[1] for name in weights if str(name).startswith("blocks.")]
    n_blocks = len(set(parts))
    # Checked first: a config that lies could ask for a billion blocks. A whole block has 11 tensors or more.
    if n_blocks != config.n_layers or len(parts) < 11 * n_blocks:
        tensors = f"{len(parts)} tensors of {n_blocks} blocks"
        raise _unfit(path, f"has {tensors}, and its config says {config.n_layers} blocks")
    try:
        model = empty_model(config)
    except (RuntimeError, TypeError, OverflowError):  # numbers that PyTorch can't multiply
        raise _unfit(path, f"holds a config that makes no model ({shorten(config, 300, end=140)})") from None
    if lora is not None:
        try:
            with NoInitialWeights():
                rebuild_lora(model, lora)
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise _unfit(path, f"holds adapters that make no sense ({shorten(error, 300, end=140)})") from None
    load_weights(path, model, weights, assign=True)
    return model


def load_weights(path: str | Path, model: GPTModel, weights: Mapping[str, Tensor], assign: bool = False) -> None:
    """Copy the tensors into the model, or with `assign` make them its own; tied weights stay one parameter.

    Raises CheckpointError, naming the first tensor that is missing, surplus, or not as the model needs it; `path` is
    where they come from, for the message.
    """
    weights = dict(weights)
    if model.config.weight_tying:
        weights.setdefault("output_head.weight", weights.get("token_embedding.weight"))
    expected = model.state_dict()
    if missing := [name for name in expected if weights.get(name) is None]:
        raise _unfit(path, f"lacks the tensor '{missing[0]}' that its config asks for")
    if surplus := [name for name in weights if name not in expected]:
        raise _unfit(path, f"has a tensor '{shorten(surplus[0])}' that its config has no place for")
    dtypes, places = {}, set()
    for name, wanted in expected.items():
        tensor = weights[name]
        if not _is_plain(tensor):
            raise _unfit(path, f"has no plain floating-point tensor as '{name}'")
        if tensor.shape != wanted.shape:
            shapes = f"{tuple(tensor.shape)}, and its config asks for {tuple(wanted.shape)}"
            raise _unfit(path, f"has '{name}' in the shape {shapes}")
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise _unfit(path, f"has '{name}' with less data than its shape needs")
        # One type for all, but for adapters, which are in float32 on a model of 16 bits.
        if dtypes.setdefault(".adapters." in name, tensor.dtype) != tensor.dtype:
            raise _unfit(path, f"has '{name}' as {tensor.dtype}, unlike the tensors before it")
        # Each parameter in memory of its own: what is shared would be changed twice by a step.
        weights[name] = tensor.clone() if tensor.data_ptr() in places else tensor.contiguous()
        places.add(tensor.data_ptr())
    model.load_state_dict(weights, assign=assign)
    model.tie_weights()  # assigning makes two parameters of the tied one


def _is_plain(tensor: Any) -> bool:
    """Whether it is an ordinary tensor of numbers that a model can compute with."""
    if not isinstance(tensor, Tensor) or tensor.is_nested or tensor.layout != torch.strided or tensor.is_meta:
        return False
    return tensor.dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def last_path(path: str | Path) -> Path:
    """Where the run that writes its best model to `path` keeps its latest state: a.pth -> a.last.pth."""
    path = Path(path)
    return path.with_name(f"{path.stem}.last{path.suffix or '.pth'}")


def best_path(path: str | Path) -> Path:
    """Where the run that keeps its latest state in `path` writes its best model: a.last.pth -> a.pth."""
    path = Path(path)
    return path.with_name(f"{path.stem.removesuffix('.last')}{path.suffix or '.pth'}")


def find_checkpoint(name: str | Path) -> Path:
    """The file that a user means: a path, a folder (its newest best checkpoint), or a bare name in model_weights/.

    Raises FileNotFoundError, in one sentence, where none of them is there.
    """
    path = Path(name)
    places = [path, Path(f"{name}.pth")]
    if len(path.parts) == 1:
        folder = project_root() / "model_weights"
        places += [folder / path, folder / f"{name}.pth"]
    for place in places:
        if place.is_file():
            return place
        if place.is_dir():
            best = [p for p in place.glob("*.pth") if not p.stem.endswith(".last")]
            if best:
                return max(best, key=lambda p: p.stat().st_mtime)
    raise FileNotFoundError(
        f"There is no checkpoint '{name}', here or in model_weights/; `gptlib train` makes one, or check the name."
    )
