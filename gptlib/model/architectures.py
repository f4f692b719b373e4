"""The architectures that there are, by the names that checkpoints give them."""

from torch import nn

from gptlib.model.gpt import GPTModel

ARCHITECTURES: dict[str, type[nn.Module]] = {
    model_class.config_class.architecture: model_class for model_class in (GPTModel,)
}
"""Each model class, made from a config of its `config_class`, whose `architecture` is the name."""
