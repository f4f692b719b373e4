"""Settings of a model that is loaded, checked: the numbers of its shape, the type of its weights, the device."""

from collections.abc import Mapping
from typing import Any

import torch

from gptlib.generation.quantization import check_precision
from gptlib.model import GPTConfig
from gptlib.ops.devices import DTYPES, pick_device
from gptlib.utils.errors import CheckpointError
from gptlib.utils.text import shorten

# Far beyond any GPT-2 (1558M: 50257, 1024, 1600, 25, 48), and far below what would stall a computer that only looks.
LIMITS = {"vocab_size": 2**22, "context_length": 2**20, "emb_dim": 2**16, "n_heads": 2**10, "n_layers": 2**10}

_MORE_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def checked_config(where: str, numbers: Mapping[str, Any], names: Mapping[str, str], **others: Any) -> GPTConfig:
    """A GPTConfig from the five numbers of a file, `names[ours]` being what the file calls them.

    Raises CheckpointError if one is missing, no whole number or absurd, before any memory is taken for it.
    """
    found = {}
    for ours, theirs in names.items():
        value = numbers.get(theirs)
        if type(value) is not int or not 1 <= value <= LIMITS[ours]:
            raise CheckpointError(
                f"{where} has {theirs}={shorten(repr(value))}, and it should be 1 to {LIMITS[ours]:,}; use an "
                "undamaged copy."
            )
        found[ours] = value
    try:
        return GPTConfig(**found, qkv_bias=True, **others)
    except ValueError as error:
        raise CheckpointError(f"{where} makes no model ({shorten(error, 250)}); use an undamaged copy.") from None


def as_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """The dtype, or None for None; torch.bfloat16, "bf16" and "bfloat16" are the same. Raises ValueError for others."""
    known = DTYPES | _MORE_DTYPES
    if dtype is None or dtype in DTYPES.values():
        return dtype
    if isinstance(dtype, str) and dtype in known:
        return known[dtype]
    raise ValueError(f"dtype={dtype!r} is not possible; give None, 'fp32', 'bf16' or 'fp16', or PyTorch's own names.")


def checked_settings(
    dtype: torch.dtype | str | None, device: torch.device | str, precision: str | None
) -> tuple[torch.dtype | None, torch.device]:
    """The dtype and the device that a loader was asked for.

    Raises ValueError, before anything is read or fetched, for one that there is not, and for a dtype together with a
    precision.
    """
    dtype, device = as_dtype(dtype), pick_device(str(device))
    if precision is not None:
        check_precision(precision, device)
        if dtype is not None:
            name = next(name for name, its_dtype in DTYPES.items() if its_dtype == dtype)
            raise ValueError(
                f"dtype={name!r} and precision={precision!r} both say how the weights are kept; give precision alone "
                "for a model that writes, dtype alone for one to be trained."
            )
    return dtype, device
