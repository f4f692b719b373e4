"""What all models of a comparison have in common, and how wide each may be for that."""

from bisect import bisect_left
from dataclasses import dataclass

from gptlib.checkpoints import empty_model
from gptlib.generation import check_sampling
from gptlib.model import GPTConfig, GPTModel
from gptlib.utils.validation import whole_number

WIDTHS = (8, 4096)
HEAD_WIDTHS = (20, 40)  # a model that is narrower has one head


@dataclass(frozen=True)
class ComparisonConfig:
    """What all models of a comparison have in common."""

    vocab_size: int = 2048
    """Tokens that word, sentencepiece and bpe may have; char takes what the text holds, and gpt2 has 50,257."""
    parameters: int = 1_000_000
    """Parameters of each model, embeddings included."""
    same_blocks: bool = False
    """Spend the parameters on the blocks alone; the embeddings come on top, so that the models differ in size."""
    epochs: int = 1
    """Passes over the training text."""
    context_length: int = 128
    """Tokens that a model sees, and those of a training window."""
    n_layers: int = 4
    batch_size: int = 4
    learning_rate: float = 2e-3
    continuations: int = 96
    """Places in the held-out text from which each model writes on, for BLEU."""
    temperature: float = 0.8
    """Of the continuations."""
    seed: int = 0
    """Of the weights, the order, the continuations."""

    def __post_init__(self):
        for name in ("parameters", "epochs", "context_length", "n_layers", "batch_size", "continuations"):
            whole_number(name, getattr(self, name), 1)
        whole_number("seed", self.seed, 0)
        check_sampling(1, self.temperature, None, None)


def shape_for(vocab_size: int, config: ComparisonConfig) -> GPTConfig:
    """The model whose parameters come closest to the budget; its width is what is sought.

    Raises ValueError if the closest is more than a tenth off.
    """

    def shape(width: int) -> GPTConfig:
        return GPTConfig(
            vocab_size=vocab_size,
            context_length=config.context_length,
            emb_dim=width,
            n_heads=heads_for(width),
            n_layers=config.n_layers,
            drop_rate=0.0,  # a text that is read once or twice is not learned by heart
            weight_tying=True,
        )

    def size(width: int) -> int:
        model = empty_model(shape(width))
        return block_parameters(model) if config.same_blocks else model.parameter_count()

    widths = [width for width in range(WIDTHS[0], WIDTHS[1] + 1) if heads_for(width)]
    i = bisect_left(widths, config.parameters, key=size)
    width = min(widths[max(i - 1, 0) : i + 1], key=lambda width: abs(size(width) - config.parameters))
    if abs(size(width) - config.parameters) > config.parameters / 10:
        raise ValueError(
            f"parameters={config.parameters:,} make no model of {config.n_layers} layers for a vocabulary of "
            f"{vocab_size:,}; give {size(widths[0]):,} to {size(widths[-1]):,}."
        )
    return shape(width)


def heads_for(width: int) -> int:
    """The fewest heads that are not too wide; 0 if the width can't be cut into such."""
    if width <= HEAD_WIDTHS[1]:
        return 1
    wide_enough = range(2, width // HEAD_WIDTHS[0] + 1)
    return next((n for n in wide_enough if width % n == 0 and width // n <= HEAD_WIDTHS[1]), 0)


def block_parameters(model: GPTModel) -> int:
    return sum(parameter.numel() for parameter in model.blocks.parameters())
