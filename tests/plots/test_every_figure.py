"""What is true of every figure: it can be read, goes where it is told to, and refuses what can't be drawn."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from drawn import contrast, luminance, make_history, overlapping, texts
from matplotlib import colors
from training_helpers import assert_helpful

from gptlib import plots
from gptlib.plots import save_figure
from gptlib.plots.base import STYLE

WORDS = ["the", " door", "mill\n", "bread", "$"]
BEFORE, AFTER = torch.tensor([0.15, 0.4, 0.1, 0.3, 0.05]), torch.tensor([0.0, 4 / 7, 0.0, 3 / 7, 0.0])
FLAT = np.full(40_000, 1 / 40_000)
CAUSAL = torch.ones(3, 3).tril() / torch.arange(1, 4)[:, None]
SIGNED = np.linspace(-2, 2, 12).reshape(3, 4)
CURVES = {"one": [3.0, 2.0, 1.0], "two": ([1, 10, 100], [1.0, 20.0, 300.0])}
SPLIT = {
    "right": torch.arange(12).view(3, 2, 2).transpose(0, 1),
    "wrong": torch.arange(12).view(2, 3, 2),
}
MASKS = {"m": (np.eye(2) > 0, "ab"), "n": (np.ones((3, 3)) > 0, ["a long one", "b", "c"])}
COLUMNS = ("bits_per_byte", "bleu", "embedding_share", "context_bytes", "training_bytes_per_second")
NUMBERS = dict.fromkeys((*COLUMNS, "characters_per_second"), 0.5)
COMPARED = [{"tokenizer": name, "charged_bits_per_byte": 0.2, **NUMBERS} for name in ("word", "sentencepiece")]
BATCH = ([[-100, 3, 4], [-100, 5, -100]], [[True, True, True], [True, True, False]])
COUNTS = {"small": {"tables": 60, "blocks": 40}, "large": {"tables": 10, "blocks": 990}}


def decode(ids):
    return WORDS[ids[0] % 5]


FIGURES = {  # name: (draw(**{"ax": Axes} or {"axes": list of Axes}), number of Axes where it takes several)
    "agreement": (lambda **to: plots.plot_agreement([1, 2], {"same": [1, 2], "twice": [2, 4]}, **to), 0),
    "attention": (lambda **to: plots.plot_attention({"a": CAUSAL, "b": CAUSAL}, ["The", " owl", "\n"], **to), 2),
    "bar_groups": (lambda **to: plots.plot_bar_groups({"a": [0.5, 0.5], "b": [0, 1]}, "xy", ylabel="y", **to), 0),
    "bars": (lambda **to: plots.plot_bars({"one": 1.0, "half": 0.5}, level=(0.7, "chance"), xlabel="x", **to), 0),
    "batch_order": (lambda **to: plots.plot_batch_order([[0, 1], [1, 0]], 1, **to), 0),
    "batches": (lambda **to: plots.plot_batches({"one": BATCH, "two": BATCH}, **to), 2),
    "broadcasting": (lambda **to: plots.plot_broadcasting([[10], [20]], [1, 2, 3], **to), 0),
    "clipping": (lambda **to: plots.plot_clipping([[3, 4], [0.1, 0]], [[0.6, 0.8], [0.1, 0]], 1.0, **to), 0),
    "computed_keys": (lambda **to: plots.plot_computed_keys(3, 4, **to), 2),
    "descent": (lambda **to: plots.plot_descent(lambda w: (w - 3) ** 2, [0.0, 1.0], slope=-6.0, **to), 0),
    "filters": (lambda **to: plots.plot_filters({"top-k": (AFTER, BEFORE), "none": (BEFORE, BEFORE)}, decode, **to), 2),
    "fit": (lambda **to: plots.plot_fit([0, 1], [0, 1], {"before": (0, 0), "after": (1, 0)}, **to), 0),
    "heads": (lambda axes=None: plots.plot_heads([np.ones((2, 3, 3))], axes and np.array([axes])).ravel(), 2),
    "learning_rate": (lambda **to: plots.plot_learning_rate(make_history(), **to), 0),
    "line_panels": (lambda **to: plots.plot_line_panels({"a": CURVES, "b": CURVES}, log="y", guide=2, **to), 2),
    "lines": (lambda **to: plots.plot_lines(CURVES, levels={"two": 50, "ln V": 3}, log="xy", **to), 0),
    "lookup": (lambda **to: plots.plot_lookup([1, 0], SIGNED, **to), 0),
    "loss_curves": (lambda **to: plots.plot_loss_curves(CURVES, smooth=2, **to), 0),
    "losses": (lambda **to: plots.plot_losses(make_history(), **to), 0),
    "masks": (lambda **to: plots.plot_masks(MASKS, **to), 2),
    "matrices": (lambda **to: plots.plot_matrices({"a": SIGNED, "b": SIGNED}, xlabel="x", ylabel="y", **to), 2),
    "matrix": (lambda **to: plots.plot_matrix(SIGNED, numbers=True, framed=[0, 1, 3], **to), 0),
    "next_tokens": (lambda **to: plots.plot_next_tokens(AFTER, decode, BEFORE, **to), 0),
    "parameter_shares": (lambda **to: plots.plot_parameter_shares(COUNTS, **to), 0),
    "parts": (lambda **to: plots.plot_parts({"cut": [0, 1]}, ["a", "b"], **to), 0),
    "paths": (lambda **to: plots.plot_paths(lambda x, y: x**2 + y**2, {"a": [[1, 1], [0.5, 0]]}, **to), 0),
    "rates": (lambda **to: plots.plot_rates([{"case": "a, b", "x tok/s": 1.0}, {"case": "c", "y tok/s": 2}], **to), 0),
    "roofline": (lambda **to: plots.plot_roofline({"fp32": (4e10, 2e11)}, {"a": (0.5, 1e10)}, title="t", **to), 0),
    "running_sum": (lambda **to: plots.plot_running_sum(BEFORE, decode, 0.8, **to), 0),
    "split": (lambda **to: plots.plot_split(SPLIT, **to), 2),
    "sweep": (lambda **to: plots.plot_sweep([1e-4, 3e-4, 1e-3, 3e-3, 1e-2], [4, 3, 2, 3, 4], **to), 0),
    "targets": (lambda **to: plots.plot_targets(["a", " b", "c"], [None, "c", "$"], end="$", **to), 0),
    "tensor": (lambda **to: plots.plot_tensor(torch.zeros(2, 1, 3), title="two", **to), 0),
    "time_shares": (lambda **to: plots.plot_time_shares({"a": {"x": 1, "y": 3}, "b": {"y": 2}}, **to), 2),
    "token_costs": (lambda **to: plots.plot_token_costs(["The", b" mill", "\n"], [1, 2, 9], title="t", **to), 0),
    "token_counts": (lambda **to: plots.plot_token_counts([1, 2, 2, 3], decode, **to), 0),
    "token_rows": (lambda **to: plots.plot_token_rows(["ab", "cd"], [["new", "end"], ["prompt", "padding"]], **to), 0),
    "tokenizers": (lambda **to: plots.plot_tokenizers(COMPARED, **to), 6),
    "tokens": (lambda **to: plots.plot_tokens({"a": ["The", " mill"]}, marked=["The"], **to), 0),
    "vocabulary_growth": (lambda **to: plots.plot_vocabulary_growth({"letters": "abab", "bytes": [b"a"]}, **to), 0),
    "windows": (lambda **to: plots.plot_windows("abcdef", 2, 2, **to), 0),
}
EVERY = pytest.mark.parametrize(("draw", "panels"), FIGURES.values(), ids=FIGURES)


def figure_of(made):
    return (made if hasattr(made, "figure") else made[0]).figure


def test_no_function_is_left_out():
    assert set(FIGURES) == {name.removeprefix("plot_") for name in plots.__all__ if name.startswith("plot_")}


@EVERY
def test_it_draws_into_the_axes_it_is_given_or_into_a_figure_of_its_own(draw, panels):
    axes = list(plt.subplots(1, (panels or 1) + 1)[1])
    before = plt.get_fignums()
    made = draw(axes=axes[1:]) if panels else draw(ax=axes[1])
    assert (list(made) if panels else [made]) == axes[1:]
    assert all(ax.has_data() or ax.texts for ax in axes[1:])
    assert not axes[0].has_data()
    assert plt.get_fignums() == before
    made = draw()
    assert len(plt.get_fignums()) == len(before) + 1
    assert len(list(made) if panels else [made]) == (panels or 1)


@pytest.mark.parametrize("style", ["default", "dark_background"])
@EVERY
def test_every_text_can_be_read_whatever_style_the_notebook_has(draw, panels, style):
    with plt.style.context(style):
        before = dict(matplotlib.rcParams)
        figure = figure_of(draw())
        assert dict(matplotlib.rcParams) == before  # the user's own style is left alone
    assert colors.same_color(figure.get_facecolor(), STYLE["figure.facecolor"])
    seen = texts(figure)
    assert len(seen) >= 3
    for text in seen:
        assert text.get_fontsize() >= 8, text
        if luminance(text.get_color()) < 0.5:  # light ones stand on dark boxes and cells, and have tests of their own
            assert contrast(text.get_color(), STYLE["axes.facecolor"]) >= 4.5, text


@EVERY
def test_nothing_lies_over_anything_else_or_leaves_the_figure(draw, panels):
    figure = figure_of(draw())
    assert overlapping(figure) == []
    for text in texts(figure):
        box = text.get_window_extent()
        if text.axes is None or not text.get_clip_on():
            assert box.x0 >= -1, text
            assert box.x1 <= figure.bbox.width + 1, text


LONG = {
    "many small probabilities": lambda: plots.plot_filters({str(i): (FLAT, FLAT) for i in range(3)}, decode),
    "small probabilities": lambda: plots.plot_next_tokens(FLAT, decode),
    "long names of columns": lambda: plots.plot_attention({"a": np.eye(5)}, ["a long token"] * 5),
    "long names of columns, no numbers": lambda: plots.plot_attention({"a": np.eye(9)}, ["long"] * 9, numbers=False),
    "long names of curves": lambda: plots.plot_lines({"a rather long name of a curve": [1, 2], "b": [2, 1]}),
    "vocabulary sizes": lambda: plots.plot_lines({"a": (range(60, 60_000, 99), range(60, 60_000, 99))}, log="xy"),
    "a long title": lambda: plots.plot_attention({"A title that is much longer than this": np.eye(2)}),
    "long numbers": lambda: plots.plot_matrix([[-12.25, 1234.5, 1e-9]] * 2, numbers=True),
}


@pytest.mark.parametrize("draw", LONG.values(), ids=LONG)
def test_long_labels_do_not_overlap_either(draw):
    assert overlapping(figure_of(draw())) == []


NINES, ALONE = np.eye(9), {"a": [1.0]}
BAD = {
    "agreement of other numbers": (lambda: plots.plot_agreement([1, 2], {"a": [1]}), "'a'", "1", "2"),
    "attention of nothing": (lambda: plots.plot_attention({}), "nothing to draw"),
    "attention of all heads": (lambda: plots.plot_attention({"a": np.ones((4, 5, 5))}), "(4, 5, 5)", "of one head"),
    "attention of one position": (lambda: plots.plot_attention({"a": np.ones(3)}), "(3,)", "of one head"),
    "too few tokens": (lambda: plots.plot_attention({"a": CAUSAL}, ["x"]), "1 tokens", "(3, 3)"),
    "other axes": (lambda: plots.plot_attention({"a": CAUSAL}, axes=[]), "0 Axes for 1 panels"),
    "bars of nothing": (lambda: plots.plot_bars({}), "pass finite values"),
    "a bar below zero": (lambda: plots.plot_bars({"a": -1.0}), "-1.0", "pass finite values"),
    "a bar without end": (lambda: plots.plot_bars({"a": float("inf")}), "inf", "pass finite values"),
    "a bar of NaN": (lambda: plots.plot_bars({"a": float("nan")}), "nan", "pass finite values"),
    "groups of nothing": (lambda: plots.plot_bar_groups({}, "xy"), "0 rows of bars"),
    "groups of another size": (lambda: plots.plot_bar_groups({"a": [1.0]}, "xy"), "1 values in 'a'", "2 labels"),
    "no batch": (lambda: plots.plot_batch_order([], 3), "no batch", "pass one"),
    "no batch of rows": (lambda: plots.plot_batches({}), "nothing to draw"),
    "a mask of another batch": (
        lambda: plots.plot_batches({"a": ([[1, 2]], [[True]])}),
        "'a'",
        "(1, 2)",
        "(1, 1)",
        "pass",
    ),
    "shapes that don't fit": (lambda: plots.plot_broadcasting([1, 2, 3], [1, 2]), "(3,)", "(2,)", "equal"),
    "a sum in three dimensions": (lambda: plots.plot_broadcasting(np.zeros((2, 2, 2)), [1, 2]), "two dimensions"),
    "gradients of three weights": (lambda: plots.plot_clipping([[1, 2, 3]], [[1, 2, 3]], 1.0), "(1, 3)", "(n, 2)"),
    "gradients that are lost": (lambda: plots.plot_clipping([[1, 2]], [[1, 2], [1, 2]], 1.0), "2 gradients after"),
    "no prompt": (lambda: plots.plot_computed_keys(0, 4), "prompt=0"),
    "no step": (lambda: plots.plot_descent(abs, []), "points", "at least one"),
    "filters of nothing": (lambda: plots.plot_filters({}, decode), "nothing to draw"),
    "a filter of no distribution": (lambda: plots.plot_filters({"a": (AFTER, 2 * BEFORE)}, decode), "'a' before", "2"),
    "points without y": (lambda: plots.plot_fit([1, 2], [1], {}), "1 y", "2 x"),
    "no layers": (lambda: plots.plot_heads([]), "heads, queries, keys"),
    "a layer of one head": (lambda: plots.plot_heads([np.ones((3, 3))]), "(3, 3)"),
    "layers that differ": (lambda: plots.plot_heads([np.ones((2, 3, 3)), np.ones((1, 3, 3))]), "all alike"),
    "no panels": (lambda: plots.plot_line_panels({}), "pass 1 to 5"),
    "a panel without curves": (lambda: plots.plot_line_panels({"a": {}}), "0 curves"),
    "no curves": (lambda: plots.plot_lines({}), "0 curves"),
    "six curves": (lambda: plots.plot_lines({str(i): [1] for i in range(6)}), "6 curves", "1 to 5"),
    "a curve without points": (lambda: plots.plot_lines({"a": []}), "'a'", "(0,)"),
    "a curve in two dimensions": (lambda: plots.plot_lines({"a": [[1, 2], [3, 4]]}), "'a'", "(2, 2)"),
    "a curve of another length": (lambda: plots.plot_lines({"a": ([1, 2], [1])}), "'a' has 2 xs and 1 ys"),
    "a curve shorter than x": (lambda: plots.plot_lines(ALONE, [1, 2]), "'a' has 2 xs and 1 ys"),
    "zero on a log axis": (lambda: plots.plot_lines({"a": [1, 0]}, log="y"), "'a' reaches 0", "above 0"),
    "minus one on a log axis": (lambda: plots.plot_lines(ALONE, [-1], log="x"), "x of 'a' reaches -1"),
    "a log axis that is none": (lambda: plots.plot_lines(ALONE, log=True), "log=True", "'xy'"),
    "a mean of none": (lambda: plots.plot_lines(ALONE, smooth=0), "smooth=0"),
    "an id outside": (lambda: plots.plot_lookup([0, 3], SIGNED), "[0, 3]", "from 0 to 2"),
    "no id": (lambda: plots.plot_lookup([], SIGNED), "[]", "pass at least one"),
    "a large table": (lambda: plots.plot_lookup([0], np.zeros((60, 2))), "(60, 2)", "pass a smaller"),
    "an axis that is none": (lambda: plots.plot_losses(make_history(), x="epochs"), "x='epochs'", "'tokens'"),
    "weights for a mask": (lambda: plots.plot_masks({"m": (np.eye(2), "ab")}), "float64", "True and False"),
    "tokens for another mask": (lambda: plots.plot_masks({"m": (np.eye(2) > 0, "abc")}), "3 tokens", "pass a square"),
    "no mask": (lambda: plots.plot_masks({}), "nothing to draw"),
    "matrices of two shapes": (lambda: plots.plot_matrices({"a": [[1]], "b": [[1, 2]]}), "(1, 2)", "all alike"),
    "a matrix of NaN": (lambda: plots.plot_matrices({"a": [[float("nan")]]}), "'a' has NaN", "finite"),
    "one vector": (lambda: plots.plot_matrix([1.0, 2.0]), "(2,)", "pass one matrix"),
    "an empty matrix": (lambda: plots.plot_matrix(np.zeros((0, 3))), "(0, 3)", "pass one matrix"),
    "labels for other rows": (lambda: plots.plot_matrix(SIGNED, ["a"]), "1 labels", "3 rows", "pass one"),
    "labels for other columns": (lambda: plots.plot_matrix(SIGNED, None, ["a"]), "1 labels", "4 columns", "pass one"),
    "too many numbers": (lambda: plots.plot_matrix(np.zeros((11, 11)), numbers=True), "121", "pass numbers=False"),
    "a frame outside": (lambda: plots.plot_matrix(SIGNED, framed=[0, 1, 4]), "[0, 1, 4]", "from 0 to 3"),
    "frames for other rows": (lambda: plots.plot_matrix(SIGNED, framed=[0]), "1 framed columns", "3 rows"),
    "no distribution": (lambda: plots.plot_next_tokens([0.5, 0.6], decode), "1.1", "distribution"),
    "a negative probability": (lambda: plots.plot_next_tokens([1.5, -0.5], decode), "-0.5", "distribution"),
    "distributions of a batch": (lambda: plots.plot_next_tokens(BEFORE[None], decode), "(1, 5)", "one row"),
    "another vocabulary": (lambda: plots.plot_next_tokens(BEFORE, decode, [0.5, 0.5]), "5 probabilities and 2"),
    "no bars": (lambda: plots.plot_next_tokens(BEFORE, decode, top=0), "top=0"),
    "no model": (lambda: plots.plot_parameter_shares({}), "pass the same 1 to 6 parts"),
    "a model without parts": (lambda: plots.plot_parameter_shares({"a": {}}), "pass the same 1 to 6 parts"),
    "models of other parts": (lambda: plots.plot_parameter_shares({"a": {"x": 1}, "b": {"y": 1}}), "'y'", "the same"),
    "too many parts": (lambda: plots.plot_parameter_shares({"a": dict.fromkeys("abcdefg", 1)}), "1 to 6 parts"),
    "no strip": (lambda: plots.plot_parts({}, ["a"]), "pass one strip"),
    "strips of two lengths": (lambda: plots.plot_parts({"a": [0], "b": [0, 0]}, ["x"]), "[1, 2]", "same length"),
    "a part without a name": (lambda: plots.plot_parts({"a": [0, 2]}, ["x", "y"]), "0 to 2", "use numbers"),
    "a path of single numbers": (lambda: plots.plot_paths(np.add, {"a": [1, 2]}), "'a'", "(2,)"),
    "no rows": (lambda: plots.plot_rates([]), "no column", "tok/s"),
    "rows without rates": (lambda: plots.plot_rates([{"case": "a", "loss": 1.0}]), "'loss'", "tok/s"),
    "no roof": (lambda: plots.plot_roofline({}, {"a": (1, 1)}), "pass a roof"),
    "a roof at zero": (lambda: plots.plot_roofline({"a": (1, 0)}), "(1, 0)", "above 0"),
    "a point without intensity": (lambda: plots.plot_roofline({"a": (1, 1)}, {"b": (0, 1)}), "'b'", "above 0"),
    "no tokenizers": (lambda: plots.plot_tokenizers([]), "no row", "pass at least one"),
    "tokenizers without numbers": (lambda: plots.plot_tokenizers([{"tokenizer": "bpe"}]), "'charged_bits_per_byte'"),
    "too many points": (lambda: plots.plot_roofline({str(i): (1, 1) for i in range(6)}), "6 curves", "1 to 5"),
    "a sum that can't be reached": (lambda: plots.plot_running_sum(BEFORE, decode, p=1.5), "p=1.5"),
    "heads of other numbers": (lambda: plots.plot_split({"a": np.ones((2, 3, 2))}), "made of 0, 1, 2"),
    "heads in one row": (lambda: plots.plot_split({"a": np.arange(6)}), "the shape (6,)"),
    "no heads": (lambda: plots.plot_split({}), "nothing to draw"),
    "a sweep without losses": (lambda: plots.plot_sweep([1, 2], [1]), "1 losses and 2 rates"),
    "a rate of zero": (lambda: plots.plot_sweep([0, 2], [1, 1]), "reaches 0", "above 0"),
    "a sweep of NaN": (lambda: plots.plot_sweep([1], [float("nan")]), "none is a number", "try"),
    "targets of other inputs": (lambda: plots.plot_targets(["a"], []), "1 inputs", "0 targets", "pass as many"),
    "four dimensions": (lambda: plots.plot_tensor(np.zeros((1, 1, 1, 1))), "(1, 1, 1, 1)", "1, 2 or 3 dimensions"),
    "no job": (lambda: plots.plot_time_shares({}), "nothing to draw"),
    "a job without time": (lambda: plots.plot_time_shares({"a": {"x": 0.0}}), "'a'", "above 0"),
    "no numbers": (lambda: plots.plot_tensor([]), "(0,)", "none of them empty"),
    "groups of other numbers": (lambda: plots.plot_tensor([1, 2], groups=[1]), "(1,)", "make them alike"),
    "counts of nothing": (lambda: plots.plot_token_counts([], str), "no token", "pass"),
    "negative ids": (lambda: plots.plot_token_counts([3, -1], str), "-1", "encode"),
    "ids that are no integers": (lambda: plots.plot_token_counts([0.5, 1.5], str), "float64", "encode"),
    "ids in two dimensions": (lambda: plots.plot_token_counts([[1, 2], [3, 4]], str), "(2, 2)", "encode"),
    "no counts": (lambda: plots.plot_token_counts([1, 2], str, top=0), "top=0", "at least 1"),
    "an empty row": (lambda: plots.plot_token_rows(["ab", ""]), "[2, 0]", "pass one row"),
    "names for other rows": (lambda: plots.plot_token_rows(["ab"], names=["a", "b"]), "2 names", "1 row"),
    "kinds of other tokens": (lambda: plots.plot_token_rows([["a"]], [["new", "new"]]), "[1] tokens and [2] kinds"),
    "notes of other tokens": (lambda: plots.plot_token_rows(["a"], notes=[[]]), "[1] tokens and [0] notes"),
    "a kind that is none": (lambda: plots.plot_token_rows([["a"]], [["other"]]), "'other'", "give one of"),
    "texts of nothing": (lambda: plots.plot_tokens({}), "no token", "pass"),
    "a text without tokens": (lambda: plots.plot_tokens({"a": ["b"], "c": []}), "no token", "pass"),
    "a text for its tokens": (lambda: plots.plot_tokens({"name": "one text"}), "'name' is one str", "pass its tokens"),
    "bytes for their tokens": (lambda: plots.plot_tokens({"a": b"bytes"}), "one bytes", "pass its tokens"),
    "a width that holds nothing": (lambda: plots.plot_tokens({"a": ["b"]}, width=3), "width=3"),
    "growth of nothing": (lambda: plots.plot_vocabulary_growth({"a": []}), "nothing to count", "pass"),
    "too short a text": (lambda: plots.plot_windows("abc", 3), "3 tokens", "at least 4"),
    "too long a text": (lambda: plots.plot_windows("a" * 25, 4), "25 tokens", "at most 24"),
    "too many windows": (lambda: plots.plot_windows("a" * 20, 4, 1), "16 windows", "at most 12"),
    "no stride": (lambda: plots.plot_windows("abc", 2, 0), "stride=0", "at least 1"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_cannot_be_drawn_is_refused_before_there_is_a_figure(case):
    draw, *fragments = case
    with pytest.raises(ValueError, match=r".") as error:
        draw()
    assert_helpful(error, *fragments)
    assert plt.get_fignums() == []


def test_a_figure_is_saved_with_its_own_background_and_closed(tmp_path):
    with plt.style.context("dark_background"):
        path = save_figure(plots.plot_bars({"a": 1.0}), tmp_path / "a.png")
    assert plt.imread(path)[0, 0, :3] == pytest.approx(colors.to_rgb(STYLE["figure.facecolor"]), abs=0.01)
    assert plt.get_fignums() == []
