"""A door: LoRA is `gptlib.model.lora`."""

from gptlib.model.lora import *  # noqa: F403 - its __all__ is the list of what comes through
