"""What is drawn of a batch of instructions: each position in the colour of what it is for."""

from matplotlib import colors
from matplotlib.patches import Rectangle

from gptlib import plots
from gptlib.plots.base import PALE_BLUE, PALE_GREEN, PALE_GREY, PALE_ORANGE


def named(ax):
    return [text.get_text() for text in ax.figure.legends[0].get_texts()]


def test_each_position_of_a_batch_is_prompt_learned_or_padding():
    targets, real = [[-100, 3, 0], [-100, 5, -100]], [[True, True, True], [True, True, False]]
    longer = [[-100, -100, -100, 7, 0]], [[True] * 5]
    axes = plots.plot_batches({"a": (targets, real), "b": longer})
    assert axes[0].collections[0].get_array().tolist() == [[0, 1, 1], [0, 1, 2]]  # token 0 is learned as any other
    assert [ax.get_xlim() for ax in axes] == [(0, 5), (0, 5)]
    assert axes[0].get_ylim() == (2, 0)  # the first row on top
    ticks = zip(axes[0].get_yticks(), axes[0].get_yticklabels(), strict=True)
    assert [(place, label.get_text()) for place, label in ticks] == [(0.5, "0"), (1.5, "1")]  # in a row's middle
    assert named(axes[0]) == ["prompt: not learned", "learned", "padding"]


def test_targets_stand_below_their_inputs_and_what_is_not_learned_is_grey():
    ax = plots.plot_targets(["User", ":", " Hi"], [None, " Hi", "<end>"], end="<end>")
    assert [text.get_text() for text in ax.texts] == ["User", "−100", ":", "␣Hi", "␣Hi", "<end>"]
    faces = [patch.get_facecolor() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert faces[1::2] == [colors.to_rgba(face) for face in (PALE_GREY, PALE_ORANGE, PALE_GREEN)]
    # The prompt's last token has a target that is learned, and is of the prompt all the same.
    assert faces[::2] == [colors.to_rgba(face) for face in (PALE_BLUE, PALE_BLUE, PALE_ORANGE)]
    assert named(ax) == ["prompt", "not learned", "answer", "its end"]
