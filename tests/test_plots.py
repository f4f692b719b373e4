"""Figures: what they draw, that one can read them on any background, and that files of them are whole."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colors
from training_helpers import assert_helpful, files_in

from gptlib.history import History
from gptlib.plots import (
    STYLE,
    LiveLosses,
    new_axes,
    plot_attention,
    plot_learning_rate,
    plot_losses,
    plot_token_counts,
    save_figure,
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def history(val=(3.2, 2.4, 2.6), steps=(0, 10, 20), n_step_losses=20):
    rows = []
    for i, step in enumerate(steps):
        row = {
            "step": step,
            "epoch": step / 5,
            "tokens": step * 64,
            "learning_rate": 1e-3 * i,
            "train_loss": 3.0 - i / 2,
        }
        row |= {"val_loss": val[i] if val else None, "perplexity": 9.0, "tokens_per_second": 1.0, "mfu": None}
        rows.append(row | {"seconds": step * 0.5})
    return History(rows=rows, step_losses=[3 - i / 20 for i in range(n_step_losses)])


def lines(ax):
    """{label: (xs, ys)} of what is drawn."""
    return {
        line.get_label(): (np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float))
        for line in ax.lines
    }


@pytest.mark.parametrize(("x", "places"), [("step", [0, 10, 20]), ("tokens", [0, 640, 1280]), ("seconds", [0, 5, 10])])
def test_losses_are_drawn_against_what_was_asked(x, places):
    drawn = lines(plot_losses(history(), x=x))
    assert set(drawn) == {"each batch", "training", "validation"}
    assert list(drawn["training"][0]) == list(drawn["validation"][0]) == places
    assert list(drawn["training"][1]) == [3.0, 2.5, 2.0]
    assert list(drawn["validation"][1]) == [3.2, 2.4, 2.6]
    every = {"step": 1, "tokens": 64, "seconds": 0.5}[x]
    assert drawn["each batch"][0] == pytest.approx([every * n for n in range(1, 21)])


def test_batches_behind_the_last_evaluation_have_places_of_their_own():
    """An interrupted run: 27 steps, and the last evaluation at 20."""
    xs, ys = lines(plot_losses(history(n_step_losses=27)))["each batch"]
    assert len(xs) == len(ys) == 27
    assert (np.diff(xs) > 0).all()
    assert list(xs) == list(range(1, 28))


def test_the_lowest_validation_loss_is_marked_where_it_is():
    ax = plot_losses(history(), x="tokens")
    [mark] = [text for text in ax.texts if text.get_text()]
    assert mark.get_text() == "2.400"
    assert mark.xy == (640, 2.4)


def test_without_validation_there_is_no_such_line():
    ax = plot_losses(history(val=None))
    assert "validation" not in lines(ax)
    assert not ax.texts


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_that_has_hardly_begun_can_be_drawn(rows, tmp_path):
    ax = plot_losses(history(steps=(0, 10, 20)[:rows], n_step_losses=0))
    save_figure(ax, tmp_path / "a.png")


def test_a_run_that_was_resumed_with_validation_or_without_can_be_drawn():
    for val in ((None, 2.4, 2.6), (3.2, None, None), (None, None, 2.6)):
        ys = lines(plot_losses(history(val=val)))["validation"][1]
        assert [None if np.isnan(y) else y for y in ys] == list(val)


def test_the_learning_rate_is_drawn_from_zero_on():
    ax = plot_learning_rate(history())
    [(xs, ys)] = lines(ax).values()
    assert list(xs) == [0, 10, 20]
    assert list(ys) == [0.0, 1e-3, 2e-3]
    assert ax.get_ylim()[0] == 0


@given(ids=st.lists(st.integers(0, 40), min_size=1, max_size=60), top=st.integers(1, 12))
@settings(max_examples=25)
def test_token_counts_are_those_of_the_commonest(ids, top):
    ax = plot_token_counts(ids, lambda some: chr(65 + some[0]), top=top)
    widths = [bar.get_width() for bar in ax.patches]
    counts = sorted((ids.count(i) for i in set(ids)), reverse=True)
    assert widths == counts[:top]
    for bar, label in zip(ax.patches, ax.get_yticklabels(), strict=True):
        assert bar.get_width() == ids.count(ord(label.get_text()) - 65) if len(label.get_text()) == 1 else True
    plt.close(ax.figure)


def test_spaces_and_line_ends_can_be_seen_in_the_labels():
    texts = {0: " the", 1: "\n", 2: "a"}
    ax = plot_token_counts([0, 0, 0, 1, 1, 2], lambda some: texts[some[0]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["␣the", "\\n", "a"]
    assert ax.yaxis_inverted()  # the commonest is on top


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_attention_is_drawn_as_it_is_with_tokens_at_both_axes(dtype):
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]], dtype=dtype, requires_grad=True)
    ax = plot_attention(weights, ["The", " owl", "\n"], title="head 1")
    np.testing.assert_allclose(ax.images[0].get_array(), weights.detach().float())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["The", "␣owl", "\\n"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["The", "␣owl", "\\n"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("looked at (key)", "looking (query)")
    assert "head 1" in (ax.get_title(), ax.get_title(loc="left"))


def test_more_attention_is_darker():
    ax = plot_attention(np.array([[0.0, 1.0]]))
    image = ax.images[0]
    light, dark = (luminance(image.cmap(image.norm(value))) for value in (0.0, 1.0))
    assert light > dark + 0.5


def test_with_a_cache_the_looking_positions_are_the_last_tokens():
    ax = plot_attention(np.ones((1, 3)) / 3, ["a", "b", "c"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]


FIGURES = {
    "losses": lambda ax=None: plot_losses(history(), ax),
    "learning rate": lambda ax=None: plot_learning_rate(history(), ax),
    "token counts": lambda ax=None: plot_token_counts([1, 2, 2, 3], lambda ids: f"t{ids[0]}", ax),
    "attention": lambda ax=None: plot_attention(np.eye(4), list("abcd"), ax, title="head"),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_it_draws_into_the_axes_it_is_given_and_gives_them_back(draw):
    _, (left, right) = plt.subplots(1, 2)
    assert draw(right) is right
    assert right.has_data()
    assert not left.has_data()
    before = plt.get_fignums()
    ax = draw()
    assert ax.figure.number not in before
    assert len(plt.get_fignums()) == len(before) + 1


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_the_users_own_style_is_left_alone(draw):
    before = dict(matplotlib.rcParams)
    draw()
    assert dict(matplotlib.rcParams) == before


# To be read: WCAG's contrast of text and what is behind it is 4.5 or more.


def luminance(color):
    """WCAG 2: relative luminance of an sRGB colour."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(color)]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def texts(figure):
    """Every visible text of a drawn figure, with the colour behind it."""
    figure.canvas.draw()
    for text in figure.findobj(matplotlib.text.Text):
        if not text.get_visible() or not text.get_text().strip():
            continue
        ax = text.axes
        inside = ax is not None and text not in (ax.title, ax.xaxis.label, ax.yaxis.label)
        behind = ax.get_facecolor() if inside and ax.axison else figure.get_facecolor()
        yield text, behind if colors.to_rgba(behind)[3] else figure.get_facecolor()


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_every_text_can_be_read_whatever_style_the_notebook_has(draw, style, tmp_path):
    with plt.style.context(style):
        figure = draw().figure
        seen = list(texts(figure))
        assert len(seen) > 5
        for text, behind in seen:
            ratio = contrast(text.get_color(), behind)
            assert ratio >= 4.5, f"{text.get_text()!r} has a contrast of {ratio:.1f}"
        path = save_figure(figure, tmp_path / "a.png")
    corner = plt.imread(path)[0, 0, :3]
    assert corner == pytest.approx(colors.to_rgb(STYLE["figure.facecolor"]), abs=0.01), (
        "the file has another background"
    )


