"""A door: fine-tuning is `gptlib.training.finetuning`."""

from gptlib.training.finetuning import answer, answers, exact_match, finetune

__all__ = ["answer", "answers", "exact_match", "finetune"]
