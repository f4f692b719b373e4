"""Losses: a run's, several runs', a sweep's; the live curve; and files of figures, which are whole."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import column_labels, contrast, lines, make_history, title
from training_helpers import files_in

from gptlib.plots import (
    LiveLosses,
    plot_learning_rate,
    plot_loss_curves,
    plot_losses,
    plot_sweep,
    save_figure,
)
from gptlib.plots.base import STYLE, new_axes


def test_loss_curves_have_their_axes_named():
    ax = plot_loss_curves({"a": [2, 1]}, title="T", levels={"ln V": 3})
    assert (ax.get_xlabel(), ax.get_ylabel(), title(ax)) == ("step", "loss (nats a token)", "T")
    assert lines(ax)["a"] == ([1, 2], [2, 1])


def test_a_sweep_is_sorted_and_its_best_marked():
    ax = plot_sweep([1e-2, 1e-4, 1e-3], [2.5, 3.5, 2.0])
    curve, star = ax.lines
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([1e-4, 1e-3, 1e-2], [3.5, 2.0, 2.5])
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([1e-3], [2.0])
    assert [text.get_text() for text in ax.texts] == ["best: 0.001"]
    assert column_labels(ax) == ["0.0001", "0.001", "0.01"]


def test_a_rate_that_ended_in_nan_is_not_the_best():
    assert list(plot_sweep([1, 10], [3.0, float("nan")]).lines[1].get_xdata()) == [1]


@pytest.mark.parametrize(("x", "places"), [("step", [0, 10, 20]), ("tokens", [0, 640, 1280]), ("seconds", [0, 5, 10])])
def test_losses_are_drawn_against_what_was_asked(x, places):
    drawn = lines(plot_losses(make_history(), x=x))
    assert drawn["training"] == (places, [3.0, 2.5, 2.0])
    assert drawn["validation"] == (places, [3.2, 2.4, 2.6])
    every = {"step": 1, "tokens": 64, "seconds": 0.5}[x]
    assert drawn["each batch"][0] == pytest.approx([every * n for n in range(1, 21)])


def test_batches_behind_the_last_evaluation_have_places_of_their_own():
    """An interrupted run: 27 steps, and the last evaluation at 20."""
    xs, ys = lines(plot_losses(make_history(n_step_losses=27)))["each batch"]
    assert xs == list(range(1, 28))
    assert len(ys) == 27


def test_the_lowest_validation_loss_is_marked_where_it_is():
    [mark] = [text for text in plot_losses(make_history(), x="tokens").texts if text.get_text()]
    assert (mark.get_text(), mark.xy) == ("2.400", (640, 2.4))


def test_without_validation_there_is_no_such_line():
    ax = plot_losses(make_history(val=None))
    assert "validation" not in lines(ax)
    assert not ax.texts


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_that_has_hardly_begun_can_be_drawn(rows):
    plot_losses(make_history(steps=(0, 10, 20)[:rows], n_step_losses=0)).figure.canvas.draw()


@pytest.mark.parametrize("val", [(None, 2.4, 2.6), (3.2, None, None), (None, None, 2.6)])
def test_a_run_that_was_resumed_with_validation_or_without_can_be_drawn(val):
    ys = lines(plot_losses(make_history(val=val)))["validation"][1]
    assert [None if np.isnan(y) else y for y in ys] == list(val)


def test_the_learning_rate_is_drawn_from_zero_on():
    ax = plot_learning_rate(make_history())
    [line] = ax.lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 10, 20], [0.0, 1e-3, 2e-3])
    assert ax.get_ylim()[0] == 0


def test_lines_differ_by_more_than_their_colour_and_stand_out():
    ax = plot_losses(make_history())
    training, validation = (
        next(line for line in ax.lines if line.get_label() == label) for label in ("training", "validation")
    )
    assert training.get_linestyle() != validation.get_linestyle()
    assert training.get_marker() != validation.get_marker()
    for line in (training, validation, plot_learning_rate(make_history()).lines[0]):
        assert contrast(line.get_color(), STYLE["axes.facecolor"]) >= 3  # WCAG's for what is not text


# files


def test_a_figure_becomes_a_whole_png_and_is_closed(tmp_path):
    path = tmp_path / "new" / "loss.png"
    assert save_figure(plot_losses(make_history()), path) == path
    image = plt.imread(path)
    assert image.shape[0] > 300
    assert image.shape[1] > 600
    assert image.std() > 0.01
    assert plt.get_fignums() == []
    assert files_in(path.parent) == ["loss.png"]
    save_figure(plot_learning_rate(make_history()).figure, path)
    assert not np.array_equal(plt.imread(path), image)


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_figure(plot_losses(make_history()), tmp_path / "loss.png")
    before = path.read_bytes()
    ax = plot_losses(make_history())

    def half(file, **options):
        file.write(b"\x89PNG\r\n half")
        raise RuntimeError("no font")

    monkeypatch.setattr(ax.figure, "savefig", half)
    with pytest.raises(RuntimeError, match="no font"):
        save_figure(ax, path)
    assert path.read_bytes() == before
    assert files_in(tmp_path) == ["loss.png"]


def test_the_live_curve_is_one_display_that_is_redrawn(monkeypatch):
    import IPython.display

    shown, updated = [], []

    class Handle:
        def update(self, figure):
            updated.append(len(lines(figure.axes[0])["training"][0]))

    monkeypatch.setattr(
        IPython.display, "display", lambda figure, display_id: shown.append(lines(figure.axes[0])) or Handle()
    )
    live = LiveLosses()
    for n in (1, 2, 3):
        live(make_history(steps=(0, 10, 20)[:n]))
    assert len(shown) == 1
    assert updated == [2, 3]
    assert plt.get_fignums() == []


def test_new_axes_have_the_size_asked_for_or_are_those_given():
    ax = new_axes(size=(5, 2))
    assert tuple(ax.figure.get_size_inches()) == (5, 2)
    assert new_axes(ax) is ax
