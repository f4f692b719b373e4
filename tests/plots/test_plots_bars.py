"""Bars are as long as what they stand for, and named; those of a vocabulary in the order of its tokens' numbers."""

import numpy as np
import pytest
import torch
from drawn import column_labels, differ, legend, lines, row_labels, title
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from gptlib.plots import (
    plot_bar_groups,
    plot_bars,
    plot_filters,
    plot_next_tokens,
    plot_parameter_shares,
    plot_running_sum,
    plot_token_counts,
    plot_vocabulary_growth,
)

WORDS = ["the", " door", "mill\n", "bread", "$"]
BEFORE = torch.tensor([0.15, 0.4, 0.1, 0.3, 0.05])
AFTER = torch.tensor([0.0, 4 / 7, 0.0, 3 / 7, 0.0])


def decode(ids):
    return WORDS[ids[0]]


def widths(container):
    return pytest.approx([bar.get_width() for bar in container], abs=1e-6)


def test_bars_are_as_long_as_their_values_the_first_on_top():
    ax = plot_bars({"one": torch.tensor(1.0), "half\n": 0.5}, form="{:.1f} s")
    assert [bar.get_width() for bar in ax.patches] == [1.0, 0.5]
    assert row_labels(ax) == ["one", "half\\n"]
    assert [text.get_text() for text in ax.texts] == ["1.0 s", "0.5 s"]
    assert ax.yaxis_inverted()


def test_bars_may_have_a_level():
    assert lines(plot_bars({"a": 1.0}, level=(0.7, "chance")))["chance"] == ([0.7, 0.7], [0, 1])


def test_the_line_of_a_level_passes_behind_the_numbers_and_no_number_hides_a_bar():
    ax = plot_bars({"short": 0.93, "long": 1.5}, level=(1.0, "chance"))
    [line] = ax.lines
    ax.figure.canvas.draw()
    crossed = line.get_window_extent()
    for bar, number in zip(ax.patches, ax.texts, strict=True):
        ground = number.get_bbox_patch()
        assert ground.get_facecolor() == ax.get_facecolor()
        assert number.get_zorder() > line.get_zorder()
        assert ground.get_window_extent().x0 >= bar.get_window_extent().x1
    box = ax.texts[0].get_window_extent()
    assert box.x0 < crossed.x0 < box.x1  # or this shows nothing


def test_groups_are_as_high_as_their_values_and_differ_by_more_than_colour():
    ax = plot_bar_groups({"soft": [0.5, 0.5], "sharp": torch.tensor([0.1, 0.9])}, ["x", "y"], ylabel="weight")
    soft, sharp = ax.containers
    assert [bar.get_height() for bar in soft] == [0.5, 0.5]
    assert [bar.get_height() for bar in sharp] == pytest.approx([0.1, 0.9])
    assert differ([soft[0].get_hatch(), sharp[0].get_hatch()])
    assert (column_labels(ax), legend(ax), ax.get_ylabel()) == (["x", "y"], ["soft", "sharp"], "weight")
    for left, right in zip(soft, sharp, strict=True):
        assert left.get_x() + left.get_width() <= right.get_x()  # side by side


def test_shares_are_those_of_each_models_own_total():
    ax = plot_parameter_shares({"small": {"tables": 60, "blocks": 40}, "large": {"tables": 10, "blocks": 990}})
    tables, blocks = ax.containers
    assert [bar.get_width() for bar in tables] == pytest.approx([0.6, 0.01])
    assert [bar.get_x() for bar in blocks] == pytest.approx([0.6, 0.01])
    assert [bar.get_width() for bar in blocks] == pytest.approx([0.4, 0.99])
    assert [text.get_text() for text in ax.texts] == ["60%", "40%", "99%"]  # the 1 % has no room for it


def test_shares_name_the_totals_and_the_parts():
    ax = plot_parameter_shares({"124M": {"tables": 24_000_000, "blocks": 100_400_000}})
    assert row_labels(ax) == ["124M\n124.4 M"]
    assert legend(ax.figure) == ["tables", "blocks"]


# of a vocabulary


@given(ids=st.lists(st.integers(0, 40), min_size=1, max_size=60), top=st.integers(1, 12))
@settings(max_examples=25)
def test_token_counts_are_those_of_the_commonest(ids, top):
    ax = plot_token_counts(ids, lambda some: chr(65 + some[0]), top=top)
    counts = sorted((ids.count(i) for i in set(ids)), reverse=True)
    assert [bar.get_width() for bar in ax.patches] == counts[:top]
    for bar, label in zip(ax.patches, row_labels(ax), strict=True):
        assert bar.get_width() == ids.count(ord(label) - 65)
    assert f"of {len(counts)} tokens" in title(ax)
    plt.close(ax.figure)


def test_growth_counts_what_is_new():
    ax = plot_vocabulary_growth({"letters": list("abab"), "words": [" a", " b"]})
    assert lines(ax) == {"letters: 2": ([0, 25, 50, 75, 100], [0, 1, 2, 2, 2]), "words: 2": ([0, 50, 100], [0, 1, 2])}
    assert ax.get_xlim() == (0, 100)


def test_next_tokens_are_drawn_from_the_likeliest_down():
    ax = plot_next_tokens(BEFORE, decode, top=3, title="so")
    assert row_labels(ax) == ["␣door", "bread", "the"]
    [bars] = ax.containers
    assert widths(bars) == [0.4, 0.3, 0.15]
    assert title(ax) == "so"
    assert ax.get_legend() is None
    assert ax.yaxis_inverted()


def test_next_tokens_after_a_filter_stand_in_the_order_before():
    ax = plot_next_tokens(AFTER, decode, BEFORE)
    assert row_labels(ax) == ["␣door", "bread", "the", "mill↵", "\\$"]
    after, before = ax.containers
    assert widths(after) == [4 / 7, 3 / 7, 0, 0, 0]
    assert widths(before) == [0.4, 0.3, 0.15, 0.1, 0.05]
    assert legend(ax) == ["after", "before"]


def test_filters_are_drawn_side_by_side_on_one_scale():
    axes = plot_filters({"top-k": (AFTER, BEFORE), "nothing": (BEFORE, BEFORE)}, decode, top=4)
    assert [title(ax) for ax in axes] == ["top-k", "nothing"]
    assert [len(row_labels(ax)) for ax in axes] == [4, 4]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert axes[0].get_xlim()[1] >= 4 / 7
    assert [ax.get_legend() is None for ax in axes] == [False, True]


@pytest.mark.parametrize(
    ("p", "kept"), [(0.8, [0.4, 0.3, 0.15]), (0.7, [0.4, 0.3]), (0.01, [0.4]), (1, [0.4, 0.3, 0.15, 0.1, 0.05])]
)
def test_running_sum_marks_what_is_kept(p, kept):
    ax = plot_running_sum(BEFORE, decode, p)
    bars = {container.get_label(): container for container in ax.containers}
    assert kept == widths(bars["kept"])
    assert [bar.get_x() for bar in bars["kept"]] == pytest.approx(np.cumsum([0, *kept[:-1]]), abs=1e-6)
    assert len(bars.get("removed", [])) == 5 - len(kept)
    assert lines(ax)[f"p = {p:g}"] == ([p, p], [0, 1])
