"""Heat maps show the numbers that they are given, in colours and in writing; masks and heads are where they belong."""

import numpy as np
import pytest
import torch
from drawn import cells, column_labels, contrast, legend, luminance, numbers, row_labels, title
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import colors
from matplotlib import pyplot as plt

from gptlib.attention import attention_mask
from gptlib.plots import (
    plot_attention,
    plot_computed_keys,
    plot_heads,
    plot_lookup,
    plot_masks,
    plot_matrices,
    plot_matrix,
    plot_split,
)
from gptlib.plots.base import PALE

CAUSAL = torch.ones(3, 3).tril() / torch.arange(1, 4)[:, None]
TABLE = torch.tensor([[0.5, -1.0], [2.0, 0.0], [-2.0, 1.5]], requires_grad=True)


def test_a_matrix_is_drawn_as_it_is_with_zero_white():
    ax = plot_matrix(TABLE, ["a 0", "b", "c"], title="T")
    image = ax.images[0]
    np.testing.assert_allclose(image.get_array(), TABLE.detach())
    assert luminance(image.cmap(image.norm(0.0))) > 0.9
    red, _, blue = image.cmap(image.norm(2.0))[:3]
    assert blue > red
    assert (title(ax), row_labels(ax), numbers(ax)) == ("T", ["a 0", "b", "c"], {})


def test_without_anything_below_zero_more_is_darker():
    image = plot_matrix([[0.0, 0.5, 1.0]]).images[0]
    assert image.get_clim() == (0, 1)
    light, middle, dark = (luminance(image.cmap(image.norm(value))) for value in (0.0, 0.5, 1.0))
    assert light > middle + 0.3 > dark + 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_a_matrix_of_any_type_can_be_drawn(dtype):
    np.testing.assert_array_equal(plot_matrix(torch.eye(3).to(dtype)).images[0].get_array(), np.eye(3))


def test_rows_are_positions_and_columns_channels_unless_they_have_labels_or_names():
    ax = plot_matrix(TABLE)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("channel", "position")
    ax = plot_matrix(TABLE, list("abc"), ["x", "y"])
    assert (ax.get_xlabel(), ax.get_ylabel(), column_labels(ax)) == ("", "", ["x", "y"])
    ax = plot_matrix(TABLE, list("abc"), xlabel="token", ylabel="")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("token", "")


def test_numbers_are_written_into_their_cells_in_place_of_a_colour_bar():
    ax = plot_matrix([[0.5, -1.0, 0.001], [12.34, 0.0, -0.987]], numbers=True)
    assert numbers(ax) == {
        (0, 0): "0.50", (0, 1): "−1", (0, 2): "0.00",
        (1, 0): "12.3", (1, 1): "0", (1, 2): "−0.99",
    }  # fmt: skip
    assert [len(plot_matrix(TABLE, numbers=n).figure.axes) for n in (True, False)] == [1, 2]


def test_frames_stand_round_the_columns_named():
    frames = plot_matrix([[0.9, 0.1], [0.25, 0.75]], numbers=True, framed=torch.tensor([0, 1])).patches
    middles = [(frame.get_x() + frame.get_width() / 2, frame.get_y() + frame.get_height() / 2) for frame in frames]
    assert np.allclose(middles, [(0, 0), (1, 1)])


@given(values=arrays(np.float64, (3, 4), elements=st.floats(-2, 2)))
@settings(max_examples=25)
def test_each_number_can_be_read_on_its_cell(values):
    ax = plot_matrix(values, numbers=True)
    image = ax.images[0]
    for text in ax.texts:
        column, row = map(round, text.get_position())
        assert contrast(text.get_color(), image.cmap(image.norm(values[row, column]))) >= 4.5
    plt.close(ax.figure)


def test_several_matrices_have_one_scale_and_their_titles():
    axes = plot_matrices({"all": CAUSAL, "half": -CAUSAL / 2}, list("abc"), xlabel="head", ylabel="layer")
    assert [title(ax) for ax in axes] == ["all", "half"]
    assert [ax.images[0].get_clim() for ax in axes] == [(-1, 1), (-1, 1)]
    np.testing.assert_allclose(axes[1].images[0].get_array(), -CAUSAL / 2)
    assert numbers(axes[1])[2, 0] == "−0.17"
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in axes] == [("head", "layer"), ("head", "")]
    assert row_labels(axes[1]) == ["a", "b", "c"]


def test_numbers_of_rows_and_columns_are_whole():
    ax = plot_matrix(CAUSAL)
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [0, 1, 2]


