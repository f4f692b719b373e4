"""GPT-2: its configuration, attention, the whole model, and LoRA. Start reading at attention.py, then gpt.py."""

from gptlib.model.config import GPT2_CONFIGS, GPT_CONFIG_124M, GPT_CONFIG_SMALL, GPTConfig
from gptlib.model.gpt import GELU, FeedForward, GPTModel, LayerNorm, SinusoidalPositions, TransformerBlock, eval_mode
from gptlib.model.wrapping import unwrap

__all__ = [
    "GELU",
    "GPT2_CONFIGS",
    "GPT_CONFIG_124M",
    "GPT_CONFIG_SMALL",
    "FeedForward",
    "GPTConfig",
    "GPTModel",
    "LayerNorm",
    "SinusoidalPositions",
    "TransformerBlock",
    "eval_mode",
    "unwrap",
]
