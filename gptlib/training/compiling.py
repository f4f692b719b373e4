"""Compiling a model for training, or going on without if that does not work here."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from gptlib.loss import Batch, batch_loss, inputs_and_targets
from gptlib.ops.devices import autocast


def compiled(
    model: nn.Module, batches: Iterator[Batch], device: torch.device, precision: str, warn: Callable[[str], None]
) -> Callable[..., Tensor]:
    """The model compiled, tried on a batch; or as it is, with a message, if that fails. Gradients are dropped."""
    try:
        forward = torch.compile(model)
        gpus = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(gpus), autocast(device, precision):
            batch_loss(forward, *inputs_and_targets(next(batches), device)).backward()
    except torch.OutOfMemoryError:
        raise  # it would be no better without
    except Exception as error:  # whatever a missing or broken compiler raises
        warn(f"torch.compile does not work here ({type(error).__name__}); training goes on without it.")
        forward = model
    model.zero_grad()
    return forward
