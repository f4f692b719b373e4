"""Tokens stand one behind the other, on a ground that is the darker, the more they cost."""

import numpy as np
import pytest
from drawn import contrast, luminance
from matplotlib.colors import to_hex

from gptlib.plots import plot_token_costs


def drawn_tokens(ax):
    return [text.get_text() for text in ax.texts]


def faces(ax):
    return [to_hex(patch.get_facecolor()) for patch in ax.patches]


def test_white_space_is_drawn_as_signs_and_every_token_is_there():
    ax = plot_token_costs([b"The", b" mill", "\n", b"\xc3"], [1.0, 2.0, 3.0, 4.0])
    assert drawn_tokens(ax) == ["The", "␣mill", "↵", "\\xc3"]


def test_what_costs_more_is_darker_and_from_the_highest_on_alike():
    ax = plot_token_costs("abcde", [0.0, 2.0, 5.0, 10.0, 30.0])
    grounds = faces(ax)
    lights = [luminance(face) for face in grounds]
    assert lights[0] > lights[1] > lights[2] > lights[3] == lights[4]
    assert all(contrast(text.get_color(), face) >= 4.5 for text, face in zip(ax.texts, grounds, strict=True))


def test_a_line_holds_no_more_than_its_width():
    ax = plot_token_costs(["abcdef"] * 7, np.ones(7), width=16)
    places = [(patch.get_x(), round(patch.get_y())) for patch in ax.patches]
    assert places == [(0, 0), (6, 0), (0, 1), (6, 1), (0, 2), (6, 2), (0, 3)]


@pytest.mark.parametrize(
    ("tokens", "costs", "words"),
    [("ab", [1.0], "1 costs"), ([], [], "costs has the shape"), ("a", [float("nan")], "not finite")],
)
def test_what_cannot_be_drawn_is_refused(tokens, costs, words):
    with pytest.raises(ValueError, match=words):
        plot_token_costs(tokens, costs)
