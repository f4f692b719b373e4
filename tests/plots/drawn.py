"""Reading a figure: what the tests of plots share."""

from itertools import combinations

import numpy as np
from matplotlib import colors
from matplotlib.patches import Rectangle

from gptlib.training.history import History


def lines(ax):
    """{label: (xs, ys)} of the curves that have a name."""
    named = [line for line in ax.lines if not line.get_label().startswith("_")]
    return {line.get_label(): tuple(np.asarray(part, float).tolist() for part in line.get_data()) for line in named}


def row_labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def column_labels(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def title(ax):
    return ax.get_title(loc="left")


def legend(where):
    """The names in the legend of Axes, or in that of a figure."""
    found = where.legends[0] if hasattr(where, "legends") else where.get_legend()
    return [text.get_text() for text in found.get_texts()]


def numbers(ax):
    """{(row, column): text} of a heat map."""
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts if t.get_text()}


def cells(ax):
    """{(x, y): (text, face)} of what `draw_cell` drew; each text stands in the middle of its cell."""
    found = {}
    for box in ax.patches:
        if isinstance(box, Rectangle):
            x, y = box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2
            found[round(x, 3), round(y, 3)] = ("", colors.to_hex(box.get_facecolor()).upper())
    for text in ax.texts:
        place = tuple(round(float(value), 3) for value in text.get_position())
        if place in found:
            found[place] = (text.get_text(), found[place][1])
    return found


def luminance(color):
    """WCAG 2: relative luminance of an sRGB colour."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(color)]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))


def contrast(one, other):
    """WCAG 2: text needs 4.5 against what is behind it, a line 3."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def titles_and_labels(figure):
    """The titles of the Axes, the names of their axes, and the labels of the ticks that are in view."""
    figure.canvas.draw()
    found = []
    for ax in figure.axes:
        if ax.axison:
            for axis in (ax.xaxis, ax.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                found += [axis.label, *(tick.label1 for tick in ticks)]
        found += [ax._left_title, ax.title]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def legends(figure):
    return [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]


def texts(figure):
    """Every text of a figure that can be seen."""
    found = titles_and_labels(figure)
    found += [text for legend in legends(figure) for text in legend.get_texts()]
    return found + [text for ax in figure.axes for text in ax.texts if text.get_text().strip()]


def overlapping(figure):
    """Pairs of titles, labels and legends that lie over each other."""
    shown = [(text.get_text(), text.get_window_extent()) for text in titles_and_labels(figure)]
    shown += [("legend", legend.get_window_extent()) for legend in legends(figure)]
    return [
        (a, b)
        for (a, one), (b, other) in combinations(shown, 2)
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
    ]


def differ(features):
    """Whether no two of them are alike."""
    return len(set(map(str, features))) == len(list(features))


def make_history(val=(3.2, 2.4, 2.6), steps=(0, 10, 20), n_step_losses=20):
    """A run of evaluations at `steps`, half a second and 64 tokens a step."""
    rows = []
    for i, step in enumerate(steps):
        row = {"step": step, "epoch": step / 5, "tokens": step * 64, "seconds": step * 0.5}
        row |= {"learning_rate": 1e-3 * i, "train_loss": 3.0 - i / 2, "val_loss": val[i] if val else None}
        rows.append(row | {"perplexity": 9.0, "tokens_per_second": 1.0, "mfu": None})
    return History(rows=rows, step_losses=[3 - i / 20 for i in range(n_step_losses)])
