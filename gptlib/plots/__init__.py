"""Figures of one style, a module for each topic; every function takes Axes (or makes them) and returns them.

`plot_lines`, `plot_bars` and `plot_matrix` are general, and have siblings for panels or groups; the others draw one
particular thing. `base` holds the style, `checks` what arguments must be, `labels` how tokens are written.
"""

# ruff: noqa: F401 - what is imported here is what the package gives

from gptlib.plots.attention import plot_attention, plot_computed_keys, plot_heads, plot_masks, plot_split
from gptlib.plots.bars import plot_bar_groups, plot_bars, plot_parameter_shares
from gptlib.plots.base import save_figure
from gptlib.plots.batches import plot_batches, plot_targets
from gptlib.plots.cells import plot_broadcasting, plot_tensor, plot_token_rows
from gptlib.plots.comparison import plot_tokenizers
from gptlib.plots.descent import plot_agreement, plot_clipping, plot_descent, plot_fit, plot_paths
from gptlib.plots.judging import plot_token_costs
from gptlib.plots.lines import plot_line_panels, plot_lines
from gptlib.plots.losses import LiveLosses, plot_learning_rate, plot_loss_curves, plot_losses, plot_sweep
from gptlib.plots.matrices import plot_lookup, plot_matrices, plot_matrix
from gptlib.plots.speed import plot_rates, plot_roofline, plot_time_shares
from gptlib.plots.tokens import plot_tokens
from gptlib.plots.vocabulary import (
    plot_filters,
    plot_next_tokens,
    plot_running_sum,
    plot_token_counts,
    plot_vocabulary_growth,
)
from gptlib.plots.windows import plot_batch_order, plot_parts, plot_windows

__all__ = ["LiveLosses", "save_figure", *(name for name in dir() if name.startswith("plot_"))]