def test_a_lookup_shows_the_table_and_the_rows_in_the_order_of_the_ids():
    ax = plot_lookup(torch.tensor([2, 0, 2]), TABLE)
    table, rows = (image.get_array() for image in ax.images)
    np.testing.assert_allclose(table, TABLE.detach())
    np.testing.assert_allclose(rows, TABLE.detach()[[2, 0, 2]])
    assert ax.images[0].get_clim() == ax.images[1].get_clim()
    arrows = [(text.xyann[1], text.xy[1]) for text in ax.texts if getattr(text, "arrowprops", None)]
    assert arrows == [(2, 0), (0, 1), (2, 2)]  # from the table's row to the place it is wanted at
    ids = [text.get_text() for text in ax.texts if 2 < text.get_position()[0] < 4 and text.get_text()]
    assert ids == ["2", "0", "2"]


# attention


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_is_drawn_as_it_is_with_tokens_at_both_axes(dtype):
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]], dtype=dtype, requires_grad=True)
    [ax] = plot_attention({"head 1": weights}, ["The", " owl", "\n"])
    np.testing.assert_allclose(ax.images[0].get_array(), weights.detach().float())
    assert row_labels(ax) == column_labels(ax) == ["The", "␣owl", "↵"]
    assert (ax.get_xlabel(), ax.get_ylabel(), title(ax)) == ("looked at (key)", "looking (query)", "head 1")
    assert numbers(ax)[2, 0] == "0.25"


def test_with_a_cache_the_looking_positions_are_the_last_tokens():
    [ax] = plot_attention({"": np.ones((1, 3)) / 3}, ["a", "b", "c"])
    assert (row_labels(ax), column_labels(ax)) == (["c"], ["a", "b", "c"])


def test_many_tokens_may_go_without_numbers_and_take_less_room():
    with_numbers, without = (plot_attention({"": np.eye(9)}, numbers=n)[0] for n in (True, False))
    assert (len(numbers(with_numbers)), len(numbers(without))) == (81, 0)
    assert without.figure.get_figwidth() < with_numbers.figure.get_figwidth()


def test_the_grid_has_a_map_for_every_head_of_every_layer():
    attention = torch.rand(2, 3, 4, 4)
    axes = plot_heads(list(attention))
    assert axes.shape == (2, 3)
    for place, ax in np.ndenumerate(axes):
        np.testing.assert_allclose(ax.images[0].get_array(), attention[place])
        assert ax.images[0].get_clim() == pytest.approx((0, float(attention[place].max())))
    assert [ax.get_title() for ax in axes[0]] == ["head 0", "head 1", "head 2"]
    assert [row[0].get_ylabel() for row in axes] == ["layer 0", "layer 1"]


def test_masks_have_a_dot_wherever_one_may_look():
    right, left = attention_mask(4, 4), attention_mask(4, 4, torch.tensor([2]))[0, 0]
    axes = plot_masks({"right": (right, [" a", "b", "-", "-"]), "left": (left, ["-", "-", "a", "b"])})
    for ax, mask in zip(axes, (right, left), strict=True):
        dots = next(drawn for drawn in ax.collections if len(drawn.get_offsets()) == mask.sum())
        assert {tuple(map(int, dot)) for dot in dots.get_offsets()} == {(x, y) for y, x in mask.nonzero().tolist()}
        np.testing.assert_array_equal(ax.images[0].get_array(), mask)
    assert row_labels(axes[0]) == ["␣a", "b", "-", "-"]
    assert [title(ax) for ax in axes] == ["right", "left"]


def test_cells_say_which_head_they_go_to():
    axes = plot_split(
        {"right": torch.arange(12).view(3, 2, 2).transpose(0, 1), "wrong": torch.arange(12).view(2, 3, 2)}
    )
    heads = ([0, 0, 1, 1] * 3, [0] * 6 + [1] * 6)
    for ax, owners in zip(axes, heads, strict=True):
        expected = {
            (i % 4, i // 4): (f"{i}\nhead {head}", colors.to_hex(PALE[head]).upper()) for i, head in enumerate(owners)
        }
        assert cells(ax) == expected


def test_computed_keys_are_counted():
    without, with_cache = plot_computed_keys(prompt=3, new=4)
    assert title(without) == "without a cache: 18 computed"
    assert title(with_cache) == "with a cache: 6 computed"
    assert len(cells(without)) == len(cells(with_cache)) == 18
    assert sum(not patch.get_hatch() for patch in with_cache.patches) == 6
    assert legend(without.figure) == ["computed", "kept"]
