"""Figures of the chapter on attention: what they draw, that one can read it, and what they refuse."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import colors

from gptlib.plots import (
    plot_attention,
    plot_attentions,
    plot_growth,
    plot_head_scores,
    plot_heads,
    plot_sharpness,
    plot_split,
)

CAUSAL = torch.ones(3, 3).tril() / torch.arange(1, 4)[:, None]
SPLIT = {
    "right": torch.arange(12).view(3, 2, 2).transpose(0, 1),
    "wrong": torch.arange(12).view(2, 3, 2),
}
CURVES = {"one": {"a": [1.0, 4.0, 16.0], "b": [1.0, 2.0, 4.0]}, "two": {"a": [0.1, 0.2, 0.3], "b": [3.0, 2.0, 1.0]}}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts_in(ax):
    """{(row, column): (text, its colour)} of a heat map."""
    places = {(round(t.get_position()[1]), round(t.get_position()[0])): t for t in ax.texts}
    return {place: (t.get_text(), t.get_color()) for place, t in places.items()}


def luminance(color):
    """WCAG 2: relative luminance of an sRGB colour."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(color)]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


# heat maps


def test_numbers_are_written_into_the_cells_when_asked():
    written = texts_in(plot_attention(CAUSAL, list("abc"), numbers=True))
    assert {place: text for place, (text, _) in written.items()} == {
        (0, 0): "1.00", (0, 1): "0", (0, 2): "0",
        (1, 0): "0.50", (1, 1): "0.50", (1, 2): "0",
        (2, 0): "0.33", (2, 1): "0.33", (2, 2): "0.33",
    }  # fmt: skip
    assert texts_in(plot_attention(CAUSAL, list("abc"))) == {}


@given(weights=arrays(np.float64, (3, 4), elements=st.floats(0, 2)))
@settings(max_examples=25)
def test_each_number_can_be_read_on_its_cell(weights):
    ax = plot_attentions({"": weights})[0]
    image = ax.images[0]
    for (i, j), (_, color) in texts_in(ax).items():
        assert contrast(color, image.cmap(image.norm(weights[i, j]))) >= 4.4
    plt.close(ax.figure)


def test_several_heat_maps_have_one_scale_and_their_titles():
    axes = plot_attentions({"all": CAUSAL, "half": CAUSAL / 2}, list("abc"))
    assert [ax.get_title(loc="left") for ax in axes] == ["all", "half"]
    assert [ax.images[0].get_clim() for ax in axes] == [(0, 1), (0, 1)]
    np.testing.assert_allclose(axes[1].images[0].get_array(), CAUSAL / 2)
    assert [label.get_text() for label in axes[1].get_yticklabels()] == ["a", "b", "c"]


def test_many_tokens_may_go_without_numbers_and_take_less_room():
    with_numbers, without = (plot_attentions({"": np.eye(9)}, numbers=n)[0] for n in (True, False))
    assert len(texts_in(with_numbers)) == 81
    assert texts_in(without) == {}
    assert without.figure.get_figwidth() < with_numbers.figure.get_figwidth()


def test_without_tokens_positions_are_whole_numbers():
    ax = plot_attentions({"": CAUSAL})[0]
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [0, 1, 2]


def test_the_grid_has_a_map_for_every_head_of_every_layer():
    attention = torch.rand(2, 3, 4, 4)
    axes = plot_heads(list(attention))
    assert axes.shape == (2, 3)
    for place, ax in np.ndenumerate(axes):
        np.testing.assert_allclose(ax.images[0].get_array(), attention[place])
        assert ax.images[0].get_clim() == pytest.approx((0, float(attention[place].max())))
    assert [ax.get_title() for ax in axes[0]] == ["head 0", "head 1", "head 2"]
    assert [row[0].get_ylabel() for row in axes] == ["layer 0", "layer 1"]


def test_a_number_for_each_head():
    axes = plot_head_scores({"before": torch.tensor([[0.1, 0.9]]), "first": torch.tensor([[0.2, 0.0]])})
    assert [{text for text, _ in texts_in(ax).values()} for ax in axes] == [{"0.10", "0.90"}, {"0.20", "0"}]
    assert axes[0].images[0].get_clim() == axes[1].images[0].get_clim()
    assert (axes[0].get_xlabel(), axes[0].get_ylabel()) == ("head", "layer")


# bars, curves and cells


def test_bars_are_as_high_as_the_weights_and_differ_by_more_than_colour():
    ax = plot_sharpness({"soft": [0.5, 0.5], "sharp": torch.tensor([0.1, 0.9])}, ["x", "y"])
    soft, sharp = ax.containers
    assert [bar.get_height() for bar in soft] == [0.5, 0.5]
    assert [bar.get_height() for bar in sharp] == pytest.approx([0.1, 0.9])
    assert soft[0].get_hatch() != sharp[0].get_hatch()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y"]
    for left, right in zip(soft, sharp, strict=True):
        assert left.get_x() + left.get_width() <= right.get_x()  # side by side


