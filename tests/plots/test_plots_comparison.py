"""A panel for each number of a comparison, and the charge for lost bytes at the end of the bar that it is a part of."""

import pytest
from drawn import legend, row_labels, title

from gptlib.plots import plot_tokenizers

LOSSLESS = {
    "tokenizer": "bpe",
    "bits_per_byte": 2.0,
    "charged_bits_per_byte": 0.0,
    "bleu": 1.5,
    "embedding_share": 0.25,
    "context_bytes": 400.0,
    "training_bytes_per_second": 30_000.0,
    "characters_per_second": 9000.0,
}
LOSSY = LOSSLESS | {"tokenizer": "word", "bits_per_byte": 2.5, "charged_bits_per_byte": 0.75}


def test_every_panel_has_a_bar_for_every_tokenizer_as_long_as_its_number():
    axes = plot_tokenizers([LOSSLESS, LOSSY | {"bleu": 0.5}])
    assert all(row_labels(ax) == ["bpe", "word"] for ax in axes)
    assert [[bar.get_width() for bar in ax.containers[0]] for ax in axes] == [
        [2.0, 2.5],
        [1.5, 0.5],
        [0.25, 0.25],
        [400, 400],
        [30_000, 30_000],
        [9000, 9000],
    ]
    assert [text.get_text() for text in axes[2].texts] == ["25%", "25%"]
    assert "less is better" in title(axes[0])
    assert "more is better" in title(axes[1])


def test_a_charge_is_the_end_of_its_own_bar_and_named():
    bits, *others = plot_tokenizers([LOSSLESS, LOSSY])
    [charged] = bits.containers[1]
    assert (charged.get_x(), charged.get_width()) == pytest.approx((1.75, 0.75))
    assert charged.get_y() == pytest.approx(bits.containers[0][1].get_y())
    assert charged.get_hatch()
    assert legend(bits.figure) == ["charged for lost bytes"]
    assert all(len(ax.containers) == 1 for ax in others)


def test_where_nothing_is_lost_nothing_is_charged():
    axes = plot_tokenizers([LOSSLESS])
    assert len(axes[0].containers) == 1
    assert not axes[0].figure.legends
