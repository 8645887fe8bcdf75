"""One page that says which models and objectives choose best, or how each learned.

`write` reads results.csv and grid.json of a grid's workdir and the curves of its runs,
and leaves report/report.html, which needs no other file, and the figures beside it.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlm.grid import findings, plots
from jaxlm.grid.findings import percent, words
from jaxlm.grid.results import read
from jaxlm.pages import page as pages
from jaxlm.train.workdir import read_json


def write(workdir: Path) -> Path:
    """The page of what is finished; ConfigError where nothing is."""
    workdir = Path(workdir)
    rows, facts = read(workdir / "results.csv"), read_json(workdir / "grid.json")
    kinds, names = facts["kinds"], facts["objectives"]
    direct = [row for row in rows if not row["after"]]
    losses = {row["name"]: _losses(workdir / "runs" / row["name"]) for row in direct}
    figures = {
        "loss": plots.margin(direct, kinds, names),
        "curves": plots.curves(direct, losses, names),
    }
    if findings.asked(rows):
        figures["accuracy"] = plots.accuracy(direct, kinds, names)
    out = workdir / "report"
    out.mkdir(exist_ok=True)
    for name, png in figures.items():
        (out / f"{name}.png").write_bytes(png)
    path = out / "report.html"
    path.write_text(render(rows, facts, figures), encoding="utf-8")
    return path


def render(
    rows: Sequence[Mapping], facts: Mapping[str, Any], figures: Mapping[str, bytes]
) -> str:
    """The page as HTML. Everything that comes from a file is escaped."""
    direct = [row for row in rows if not row["after"]]
    by_name = {row["name"]: row for row in rows}
    return pages.render(
        Path(__file__).with_name("report.html"),
        {"words": words, "percent": percent, "count": lambda number: f"{number:,.0f}"},
        title="Which model, which objective",
        asked=findings.asked(rows),
        abstract=findings.abstract(direct, facts),
        facts=facts,
        cells={(row["kind"], row["objective"]): row for row in direct},
        refused={(c["kind"], c["objective"]): c["why"] for c in facts["refused"]},
        adapted=[_adapted(row, by_name) for row in rows if row["after"]],
        rows=rows,
        caveats=findings.caveats(direct, facts),
        images={
            name: "data:image/png;base64," + base64.b64encode(png).decode()
            for name, png in figures.items()
        },
    )


def _adapted(row: Mapping, by_name: Mapping[str, Mapping]) -> dict[str, Any]:
    """A pair that went on from another, beside that and beside one from scratch."""
    scratch = f"{row['kind']}-{row['objective']}"
    return {
        "row": row,
        "before": by_name.get(row["after"]),
        "scratch": by_name.get(scratch),
    }


def _losses(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(steps, training loss) of a run."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found = [row for row in map(json.loads, lines) if row["kind"] == "train"]
    return (
        np.array([row["step"] for row in found]),
        np.array([row["loss"] for row in found]),
    )
