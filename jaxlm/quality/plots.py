"""Figures of a comparison as PNG bytes: a line a strategy, over its temperatures."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxlm.pages.figures import INK, SOFT, png, styled
from jaxlm.quality.points import HUMAN

COLOURS = (  # Okabe and Ito's
    *("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    "#56b4e9",
)
MARKS = ("s", "D", "^", "v", "P", "X")  # of strategies that draw nothing
LABELS = {
    "perplexity": "perplexity under the scorer",
    "repetition": "4-grams said before in a text (%)",
    "mauve": "closeness to people's texts (MAUVE)",
    "distinct_2": "different 2-grams of all (%)",
    "distinct_3": "different 3-grams of all (%)",
}
PER_CENT = ("repetition", "distinct_2", "distinct_3")


@styled(axes_grid=True, savefig_dpi=150)
def frontier(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Perplexity against the share of different n-grams; people's text is a star."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, across in zip(panels, ("distinct_2", "distinct_3"), strict=True):
        _lines(axes, rows, across, "perplexity")
        human = rows[0]
        axes.plot(_value(human, across), human["perplexity"], **_star())
        axes.set_yscale("log")
        axes.set_xlabel(LABELS[across])
    _decimal(panels[0])
    panels[0].set_ylabel(LABELS["perplexity"])
    return _finish(figure, panels[0], columns=4)


@styled(axes_grid=True, savefig_dpi=150)
def temperatures(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Three measures against temperature; people's text is dashed.

    What draws nothing stands at 0, where drawing becomes greedy.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    names = ("repetition", "mauve", "perplexity")
    for axes, name in zip(panels, names, strict=True):
        _lines(axes, rows, "temperature", name)
        axes.axhline(_value(rows[0], name), color=SOFT, lw=1, ls=(0, (4, 3)))
        axes.set_xlabel("temperature")
        axes.set_title(LABELS[name].split(" (")[0], fontsize=8)
        axes.set_ylim(bottom=0)
    panels[2].set_ylim(auto=True)
    panels[2].set_yscale("log")
    panels[0].set_ylabel("%")
    _decimal(panels[2])
    return _finish(figure, panels[0], columns=4)


def _lines(axes, rows, across: str, up: str) -> None:
    """What draws as lines in one colour each, the rest as marks in grey."""
    names = list(dict.fromkeys(row["line"] for row in rows if row["line"] != HUMAN))
    drawn = [
        name
        for name in names
        if any(r["temperature"] is not None for r in rows if r["line"] == name)
    ]
    for name in names:
        own = [row for row in rows if row["line"] == name]
        x, y = ([_value(row, axis) for row in own] for axis in (across, up))
        if name in drawn:
            colour = COLOURS[drawn.index(name) % len(COLOURS)]
            axes.plot(x, y, color=colour, lw=1.4, marker="o", ms=3, label=name)
        else:
            mark = MARKS[(names.index(name) - len(drawn)) % len(MARKS)]
            axes.plot(x, y, ls="", marker=mark, ms=6, color="#8b95a3", label=name)


def _value(row: Mapping[str, Any], name: str) -> float:
    if name == "temperature":
        return row[name] or 0.0
    return row[name] * (100 if name in PER_CENT else 1)


def _star() -> dict[str, Any]:
    return {
        "ls": "",
        "marker": "*",
        "ms": 15,
        "color": "#f0e442",
        "mec": INK,
        "label": "people",
        "zorder": 5,
    }


def _decimal(axes) -> None:
    """Plain numbers, a few a decade, on an axis of logarithms."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _finish(figure, axes, columns: int) -> bytes:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, fontsize=8)
    return png(figure)
