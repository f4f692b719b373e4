"""Figures of a text cut up for training: that each cell, strip, point and dot is where it belongs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colors
from matplotlib.patches import Rectangle
from training_helpers import assert_helpful

from gptlib.attention import attention_mask
from gptlib.datasets import SlidingWindowDataset
from gptlib.plots import plot_batch_order, plot_masks, plot_parts, plot_token_rows, plot_windows, save_figure
from gptlib.plots.windows import FADED, INPUT, PLAIN, TARGET


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def cells(ax):
    """{height: {column: (text, face)}} of the cells drawn."""
    found = {}
    faces = {
        (round(box.get_x() + box.get_width() / 2), round(box.get_y() + box.get_height() / 2, 3)): box.get_facecolor()
        for box in ax.patches
        if isinstance(box, Rectangle)
    }
    for text in ax.texts:
        x, y = text.get_position()
        found.setdefault(y, {})[x] = (text.get_text(), colors.to_hex(faces[round(x), round(y, 3)]).upper())
    return found


def row_labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def of_face(rows, face):
    return [{x: text for x, (text, f) in row.items() if f == face} for row in rows]


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 12))
@settings(max_examples=25)
def test_windows_are_those_of_the_dataset(context_length, stride, more):
    n = min(context_length + more, 12)
    dataset = SlidingWindowDataset(range(n), context_length, stride)
    ax = plot_windows([f"t{i}" for i in range(n)], context_length, stride)
    drawn = cells(ax)
    text, *lanes = (drawn[y] for y in sorted(drawn))
    assert [text[i][0] for i in range(n)] == [f"t{i}" for i in range(n)]
    assert len(lanes) == 2 * len(dataset)
    targets = set()
    for window in range(len(dataset)):
        inputs, outputs = (tokens.tolist() for tokens in dataset[window])
        assert lanes[2 * window] == {i: (f"t{i}", INPUT) for i in inputs}
        assert lanes[2 * window + 1] == {i: (f"t{i}", TARGET) for i in outputs}
        targets |= set(outputs)
    assert {i for i, (_, face) in text.items() if face == PLAIN} == targets
    assert {i for i, (_, face) in text.items() if face == FADED} == set(range(n)) - targets
    plt.close(ax.figure)


def test_windows_say_what_they_are():
    ax = plot_windows(["The", " rain", "\n", "a", "b"], 2, 2)
    assert row_labels(ax) == ["text", "window 0: inputs", "targets", "window 1: inputs", "targets"]
    assert [text for text, _ in cells(ax)[0].values()] == ["The", "␣rain", "\\n", "a", "b"]
    assert ax.get_title(loc="left") == "context length 2, stride 2: 2 windows"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["inputs", "targets", "nobody's target"]
    assert ax.yaxis_inverted()


def test_rows_of_tokens_are_in_their_places_with_the_faded_ones_grey():
    ax = plot_token_rows([["a", " b", "c"], [7, 8]], [[False, True, True], [False, False]])
    drawn = cells(ax)
    assert [list(drawn[y].values()) for y in (0, 1)] == [
        [("a", INPUT), ("␣b", FADED), ("c", FADED)],
        [("7", INPUT), ("8", INPUT)],
    ]
    assert row_labels(ax) == ["row 0", "row 1"]
    assert row_labels(plot_token_rows([["a"], ["b"]], row_labels=["ids", "tokens"])) == ["ids", "tokens"]


def test_parts_are_strips_of_colours_that_the_legend_names():
    ax = plot_parts({"cut": [0, 0, 1, 2], "shuffled": [2, 0, 1, 0]}, ["training", "validation", "test"])
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), [[0, 0, 1, 2], [2, 0, 1, 0]])
    assert row_labels(ax) == ["cut", "shuffled"]
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation", "test"]
    for part, patch in enumerate(legend.get_patches()):
        assert colors.to_hex(image.cmap(image.norm(part))) == colors.to_hex(patch.get_facecolor())


def test_each_batch_is_a_column_of_its_windows_and_each_epoch_has_its_look():
    ax = plot_batch_order([[3, 0], [1, 2], [0, 2], [1, 3], [3, 2]], per_epoch=2, first=1)
    looks = {points.get_label(): points for points in ax.collections}
    found = {label: {tuple(map(int, point)) for point in points.get_offsets()} for label, points in looks.items()}
    assert found == {
        "epoch 0": {(1, 3), (1, 0)},
        "epoch 1": {(2, 1), (2, 2), (3, 0), (3, 2)},
        "epoch 2": {(4, 1), (4, 3), (5, 3), (5, 2)},
    }
    assert len({colors.to_hex(points.get_facecolor()[0]) for points in looks.values()}) == 3
    assert len({points.get_paths()[0].vertices.tobytes() for points in looks.values()}) == 3  # markers
    assert [line.get_xdata()[0] for line in ax.lines] == [1.5, 3.5]


def test_masks_have_a_dot_wherever_one_may_look():
    right, left = attention_mask(4, 4), attention_mask(4, 4, torch.tensor([2]))[0, 0]
    axes = plot_masks({"right": (right, [" a", "b", "-", "-"]), "left": (left, ["-", "-", "a", "b"])})
    for ax, mask in zip(axes, (right, left), strict=True):
        dots = next(drawn for drawn in ax.collections if len(drawn.get_offsets()) == mask.sum())
        assert {tuple(map(int, dot)) for dot in dots.get_offsets()} == {(x, y) for y, x in mask.nonzero().tolist()}
        np.testing.assert_array_equal(ax.images[0].get_array(), mask)
    assert row_labels(axes[0]) == ["␣a", "b", "-", "-"]
    assert [ax.get_title(loc="left") for ax in axes] == ["right", "left"]


FIGURES = {
    "parts": lambda ax=None: plot_parts({"cut": [0, 1]}, ["a", "b"], ax),
    "windows": lambda ax=None: plot_windows("abcdef", 2, 2, ax),
    "rows": lambda ax=None: plot_token_rows(["ab", "cd"], ax=ax),
    "order": lambda ax=None: plot_batch_order([[0, 1], [1, 0]], 1, ax),
    "masks": lambda ax=None: plot_masks({"m": (np.eye(2) > 0, "ab")}, None if ax is None else [ax])[0],
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
    save_figure(ax, tmp_path / "a.png")
    assert plt.get_fignums() == before


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_no_text_is_smaller_than_eight_points(draw):
    figure = draw().figure
    figure.canvas.draw()
    texts = [text for text in figure.findobj(plt.Text) if text.get_text()]
    assert len(texts) >= 4
    assert min(text.get_fontsize() for text in texts) >= 8


BAD = {
    "no strip": (lambda: plot_parts({}, ["a"]), "pass one strip"),
    "strips of two lengths": (lambda: plot_parts({"a": [0], "b": [0, 0]}, ["x"]), "[1, 2]", "same length"),
    "a part without a name": (lambda: plot_parts({"a": [0, 2]}, ["x", "y"]), "0 to 2", "use numbers"),
    "too short a text": (lambda: plot_windows("abc", 3), "3 tokens", "at least 4"),
    "too long a text": (lambda: plot_windows("a" * 25, 4), "25 tokens", "at most 24"),
    "too many windows": (lambda: plot_windows("a" * 20, 4, 1), "16 windows", "at most 12"),
    "no stride": (lambda: plot_windows("abc", 2, 0), "stride=0", "at least 1"),
    "an empty row": (lambda: plot_token_rows(["ab", ""]), "[2, 0]", "pass one row"),
    "labels for other rows": (lambda: plot_token_rows(["ab"], row_labels=["a", "b"]), "row_labels has 2", "pass one"),
    "no batch": (lambda: plot_batch_order([], 3), "no batch", "pass one"),
    "weights for a mask": (lambda: plot_masks({"m": (np.eye(2), "ab")}), "float64", "True and False"),
    "tokens for another mask": (lambda: plot_masks({"m": (np.eye(2) > 0, "abc")}), "3 tokens", "pass a square"),
    "no mask": (lambda: plot_masks({}), "0 masks", "pass one"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_cannot_be_drawn_is_refused_before_there_is_a_figure(case):
    draw, *fragments = case
    with pytest.raises(ValueError, match=r".") as error:
        draw()
    assert_helpful(error, *fragments)
    assert plt.get_fignums() == []
