"""A door: LoRA is `gptlib.model.lora`."""

from gptlib.model.lora import (
    TARGETS,
    Adapter,
    LoRAConfig,
    LoRALinear,
    active_adapter,
    adapters_of,
    add_lora,
    is_merged,
    lora_state,
    merge,
    merged_copy,
    rebuild_lora,
    remove_lora,
    switch,
    trainable_parameters,
    unmerge,
)

__all__ = [
    "TARGETS",
    "Adapter",
    "LoRAConfig",
    "LoRALinear",
    "active_adapter",
    "adapters_of",
    "add_lora",
    "is_merged",
    "lora_state",
    "merge",
    "merged_copy",
    "rebuild_lora",
    "remove_lora",
    "switch",
    "trainable_parameters",
    "unmerge",
]