def test_curves_are_drawn_with_the_power_that_guides_the_eye():
    axes = plot_growth([1, 2, 4], CURVES, xlabel="T", guide=2)
    assert [ax.get_title(loc="left") for ax in axes] == ["one", "two"]
    for ax, curves in zip(axes, CURVES.values(), strict=True):
        a, b, guide = ax.lines
        assert list(a.get_ydata()) == curves["a"]
        assert list(b.get_ydata()) == curves["b"]
        assert list(guide.get_ydata()) == pytest.approx([curves["a"][-1] / 16, curves["a"][-1] / 4, curves["a"][-1]])
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        looks = [(line.get_linestyle(), line.get_marker()) for line in (a, b)]
        assert looks[0][0] != looks[1][0]
        assert looks[0][1] != looks[1][1]
    assert len(plot_growth([1, 2, 4], CURVES)[0].lines) == 2


@pytest.mark.parametrize("top", [0.3, 5.0, 400.0, 5e5])
def test_a_logarithmic_axis_has_labels_to_read_it_by(top):
    [ax] = plot_growth([1, 2], {"": {"a": [0.1, top]}})
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    shown = [label.get_text() for label in ax.get_yticklabels() if low <= label.get_position()[1] <= high]
    assert 2 <= len(shown) <= 12
    assert all(float(text) for text in shown)


def test_cells_say_which_head_they_go_to():
    right, wrong = plot_split(SPLIT)
    assert texts_in(right)[1, 2][0] == "6\nhead 1"
    assert texts_in(wrong)[1, 1][0] == "5\nhead 0"
    assert right.images[0].get_array().tolist() == [[0, 0, 1, 1]] * 3
    assert wrong.images[0].get_array().tolist() == [[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]


FIGURES = {
    "attentions": (lambda axes=None: plot_attentions({"a": CAUSAL, "b": CAUSAL}, list("abc"), axes), 2),
    "head scores": (lambda axes=None: plot_head_scores({"a": CAUSAL, "b": CAUSAL}, axes), 2),
    "growth": (lambda axes=None: plot_growth([1, 2, 4], CURVES, axes, "T", 2), 2),
    "split": (lambda axes=None: plot_split(SPLIT, axes), 2),
    "sharpness": (lambda axes=None: [plot_sharpness({"a": [0.5, 0.5]}, "xy", axes and axes[0])], 1),
    "heads": (lambda axes=None: plot_heads([np.ones((2, 3, 3))], axes and np.array([axes])).ravel(), 2),
}


@pytest.mark.parametrize(("draw", "count"), FIGURES.values(), ids=FIGURES)
def test_they_draw_into_the_axes_they_are_given_in_a_style_of_their_own(draw, count):
    before = dict(matplotlib.rcParams)
    given_axes = list(plt.subplots(1, count, squeeze=False)[1][0])
    assert list(draw(given_axes)) == given_axes
    assert all(ax.has_data() for ax in given_axes)
    n = len(plt.get_fignums())
    made = draw()
    assert len(plt.get_fignums()) == n + 1
    assert len(made) == count
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("draw", "count"), FIGURES.values(), ids=FIGURES)
def test_no_text_is_too_small(draw, count):
    figure = draw()[0].figure
    figure.canvas.draw()
    shown = [text for text in figure.findobj(matplotlib.text.Text) if text.get_visible() and text.get_text().strip()]
    assert shown
    assert min(text.get_fontsize() for text in shown) >= 8


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plot_attentions({"a": np.ones(3)}), "the shape (3,)"),
        (lambda: plot_attentions({}), "nothing to draw"),
        (lambda: plot_attentions({"a": CAUSAL}, ["x"]), "1 tokens for weights of shape (3, 3)"),
        (lambda: plot_attentions({"a": CAUSAL}, axes=[]), "0 Axes for 1 panels"),
        (lambda: plot_heads([]), "heads, queries, keys"),
        (lambda: plot_heads([np.ones((3, 3))]), "(3, 3)"),
        (lambda: plot_heads([np.ones((2, 3, 3)), np.ones((1, 3, 3))]), "all alike"),
        (lambda: plot_head_scores({"a": [1.0, 2.0]}), "the shape (2,)"),
        (lambda: plot_head_scores({}), "nothing to draw"),
        (lambda: plot_sharpness({"a": [1.0]}, ["x", "y"]), "each of the 2 labels"),
        (lambda: plot_growth([1, 2], {"": {"a": [1.0]}}), "'a' needs a positive value for each of the 2"),
        (lambda: plot_growth([1, 2], {"": {"a": [1.0, 0.0]}}), "'a' needs a positive value"),
        (lambda: plot_growth([1, 2], {}), "nothing to draw"),
        (lambda: plot_split({"a": np.ones((2, 3, 2))}), "made of 0, 1, 2"),
        (lambda: plot_split({"a": np.arange(6)}), "the shape (6,)"),
        (lambda: plot_split({}), "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(draw, words):
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$") as error:
        draw()
    assert words in str(error.value)
    assert "\n" not in str(error.value)
