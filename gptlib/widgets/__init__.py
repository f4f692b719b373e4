"""Four explorers for the chapters: each is one call, and the last line of its cell. Start reading at base.py."""

from gptlib.widgets.attention import explore_attention
from gptlib.widgets.merges import step_merges
from gptlib.widgets.sampling import explore_sampling
from gptlib.widgets.tokens import explore_tokens

__all__ = ["explore_attention", "explore_sampling", "explore_tokens", "step_merges"]