def test_lines_differ_by_more_than_their_colour_and_stand_out():
    ax = plot_losses(history())
    training, validation = (
        next(line for line in ax.lines if line.get_label() == label) for label in ("training", "validation")
    )
    assert training.get_linestyle() != validation.get_linestyle()
    assert training.get_marker() != validation.get_marker()
    for line in (training, validation, plot_learning_rate(history()).lines[0]):
        assert contrast(line.get_color(), STYLE["axes.facecolor"]) >= 3  # WCAG's for what is not text


# Files.


def test_a_figure_becomes_a_whole_png_and_is_closed(tmp_path):
    path = tmp_path / "new" / "loss.png"
    assert save_figure(plot_losses(history()), path) == path
    image = plt.imread(path)
    assert image.shape[0] > 300
    assert image.shape[1] > 600
    assert image.std() > 0.01
    assert plt.get_fignums() == []
    assert files_in(path.parent) == ["loss.png"]
    save_figure(plot_learning_rate(history()).figure, path)
    assert not np.array_equal(plt.imread(path), image)


def test_a_figure_that_cannot_be_drawn_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_figure(plot_losses(history()), tmp_path / "loss.png")
    before = path.read_bytes()
    ax = plot_losses(history())

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
            updated.append(lines(figure.axes[0])["training"][0].size)

    monkeypatch.setattr(
        IPython.display, "display", lambda figure, display_id: shown.append(lines(figure.axes[0])) or Handle()
    )
    live = LiveLosses()
    for n in (1, 2, 3):
        live(history(steps=(0, 10, 20)[:n]))
    assert len(shown) == 1
    assert updated == [2, 3]
    assert plt.get_fignums() == []


# Refused.

BAD = {
    "axis": (lambda: plot_losses(history(), x="epochs"), "x='epochs'", "give 'step', 'tokens' or 'seconds'"),
    "attention of all heads": (lambda: plot_attention(torch.zeros(4, 5, 5)), "(4, 5, 5)", "pass those of one head"),
    "attention of one position": (lambda: plot_attention([0.5, 0.5]), "(2,)", "pass those of one head"),
    "no attention": (lambda: plot_attention(np.zeros((0, 0))), "(0, 0)", "pass"),
    "too few tokens": (lambda: plot_attention(np.eye(4), ["a", "b"]), "2 tokens", "4", "pass"),
    "no token": (lambda: plot_token_counts([], str), "no token", "pass"),
    "negative ids": (lambda: plot_token_counts([3, -1], str), "-1", "encode"),
    "ids that are no integers": (lambda: plot_token_counts([0.5, 1.5], str), "float64", "encode"),
    "ids in two dimensions": (lambda: plot_token_counts([[1, 2], [3, 4]], str), "(2, 2)", "encode"),
    "no bars": (lambda: plot_token_counts([1, 2], str, top=0), "top=0", "at least 1"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_cannot_be_drawn_is_refused_before_there_is_a_figure(case):
    draw, *fragments = case
    with pytest.raises(ValueError, match=r".") as error:
        draw()
    assert_helpful(error, *fragments)
    assert plt.get_fignums() == []


def test_new_axes_have_the_size_asked_for_or_are_those_given():
    ax = new_axes(size=(5, 2))
    assert tuple(ax.figure.get_size_inches()) == (5, 2)
    assert new_axes(ax) is ax
