"""A comparison of tokenizers: what each model gives and takes, a panel for each number."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from gptlib.plots.bars import plot_bars
from gptlib.plots.base import ORANGE, in_style, new_panels

SHARE, COUNT = "{:.0%}", "{:,.0f}"
PANELS = {  # column: (title, how its numbers are written)
    "bits_per_byte": ("bits per byte (less is better)", "{:.2f}"),
    "bleu": ("BLEU (more is better)", "{:.1f}"),
    "embedding_share": ("share of embeddings", SHARE),
    "context_bytes": ("context in bytes", COUNT),
    "training_bytes_per_second": ("training, bytes a second", COUNT),
    "characters_per_second": ("writing, characters a second", COUNT),
}


@in_style
def plot_tokenizers(rows: Sequence[Mapping[str, Any]], axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Six panels of bars, one for each tokenizer: the rows of `compare_tokenizers`, as dicts.

    What lost bytes are charged is the hatched end of a bar of bits. Raises ValueError where a row lacks a column.
    """
    wanted = ["tokenizer", "charged_bits_per_byte", *PANELS]
    for row in rows:
        if missing := [column for column in wanted if column not in row]:
            raise ValueError(f"The row {dict(row)} has no {missing[0]!r}; pass rows of a comparison.")
    if not rows:
        raise ValueError("There is no row to draw; pass at least one, of a comparison.")
    axes = new_panels(axes, len(PANELS), (10.4, 2 * (0.9 + 0.32 * len(rows))), columns=3)
    for ax, (column, (title, form)) in zip(axes, PANELS.items(), strict=True):
        plot_bars({row["tokenizer"]: row[column] for row in rows}, ax, title=title, form=form)
        ax.margins(x=0.3)
        ax.locator_params(axis="x", nbins=4)
        if form in (SHARE, COUNT):
            ax.xaxis.set_major_formatter(lambda value, _, form=form: form.format(value))
    charges = {place: row["charged_bits_per_byte"] for place, row in enumerate(rows) if row["charged_bits_per_byte"]}
    if charges:
        left = [rows[place]["bits_per_byte"] - charge for place, charge in charges.items()]
        style = {"height": 0.62, "color": ORANGE, "edgecolor": "white", "hatch": "//", "linewidth": 0}
        axes[0].barh(list(charges), list(charges.values()), left=left, label="charged for lost bytes", **style)
        axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left")
    return axes
