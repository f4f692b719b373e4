"""Curves are drawn as they are given, and can be told apart without colour."""

import numpy as np
import pytest
import torch
from drawn import column_labels, differ, legend, lines, title

from gptlib.plots import plot_line_panels, plot_lines
from gptlib.plots.lines import trailing_mean

PANELS = {"one": {"a": [1.0, 4.0, 16.0], "b": [1.0, 2.0, 4.0]}, "two": {"b": [3.0, 2.0, 1.0], "a": [0.1, 0.2, 0.3]}}


def test_curves_stand_at_1_2_3_or_over_x_or_over_an_x_of_their_own():
    assert lines(plot_lines({"a": [3.0, 2.0]})) == {"a": ([1, 2], [3, 2])}
    drawn = lines(plot_lines({"a": [3.0, 2.0], "b": (range(5, 8), [1, 4, 2])}, x=[10, 20]))
    assert drawn == {"a": ([10, 20], [3, 2]), "b": ([5, 6, 7], [1, 4, 2])}


@pytest.mark.parametrize(
    "curve",
    [
        (1.0, 2.0),  # a tuple of two numbers is no pair of rows
        torch.tensor([1.0, 2.0], requires_grad=True),
        torch.tensor([1, 2], dtype=torch.bfloat16),
        [torch.tensor(1.0, requires_grad=True), 2],
        np.array([1, 2]),
        range(1, 3),
    ],
)
def test_a_curve_may_be_a_tensor_an_array_or_a_row_of_either(curve):
    assert lines(plot_lines({"a": curve}))["a"] == ([1, 2], [1, 2])


def test_none_is_a_gap():
    xs, ys = lines(plot_lines({"a": [3.0, None, 1.0]}))["a"]
    assert (xs, ys[0], ys[2]) == ([1, 2, 3], 3, 1)
    assert np.isnan(ys[1])


def test_five_curves_differ_in_colour_dash_and_marker():
    drawn = plot_lines({name: [1, 2] for name in "abcde"}).lines
    assert differ([line.get_color() for line in drawn])
    assert differ([line._unscaled_dash_pattern for line in drawn])
    assert differ([line.get_marker() for line in drawn])


def test_many_points_have_no_markers_and_a_single_one_is_a_mark_alone():
    many, one = plot_lines({"many": range(200), "one": ([3], [1])}).lines
    assert many.get_marker() == ""
    assert (one.get_linestyle(), one.get_marker()) == ("None", "s")


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_axes_are_logarithmic_where_asked(log):
    ax = plot_lines({"a": ([1, 10, 900], [1, 100, 9e5])}, log=log, title="T", xlabel="x", ylabel="y")
    assert ("x" in log, "y" in log) == (ax.get_xscale() == "log", ax.get_yscale() == "log")
    assert (title(ax), ax.get_xlabel(), ax.get_ylabel()) == ("T", "x", "y")


def test_limits_may_be_open_at_one_end():
    low, high = plot_lines({"a": [2, 3]}, ylim=(0, None)).get_ylim()
    assert low == 0 < 3 < high
    low, high = plot_lines({"a": [1e-9, 2e3]}, log="y").get_ylim()
    assert 0 < low < 1e-9 < 2e3 < high < 1e5


def test_a_few_places_of_a_logarithmic_axis_are_its_ticks():
    ax = plot_lines({"a": [3, 2, 1], "b": ([64], [2])}, [16, 128, 1024], log="x")
    assert column_labels(ax) == ["16", "64", "128", "1,024"]
    assert list(ax.get_xticks()) == [16, 64, 128, 1024]


@pytest.mark.parametrize("top", [0.3, 5.0, 400.0, 5e4, 1e9])
@pytest.mark.parametrize("log", ["x", "y"])
def test_a_logarithmic_axis_has_labels_to_read_it_by(top, log):
    values = np.geomspace(0.09, top, 40)
    ax = plot_lines({"a": (values, values)}, log=log)
    ax.figure.canvas.draw()
    axis, (low, high) = (ax.xaxis, ax.get_xlim()) if log == "x" else (ax.yaxis, ax.get_ylim())
    shown = [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert 2 <= len(shown) <= 12
    assert all(shown)


def test_levels_are_grey_but_in_the_look_of_the_curve_that_has_their_name():
    ax = plot_lines({"a": [1, 2], "b": [2, 1]}, levels={"b": 1.5, "ln V": 3})
    _, b, of_b, other = ax.lines
    assert [set(line.get_ydata()) for line in (of_b, other)] == [{1.5}, {3}]
    assert (of_b.get_color(), of_b.get_linestyle()) == (b.get_color(), b.get_linestyle())
    assert of_b.get_linewidth() < b.get_linewidth()
    assert legend(ax) == ["a", "b", "ln V"]


@pytest.mark.parametrize(("n_curves", "named"), [(1, False), (2, True)])
def test_a_legend_stands_beside_the_curves_where_there_are_several(n_curves, named):
    ax = plot_lines({f"curve {i}": [1, 2] for i in range(n_curves)})
    ax.figure.canvas.draw()
    assert (ax.get_legend() is not None) == named
    if named:
        assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_a_smoothed_curve_has_its_values_behind_it():
    behind, mean = plot_lines({"a": [4.0, 2.0, 0.0, 2.0]}, smooth=2).lines
    assert list(behind.get_ydata()) == [4, 2, 0, 2]
    assert list(mean.get_ydata()) == [4, 3, 1, 1]


def test_the_trailing_mean_is_that_of_the_last_values():
    values = np.random.default_rng(0).normal(size=20)
    expected = [values[max(0, i - 4) : i + 1].mean() for i in range(20)]
    assert trailing_mean(values, 5) == pytest.approx(expected)


# panels


def test_panels_have_their_curves_and_a_name_has_one_look():
    axes = plot_line_panels(PANELS, x=[1, 2, 4])
    assert [title(ax) for ax in axes] == ["one", "two"]
    assert lines(axes[0]) == {"a": ([1, 2, 4], [1, 4, 16]), "b": ([1, 2, 4], [1, 2, 4])}
    assert lines(axes[1]) == {"b": ([1, 2, 4], [3, 2, 1]), "a": ([1, 2, 4], [0.1, 0.2, 0.3])}
    assert [line.get_color() for line in axes[0].lines] == [line.get_color() for line in axes[1].lines][::-1]
    assert legend(axes[1]) == ["a", "b"]


def test_the_guide_grows_with_the_power_asked_for():
    for ax, curves in zip(plot_line_panels(PANELS, [1, 2, 4], guide=2, xlabel="T"), PANELS.values(), strict=True):
        last = next(iter(curves.values()))[-1]
        assert lines(ax)["grows with T$^{2}$"][1] == pytest.approx([last / 16, last / 4, last])


def test_panels_stand_in_rows_and_name_their_axes_at_the_edges():
    axes = plot_line_panels({str(i): {"a": [1, 2]} for i in range(4)}, xlabel="step", ylabel="loss", ylim=(0, 5))
    assert len(axes[0].figure.axes) == 4
    assert len({ax.get_position().y0 for ax in axes}) == 2
    assert [ax.get_xlabel() for ax in axes] == ["", "step", "step", "step"]
    assert [ax.get_ylabel() for ax in axes] == ["loss", "", "", "loss"]
    assert {ax.get_ylim() for ax in axes} == {(0, 5)}
