"""The roof rises up to its ridge and is flat from there; shares are sorted, and of each job's own time."""

import numpy as np
import pytest
from drawn import column_labels, legend, lines, row_labels, title

from gptlib.plots import plot_rates, plot_roofline, plot_time_shares


def test_a_roof_rises_to_its_ridge_and_is_flat_from_there():
    ax = plot_roofline({"fp32": (4e10, 2e11)}, {"mine": (0.5, 1e10)})
    x, y = (np.array(values) for values in lines(ax)["fp32"])
    assert y == pytest.approx(np.where(x < 5, 40 * x, 200))
    assert 5.0 in x  # its corner is drawn as a corner
    assert x[0] < 0.5
    assert x[-1] > 5
    assert [text.get_text() for text in ax.texts] == ["ridge: 5"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_programs_are_marks_where_they_are():
    ax = plot_roofline({"fp32": (4e10, 2e11), "bf16": (4e10, 8e11)}, {"slow": (0.5, 1e10), "fast": (100, 1.5e11)})
    assert lines(ax)["slow"] == ([0.5], [10.0])
    assert lines(ax)["fast"] == ([100.0], [150.0])
    assert legend(ax) == ["fp32", "bf16", "slow", "fast"]


def test_shares_are_of_each_jobs_own_time_the_longest_on_top():
    axes = plot_time_shares({"a step": {"adding": 1e-3, "products": 3e-3}, "another": {"products": 5.0}})
    assert [title(ax) for ax in axes] == ["a step", "another"]
    assert row_labels(axes[0]) == ["products", "adding"]
    assert [bar.get_width() for bar in axes[0].patches] == pytest.approx([0.75, 0.25])
    assert [text.get_text() for text in axes[0].texts] == ["75%", "25%"]
    assert [bar.get_width() for bar in axes[1].patches] == [1.0]


def test_rates_of_a_benchmark_are_grouped_by_row():
    rows = [{"case": "fp32, batch 1", "new": 9, "ours tok/s": 54.0, "x": 1.7, "theirs tok/s": 32}]
    rows += [{"case": "int8, batch 1", "ours tok/s": 101.0, "theirs tok/s": None}, {"case": "none"}]
    ax = plot_rates(rows)
    ours, theirs = ax.containers
    assert [bar.get_height() for bar in ours] == [54.0, 101.0, 0.0]
    assert [bar.get_height() for bar in theirs] == [32.0, 0.0, 0.0]
    assert legend(ax) == ["ours", "theirs"]
    assert column_labels(ax) == ["fp32\nbatch 1", "int8\nbatch 1", "none"]
