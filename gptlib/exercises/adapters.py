"""Ways to run a candidate that take more than a call; a `CodeExercise` takes one as its `run`.

An adapter is any function run(candidate, *case) that returns what is compared. Where it sees that the candidate
can't be right, it raises UnfitError with a sentence for the learner.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class UnfitError(Exception):
    """What a learner made can't be run as the exercise needs it; its text says why, in a sentence."""


def as_module(reference: type[nn.Module]) -> Callable[..., Any]:
    """An adapter for classes of modules: a case is (options, *inputs), as ({"emb_dim": 8, "n_heads": 2}, x).

    The learner's class is made with the options, gets the weights of a reference with random ones, by their names, and
    is called with the inputs in eval mode.
    """

    def run(candidate: type[nn.Module], options: dict[str, Any], *inputs: Any) -> Any:
        return made_alike(candidate, reference, **options)(*inputs)

    run.names = ["options", *list(inspect.signature(reference.forward).parameters)[1:]]  # in messages to the learner
    return run


def made_alike(candidate: type[nn.Module], reference: type[nn.Module], *arguments: Any, **options: Any) -> nn.Module:
    """A module of the learner's class in eval mode, with the (random) weights of one of the reference's.

    Raises: UnfitError where it is no module, or has other parameters.
    """
    module = candidate(*arguments, **options)
    if not isinstance(module, nn.Module):
        raise UnfitError(f"`{candidate.__name__}` has to be a class that inherits from `nn.Module`.")
    copy_weights(random_weights(reference(*arguments, **options)), module)
    return module.eval()


def random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module, with weights and biases large enough that every part of it shows in the result.

    Freshly made ones would not do: a LayerNorm's weight of 1 and bias of 0 may as well be forgotten.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = 0.3 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise + (parameter.ndim == 1 and name.endswith("weight")))
    return module


def copy_weights(original: nn.Module, module: nn.Module) -> None:
    """Copy all parameters by their names. Buffers, as masks, are each class's own business.

    Raises: UnfitError where the two have different parameters.
    """
    right, theirs = dict(original.named_parameters()), dict(module.named_parameters())
    for name, parameter in right.items():
        if name not in theirs:
            extra = [other for other in theirs if other not in right]
            has = f"; it has {', '.join(f'`{n}`' for n in extra)} instead" if extra else ""
            raise UnfitError(
                f"The module has no parameter `{name}`{has}. Is everything made in `__init__`, by that name?"
            )
        if theirs[name].shape != parameter.shape:
            shapes = tuple(theirs[name].shape), tuple(parameter.shape)
            raise UnfitError(f"The parameter `{name}` has the shape {shapes[0]}, and {shapes[1]} is right.")
    if extra := [name for name in theirs if name not in right]:
        raise UnfitError(f"The module has a parameter that it does not need: `{extra[0]}`.")
    with torch.no_grad():
        for name, parameter in right.items():
            theirs[name].copy_(parameter)
