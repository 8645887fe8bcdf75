"""Points drawn, scored by a larger model, and written down one by one.

quality.json         models and settings
points/NAME.json     what a point measured, its settings and its texts
results.csv          a row a point, people's own text first

P prompts, R of them at once, C tokens of a prompt, K of its continuation, T of both, D
width.
"""

import csv
import io
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxlm import hub
from jaxlm.core import config as configs
from jaxlm.core.batch import Batch
from jaxlm.core.claims import claim
from jaxlm.core.config import ConfigError
from jaxlm.core.quality import Quality
from jaxlm.hub.pretrained import Pretrained
from jaxlm.quality import points as planning
from jaxlm.quality import texts
from jaxlm.quality.closeness import mauve
from jaxlm.quality.measures import distinct, repetition, words
from jaxlm.quality.points import HUMAN, Point
from jaxlm.train import choices
from jaxlm.train import workdir as workdirs


class Scored(NamedTuple):
    """perplexity: a token of all continuations. features_PD: of each continuation."""

    perplexity: float
    features_PD: np.ndarray


def compare(
    config: Quality, model: Path, scorer: Path, workdir: Path, *, command: str = ""
) -> int:
    """Draws and measures what `workdir` lacks; returns how many points it then has.

    Raises ConfigError for what cannot be, before anything is drawn, and for a workdir
    of other settings or models. `command` is recorded for the report.
    """
    sampled, scoring = hub.load(model), hub.load(scorer)
    check(config, sampled, scoring)
    points = planning.plan(config, sampled.tokenizer)
    planning.check(points, sampled)
    documents = texts.held_out(config, model, sampled.tokenizer)
    people_PT, others_PT = np.split(texts.windows(documents, config), 2)
    with claim(workdir, "workdir"):
        people = score(scoring, people_PT, config)
        facts = {
            "model": f"{model}, {_size(sampled)} parameters",
            "scorer": f"{scorer}, {_size(scoring)} parameters",
            "perplexity": f"{people.perplexity:.4g} of the text's own continuations",
            "config": configs.to_dict(config),
        }
        _describe(workdir, facts, command)
        prompts_PC, said_PK = np.split(people_PT, [config.prompt_tokens], axis=1)
        human = Point(HUMAN, HUMAN, None, None)
        # People beside other people: as close as a drawn text can hope to be.
        others = score(scoring, others_PT, config)
        _write(workdir, human, sampled, said_PK, people, others, prompts=prompts_PC)
        left = [point for point in points if not _written(workdir, point)]
        done = len(points) - len(left)
        with tqdm(total=len(points), initial=done, unit="point") as bar:
            for point in left:
                bar.set_description(point.name)
                said_PK = planning.draw(sampled, prompts_PC, point.settings, config)
                whole_PT = np.concatenate([prompts_PC, said_PK], axis=1)
                scored = score(scoring, whole_PT, config)
                _write(workdir, point, sampled, said_PK, scored, people)
                tabulate(workdir, [human, *points])
                bar.update()
        tabulate(workdir, [human, *points])
    return len(points)


def check(config: Quality, sampled: Pretrained, scoring: Pretrained) -> None:
    """That one can continue, and the other read, what is asked, in the same tokens."""
    size = config.prompt_tokens + config.new_tokens
    for flag, loaded in (("model", sampled), ("scorer", scoring)):
        found = loaded.config
        if found.architecture != "decoder" or found.head == "none":
            raise ConfigError(
                f"--{flag} is no decoder with a head, but {found.architecture!r} with "
                f"{found.head!r}; give a model that continues a text"
            )
        if loaded.tokenizer is None:
            raise ConfigError(f"--{flag} has no tokenizer; add its files")
        if size > found.context:
            raise ConfigError(
                f"config.prompt_tokens {config.prompt_tokens} and config.new_tokens "
                f"{config.new_tokens} exceed the context of --{flag}, {found.context}; "
                f"give {found.context} in all"
            )
    if sampled.tokenizer != scoring.tokenizer:
        names = [f"{x.name} of {x.vocab_size}" for x in (sampled[2], scoring[2])]
        raise ConfigError(
            f"--scorer has another tokenizer ({names[1]}) than --model ({names[0]}), "
            "and perplexities of different tokens do not compare; give one with the "
            "same vocabulary"
        )


