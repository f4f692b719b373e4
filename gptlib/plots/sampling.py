"""Decoding: the next token's distribution and what filters leave of it, repetition, what a KV cache saves."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from gptlib.checks import whole_number
from gptlib.plots.base import BLUE, DARK_ORANGE, GREEN, GREY, ORANGE, PURPLE, in_style, new_axes

LOOKS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, ":", "^"), (PURPLE, "-.", "D"))
KINDS = {  # of a token in plot_token_grid: colour of its cell, hatching, name in the legend
    "prompt": ("#CFE3F1", "", "prompt"),
    "new": ("#FBE3C8", "", "new"),
    "padding": ("#E4E1D8", "///", "padding"),
    "end": ("#BFE5D6", "", "end"),
    "after": ("#E4E1D8", "...", "filled up"),
}
Decode = Callable[[list[int]], str]


def token_label(text: str, longest: int = 12) -> str:
    """A token's text as a label: spaces and line ends visible, long ones cut."""
    text = repr(text)[1:-1].replace(" ", "␣").replace("$", r"\$")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _distribution(probabilities, name: str = "probabilities") -> np.ndarray:
    values = probabilities.detach().float().cpu() if hasattr(probabilities, "detach") else probabilities
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or values.size == 0 or not (values >= 0).all() or abs(values.sum() - 1) > 1e-3:
        raise ValueError(
            f"{name} of shape {values.shape} with the sum {values.sum():.4g} are no distribution; pass one row (V,) of "
            "numbers that are not negative and sum to 1."
        )
    return values


def _token_axis(ax: Axes, tokens: Sequence[int], decode: Decode) -> None:
    ax.set_yticks(range(len(tokens)), [token_label(decode([int(t)])) for t in tokens], family="monospace", fontsize=8)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)


