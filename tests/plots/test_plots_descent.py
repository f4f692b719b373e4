"""The way down a loss: points, slopes, paths and gradients are those given."""

import pytest
import torch
from drawn import differ, lines

from gptlib.plots import plot_agreement, plot_clipping, plot_descent, plot_fit, plot_paths


def test_descent_shows_the_points_on_the_curve_and_the_slope():
    ax = plot_descent(lambda w: (w - 3) ** 2, [0.0, 1.0], slope=-6.0)
    drawn = lines(ax)
    assert set(drawn) == {"loss", "slope \N{MINUS SIGN}6", "weight"}
    assert drawn["weight"] == ([0, 1], [9, 4])
    (x0, x1), (y0, y1) = drawn["slope \N{MINUS SIGN}6"]
    assert (y1 - y0) / (x1 - x0) == pytest.approx(-6)
    weights, losses = drawn["loss"]
    assert losses == pytest.approx([(weight - 3) ** 2 for weight in weights])
    assert [text.get_text() for text in ax.texts] == ["step 0", "step 1"]
    assert "weight" in lines(plot_descent(lambda w: w * w, [1.0]))


def test_a_fit_shows_data_and_lines():
    after = (torch.nn.Parameter(torch.tensor(2.0)), 1)
    ax = plot_fit(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0, 5.0]), {"before": (0, 0), "after": after})
    drawn = lines(ax)
    assert drawn["data"] == ([0, 1, 2], [1, 3, 5])
    assert drawn["before"] == ([0, 2], [0, 0])
    assert drawn["after"] == ([0, 2], [1, 5])
    assert differ([line.get_linestyle() for line in ax.lines[1:]])


def test_paths_lie_on_the_surface():
    ax = plot_paths(lambda x, y: x**2 + y**2, {"a": [[1, 1], [0.5, 0]], "b": [[1, 1], [0, 0.5]]})
    assert lines(ax)["a"] == ([1, 0.5], [1, 0])
    assert lines(ax)["lowest point"] == ([0], [0])


def test_clipped_gradients_are_arrows_from_the_origin():
    ax = plot_clipping([[3, 4], [0.1, 0]], [[0.6, 0.8], [0.1, 0]], 1.0)
    arrows = [(q.U.item(), q.V.item()) for q in ax.collections]
    assert arrows == [(3, 4), (0.6, 0.8), (0.1, 0), (0.1, 0)]
    assert [patch.radius for patch in ax.patches] == [1.0]


def test_agreement_has_a_point_for_each_value():
    ax = plot_agreement([1.0, 2.0], {"same": [1.0, 2.0], "twice": [2.0, 4.0]})
    assert lines(ax) == {"equal": ([1, 2], [1, 2]), "same": ([1, 2], [1, 2]), "twice": ([1, 2], [2, 4])}
