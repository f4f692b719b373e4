"""Training: one loop from scratch, from given weights, or resumed; and its files. Start at run.py, then trainer.py."""

from gptlib.training.config import TrainingConfig
from gptlib.training.run import train
from gptlib.training.trainer import Trainer, TrainingError

__all__ = ["Trainer", "TrainingConfig", "TrainingError", "train"]
