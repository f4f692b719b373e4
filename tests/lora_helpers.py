"""What the tests of LoRA share: a tiny shape, adapters that are no longer zero, and tokens."""

import torch

from gptlib.lora import LoRAConfig, add_lora
from gptlib.model.lora import lora_layers

SHAPE = {"vocab_size": 61, "context_length": 16, "emb_dim": 24, "n_heads": 3, "n_layers": 2, "drop_rate": 0.0}
IDS = torch.randint(61, (2, 9), generator=torch.Generator().manual_seed(3))


def with_adapter(model, name="default", seed=1, **options):
    """The model with an adapter of random numbers, in the mode that it was in."""
    add_lora(model, LoRAConfig(**{"rank": 3, "alpha": 5.0} | options), name)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in lora_layers(model):
            if name in layer.adapters:
                for parameter in layer.adapters[name].parameters():
                    parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model
