"""A door: attention is `gptlib.model.attention`."""

from gptlib.model.attention import KVCache, MultiHeadAttention, attend, attention_mask

__all__ = ["KVCache", "MultiHeadAttention", "attend", "attention_mask"]
