"""One page of what the ways of drawing cost and give, with texts side by side."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlm.pages import page as pages
from jaxlm.quality import plots, run

SHOWN = 2  # prompts whose continuations are printed
NEAR = 0.05  # of MAUVE
USUAL = 1.0  # temperature, or the nearest, in the middle column


def write(workdir: Path) -> Path:
    """report.html in `workdir`, which needs no other file, and its figures as PNG."""
    workdir = Path(workdir)
    facts, points = run.read(workdir)
    rows = [point["row"] for point in points]
    figures = {
        "frontier": plots.frontier(rows),
        "temperatures": plots.temperatures(rows),
    }
    for name, png in figures.items():
        (workdir / f"{name}.png").write_bytes(png)
    page = pages.render(
        Path(__file__).with_name("report.html"),
        title="Quality against diversity",
        abstract=abstract(rows, facts),
        facts=facts,
        rows=rows,
        samples=samples(points),
        images={
            name: "data:image/png;base64," + base64.b64encode(png).decode()
            for name, png in figures.items()
        },
    )
    path = workdir / "report.html"
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def abstract(rows: Sequence[Mapping], facts: Mapping[str, Any]) -> list[str]:
    """What was drawn; what comes nearest to people's text, and what is easiest to read
    and still unlike it."""
    human, *drawn = rows
    config = facts["config"]
    best = max(drawn, key=lambda row: row["mauve"])
    lowest = min(drawn, key=lambda row: row["perplexity"])
    made = (
        f"{config['prompts']} held-out texts were continued in {len(drawn)} ways by "
        f"one model, {config['new_tokens']} tokens each, and read by a larger one, to "
        "which people's own continuations have a perplexity of "
        f"{human['perplexity']:.3g}."
    )
    others = sum(row["mauve"] > best["mauve"] - NEAR for row in drawn) - 1
    near = (
        f"Closest to people's texts as a set is {called(best)}: MAUVE "
        f"{best['mauve']:.2f}, where other texts of people reach {human['mauve']:.2f}; "
        f"its perplexity is {best['perplexity']:.3g}, and {best['distinct_2']:.0%} of "
        f"its 2-grams differ, of people's {human['distinct_2']:.0%}. "
        f"{others or 'No'} other ways come within {NEAR} of it, which may be chance."
    )
    low = (
        f"The lowest perplexity, {lowest['perplexity']:.3g}, is that of "
        f"{called(lowest)}: {lowest['repetition']:.0%} of its 4-grams were said before "
        f"in the same text, of people's {human['repetition']:.1%}."
    )
    return [made, near, low]


def called(row: Mapping[str, Any]) -> str:
    """'nucleus 0.9 at temperature 0.7'."""
    if row["temperature"] is None:
        return row["line"]
    return f"{row['line']} at temperature {row['temperature']:g}"


def samples(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each shown prompt: how people go on, and each line, cold, usual and hot."""
    human, *drawn = points
    lines = dict.fromkeys(point["row"]["line"] for point in drawn)
    found = []
    for number, prompt in enumerate(human["prompts"][:SHOWN]):
        table = {}
        for line in lines:
            own = [p for p in drawn if p["row"]["line"] == line]
            own.sort(key=lambda p: p["row"]["temperature"] or 0)
            usual = min(own, key=lambda p: abs((p["row"]["temperature"] or 0) - USUAL))
            chosen = {p["row"]["name"]: p for p in (own[0], usual, own[-1])}
            table[line] = [
                (p["row"]["temperature"], p["texts"][number]) for p in chosen.values()
            ]
        entry = {"prompt": prompt, "human": human["texts"][number], "lines": table}
        found.append(entry)
    return found
