"""Training: one loop from scratch, from given weights, or resumed; and its files. Start reading at trainer.py."""

from gptlib.training.config import TrainingConfig
from gptlib.training.trainer import TrainingError, train

__all__ = ["TrainingConfig", "TrainingError", "train"]
