"""Four explorers for the chapters: each is one call, and the last line of its cell. Start reading at base.py."""

from gptlib.widgets.attention import AttentionExplorer
from gptlib.widgets.merges import MergeStepper
from gptlib.widgets.sampling import SamplingExplorer
from gptlib.widgets.tokens import TokenExplorer

__all__ = ["explore_attention", "explore_sampling", "explore_tokens", "step_merges"]

explore_attention, explore_sampling, explore_tokens = AttentionExplorer, SamplingExplorer, TokenExplorer
step_merges = MergeStepper