@in_style
def plot_next_tokens(
    probabilities, decode: Decode, before=None, top: int = 12, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Bars of the `top` likeliest next tokens; with `before`, the distribution before a filter as outlines.

    probabilities, before: (V,), summing to 1; the order is that of `before`. decode turns a list of ids into text.
    """
    after = _distribution(probabilities)
    first = after if before is None else _distribution(before, "before")
    if first.shape != after.shape:
        raise ValueError(f"There are {after.size} probabilities and {first.size} before; pass two over one vocabulary.")
    whole_number("top", top, 1)
    tokens = (-first).argsort(kind="stable")[:top]
    ax = new_axes(ax, (5.2, 0.9 + 0.21 * len(tokens)))
    ax.barh(range(len(tokens)), after[tokens], color=BLUE, label="after" if before is not None else None)
    if before is not None:
        ax.barh(range(len(tokens)), first[tokens], fill=False, edgecolor=DARK_ORANGE, linewidth=1.2, label="before")
        ax.legend(loc="lower right", fontsize=8)
    _token_axis(ax, tokens, decode)
    ax.set(xlabel="probability", title=title)
    return ax


@in_style
def plot_filters(
    panels: Mapping[str, tuple], decode: Decode, top: int = 10, axes: Sequence[Axes] | None = None
) -> Sequence[Axes]:
    """`plot_next_tokens` several times side by side: {title: (probabilities, before)}."""
    if not panels:
        raise ValueError("There is nothing to draw; pass {title: (probabilities, before)} with at least one.")
    for after, before in panels.values():
        _distribution(after)
        _distribution(before, "before")
    if axes is None:
        size = (3.2 * len(panels), 1.1 + 0.21 * top)
        axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", sharex=True, squeeze=False)[1][0]
    for ax, (title, (after, before)) in zip(axes, panels.items(), strict=True):
        plot_next_tokens(after, decode, before, top, ax, title)
        if ax is not axes[0]:
            ax.get_legend().remove()
    return axes


@in_style
def plot_running_sum(probabilities, decode: Decode, p: float, top: int = 12, ax: Axes | None = None) -> Axes:
    """The likeliest tokens, each bar beginning where the one above ends, and the line at p that they have to reach."""
    values = _distribution(probabilities)
    if not 0 < p <= 1:
        raise ValueError(f"p={p!r} is out of range; give a number above 0 and at most 1.")
    whole_number("top", top, 1)
    tokens = (-values).argsort(kind="stable")[:top]
    widths = values[tokens]
    starts = widths.cumsum() - widths
    kept = starts < p - 1e-9
    ax = new_axes(ax, (6.0, 1.0 + 0.21 * len(tokens)))
    for is_kept, color, hatch, label in ((True, BLUE, "", "kept"), (False, "#D9D6CC", "///", "removed")):
        where = np.flatnonzero(kept == is_kept)
        if where.size:
            style = {"color": color} if is_kept else {"facecolor": color, "edgecolor": GREY, "hatch": hatch}
            ax.barh(where, widths[where], left=starts[where], label=label, **style)
    ax.axvline(p, color=DARK_ORANGE, linestyle="--", label=f"p = {p:g}")
    _token_axis(ax, tokens, decode)
    ax.legend(loc="lower left", fontsize=8)
    ax.set(xlabel="probability, summed up from the top", xlim=(0, 1))
    return ax


def _check_curves(x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    if not curves:
        raise ValueError("There is no curve to draw; pass at least one, as {name: values}.")
    for name, ys in curves.items():
        if len(ys) != len(x):
            raise ValueError(f"{name!r} has {len(ys)} values for {len(x)} places; pass one for each.")


def _draw_curves(ax: Axes, x: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    for (name, ys), (color, dash, marker) in zip(curves.items(), cycle(LOOKS), strict=False):
        ax.plot(x, ys, color=color, linestyle=dash, marker=marker, markersize=4, label=str(name))


@in_style
def plot_entropy(
    temperatures: Sequence[float], entropies: Mapping[str, Sequence[float]], highest: float, ax: Axes | None = None
) -> Axes:
    """Entropy in nats of next-token distributions against temperature; `highest`: that of a flat one, ln V."""
    _check_curves(temperatures, entropies)
    ax = new_axes(ax)
    _draw_curves(ax, temperatures, entropies)
    ax.axhline(highest, color=GREY, linestyle=(0, (1, 3)), label="all tokens equally likely")
    ax.set(xlabel="temperature", ylabel="entropy (nats)", ylim=(0, highest * 1.08))
    ax.legend(fontsize=8, loc="lower right")
    return ax


@in_style
def plot_repetition(
    temperatures: Sequence[float],
    shares: Mapping[str, Sequence[float]],
    texts: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Shares of distinct n-grams against temperature; `texts`: those of the tales themselves, as thin lines across.

    Both by the same names, as {"n = 2": ...}. Raises ValueError where a name of `texts` is none of the curves'.
    """
    if strangers := (texts or {}).keys() - shares.keys():
        raise ValueError(f"{min(strangers)!r} has no curve; give names of curves: {', '.join(map(repr, shares))}.")
    _check_curves(temperatures, shares)
    ax = new_axes(ax)
    _draw_curves(ax, temperatures, shares)
    for (color, dash, _), name in zip(cycle(LOOKS), shares, strict=False):
        if texts and name in texts:
            ax.axhline(texts[name], color=color, linestyle=dash, linewidth=1, alpha=0.7)
    if texts:
        ax.plot([], [], color=GREY, linewidth=1, label="thin lines: the tales")
    ax.set(xlabel="temperature", ylabel="distinct n-grams", ylim=(0, 1.08))
    ax.legend(fontsize=8, loc="lower right")
    return ax


@in_style
def plot_token_probabilities(texts: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """The probability that a model gave to each token of some texts, token by token, on a logarithmic scale."""
    texts = {name: np.asarray(values, dtype=float) for name, values in texts.items()}
    for name, values in texts.items():
        if values.ndim != 1 or not ((values > 0) & (values <= 1)).all():
            raise ValueError(f"{name!r} holds what can't be drawn; give numbers above 0 and up to 1, one a token.")
    ax = new_axes(ax, (7.2, 3.2))
    for (name, values), (color, dash, marker) in zip(texts.items(), cycle(LOOKS), strict=False):
        ax.plot(values, color=color, linestyle=dash, linewidth=1.3, marker=marker, markersize=2.5, label=name)
    ax.set(xlabel="token", ylabel="its probability", yscale="log")
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=len(texts), fontsize=8)
    return ax


@in_style
def plot_computed_keys(prompt: int, new: int, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Which positions' keys and values each run of the model computes, without a KV cache and with one.

    prompt: tokens of the prompt; new: how many follow, each the result of one run. A row of the picture is a run.
    """
    whole_number("prompt", prompt, 1)
    whole_number("new", new, 1)
    if axes is None:
        size = (2 * (0.9 + 0.34 * (prompt + new)), 1.5 + 0.34 * new)
        axes = plt.subplots(1, 2, figsize=size, layout="constrained")[1]
    computed, kept = {"facecolor": BLUE}, {"facecolor": "#E4E1D8", "hatch": "///"}
    for ax, cache in zip(axes, (False, True), strict=True):
        total = 0
        for run in range(new):
            for position in range(prompt + run):
                is_kept = cache and run > 0 and position < prompt + run - 1
                total += not is_kept
                style = kept if is_kept else computed
                ax.bar(position, 0.86, 0.86, bottom=run - 0.43, edgecolor="#FBFAF6", **style)
        ax.set_yticks(range(new), [f"run {i + 1}" for i in range(new)], fontsize=8)
        ax.set_xticks(range(prompt + new - 1))
        ax.tick_params(axis="x", labelsize=8)
        ax.invert_yaxis()
        ax.grid(visible=False)
        ax.set(xlabel="position", title=f"{'with' if cache else 'without'} a cache: {total} computed")
    handles = [Patch(**computed, label="computed"), Patch(**kept, edgecolor="#8A8A8A", label="kept")]
    axes[0].figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    return axes


@in_style
def plot_generation_speed(lengths: Sequence[int], rates: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Tokens per second against the length of the text so far, for each way of generating."""
    _check_curves(lengths, rates)
    ax = new_axes(ax)
    _draw_curves(ax, lengths, rates)
    ax.set_xscale("log", base=2)
    ax.set_xticks(lengths, [str(n) for n in lengths])
    ax.set(xlabel="tokens of text so far", ylabel="tokens per second", ylim=(0, None))
    ax.legend(fontsize=8)
    return ax


@in_style
def plot_token_grid(
    rows: Sequence[Sequence[str]],
    kinds: Sequence[Sequence[str]],
    notes: Sequence[Sequence[object]] | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Texts as rows of coloured tokens, one above the other, each token of a kind.

    kinds: of each token "prompt", "new", "padding", "end" or "after" (its row had ended). notes: something small below
    each token, as its position. names: of the rows.
    """
    lengths = [[len(row) for row in table] for table in (rows, kinds, notes or rows)]
    if not rows or lengths[1] != lengths[0] or lengths[2] != lengths[0]:
        raise ValueError(f"The rows have {lengths[0]} tokens and {lengths[1]} kinds; give each token one kind.")
    unknown = {kind for row in kinds for kind in row} - KINDS.keys()
    if unknown:
        raise ValueError(f"{min(unknown)!r} is no kind of token; give one of {', '.join(KINDS)}.")
    columns = max(lengths[0])
    ax = new_axes(ax, (min(1.2 + 0.62 * columns, 10), 0.5 + (0.5 if notes else 0.36) * len(rows)))
    for y, row in enumerate(rows):
        for x, text in enumerate(row):
            color, hatch, _ = KINDS[kinds[y][x]]
            ax.bar(x, 0.9, 0.96, bottom=y - 0.45, facecolor=color, edgecolor="#FBFAF6", hatch=hatch)
            label = "" if kinds[y][x] in ("padding", "after") else token_label(text, 8)
            ax.text(x, y - (0.14 if notes else 0), label, ha="center", va="center", family="monospace", fontsize=8)
            if notes:
                ax.text(x, y + 0.24, str(notes[y][x]), ha="center", va="center", fontsize=8, color="#555555")
    ax.set_yticks(range(len(rows)), names or [f"row {i}" for i in range(len(rows))], fontsize=8)
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(-0.6, columns - 0.4), ylim=(len(rows) - 0.45, -0.55))
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    used = [kind for kind in KINDS if any(kind in row for row in kinds)]
    handles = [Patch(facecolor=KINDS[k][0], edgecolor=GREY, hatch=KINDS[k][1], label=KINDS[k][2]) for k in used]
    ax.figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=8)
    return ax
