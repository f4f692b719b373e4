"""A model in one file: its configuration, weights and tokenizer, and for resuming the state of its training.

A run writes two: NAME.pth, the best model, for inference, and NAME.last.pth, the latest, with all that is needed to
go on. Start reading at file.py; a model made of tensors is in building.py, what tensors must be in tensors.py.
"""

from gptlib.checkpoints.building import build_model, empty_model, load_weights
from gptlib.checkpoints.file import Checkpoint, load_checkpoint, read_checkpoint, save_checkpoint
from gptlib.checkpoints.paths import best_path, find_checkpoint, last_path
from gptlib.utils.errors import CheckpointError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "best_path",
    "build_model",
    "empty_model",
    "find_checkpoint",
    "last_path",
    "load_checkpoint",
    "load_weights",
    "read_checkpoint",
    "save_checkpoint",
]
