"""Texts as tokens: every token is drawn, can be told from its neighbours and can be read."""

import warnings
from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
from drawn import contrast, luminance, title
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import FancyBboxPatch

from gptlib.plots import plot_tokens
from gptlib.plots.labels import token_label, visible


def boxes(ax):
    """(text, left, right, top, colour) of each token's box, in the order of drawing."""
    patches = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    texts = [text for text in ax.texts if text.get_ha() == "center"]
    rows = []
    for patch, text in zip(patches, texts, strict=True):
        left = patch.get_x()
        assert left < text.get_position()[0] < left + patch.get_width()
        assert patch.get_y() < text.get_position()[1] < patch.get_y() + patch.get_height()
        rows.append((text.get_text(), left, left + patch.get_width(), patch.get_y(), patch.get_facecolor()))
    return rows


def labels(ax):
    return [text.get_text() for text in ax.texts if text.get_ha() == "left"]


def test_each_token_is_drawn_once_in_its_order_under_its_name():
    ax = plot_tokens({"words": ["The", " mill", "."], "bytes": [b"T", b"h"], "one": ["x"]}, title="Mill")
    assert [text for text, *_ in boxes(ax)] == ["The", "␣mill", ".", "T", "h", "x"]
    assert labels(ax) == ["words", "3 tokens", "bytes", "2 tokens", "one", "1 token"]
    assert title(ax) == "Mill"
    tops = [top for *_, top, _ in boxes(ax)]
    assert tops[0] == tops[2] < tops[3] == tops[4] < tops[5]


def test_neighbours_differ_in_colour_and_text_can_be_read_on_both():
    drawn = boxes(plot_tokens({"a": list("abcdef")}))
    assert all(one[-1] != other[-1] for one, other in pairwise(drawn))
    assert len({box[-1] for box in drawn}) == 2
    for color in {box[-1] for box in drawn}:
        assert contrast(color, "#111111") > 7


def test_marked_tokens_are_dark_with_light_text():
    ax = plot_tokens({"words": ["a", "<|unk|>", " b"]}, marked=["<|unk|>"])
    dark = [text for text, *_, color in boxes(ax) if luminance(color) < 0.1]
    assert dark == ["<|unk|>"]
    [ink] = [text.get_color() for text in ax.texts if text.get_text() == "<|unk|>"]
    assert luminance(ink) > 0.9
    assert [t for t, *_, c in boxes(plot_tokens({"w": [b"<|unk|>", b"a"]}, marked=["<|unk|>"])) if luminance(c) < 0.1]


@given(
    tokens=st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=40),
    width=st.integers(16, 60),
)
@settings(max_examples=40)
def test_boxes_never_overlap_nor_leave_the_figure(tokens, width):
    ax = plot_tokens({"any": tokens}, width=width)
    drawn = boxes(ax)
    assert [text for text, *_ in drawn] == [visible(token, width - 2) for token in tokens]
    for (_, left, right, top, _), (_, next_left, _, next_top, _) in pairwise(drawn):
        assert (right < next_left and top == next_top) or (next_top > top + 0.9 and next_left <= left)
    assert max(right for _, _, right, _, _ in drawn) <= ax.get_xlim()[1]
    assert max(top for *_, top, _ in drawn) + 0.9 <= ax.get_ylim()[0]
    plt.close(ax.figure)


def test_labels_and_boxes_do_not_touch_and_no_text_is_small():
    ax = plot_tokens({"SentencePiece": ["a"] * 90, "a rather long name": ["wwwww"] * 40}, width=30)
    ax.figure.canvas.draw()
    widest = max(text.get_window_extent().x1 for text in ax.texts if text.get_ha() == "left")
    first = min(text.get_window_extent().x0 for text in ax.texts if text.get_ha() == "center")
    assert widest < first
    assert min(text.get_fontsize() for text in ax.texts) >= 8


def test_text_stays_within_its_box():
    ax = plot_tokens({"x": ["WWWWWWWW", "iiiiiiii", "␣", "\\xf0"]}, width=40)
    ax.figure.canvas.draw()
    patches = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    for patch, text in zip(patches, [t for t in ax.texts if t.get_ha() == "center"], strict=True):
        outer, inner = patch.get_window_extent(), text.get_window_extent()
        assert outer.x0 <= inner.x0
        assert inner.x1 <= outer.x1


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" the", "␣the"),
        ("\n\n", "↵↵"),
        ("\t", "⇥"),
        (b" a\xc3", "␣a\\xc3"),
        ("é".encode(), "é"),
        ("🙂", "U+1F642"),
        ("日", "U+65E5"),
        ("e\u0301", "eU+0301"),
        ("\x00", "U+0000"),
        ("\u200b", "U+200B"),
        ("", "(empty)"),
        ("$x$", "$x$"),
    ],
)
def test_every_token_can_be_seen(token, shown):
    assert visible(token) == shown


def test_a_token_longer_than_a_line_is_shortened():
    shown = visible("a" * 60 + "z" * 60, 28)
    assert len(shown) == 28
    assert shown.startswith("aaa")
    assert shown.endswith("zzz")
    assert "…" in shown
    assert visible("a" * 40, 76) == "a" * 40


def test_strange_tokens_are_drawn_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = plot_tokens({"é": ["🙂", "日本", "\u0301", "\ud800", "$\\frac$", "_^{", b"\xff\xfe"]})
        ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("token", "label"),
    [
        (" door", "␣door"),
        ("mill\n", "mill↵"),
        ("$5", r"\$5"),
        ("extraordinarily", "extraordina…"),
        ("\ufffd", "\ufffd"),
        (7, "7"),
    ],
)
def test_a_label_is_short_and_no_formula(token, label):
    assert token_label(token) == label
