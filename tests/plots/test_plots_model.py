"""Figures of a model's parts: curves, bars and shares show the numbers that they were given, and refuse bad ones."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from gptlib.plots import plot_bars, plot_curves, plot_parameter_shares


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(ax):
    return {line.get_label(): line for line in ax.lines}


def test_curves_are_drawn_over_x():
    x = torch.linspace(-1, 1, 5)
    lines = drawn(plot_curves(x, {"square": x**2, "cube": x**3}, title="Powers"))
    assert set(lines) == {"square", "cube"}
    assert np.allclose(lines["square"].get_xdata(), x)
    assert np.allclose(lines["square"].get_ydata(), x**2)
    assert np.allclose(lines["cube"].get_ydata(), x**3)


def test_curves_of_tensors_with_gradients_and_of_lists_are_drawn():
    lines = drawn(plot_curves(range(2), {"a": torch.ones(2, requires_grad=True), "b": [torch.tensor(1.0), 2]}))
    assert [list(line.get_ydata()) for line in lines.values()] == [[1, 1], [1, 2]]


def test_four_curves_differ_in_colour_dash_and_marker():
    lines = drawn(plot_curves([1, 2], {name: [1, 2] for name in "abcd"})).values()
    for feature in ("color", "linestyle", "marker"):
        assert len({getattr(line, f"get_{feature}")() for line in lines}) == 4


def test_many_points_have_no_markers():
    assert drawn(plot_curves(range(200), {"a": np.ones(200)}))["a"].get_marker() == ""


def test_a_level_is_drawn_and_named():
    lines = drawn(plot_curves([1, 2], {"a": [1, 2]}, level=(1.5, "expected")))
    assert set(lines["expected"].get_ydata()) == {1.5}


@pytest.mark.parametrize(("log", "scale"), [(False, "linear"), (True, "log")])
def test_a_log_axis_is_drawn_where_asked(log, scale):
    assert plot_curves([1, 2], {"a": [1e-9, 2]}, log=log).get_yscale() == scale


@pytest.mark.parametrize(("n_curves", "legend"), [(1, False), (2, True)])
def test_one_curve_alone_needs_no_legend(n_curves, legend):
    ax = plot_curves([1, 2], {f"curve {i}": [1, 2] for i in range(n_curves)})
    assert (ax.get_legend() is not None) == legend


@pytest.mark.parametrize(
    ("curves", "log", "message"),
    [
        ({}, False, "There are 0 curves"),
        ({name: [1, 2] for name in "abcde"}, False, "There are 5 curves; pass 1 to 4"),
        ({"short": [1]}, False, "'short' has the shape (1,) and x has (2,)"),
        ({"matrix": [[1, 2], [3, 4]]}, False, "'matrix' has the shape (2, 2)"),
        ({"falling": [1, 0]}, True, "'falling' reaches 0, which a log axis can't show"),
    ],
)
def test_bad_curves_are_refused_in_a_sentence(curves, log, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is looked at below
        plot_curves([1, 2], curves, log=log)
    assert message in str(error.value)


def test_bars_are_as_long_as_their_values_the_first_on_top():
    ax = plot_bars({"one": 1.0, "half\n": 0.5}, form="{:.1f} s")
    assert [bar.get_width() for bar in ax.patches] == [1.0, 0.5]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "half\\n"]
    assert [text.get_text() for text in ax.texts] == ["1.0 s", "0.5 s"]
    assert ax.yaxis_inverted()


def test_bars_may_have_a_level():
    assert set(drawn(plot_bars({"a": 1.0}, level=(0.7, "chance")))["chance"].get_xdata()) == {0.7}


@pytest.mark.parametrize("values", [{}, {"a": -1.0}, {"a": float("inf")}, {"a": float("nan")}])
def test_bars_that_have_no_length_are_refused(values):
    with pytest.raises(ValueError, match="pass finite values of zero or above"):
        plot_bars(values)


def test_shares_are_those_of_each_models_own_total():
    counts = {"small": {"tables": 60, "blocks": 40}, "large": {"tables": 10, "blocks": 990}}
    ax = plot_parameter_shares(counts)
    tables, blocks = ax.containers
    assert [bar.get_width() for bar in tables] == pytest.approx([0.6, 0.01])
    assert [bar.get_x() for bar in blocks] == pytest.approx([0.6, 0.01])
    assert [bar.get_width() for bar in blocks] == pytest.approx([0.4, 0.99])
    assert [text.get_text() for text in ax.texts] == ["60%", "40%", "99%"]  # the 1 % has no room for it


def test_shares_name_the_totals_and_the_parts():
    ax = plot_parameter_shares({"124M": {"tables": 24_000_000, "blocks": 100_400_000}})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["124M\n124.4 M"]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["tables", "blocks"]


@pytest.mark.parametrize("counts", [{}, {"a": {}}, {"a": {"x": 1}, "b": {"y": 1}}, {"a": dict.fromkeys("abcdefg", 1)}])
def test_shares_of_unlike_models_are_refused(counts):
    with pytest.raises(ValueError, match="must have the same 1 to 6 parts"):
        plot_parameter_shares(counts)
