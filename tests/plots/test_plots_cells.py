"""Cells, strips and points: each number and each token is where it belongs, in the colour of its kind."""

import numpy as np
import pytest
import torch
from drawn import cells, column_labels, differ, legend, row_labels, title
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colors
from matplotlib import pyplot as plt

from gptlib.datasets import SlidingWindowDataset
from gptlib.plots import (
    plot_batch_order,
    plot_broadcasting,
    plot_parts,
    plot_tensor,
    plot_token_rows,
    plot_windows,
)
from gptlib.plots.base import PALE, PALE_BLUE, PALE_GREEN, PALE_GREY, PALE_ORANGE
from gptlib.plots.windows import FADED, INPUT, PLAIN, TARGET


def rows_of(ax):
    """[{column: (text, face)}] of the cells drawn, from the top."""
    found = {}
    for (x, y), cell in cells(ax).items():
        found.setdefault(y, {})[x] = cell
    return [found[y] for y in sorted(found)]


# tensors


@pytest.mark.parametrize("shape", [(6,), (2, 3), (2, 3, 4)])
def test_every_number_of_a_tensor_is_in_its_cell(shape):
    values = torch.arange(6 if len(shape) < 3 else 24).view(shape)
    ax = plot_tensor(values)
    drawn = rows_of(ax)
    expected = values.view(-1, *values.shape[-2:]).transpose(0, 1).flatten(1) if values.ndim > 1 else values[None]
    assert [[text for _, (text, _) in sorted(row.items())] for row in drawn] == [
        [str(number) for number in row] for row in expected.tolist()
    ]
    assert title(ax) == f"shape {shape}"


def test_cells_are_coloured_by_group():
    assert [face for _, face in cells(plot_tensor([[1, 2], [3, 4]], groups=[[0, 1], [2, 3]])).values()] == list(
        PALE[:4]
    )
    assert {face for _, face in cells(plot_tensor([1.5, -2.0])).values()} == {PALE_BLUE}


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([0.123456, -2.0], ["0.1235", "−2"]),
        (torch.tensor([True, False]), ["True", "False"]),
        ([7, 10**6], ["7", "1e+06"]),
    ],
)
def test_numbers_are_written_short_and_truth_values_as_such(values, written):
    assert [text for text, _ in cells(plot_tensor(values)).values()] == written


def test_matrices_stand_side_by_side_with_their_indices():
    ax = plot_tensor(torch.zeros(2, 1, 3), title="two")
    assert title(ax) == "two"
    assert sorted(t.get_text() for t in ax.texts if t.get_fontsize() == 8) == sorted(["0", "1", "2", "0"] * 2)
    columns = sorted(x for x, _ in cells(ax))
    assert columns[:3] == [0, 1, 2]
    assert columns[3] > 3


def test_broadcasting_marks_the_copies():
    ax = plot_broadcasting(torch.tensor([[10], [20]]), torch.tensor([1, 2, 3]))
    top, bottom = ([row[x] for x in sorted(row)] for row in rows_of(ax))
    assert top[:3] == [("10", PALE_BLUE), ("10", PALE_GREY), ("10", PALE_GREY)]
    assert bottom[:3] == [("20", PALE_BLUE), ("20", PALE_GREY), ("20", PALE_GREY)]
    assert top[3:6] == [("1", PALE_ORANGE), ("2", PALE_ORANGE), ("3", PALE_ORANGE)]
    assert bottom[3:6] == [("1", PALE_GREY), ("2", PALE_GREY), ("3", PALE_GREY)]
    assert top[6:] == [("11", PALE_GREEN), ("12", PALE_GREEN), ("13", PALE_GREEN)]
    assert bottom[6:] == [("21", PALE_GREEN), ("22", PALE_GREEN), ("23", PALE_GREEN)]
    shapes = [text.get_text() for text in ax.texts if text.get_text().startswith("(")]
    assert shapes == ["(2, 1)", "(3,)", "(2, 3)"]


# rows of tokens


def test_rows_of_tokens_are_in_their_places_in_the_colour_of_their_kind():
    kinds = [["prompt", "new", "end"], ["padding", "token", "filled up"]]
    ax = plot_token_rows([["The", b" door", "."], ["?", 7, "."]], kinds, names=["a", "b"], title="T")
    assert [list(row.values()) for row in rows_of(ax)] == [
        [("The", PALE_BLUE), ("␣door", PALE_ORANGE), (".", PALE_GREEN)],
        [("", PALE_GREY), ("7", PALE_BLUE), ("", PALE_GREY)],
    ]
    assert legend(ax.figure) == ["token", "prompt", "new", "padding", "end", "filled up"]
    assert (row_labels(ax), column_labels(ax), title(ax)) == (["a", "b"], ["0", "1", "2"], "T")


def test_notes_stand_below_the_tokens():
    ax = plot_token_rows([["a", "b"]], [["new", "padding"]], notes=[[5, 6]])
    assert [text for text, _ in cells(ax).values()] == ["a\n5", "\n6"]
    assert column_labels(ax) == []


def test_rows_of_unequal_lengths_have_names_of_their_own():
    ax = plot_token_rows([["a"], ["b", "c"]])
    assert row_labels(ax) == ["row 0", "row 1"]
    assert [len(row) for row in rows_of(ax)] == [1, 2]
    assert ax.figure.legends == []


# windows


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 12))
@settings(max_examples=25)
def test_windows_are_those_of_the_dataset(context_length, stride, more):
    n = min(context_length + more, 12)
    dataset = SlidingWindowDataset(range(n), context_length, stride)
    ax = plot_windows([f"t{i}" for i in range(n)], context_length, stride)
    text, *lanes = rows_of(ax)
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
    assert [text for text, _ in rows_of(ax)[0].values()] == ["The", "␣rain", "↵", "a", "b"]
    assert title(ax) == "context length 2, stride 2: 2 windows"
    assert legend(ax) == ["inputs", "targets", "nobody's target"]
    assert ax.yaxis_inverted()


def test_parts_are_strips_of_colours_that_the_legend_names():
    ax = plot_parts({"cut": [0, 0, 1, 2], "shuffled": [2, 0, 1, 0]}, ["training", "validation", "test"])
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), [[0, 0, 1, 2], [2, 0, 1, 0]])
    assert row_labels(ax) == ["cut", "shuffled"]
    assert legend(ax) == ["training", "validation", "test"]
    for part, patch in enumerate(ax.get_legend().get_patches()):
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
    assert differ([points.get_facecolor() for points in looks.values()])
    assert differ([points.get_paths()[0].vertices.tobytes() for points in looks.values()])  # markers
    assert [line.get_xdata()[0] for line in ax.lines] == [1.5, 3.5]
