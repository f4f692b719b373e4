"""Figures of the chapter on training: what they draw, and what they refuse."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from gptlib.plots import (
    plot_agreement,
    plot_clipping,
    plot_gallery,
    plot_paths,
    plot_series,
    plot_sweep,
    plot_target_probabilities,
)
from gptlib.plots.training import trailing_mean


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def lines(ax):
    """{label: [xs, ys]} of what is drawn with a name."""
    named = [line for line in ax.lines if not line.get_label().startswith("_")]
    return {line.get_label(): [list(map(float, part)) for part in line.get_data()] for line in named}


def assert_readable(figure):
    """No text below 8 points, and all of it within the figure."""
    figure.canvas.draw()
    everything = [text for text in figure.findobj(plt.Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in everything) >= 8
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    labels = [label for ax in figure.axes if ax.get_visible() for label in (ax.xaxis.label, ax.yaxis.label, *ax.texts)]
    for shown in legends + [label for label in labels if label.get_text()]:
        box = shown.get_window_extent()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= figure.bbox.width + 1
        assert box.y1 <= figure.bbox.height + 1


def test_series_stand_at_1_2_3_or_where_they_are_told():
    ax = plot_series({"a": [3.0, 2.0, None], "b": (range(5, 7), [1.0, 4.0])}, levels={"ln V": 2.5})
    drawn = lines(ax)
    assert drawn["a"][0] == [1, 2, 3]
    assert drawn["a"][1][:2] == [3.0, 2.0]
    assert np.isnan(drawn["a"][1][2])
    assert drawn["b"] == [[5, 6], [1.0, 4.0]]
    assert drawn["ln V"][1] == [2.5, 2.5]
    assert len({(line.get_color(), str(line.get_linestyle())) for line in ax.lines}) == 3
    assert len({str(line._unscaled_dash_pattern) for line in ax.lines}) == 3  # told apart without colour too
    assert_readable(ax.figure)


def test_a_smoothed_series_has_its_values_behind_it():
    ax = plot_series({"a": [4.0, 2.0, 0.0, 2.0]}, smooth=2)
    behind, mean = ax.lines
    assert list(behind.get_ydata()) == [4, 2, 0, 2]
    assert list(mean.get_ydata()) == [4, 3, 1, 1]
    assert ax.get_legend() is None  # one series needs no name


def test_the_trailing_mean_is_that_of_the_last_values():
    values = np.random.default_rng(0).normal(size=20)
    expected = [values[max(0, i - 4) : i + 1].mean() for i in range(20)]
    assert trailing_mean(values, 5) == pytest.approx(expected)


def test_the_legend_hides_no_curve():
    ax = plot_series({"a": [1, 2], "b": [2, 1]})
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_axes_are_logarithmic_where_asked():
    ax = plot_series({"a": ([1, 10], [1, 100])}, log_x=True, log_y=True, title="T", xlabel="x", ylabel="y")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()) == ("T", "x", "y")


def test_probabilities_are_in_their_cells_and_targets_framed():
    ax = plot_target_probabilities([[0.9, 0.1], [0.25, 0.75]], [0, 0], ["one", "two"], ["cat", "mat"])
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells == {(0, 0): "0.90", (1, 0): "0.10", (0, 1): "0.25", (1, 1): "0.75"}
    frames = [(patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2) for patch in ax.patches]
    assert np.allclose(frames, [(0, 0), (0, 1)])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two"]
    assert_readable(ax.figure)


def test_a_sweep_is_sorted_and_its_best_marked():
    ax = plot_sweep([1e-2, 1e-4, 1e-3], [2.5, 3.5, 2.0])
    curve, star = ax.lines
    assert list(curve.get_xdata()) == [1e-4, 1e-3, 1e-2]
    assert list(curve.get_ydata()) == [3.5, 2.0, 2.5]
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([1e-3], [2.0])
    assert [text.get_text() for text in ax.texts] == ["best: 0.001"]
    assert ax.get_xscale() == "log"
    assert_readable(ax.figure)


def test_a_rate_that_ended_in_nan_is_not_the_best():
    assert list(plot_sweep([1, 10], [3.0, float("nan")]).lines[1].get_xdata()) == [1]


def test_paths_lie_on_the_surface():
    ax = plot_paths(lambda x, y: x**2 + y**2, {"a": [[1, 1], [0.5, 0]], "b": [[1, 1], [0, 0.5]]})
    assert lines(ax)["a"] == [[1, 0.5], [1, 0]]
    assert lines(ax)["lowest point"] == [[0], [0]]
    assert_readable(ax.figure)


def test_clipped_gradients_are_arrows_from_the_origin():
    ax = plot_clipping([[3, 4], [0.1, 0]], [[0.6, 0.8], [0.1, 0]], 1.0)
    arrows = [(q.U.item(), q.V.item()) for q in ax.collections]
    assert arrows == [(3, 4), (0.6, 0.8), (0.1, 0), (0.1, 0)]
    assert [patch.radius for patch in ax.patches] == [1.0]
    assert_readable(ax.figure)


def test_agreement_has_a_point_for_each_value():
    ax = plot_agreement([1.0, 2.0], {"same": [1.0, 2.0], "twice": [2.0, 4.0]})
    assert lines(ax) == {"equal": [[1, 2], [1, 2]], "same": [[1, 2], [1, 2]], "twice": [[1, 2], [2, 4]]}
    assert_readable(ax.figure)


def test_a_gallery_gives_a_name_the_same_look_everywhere():
    runs = {
        "one": {"training": [1.0, 2.0]},
        "two": {"validation": [3.0], "training": [1.0, 1.0]},
        "three": {"training": [2.0]},
    }
    axes = plot_gallery(runs, columns=2, ylim=(0, 5))
    assert [ax.get_title(loc="left") for ax in axes] == ["one", "two", "three"]
    assert {ax.get_ylim() for ax in axes} == {(0, 5)}
    assert axes[0].lines[0].get_color() == axes[1].lines[1].get_color() != axes[1].lines[0].get_color()
    assert [list(line.get_ydata()) for line in axes[1].lines] == [[3.0], [1.0, 1.0]]
    assert [ax.get_visible() for ax in axes[0].figure.axes] == [True, True, True, False]
    assert_readable(axes[0].figure)


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: plot_series({}), "0 curves"),
        (lambda: plot_series({str(i): [1] for i in range(6)}), "6 curves"),
        (lambda: plot_series({"a": ([1, 2], [1])}), "'a' has 2 xs and 1 ys"),
        (lambda: plot_series({"a": []}), "'a'"),
        (lambda: plot_target_probabilities([[1.0]], [0, 1], ["r"], ["c"]), "2 targets"),
        (lambda: plot_target_probabilities([[1.0]], [1], ["r"], ["c"]), "no column"),
        (lambda: plot_sweep([1, 2], [1]), "2 rates and 1 losses"),
        (lambda: plot_sweep([0, 2], [1, 1]), "learning rate of 0"),
        (lambda: plot_sweep([1], [float("nan")]), "none is a number"),
        (lambda: plot_paths(np.add, {"a": [1, 2]}), r"\(2,\)"),
        (lambda: plot_clipping([[1, 2]], [[1, 2], [1, 2]], 1.0), r"\(1, 2\)"),
        (lambda: plot_agreement([1, 2], {"a": [1]}), "'a' has 1 values"),
        (lambda: plot_gallery({}), "no run"),
    ],
)
def test_what_can_not_be_drawn_is_refused_in_a_sentence(draw, named):
    with pytest.raises(ValueError, match=named) as error:
        draw()
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)
