"""Which tokenizer serves a small model best? For each one a model of the same size, taught by the same text.

The models have the same depth, recipe and seed, and read the same characters equally often. They are as wide as the
budget lets them be, since a large vocabulary takes its share of it; their contexts are equal in tokens and so differ in
bytes. What they say of the held-out text is compared in bits per byte, where what `<|unk|>` loses is charged.
Start at comparing.py.
"""

from gptlib.comparison.budget import ComparisonConfig, shape_for
from gptlib.comparison.comparing import TOKENIZERS, compare_tokenizers, split_each
from gptlib.comparison.report import ComparisonRow, finished_rows

__all__ = [
    "TOKENIZERS",
    "ComparisonConfig",
    "ComparisonRow",
    "compare_tokenizers",
    "finished_rows",
    "shape_for",
    "split_each",
]
