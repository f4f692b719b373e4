"""What `precision` means wherever a model is loaded: a model to write with, as fast as its precision allows."""

import torch
from torch import nn

from gptlib.generation.quantization import with_precision
from gptlib.model import GPTModel


def for_inference(model: GPTModel, precision: str | None) -> GPTModel:
    """A model that has just been loaded, in the precision that was asked for; None leaves it as it is, to be trained.

    precision: "auto", "fp32", "bf16" or "int8", as `with_precision` takes them. The result is in eval mode, has no
    parameter that learns, and says in `.precision` what was chosen and why; the model that was loaded is used up.
    """
    if precision is None:
        return model
    model, _ = with_precision(model, precision, consume=True)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def give_own_memory(model: GPTModel) -> None:
    """Copy parameters out of a mapped file that may be written again, one after another, if they are still there."""
    if not isinstance(model.output_head, nn.Linear):
        return  # converted, and so copied
    for path, module in model.named_modules():
        if path == "output_head" and model.config.weight_tying:
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.clone(), requires_grad=False))
        if path == "token_embedding":
            model.tie_weights()
