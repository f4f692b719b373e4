"""The options of a training run, in one place: for `train`, the command line, the YAML recipes and the checkpoint."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from gptlib.ops.devices import PRECISIONS
from gptlib.training.optim import OPTIMIZERS
from gptlib.training.schedule import SCHEDULES, learning_rate_at
from gptlib.utils.validation import is_number, whole_number


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. A step is one update of the weights; a field's docstring is its help on the command line."""

    epochs: int | None = None
    """Passes over the training text; leave out if max_steps is given. Neither given: one epoch."""
    max_steps: int | None = None
    """Number of steps; leave out if epochs is given."""
    batch_size: int = 16
    """Windows of text in one forward pass, for the loaders that are made from this config."""
    gradient_accumulation_steps: int = 1
    """Forward passes that add up to one step: as good as a batch that many times larger, in the memory of one."""
    learning_rate: float = 1e-3
    """The highest learning rate, reached after the warm-up."""
    min_learning_rate: float | None = None
    """The learning rate that the fall ends at; left out, a tenth of learning_rate."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises from nearly zero."""
    lr_decay_steps: int | None = None
    """The step at which the fall ends; left out, the last one."""
    lr_schedule: Literal[SCHEDULES] = "cosine"
    """What follows the warm-up: "cosine", "linear" or "constant"."""
    optimizer: Literal[OPTIMIZERS] = "adamw"
    """"adamw", or "muon" for the blocks' matrices with AdamW for the rest: fewer steps, each a little longer."""
    weight_decay: float = 0.1
    """Decay of matrices and embeddings (AdamW); biases and LayerNorms never decay."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's averaging of the gradient and of its square."""
    grad_clip: float = 1.0
    """Gradients of a larger norm than this are scaled down to it; 0 switches that off."""
    precision: Literal[PRECISIONS] = "auto"
    """Precision of matmuls: fp32, bf16, fp16 (with loss scaling), or auto, which goes by the machine and says."""
    compile: bool = False
    """Compile the model with torch.compile: a slow start, then faster steps on a GPU, but not on every CPU."""
    activation_checkpointing: bool = False
    """Keep only each block's input and compute the rest again for the gradients: less memory, a third more time."""
    eval_interval: int = 100
    """Steps between evaluations; each prints the losses and a sample, and saves. There is one at each end, too."""
    eval_batches: int | None = 20
    """Batches, spread over the text, that an evaluation takes of each split; null takes all."""
    patience: int | None = None
    """Evaluations without a better validation loss after which the run ends; left out, it never ends early."""
    sample_prompt: str | None = "\n"
    """What the live samples continue; null switches them off."""
    sample_tokens: int = 60
    """Length of a live sample."""
    tensorboard: bool = False
    """Also write the history for TensorBoard, into a folder beside the checkpoint."""
    seed: int = 0
    """The one seed for the order of the data, dropout and samples."""
    device: str = "auto"
    """Where to train: auto, cpu, cuda, cuda:1, mps."""

    def __post_init__(self):
        if isinstance(self.betas, list):
            object.__setattr__(self, "betas", tuple(self.betas))
        if self.epochs is not None and self.max_steps is not None:
            raise ValueError(f"Both epochs={self.epochs} and max_steps={self.max_steps} are given; give one of them.")
        self._check_numbers()
        self._check_choices()

    def _check_numbers(self) -> None:
        for name, lowest in AT_LEAST.items():
            value = getattr(self, name)
            if value is not None or name not in OPTIONAL:
                whole_number(name, value, lowest)
        for name in ("learning_rate", "min_learning_rate", "weight_decay", "grad_clip"):
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if not is_number(value) or value < 0 or (value == 0 and name == "learning_rate"):
                lowest = "above 0" if name == "learning_rate" else "of at least 0"
                raise ValueError(f"{name}={value!r} is out of range; give a number {lowest}.")
        if self.min_learning_rate is not None and self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate={self.min_learning_rate} is above learning_rate={self.learning_rate}; lower it."
            )
        if (
            not isinstance(self.betas, tuple)
            or len(self.betas) != 2
            or not all(is_number(beta) and 0 <= beta < 1 for beta in self.betas)
        ):
            raise ValueError(f"betas={self.betas!r} is out of range; give two numbers from 0 up to below 1.")

    def _check_choices(self) -> None:
        for name in ("compile", "activation_checkpointing", "tensorboard"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} is neither True nor False; give one of them.")
        if not isinstance(self.device, str):
            raise ValueError(f"device={self.device!r} is unknown; give 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.")
        if not isinstance(self.sample_prompt, str | None):
            raise ValueError(f"sample_prompt={self.sample_prompt!r} is no text; give a text, or None for no samples.")
        for name, known in (("lr_schedule", SCHEDULES), ("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; give one of {', '.join(known)}.")

    def total_steps(self, batches_per_epoch: int | None) -> int:
        """Steps of the whole run; a last step that would lack forward passes is left out.

        Raises ValueError if epochs are to be counted and the loader does not know its length.
        """
        if self.max_steps is not None:
            return self.max_steps
        if batches_per_epoch is None:
            raise ValueError("The training loader does not know its length; give max_steps instead of epochs.")
        return max(1, (self.epochs or 1) * batches_per_epoch // self.gradient_accumulation_steps)

    def to_dict(self) -> dict[str, Any]:
        """The options as plain data, as they stand in a checkpoint."""
        return asdict(self)

    def learning_rate_at(self, step: int, total_steps: int) -> float:
        """The learning rate of step `step`, counted from 0, of a run of that many."""
        return learning_rate_at(
            step,
            schedule=self.lr_schedule,
            peak=self.learning_rate,
            lowest=self.learning_rate / 10 if self.min_learning_rate is None else self.min_learning_rate,
            warmup_steps=self.warmup_steps,
            decay_steps=self.lr_decay_steps or total_steps,
        )

    def changes_since(self, before: Mapping[str, Any]) -> list[str]:
        """A line for each option that was another in `before`, of a checkpoint."""
        before = with_current_names(before)
        return [
            f"Changed since: {name} was {before.get(name)!r}, is {value!r}."
            for name, value in self.to_dict().items()
            if before.get(name) != value
        ]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TrainingConfig":
        """The inverse of to_dict, of earlier versions' too. Raises ValueError on an unknown option."""
        data = with_current_names(data)
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in data if name not in known]:
            raise ValueError(f"Unknown training option {unknown[0]!r}; the options are {', '.join(known)}.")
        return cls(**data)


AT_LEAST = {
    **dict.fromkeys(("epochs", "max_steps", "batch_size", "gradient_accumulation_steps"), 1),
    **dict.fromkeys(("lr_decay_steps", "eval_interval", "eval_batches", "patience", "sample_tokens"), 1),
    **dict.fromkeys(("warmup_steps", "seed"), 0),
}
"""The options that are whole numbers, and the least of each."""

OPTIONAL = {"epochs", "max_steps", "min_learning_rate", "lr_decay_steps", "eval_batches", "patience"}

RENAMED = {"recompute": "activation_checkpointing"}
"""Options that earlier versions called otherwise, as their recipes and checkpoints still do: old name -> new."""


def with_current_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a checkpoint, by the names that they have now."""
    return {RENAMED.get(name, name): value for name, value in options.items()}


def recipe_with_current_names(text: str) -> str:
    """A recipe's YAML, in which each option has the name that it has now."""
    for old, new in RENAMED.items():
        text = re.sub(rf"^( +){old}(?= *:)", rf"\1{new}", text, flags=re.MULTILINE)
    return text
