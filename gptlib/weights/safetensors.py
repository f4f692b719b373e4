"""Files of tensors in Hugging Face's format, looked at before they are trusted: one file, or several with an index.

A file is the length of its header (8 bytes), the header as JSON (name -> dtype, shape, place), and the tensors' bytes.
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptlib.checkpoints.tensors import Shape
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import read_json
from gptlib.utils.text import shorten

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
REMEDY = "use an undamaged copy"
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
"""The types that we read and write, as the format calls them."""

_MAX_HEADER = 2**25  # bytes; that of 1558M has 60,000
_MAPPED_AT_ONCE = 2**25  # bytes


@dataclass(frozen=True)
class Stored:
    """Where a tensor is: its name in the file, the file, its dtype as the format writes it ("F32"), its shape."""

    name: str
    file: Path
    dtype: str
    shape: Shape


def find_tensors(folder: Path) -> list[Stored]:
    """All tensors in the folder's model.safetensors, or in the files that its index names.

    Raises FileNotFoundError if there are none, CheckpointError if a file is damaged or lies.
    """
    if (folder / SINGLE).is_file():
        return read_header(folder / SINGLE)
    if not (folder / INDEX).is_file():
        raise FileNotFoundError(_nothing_in(folder))
    weight_map = read_weight_map(folder / INDEX)
    tensors = []
    for file in sorted(set(weight_map.values())):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"'{folder / INDEX}' names the file '{file}', which is not there; fetch it too.")
        tensors += read_header(folder / file)
    for tensor in tensors:
        if weight_map.get(tensor.name) != tensor.file.name:
            raise CheckpointError(
                f"'{tensor.file}' has the tensor '{shorten(tensor.name)}', which '{INDEX}' does not place there; "
                f"{REMEDY}."
            )
    if missing := weight_map.keys() - {tensor.name for tensor in tensors}:
        name = min(missing)
        raise CheckpointError(
            f"'{folder / weight_map[name]}' lacks the tensor '{shorten(name)}', as '{INDEX}' says it has; {REMEDY}."
        )
    return tensors


def read_weight_map(path: Path) -> dict[str, str]:
    """The index of a model in several files: tensor -> file. A file's name must be one, and not lead elsewhere."""
    try:
        weight_map = read_json(path, "index")["weight_map"]
        pairs = dict(weight_map)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"'{path}' is no index of tensors ({shorten(error)}); {REMEDY}.") from None
    for file in pairs.values():
        if not isinstance(file, str) or not file.endswith(".safetensors") or set(file) & set('/\\:\0"'):
            raise CheckpointError(
                f"'{path}' names {shorten(repr(file))}, and the parts of a model are .safetensors files in its own "
                f"folder; {REMEDY}."
            )
    return pairs


def read_header(path: Path) -> list[Stored]:
    """The tensors that a file says it has. CheckpointError if it is damaged, lies, or says a thing twice."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = struct.unpack("<Q", file.read(8))[0] if size >= 8 else 0
            if not 2 <= length <= min(size - 8, _MAX_HEADER):
                raise ValueError(f"its header would have {length:,} bytes, and the file has {size:,}")
            header = json.loads(file.read(length).decode(), object_pairs_hook=_without_twins)
        _check_with_library(path)
        return [
            Stored(name, path, entry["dtype"], tuple(entry["shape"]))
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"'{path}' can't be read as a file of tensors ({shorten(error)}); it is damaged or of another kind, so "
            f"{REMEDY}."
        ) from None


def check_dtypes(where: str, tensors: Iterable[Stored], remedy: str) -> None:
    """Raise CheckpointError, naming the first tensor of a type that we can't compute with."""
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            raise CheckpointError(
                f"{where} has '{shorten(tensor.name)}' as {shorten(tensor.dtype)}, and gptlib reads "
                f"{', '.join(DTYPES)}; {remedy}."
            )


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"its header has '{next(name for name in names if names.count(name) > 1)}' twice")
    return found


def _check_with_library(path: Path) -> None:
    """Let the format's own library see whether all places are within the file and fit shapes and types."""
    package = library()
    try:
        with package.safe_open(path, framework="pt"):
            pass
    except package.SafetensorError as error:
        raise ValueError(str(error).removeprefix("Error while deserializing header: ")) from None


class TensorReader:
    """Reads tensors as they are stored, straight from the mapped files.

    A file is mapped again now and then: where tensors are copied or converted one after another, the pages that were
    read can go with them, and don't pile up beside the copies.
    """

    def __init__(self):
        self._files: dict[Path, Any] = {}
        self._bytes = 0

    def read(self, tensor: Stored) -> Tensor:
        """The tensor, a view of the file's memory; private to this process, so writing to it changes no file."""
        if self._bytes > _MAPPED_AT_ONCE:
            self._files, self._bytes = {}, 0
        if tensor.file not in self._files:
            self._files[tensor.file] = library().safe_open(tensor.file, framework="pt")
        found = self._files[tensor.file].get_tensor(tensor.name)
        self._bytes += found.nbytes
        return found


def library():
    """The package with its part for PyTorch, imported here, because whoever has no such file needs none."""
    try:
        import safetensors.torch
    except ImportError:
        raise CheckpointError(
            "The package safetensors is not installed, which reads and writes Hugging Face's files; run "
            "`pip install safetensors`."
        ) from None
    return safetensors


def _nothing_in(folder: Path) -> str:
    if not folder.is_dir():
        return f"There is no folder '{folder}'; check the path, or give a size as '124M'."
    pickles = [*folder.glob("pytorch_model*.bin"), *folder.glob("*.ckpt"), *folder.glob("model*.pt")]
    if pickles:
        return (
            f"The folder '{folder}' has '{pickles[0].name}' and no {SINGLE}; such files are pickles, which could run "
            "any code and are never loaded here, so save the model again with transformers' save_pretrained."
        )
    return f"The folder '{folder}' has no {SINGLE}; check the path, or give a size as '124M'."