def score(scoring: Pretrained, ids_PT: np.ndarray, config: Quality) -> Scored:
    """What the larger model makes of texts, after their prompts.

    A feature is the mean of its last layer's states: the last token's state, which the
    paper has, tells little of a text where the model is small.
    """
    weights_T = np.arange(1, ids_PT.shape[1]) >= config.prompt_tokens
    nats, features = [], []
    for at_R in planning.at_once(len(ids_PT), config.rows):
        ids_RT = ids_PT[at_R]
        weights_RT = np.broadcast_to(weights_T[None], ids_RT[:, 1:].shape)
        batch = Batch(ids_RT[:, :-1], ids_RT[:, 1:], weights_RT.astype(np.float32))
        found_R = choices.log_likelihoods(scoring.params, scoring.config, batch)
        nats.append(-np.asarray(found_R, np.float64))
        states_RTD = np.asarray(hub.hidden(scoring, ids_RT))
        features.append(states_RTD[:, config.prompt_tokens :].mean(1))
    nats_P, features_PD = (
        np.concatenate(parts)[: len(ids_PT)] for parts in (nats, features)
    )
    return Scored(float(np.exp(nats_P.mean() / weights_T.sum())), features_PD)


def measure(said: list[str], scored: Scored, beside: Scored) -> dict[str, Any]:
    """The columns of a point: of its texts, and of how the scorer takes them."""
    taken = [words(text) for text in said]
    return {
        "perplexity": scored.perplexity,
        "mauve": mauve(beside.features_PD, scored.features_PD),
        **{f"distinct_{size}": distinct(taken, size) for size in (1, 2, 3)},
        "repetition": repetition(taken),
        "words": float(np.mean([len(text) for text in taken])),
    }


def read(workdir: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(quality.json, each row of results.csv with the texts of its point)."""
    facts = workdirs.read_json(workdir / "quality.json")
    with (workdir / "results.csv").open(newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    return facts, [_read(workdir, name) for name in names]


def tabulate(workdir: Path, points: list[Point]) -> None:
    """results.csv, of the points that are there."""
    found = [_read(workdir, p.name)["row"] for p in points if _written(workdir, p)]
    text = io.StringIO()
    writer = csv.DictWriter(text, found[0], lineterminator="\n")
    writer.writeheader()
    for row in found:
        rounded = {k: f"{v:.4g}" for k, v in row.items() if isinstance(v, float)}
        writer.writerow(row | rounded)
    partial = workdir / "results.csv.partial"
    partial.write_text(text.getvalue())
    os.replace(partial, workdir / "results.csv")


def _write(workdir, point, sampled, said_PK, scored, beside, prompts=None) -> None:
    said = [sampled.tokenizer.decode(ids) for ids in said_PK]
    row = {
        "name": point.name,
        "line": point.line,
        "temperature": point.temperature,
        **measure(said, scored, beside),
    }
    entry = {"row": row, "settings": _settings(point), "texts": said}
    if prompts is not None:
        entry["prompts"] = [sampled.tokenizer.decode(ids) for ids in prompts]
    (workdir / "points").mkdir(exist_ok=True)
    workdirs.write_json(workdir / "points" / f"{point.name}.json", entry)


def _written(workdir: Path, point: Point) -> bool:
    """Whether the point is there, drawn by the settings that it has now."""
    path = workdir / "points" / f"{point.name}.json"
    return path.exists() and workdirs.read_json(path)["settings"] == _settings(point)


def _settings(point: Point) -> dict[str, Any] | None:
    return configs.to_dict(point.settings) if point.settings else None


def _read(workdir: Path, name: str) -> dict[str, Any]:
    return workdirs.read_json(workdir / "points" / f"{name}.json")


def _describe(workdir: Path, facts: dict[str, Any], command: str) -> None:
    """Refuses a directory of other models or texts; lines may come and go."""
    path = workdir / "quality.json"
    if path.exists():
        old = workdirs.read_json(path)
        old.pop("command")
        open_ended = ("config.lines:", "config.temperatures:", "config.rows:")
        changed = [
            x for x in configs.difference(old, facts) if not x.startswith(open_ended)
        ]
        if changed:
            raise ConfigError(
                f"--workdir {workdir} holds another comparison: {'; '.join(changed)}; "
                "give another --workdir or these settings"
            )
    workdirs.write_json(path, facts | {"command": command})


def _size(model: Pretrained) -> str:
    return f"{sum(math.prod(x.shape) for x in jax.tree.leaves(model.params)):,}"
