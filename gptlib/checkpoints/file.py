"""Writing and reading the file. Nothing is pickled but tensors and plain data, and no pickle is ever executed."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gptlib.checkpoints.building import REMEDY, build_model
from gptlib.checkpoints.tensors import tied_names
from gptlib.model import GPTModel, unwrap
from gptlib.model.architectures import ARCHITECTURES
from gptlib.model.lora import lora_state
from gptlib.tokenizers import Tokenizer, tokenizer_from_dict
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import write_atomically
from gptlib.utils.text import shorten

FORMAT = 1
BEFORE_IT_WAS_WRITTEN = "gpt2"
"""The architecture of files that name none."""

_PART = 2**25  # bytes
_PARTS = 16


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

    Of a compiled or distributed model, the plain one in it is saved; tied weights are stored once. training: tensors
    and plain data only. Raises CheckpointError if the file can't be written; an earlier file is then untouched.
    """
    model = unwrap(model)
    tied = tied_names(model)
    content = {
        "format": FORMAT,
        "architecture": model.config.architecture,
        "config": model.config.to_dict(),
        "model": {name: tensor for name, tensor in model.state_dict().items() if name not in tied},
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

    The weights are as stored, to be trained or not; `gptlib.weights.load_model(path, precision=…)` reads a model to
    write with, at the best speed of its precision. mapped: use the file as the model's memory, for a file that nobody
    will write again while the model lives (Windows would not allow it). Training the model changes no file.

    Raises FileNotFoundError if there is none, CheckpointError if it is truncated, foreign or contradicts itself.
    """
    content = read_checkpoint(path, mapped=mapped)
    try:
        config = ARCHITECTURES[content["architecture"]].config_class.from_dict(content["config"])
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"'{path}' holds a config that makes no model ({_short(error)}); {REMEDY}.") from None
    model = build_model(path, config, content["model"], content.get("lora"))
    try:
        stored = content.get("tokenizer")
        tokenizer = None if stored is None else tokenizer_from_dict(stored)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"'{path}' holds a tokenizer that can't be used ({_short(error)}); {REMEDY}.") from None
    if tokenizer is not None and tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"'{path}' holds a tokenizer of {tokenizer.vocab_size} tokens and a model of {config.vocab_size}: "
            f"they do not belong together; {REMEDY}."
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
        before = _stamp(path)
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
            f"'{path}' has the format {_short(repr(content['format']))}, and this gptlib reads {FORMAT}; update gptlib."
        )
    if not isinstance(content.get("config"), dict) or not isinstance(content.get("model"), Mapping):
        raise CheckpointError(f"'{path}' lacks its 'config' or its 'model'; use a complete file.")
    _check_architecture(path, content)
    if mapped:
        content["model"] = _in_parts(path, before, content["model"])
    return content


def _in_parts(path: Path, before: Any, weights: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tensors of a mapped file, each part of them from a mapping of its own.

    Pages that were read stay in memory as long as any tensor of their mapping: whoever converts a model layer by layer
    would end with the whole file beside it. before: the file's stamp before it was first read.
    """
    sizes = {name: getattr(tensor, "nbytes", 0) for name, tensor in weights.items()}
    most = max(_PART, sum(sizes.values()) // _PARTS)
    found, part, used = {}, weights, 0
    for name, size in sizes.items():
        if used >= most:
            part, used = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["model"], 0
        found[name] = part.get(name)
        used += size
    return found if _stamp(path) == before else weights  # a run that goes on may have put a new file there


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes if the file is replaced or written again."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _check_sums(path: Path) -> None:
    """Compare the zip's check sums, which torch.load does not: a flipped bit would be another weight."""
    if not zipfile.is_zipfile(path):
        return  # torch.load says what it is
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("its parts are compressed")
        if damaged := archive.testzip():
            raise ValueError(f"the check sum of its part {damaged} is wrong")


def _short(text: Any) -> str:
    return shorten(text, 300, end=140)


def _first_sentence(error: Exception) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    if "weights_only" in str(error) or "Unsupported" in str(error):
        return "it holds Python objects, which are never loaded because they could run code"
    return shorten(text[0].split(". ")[0])


def _check_architecture(path: Path, content: Mapping[str, Any]) -> None:
    architecture = content.setdefault("architecture", BEFORE_IT_WAS_WRITTEN)
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        known = ", ".join(map(repr, ARCHITECTURES))
        raise CheckpointError(
            f"'{path}' has a model of the architecture {_short(repr(architecture))}, and this gptlib knows {known}; "
            "update gptlib, or use another file."
        )
