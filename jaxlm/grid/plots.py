"""Figures of a grid as PNG bytes: two heat maps and the curves of every pair."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlm.grid.findings import words
from jaxlm.pages.figures import INK, SOFT, png, styled

COLOURS = {  # Okabe and Ito's
    "causal_decoder": "#0072b2",
    "prefix_decoder": "#56b4e9",
    "encoder_decoder": "#d55e00",
    "encoder": "#009e73",
}
DASHES = (0, (4, 3))


def accuracy(rows: Sequence[Mapping], kinds: Sequence[str], names: Sequence[str]):
    """Questions answered right, from guessing on, with standard errors."""
    cells = {
        (row["kind"], row["objective"]): (
            100 * row["accuracy"],
            f"{100 * row['accuracy']:.1f}\n± {100 * row['stderr']:.1f}",
        )
        for row in rows
    }
    chance = 100 * rows[0]["chance"]
    label = f"questions answered right (%), {chance:g} by guessing"
    return heat(cells, kinds, names, label=label, least=chance)


def margin(rows: Sequence[Mapping], kinds: Sequence[str], names: Sequence[str]):
    """How far the loss is below the entropy of its targets' frequencies."""
    cells = {
        (row["kind"], row["objective"]): (
            row["entropy"] - row["loss"],
            f"{row['entropy'] - row['loss']:.2f}\n{row['loss']:.2f}",
        )
        for row in rows
    }
    label = "entropy of targets less loss (nats); below it the loss"
    return heat(cells, kinds, names, label=label, least=0)


@styled(savefig_dpi=150)
def heat(
    cells: Mapping[tuple[str, str], tuple[float, str]],
    kinds: Sequence[str],
    names: Sequence[str],
    *,
    label: str,
    least: float,
) -> bytes:
    """Kinds down, objectives across; a value and its words, grey where there is none.

    Colours go from `least`, where nothing was learned, to the highest value.
    """
    import matplotlib
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(1.6 + 1.05 * len(names), 1.3 + 0.72 * len(kinds)), layout="constrained"
    )
    axes = figure.subplots()
    table = np.full((len(kinds), len(names)), np.nan)
    for (kind, name), (value, _) in cells.items():
        table[kinds.index(kind), names.index(name)] = value
    # The last tenth is too light on white paper.
    colours = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 256)))
    colours = colours.with_extremes(bad="#f0efec")
    most = max(np.nanmax(table), least + 0.1)
    scale = Normalize(least, most)
    drawn = axes.imshow(table, cmap=colours, norm=scale, aspect="auto")
    for row, column in np.ndindex(table.shape):
        cell = cells.get((kinds[row], names[column]))
        dark = cell is not None and scale(cell[0]) < 0.6
        axes.text(
            column,
            row,
            cell[1] if cell else "not trained",
            ha="center",
            va="center",
            color="white" if dark else INK if cell else SOFT,
            fontsize=9 if cell else 8,
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(kinds)), [words(kind) for kind in kinds])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, location="bottom", aspect=45, pad=0.04)
    bar.set_label(label, color=INK)
    bar.outline.set_visible(False)
    return png(figure)


@styled(axes_grid=True, savefig_dpi=150)
def curves(
    rows: Sequence[Mapping[str, Any]],
    losses: Mapping[str, tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
) -> bytes:
    """Training loss against steps, a panel an objective; dashed, what counting reaches.

    losses: of each run, (steps, loss in nats a target).
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = [name for name in names if any(row["objective"] == name for row in rows)]
    columns = min(3, len(names))
    down = -(-len(names) // columns)
    figure = Figure(figsize=(6.6, 0.7 + 2.1 * down), layout="constrained")
    panels = figure.subplots(down, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    handles = {}
    for axes, name in zip(panels.flat, names, strict=False):
        axes.set_title(name)
        for row in rows:
            if row["objective"] == name:
                colour = COLOURS[row["kind"]]
                (line,) = axes.plot(*losses[row["name"]], color=colour, lw=1.3)
                axes.axhline(row["entropy"], color=colour, lw=1, ls=DASHES)
                handles[words(row["kind"])] = line
    for axes in panels[:, 0]:
        axes.set_ylabel("loss (nats)")
    for column in range(columns):
        shown = [axes for axes in panels[:, column] if axes.get_visible()]
        shown[-1].set_xlabel("steps")
        shown[-1].tick_params(labelbottom=True)
    handles["entropy of targets"] = Line2D([], [], color=SOFT, lw=1, ls=DASHES)
    figure.legend(
        handles.values(),
        handles,
        loc="outside upper left",
        ncols=len(handles),
        handlelength=1.6,
        columnspacing=1.0,
        fontsize=8,
    )
    return png(figure)
