"""Figures of vectors: the values drawn, the rows looked up, the numbers that can be read."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib import colors
from training_helpers import assert_helpful

from gptlib.plots import plot_lookup, plot_vectors, plot_waves, save_figure


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


TABLE = torch.tensor([[0.5, -1.0], [2.0, 0.0], [-2.0, 1.5]], requires_grad=True)


def written(ax):
    return {text.get_position(): text.get_text() for text in ax.texts if text.get_text()}


def test_vectors_are_drawn_as_they_are_with_zero_white():
    ax = plot_vectors(TABLE, row_labels=["a 0", "b", "c"])
    image = ax.images[0]
    np.testing.assert_allclose(image.get_array(), TABLE.detach())
    assert colors.to_hex(image.cmap(image.norm(0.0))) in ("#f7f7f7", "#f6f7f7")
    red, _, blue = image.cmap(image.norm(2.0))[:3]
    assert blue > red
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a 0", "b", "c"]
    assert not written(ax)


def test_numbers_are_written_into_their_cells():
    ax = plot_vectors(TABLE, numbers=True)
    assert written(ax) == {(0, 0): "0.5", (1, 0): "-1", (0, 1): "2", (1, 1): "0", (0, 2): "-2", (1, 2): "1.5"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64])
def test_vectors_of_any_type_can_be_drawn(dtype):
    ax = plot_vectors(torch.eye(3).to(dtype))
    np.testing.assert_array_equal(ax.images[0].get_array(), np.eye(3))


def test_a_lookup_shows_the_table_and_the_rows_in_the_order_of_the_ids():
    ax = plot_lookup(torch.tensor([2, 0, 2]), TABLE)
    table, rows = (image.get_array() for image in ax.images)
    np.testing.assert_allclose(table, TABLE.detach())
    np.testing.assert_allclose(rows, TABLE.detach()[[2, 0, 2]])
    arrows = [(text.xyann[1], text.xy[1]) for text in ax.texts if getattr(text, "arrowprops", None)]
    assert arrows == [(2, 0), (0, 1), (2, 2)]  # from the table's row to the place it is wanted at
    ids = [text for (x, _), text in written(ax).items() if 2 < x < 4]
    assert ids == ["2", "0", "2"]


def test_waves_are_the_columns_and_differ_in_dash():
    table = np.arange(12.0).reshape(4, 3)
    ax = plot_waves(table, [0, 2])
    for line, channel in zip(ax.lines, (0, 2), strict=True):
        assert line.get_label() == f"channel {channel}"
        np.testing.assert_array_equal(line.get_ydata(), table[:, channel])
    assert len({line.get_linestyle() for line in ax.lines}) == 2


FIGURES = {
    "vectors": lambda ax=None: plot_vectors(TABLE, ax, numbers=True),
    "lookup": lambda ax=None: plot_lookup([1, 0], TABLE, ax),
    "waves": lambda ax=None: plot_waves(TABLE, [1], ax),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_it_draws_into_the_axes_it_is_given_or_into_new_ones(draw, tmp_path):
    _, (left, right) = plt.subplots(1, 2)
    assert draw(right) is right
    assert right.has_data()
    assert not left.has_data()
    before = plt.get_fignums()
    ax = draw()
    assert ax.figure.number not in before
    texts = [text for text in ax.figure.findobj(plt.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 8
    save_figure(ax, tmp_path / "a.png")
    assert plt.get_fignums() == before


def luminance(color):
    """WCAG 2: relative luminance of an sRGB colour."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(color)]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))


def test_numbers_can_be_read_on_every_colour():
    values = np.linspace(-1, 1, 101)[None]
    ax = plot_vectors(values, numbers=True)
    image = ax.images[0]
    for text, value in zip(ax.texts, values[0], strict=True):
        pair = sorted((luminance(text.get_color()), luminance(image.cmap(image.norm(value))[:3])))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


BAD = {
    "one vector": (lambda: plot_vectors([1.0, 2.0]), "(2,)", "pass one matrix"),
    "nothing": (lambda: plot_vectors(np.zeros((0, 3))), "(0, 3)", "pass one matrix"),
    "too many labels": (lambda: plot_vectors(TABLE, row_labels=["a"]), "1 labels", "pass one"),
    "too many numbers": (lambda: plot_vectors(np.zeros((11, 11)), numbers=True), "121", "pass numbers=False"),
    "an id outside": (lambda: plot_lookup([0, 3], TABLE), "[0, 3]", "from 0 to 2"),
    "no id": (lambda: plot_lookup([], TABLE), "[]", "pass at least one"),
    "a large table": (lambda: plot_lookup([0], np.zeros((60, 2))), "(60, 2)", "pass a smaller"),
    "a channel outside": (lambda: plot_waves(TABLE, [2]), "[2]", "from 0 to 1"),
    "five channels": (lambda: plot_waves(np.zeros((3, 9)), range(5)), "one to 4"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_cannot_be_drawn_is_refused_before_there_is_a_figure(case):
    draw, *fragments = case
    with pytest.raises(ValueError, match=r".") as error:
        draw()
    assert_helpful(error, *fragments)
    assert plt.get_fignums() == []
