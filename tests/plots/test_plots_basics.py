"""Tensors in cells, broadcasting, descent and a line's fit: what is drawn is what was given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from gptlib.plots import plot_broadcasting, plot_descent, plot_fit, plot_tensor
from gptlib.plots.basics import COPY, TINTS


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def cells(ax):
    """[(text in the cell, its colour)] in the order of drawing."""
    texts = [text for text in ax.texts if text.get_fontsize() == 9 and not text.get_text().startswith("(")]
    colors = [plt.matplotlib.colors.to_hex(patch.get_facecolor()).upper() for patch in ax.patches]
    assert len(texts) == len(colors)
    for text, patch in zip(texts, ax.patches, strict=True):
        (x, y), (left, top) = text.get_position(), patch.get_xy()
        assert (x, y) == (left + 0.5, top + 0.5)
    return list(zip([text.get_text() for text in texts], colors, strict=True))


def lines(ax):
    return {line.get_label(): np.asarray(line.get_xydata(), float) for line in ax.lines}


@pytest.mark.parametrize("shape", [(6,), (2, 3), (2, 3, 4)])
def test_every_number_of_a_tensor_is_in_its_cell(shape):
    values = torch.arange(6 if len(shape) < 3 else 24).view(shape)
    ax = plot_tensor(values)
    assert [text for text, _ in cells(ax)] == [str(i) for i in range(values.numel())]
    assert ax.get_title(loc="left") == f"shape {shape}"


def test_cells_are_coloured_by_group():
    assert [color for _, color in cells(plot_tensor([[1, 2], [3, 4]], groups=[[0, 1], [2, 3]]))] == list(TINTS)
    assert {color for _, color in cells(plot_tensor([1.5, -2.0]))} == {TINTS[0]}


def test_numbers_are_written_short_and_truth_values_as_such():
    assert [text for text, _ in cells(plot_tensor([0.123456, -2.0]))] == ["0.1235", "\N{MINUS SIGN}2"]
    assert [text for text, _ in cells(plot_tensor(torch.tensor([True, False])))] == ["True", "False"]


def test_matrices_stand_side_by_side_with_their_indices():
    ax = plot_tensor(torch.zeros(2, 1, 3), title="two")
    assert ax.get_title(loc="left") == "two"
    assert [t.get_text() for t in ax.texts if t.get_fontsize() == 8] == ["0", "1", "2", "0"] * 2
    lefts = [patch.get_x() for patch in ax.patches]
    assert lefts[3] > lefts[2] + 1


def test_broadcasting_marks_the_copies():
    ax = plot_broadcasting(torch.tensor([[10], [20]]), torch.tensor([1, 2, 3]))
    drawn = cells_of_three(ax)
    assert [text for text, _ in drawn[0]] == ["10", "10", "10", "20", "20", "20"]
    assert [color for _, color in drawn[0]] == [TINTS[0], COPY, COPY] * 2
    assert [text for text, _ in drawn[1]] == ["1", "2", "3"] * 2
    assert [color for _, color in drawn[1]] == [TINTS[1]] * 3 + [COPY] * 3
    assert [text for text, _ in drawn[2]] == ["11", "12", "13", "21", "22", "23"]
    assert {color for _, color in drawn[2]} == {TINTS[2]}
    shapes = [text.get_text() for text in ax.texts if text.get_text().startswith("(")]
    assert shapes == ["(2, 1)", "(3,)", "(2, 3)"]


def cells_of_three(ax):
    drawn = cells(ax)
    n = len(drawn) // 3
    return drawn[:n], drawn[n : 2 * n], drawn[2 * n :]


def test_descent_shows_the_points_on_the_curve_and_the_slope():
    ax = plot_descent(lambda w: (w - 3) ** 2, [0.0, 1.0], slope=-6.0)
    drawn = lines(ax)
    assert set(drawn) == {"loss", "slope \N{MINUS SIGN}6", "weight"}
    assert drawn["weight"].tolist() == [[0, 9], [1, 4]]
    (x0, y0), (x1, y1) = drawn["slope \N{MINUS SIGN}6"]
    assert (y1 - y0) / (x1 - x0) == pytest.approx(-6)
    assert np.allclose(drawn["loss"][:, 1], (drawn["loss"][:, 0] - 3) ** 2)
    assert [text.get_text() for text in ax.texts] == ["step 0", "step 1"]
    assert "weight" in lines(plot_descent(lambda w: w * w, [1.0]))


def test_a_fit_shows_data_and_lines():
    after = (torch.nn.Parameter(torch.tensor(2.0)), 1)
    ax = plot_fit(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0, 5.0]), {"before": (0, 0), "after": after})
    drawn = lines(ax)
    assert drawn["data"].tolist() == [[0, 1], [1, 3], [2, 5]]
    assert drawn["before"].tolist() == [[0, 0], [2, 0]]
    assert drawn["after"].tolist() == [[0, 1], [2, 5]]
    assert len({line.get_linestyle() for line in ax.lines[1:]}) == 2


def test_they_draw_into_the_axes_given():
    _, ax = plt.subplots()
    assert plot_tensor([1], ax=ax) is ax
    assert plot_broadcasting([[1]], [1], ax=ax) is ax
    assert plot_descent(abs, [1], ax=ax) is ax
    assert plot_fit([0, 1], [0, 1], {}, ax=ax) is ax


@pytest.mark.parametrize(
    ("draw", "word"),
    [
        (lambda: plot_tensor(torch.zeros(1, 1, 1, 1)), "1, 2 or 3 dimensions"),
        (lambda: plot_tensor([]), "none of them empty"),
        (lambda: plot_tensor([1, 2], groups=[1]), "make them alike"),
        (lambda: plot_broadcasting([1, 2, 3], [1, 2]), "have to be equal"),
        (lambda: plot_broadcasting(torch.zeros(2, 2, 2), [1, 2]), "two dimensions"),
        (lambda: plot_descent(abs, []), "one weight at least"),
        (lambda: plot_fit([1, 2], [1], {}), "the same length"),
    ],
)
def test_what_can_not_be_drawn_is_refused_in_a_sentence(draw, word):
    with pytest.raises(ValueError, match=word) as error:
        draw()
    assert len(str(error.value)) < 250
