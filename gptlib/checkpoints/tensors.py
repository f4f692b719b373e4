"""What tensors must be to become a model's parameters, whatever kind of file they come from.

The checks raise CheckpointError, naming the first tensor that does not fit. `where` says which file, and `remedy` what
to do, both for the message.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gptlib.utils.errors import CheckpointError
from gptlib.utils.text import shorten

Shape = tuple[int, ...]

COMPUTABLE = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def shapes_of(model: nn.Module) -> dict[str, Shape]:
    """The shape of each parameter of the model, tied ones by all their names."""
    return {name: tuple(p.shape) for name, p in model.named_parameters(remove_duplicate=False)}


def tied_names(model: nn.Module) -> set[str]:
    """The further names of parameters that have several; a file need not have them."""
    return set(shapes_of(model)) - {name for name, _ in model.named_parameters()}


def check_tensors(where: str, found: Mapping[str, Shape], expected: Mapping[str, Shape], remedy: str) -> None:
    """Refuse tensors of which one is missing, surplus or of another shape."""
    check_names(where, found, expected, remedy)
    check_shapes(where, found, expected, remedy)


def check_names(where: str, found: Collection[str], expected: Collection[str], remedy: str) -> None:
    """Refuse names of which one is missing or surplus."""
    if missing := [name for name in expected if name not in found]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(f"{where} lacks the tensor '{missing[0]}'{more}; {remedy}.")
    if surplus := [name for name in found if name not in expected]:
        more = f" and {len(surplus) - 1} more" if len(surplus) > 1 else ""
        raise CheckpointError(
            f"{where} has a tensor '{shorten(surplus[0])}'{more} that a model of its configuration has no place for; "
            f"{remedy}."
        )


def check_shapes(where: str, found: Mapping[str, Shape], expected: Mapping[str, Shape], remedy: str) -> None:
    """Refuse tensors of which one has another shape."""
    for name, shape in expected.items():
        if tuple(found[name]) != shape:
            raise CheckpointError(
                f"{where} has the tensor '{name}' in the shape {tuple(found[name])}, and its configuration asks for "
                f"{shape}; {remedy}."
            )


def check_plain(where: str, tensors: Mapping[str, Any], remedy: str) -> None:
    """Refuse what is no ordinary tensor of numbers that a model can compute with, or has less data than its shape."""
    for name, tensor in tensors.items():
        if not _is_plain(tensor):
            raise CheckpointError(f"{where} has no plain floating-point tensor as '{name}'; {remedy}.")
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise CheckpointError(f"{where} has '{name}' with less data than its shape needs; {remedy}.")


def _is_plain(tensor: Any) -> bool:
    if not isinstance(tensor, Tensor) or tensor.is_nested or tensor.layout != torch.strided or tensor.is_meta:
        return False
    return tensor.dtype in COMPUTABLE


def check_one_dtype(where: str, tensors: Mapping[str, Tensor], names: Iterable[str], remedy: str) -> None:
    """Refuse tensors of several types under these names."""
    first = None
    for name in names:
        first = first or tensors[name].dtype
        if tensors[name].dtype != first:
            raise CheckpointError(
                f"{where} has '{name}' as {tensors[name].dtype}, unlike the tensors before it; {remedy}."
            )


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, contiguous, each in memory of its own: what is shared would be changed twice by a step."""
    places, found = set(), {}
    for name, tensor in tensors.items():
        found[name] = tensor.clone() if tensor.data_ptr() in places else tensor.contiguous()
        places.add(tensor.data_ptr())
    return found
