"""A grid, trained and questioned pair by pair.

WORKDIR/runs/NAME is an ordinary run, and whatever is stopped goes on when the same
command is given again.
"""

import time
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jaxlm.core import schema
from jaxlm.core.batch import Batch
from jaxlm.core.claims import claim
from jaxlm.core.config import override
from jaxlm.data import corpus as corpora
from jaxlm.data import loader, objectives, questions
from jaxlm.data.corpus import Corpus
from jaxlm.data.questions import Questions
from jaxlm.grid import pairs
from jaxlm.grid.pairs import Pair
from jaxlm.grid.results import Results
from jaxlm.scaling import cost
from jaxlm.train import choices, loop
from jaxlm.train import run as runs
from jaxlm.train import step as steps
from jaxlm.train import workdir as workdirs
from jaxlm.train.schedules import Hyper

ROWS = 64  # that are read at once to answer questions
UNASKED = choices.Choices(accuracy=nan, stderr=nan, chance=nan, questions=0)


class Summary(NamedTuple):
    """finished: pairs in the table, of `planned`; refused: those that make no sense."""

    finished: int
    planned: int
    refused: int


def grid(config: schema.Experiment, workdir: Path, *, command: str = "") -> Summary:
    """Trains what is missing of the grid, asks each model, and tabulates it.

    Raises ConfigError for an impossible grid, before anything is trained, and for a
    workdir of other settings; pairs may be added between calls. `command` is recorded
    for the report.
    """
    began, workdir = time.perf_counter(), Path(workdir)
    corpus = corpora.build(config.data)
    config = pairs.with_vocabulary(config, corpus.tokenizer)
    cells = pairs.pairs(config, corpus.tokenizer)
    asked = _questions(config, corpus) if config.grid.questions else None
    for cell in cells:
        if cell.config:
            _trace(cell.config, corpus)
    open_ended = replace(config.grid, kinds=(), objectives=(), adapt=())
    with claim(workdir, "workdir"):
        plain = replace(config, grid=open_ended)
        workdirs.describe(workdir, plain, loop.corpus_entry(corpus))
        results = Results(workdir)
        earlier = results.facts.get("seconds", 0.0)
        _train_all(cells, corpus, asked, config.grid.per, workdir, results)
        results.describe(
            {
                "command": command,
                "seconds": earlier + time.perf_counter() - began,
                **_facts(config, corpus, results),
            }
        )
    planned = [cell for cell in cells if cell.config]
    return Summary(
        finished=sum(cell.name in results.rows for cell in planned),
        planned=len(planned),
        refused=len(cells) - len(planned),
    )


def _facts(
    config: schema.Experiment, corpus: Corpus, results: Results
) -> dict[str, Any]:
    """What the report says of all pairs alike, those of earlier calls among them."""
    settings = config.grid
    direct = [row for row in results.rows.values() if not row["after"]]
    kinds = list(dict.fromkeys([*settings.kinds, *(row["kind"] for row in direct)]))
    names = [*settings.objectives, *(row["objective"] for row in direct)]
    names = list(dict.fromkeys(names))
    return {
        "kinds": kinds,
        "objectives": names,
        "refused": [
            {"kind": kind, "objective": name, "why": why}
            for kind in kinds
            for name in names
            if (why := pairs.refusal(config, kind, name))
        ],
        "source": corpus.record["source"],
        "sha256": corpus.record["sha256"],
        "train_tokens": len(corpus.train),
        "tokenizer": corpus.tokenizer.name,
        "equal": settings.equal,
        "learning_rate": config.optimizer.learning_rate,
        "model_context": config.model.context,
        "context": settings.context,
        "continuation": settings.continuation,
        "unit": settings.per,
    }


def _questions(config: schema.Experiment, corpus: Corpus) -> Questions:
    return questions.make(
        corpus,
        config.grid.questions,
        options=config.grid.options,
        context=config.grid.context,
        continuation=config.grid.continuation,
    )


def _trace(config: schema.Experiment, corpus: Corpus) -> None:
    """Refuses what cannot be before anything is compiled or written."""
    task = objectives.task_on(config, corpus)
    batches = loader.Loader.make(corpus.train, config.data, task)
    steps.build(config).trace(batches.batch_at(0), Hyper.of(config))


def _train_all(
    cells: list[Pair],
    corpus: Corpus,
    asked: Questions | None,
    per: str,
    workdir: Path,
    results: Results,
) -> None:
    """Pair by pair; a signal ends it after the state of the one at work is saved."""
    planned = [cell for cell in cells if cell.config]
    order = [cell.name for cell in planned]
    left = [cell for cell in planned if cell.name not in results.rows]
    with tqdm(total=len(planned), initial=len(planned) - len(left), unit="pair") as bar:
        for cell in left:
            bar.set_description(cell.name)
            row = _train(cell, corpus, asked, per, workdir)
            if row is None:
                return
            results.add(row, order)
            bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
            bar.update()


def _train(
    cell: Pair, corpus: Corpus, asked: Questions | None, per: str, workdir: Path
) -> dict[str, Any] | None:
    """The row of one pair; None where a signal came before its last step."""
    began, config, folder = time.perf_counter(), cell.config, workdir / "runs"
    if cell.after:
        config = override(config, {"train.start_from": str(folder / cell.after)})
    result = loop.train(config, folder / cell.name, corpus=corpus)
    if isinstance(result, loop.Stopped):
        return None
    found = UNASKED
    if asked:
        found = answer(runs.load(folder / cell.name), asked, per)
    task = objectives.task_on(config, corpus)
    held_out = loader.held_out_batches(
        corpus.held_out, config.data, task, config.evaluation.batches
    )
    batches = loader.Loader.make(corpus.train, config.data, task)
    return {
        "name": cell.name,
        "kind": cell.kind,
        "objective": cell.objective,
        "after": cell.after,
        "params": cost.counts(config.model).total,
        "flops_a_token": cell.flops_a_token,
        "tokens_a_step": batches.tokens_a_step,
        "steps": config.train.steps,
        "loss": result.loss,
        "entropy": entropy(held_out),
        **found._asdict(),
        "seconds": round(time.perf_counter() - began, 1),
    }


def answer(trained: runs.Run, asked: Questions, per: str) -> choices.Choices:
    """How well a run answers, each option's log-likelihood over its length.

    per: tokens or bytes, what lengths are counted in.
    """
    config, tokenizer = trained.config, trained.tokenizer
    task = objectives.task(config, tokenizer)
    scores_QN = choices.score(trained.params, config.model, asked, task, rows=ROWS)
    sizes_QN = questions.sizes(asked, tokenizer, per)
    return choices.choose(scores_QN, sizes_QN, asked.answers_Q)


def entropy(batches: list[Batch]) -> float:
    """Of the targets without what is around them, in nats: what frequencies reach."""
    targets = np.concatenate([b.targets[b.weights > 0] for b in batches])
    _, counts = np.unique(targets, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())
