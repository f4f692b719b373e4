"""Models inside the wrappers of PyTorch: compiled, or one of several processes' copies."""

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def unwrap(model: nn.Module) -> nn.Module:
    """The plain model inside `torch.compile` and `DistributedDataParallel`, whichever is the outer one.

    A plain model is returned as it is. The weights are the wrapper's, under their own names.
    """
    while True:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):  # torch.compile's wrapper; importing its class takes a second
            model = model._orig_mod
        else:
            return model
