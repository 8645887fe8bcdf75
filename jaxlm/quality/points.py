"""Every line at every temperature: what is asked of each, and what it says.

P prompts, R of them at once, C tokens of a prompt, K of its continuation.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from jaxlm.core.config import ConfigError, choose
from jaxlm.core.quality import Quality
from jaxlm.core.sampling import Sampling
from jaxlm.data.tokenizers import Tokenizer
from jaxlm.hub.pretrained import Pretrained
from jaxlm.sampling import filters, prompting, strategies
from jaxlm.sampling.ask import Ask

HUMAN = "human"


class Point(NamedTuple):
    """name: of its file. temperature: None where nothing is drawn."""

    name: str
    line: str
    temperature: float | None
    settings: Sampling


def plan(config: Quality, tokenizer: Tokenizer) -> list[Point]:
    """All points, line by line; tokens that end a text are banned, so lengths equal.

    A temperature stands where the line's filters have one, or first. Raises ConfigError
    where two points would have one name.
    """
    found = []
    ends = tuple(tokenizer.specials.values())
    for line, settings in config.lines:
        slug = re.sub(r"[^\w.]+", "-", line).strip("-").lower()
        settings = replace(
            settings,
            max_new_tokens=config.new_tokens,
            banned=tuple(dict.fromkeys((*settings.banned, *ends))),
        )
        if not config.drawn(settings):
            found.append(Point(slug, line, None, settings))
            continue
        for value in config.temperatures:
            pairs = dict(settings.filters)
            first = {} if "temperature" in pairs else {"temperature": value}
            pairs = first | pairs | {"temperature": value}
            own = replace(settings, filters=tuple(pairs.items()))
            found.append(Point(f"{slug}-{value:g}", line, value, own))
    names = [HUMAN, *(point.name for point in found)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"config.lines has two points named {name!r}; give a line another name"
            )
    return found


def check(points: list[Point], model: Pretrained) -> None:
    """Raises ConfigError for what this model cannot be asked."""
    for point in points:
        choose(strategies.STRATEGIES, point.settings.strategy, "sampling.strategy")
        filters.from_settings(point.settings, model.config.vocab_size)


def draw(
    model: Pretrained, prompts_PC: np.ndarray, settings: Sampling, config: Quality
) -> np.ndarray:
    """(P, K) ids: the best continuation of each prompt, which has a seed of its own."""
    chain = filters.from_settings(settings, model.config.vocab_size)
    ask = Ask(settings, chain, np.zeros(0, np.int32), prefix=model.prefix)
    generate = strategies.STRATEGIES[settings.strategy]
    parts = []
    for at_R in at_once(len(prompts_PC), config.rows):
        together = prompting.together(
            model.config, list(prompts_PC[at_R]), prompting.keys(config.seed + at_R)
        )
        found = generate(model.params, model.config, together, ask)
        parts.append(np.stack([rows[0].ids for rows in found]))
    return np.concatenate(parts)[: len(prompts_PC)]


def at_once(count: int, rows: int) -> Iterator[np.ndarray]:
    """(R,) indices below count, all of one size: the last is said again as needed."""
    for start in range(0, count, rows):
        yield np.minimum(np.arange(start, start + rows), count - 1)
