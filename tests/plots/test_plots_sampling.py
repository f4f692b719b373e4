"""Figures of decoding: what is drawn, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from training_helpers import assert_helpful

from gptlib.plots import (
    plot_computed_keys,
    plot_entropy,
    plot_filters,
    plot_generation_speed,
    plot_next_tokens,
    plot_repetition,
    plot_running_sum,
    plot_token_grid,
    plot_token_probabilities,
)
from gptlib.plots.sampling import token_label

WORDS = ["the", " door", "mill\n", "bread", "$"]
BEFORE = torch.tensor([0.15, 0.4, 0.1, 0.3, 0.05])
AFTER = torch.tensor([0.0, 4 / 7, 0.0, 3 / 7, 0.0])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def decode(ids):
    return WORDS[ids[0]]


def labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def widths(container):
    return pytest.approx([bar.get_width() for bar in container], abs=1e-6)


def lines(ax):
    return {line.get_label(): [float(y) for y in line.get_ydata()] for line in ax.lines}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("text", "label"),
    [(" door", "␣door"), ("mill\n", "mill\\n"), ("$5", r"\$5"), ("extraordinarily", "extraordina…"), ("�", "�")],
)
def test_a_label_shows_spaces_and_line_ends_and_is_short(text, label):
    assert token_label(text) == label


def test_next_tokens_are_drawn_from_the_likeliest_down():
    ax = plot_next_tokens(BEFORE, decode, top=3, title="so")
    assert labels(ax) == ["␣door", "bread", "the"]
    [bars] = ax.containers
    assert widths(bars) == [0.4, 0.3, 0.15]
    assert ax.get_title(loc="left") == "so"
    assert ax.get_legend() is None
    assert ax.yaxis_inverted()


def test_next_tokens_after_a_filter_stand_in_the_order_before():
    ax = plot_next_tokens(AFTER, decode, BEFORE)
    assert labels(ax) == ["␣door", "bread", "the", "mill\\n", "\\$"]
    after, before = ax.containers
    assert widths(after) == [4 / 7, 3 / 7, 0, 0, 0]
    assert widths(before) == [0.4, 0.3, 0.15, 0.1, 0.05]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["after", "before"]


def test_filters_are_drawn_side_by_side_on_one_scale():
    axes = plot_filters({"top-k": (AFTER, BEFORE), "nothing": (BEFORE, BEFORE)}, decode, top=4)
    assert [ax.get_title(loc="left") for ax in axes] == ["top-k", "nothing"]
    assert [len(labels(ax)) for ax in axes] == [4, 4]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert [ax.get_legend() is None for ax in axes] == [False, True]
    assert plot_filters({"again": (AFTER, BEFORE)}, decode, axes=axes[:1])[0] is axes[0]


@pytest.mark.parametrize(
    ("p", "kept"), [(0.8, [0.4, 0.3, 0.15]), (0.7, [0.4, 0.3]), (0.01, [0.4]), (1, [0.4, 0.3, 0.15, 0.1, 0.05])]
)
def test_running_sum_marks_what_is_kept(p, kept):
    ax = plot_running_sum(BEFORE, decode, p)
    bars = {container.get_label(): container for container in ax.containers}
    assert kept == widths(bars["kept"])
    assert [bar.get_x() for bar in bars["kept"]] == pytest.approx(np.cumsum([0, *kept[:-1]]), abs=1e-6)
    assert len(bars.get("removed", [])) == 5 - len(kept)
    assert lines(ax)[f"p = {p:g}"] == [0, 1]


def test_entropy_is_drawn_below_its_ceiling():
    drawn = lines(plot_entropy([0, 1], {"sure": [0, 0.5], "unsure": [0.0, 3.0]}, highest=4.0))
    assert drawn == {"sure": [0, 0.5], "unsure": [0, 3], "all tokens equally likely": [4, 4]}


def test_curves_differ_in_dash_and_marker_too():
    ax = plot_entropy([0, 1], {name: [0, 1] for name in "abcd"}, highest=4.0)
    assert len({(line.get_linestyle(), line.get_marker()) for line in ax.lines[:4]}) == 4


def test_repetition_has_a_line_across_for_the_tales():
    ax = plot_repetition([0, 0.5, 1], {"n = 1": [0.2, 0.5, 0.7], "n = 2": [0.3, 0.8, 0.9]}, {"n = 2": 0.85})
    drawn = [[float(y) for y in line.get_ydata()] for line in ax.lines]
    assert drawn[:3] == [[0.2, 0.5, 0.7], [0.3, 0.8, 0.9], [0.85, 0.85]]
    assert ax.lines[2].get_color() == ax.lines[1].get_color()
    assert "thin lines: the tales" in lines(ax)
    assert set(lines(plot_repetition([0, 1], {"n = 1": [0.2, 0.5]}))) == {"n = 1"}


def test_token_probabilities_are_drawn_text_by_text():
    ax = plot_token_probabilities({"greedy": [0.5, 0.9], "tales": np.array([0.001, 0.3, 0.2])})
    assert lines(ax) == {"greedy": [0.5, 0.9], "tales": [0.001, 0.3, 0.2]}
    assert ax.get_yscale() == "log"


def test_computed_keys_counts_them():
    without, with_cache = plot_computed_keys(prompt=3, new=4)
    assert without.get_title(loc="left") == "without a cache: 18 computed"
    assert with_cache.get_title(loc="left") == "with a cache: 6 computed"
    assert len(without.patches) == len(with_cache.patches) == 18
    assert sum(patch.get_hatch() is None for patch in with_cache.patches) == 6
    assert legend(without.figure) == ["computed", "kept"]


def test_generation_speed_names_the_lengths():
    ax = plot_generation_speed([16, 32, 64], {"with": [3.0, 3, 3], "without": [3.0, 2, 1]})
    assert lines(ax) == {"with": [3, 3, 3], "without": [3, 2, 1]}
    assert [label.get_text() for label in ax.get_xticklabels()] == ["16", "32", "64"]
    assert ax.get_ylim()[0] == 0


def test_token_grid_shows_each_token_by_its_kind():
    rows = [["The", " door", "."], ["?", "Hm", "."]]
    kinds = [["prompt", "new", "end"], ["padding", "prompt", "after"]]
    ax = plot_token_grid(rows, kinds, notes=[[0, 1, 2], [0, 0, 1]], names=["a", "b"])
    assert labels(ax) == ["a", "b"]
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["The", "0", "␣door", "1", ".", "2", "", "0", "Hm", "0", "", "1"]
    assert legend(ax.figure) == ["prompt", "new", "padding", "end", "filled up"]
    assert len(ax.patches) == 6


def test_token_grid_of_rows_of_unequal_lengths_has_names_of_its_own():
    ax = plot_token_grid([["a"], ["b", "c"]], [["new"], ["new", "new"]])
    assert labels(ax) == ["row 0", "row 1"]
    assert ax.get_xlim()[1] > 1


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plot_next_tokens(torch.randn(5), decode), "distribution"),
        (lambda: plot_next_tokens(BEFORE[None], decode), "one row"),
        (lambda: plot_next_tokens(BEFORE, decode, torch.tensor([0.5, 0.5])), "vocabulary"),
        (lambda: plot_next_tokens(BEFORE, decode, top=0), "top"),
        (lambda: plot_filters({}, decode), "nothing to draw"),
        (lambda: plot_filters({"a": (AFTER, 2 * BEFORE)}, decode), "before"),
        (lambda: plot_running_sum(BEFORE, decode, p=1.5), "p=1.5"),
        (lambda: plot_entropy([0, 1], {}, highest=4.0), "no curve"),
        (lambda: plot_entropy([0, 1], {"a": [1]}, highest=4.0), "'a' has 1 values for 2"),
        (lambda: plot_repetition([0, 1], {"n = 1": [0, 1]}, {"n = 2": 1}), "'n = 2'"),
        (lambda: plot_token_probabilities({"a": [0.5, 1.5]}), "'a'"),
        (lambda: plot_computed_keys(0, 4), "prompt"),
        (lambda: plot_token_grid([["a"]], [["new", "new"]]), "kind"),
        (lambda: plot_token_grid([["a"]], [["other"]]), "'other'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_there_is_a_figure(draw, words):
    with pytest.raises(ValueError, match=r".") as error:
        draw()
    assert_helpful(error, words)
    assert plt.get_fignums() == []
