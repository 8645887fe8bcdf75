"""Ways from prompts to continuations: the rows of STRATEGIES.

Each is a function (params, config, prompts, ask) -> the continuations of each prompt,
the best first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlm.core.checks import require
from jaxlm.core.sampling import Sampling
from jaxlm.core.schema import Model
from jaxlm.sampling import beam, contrastive, decode, filters, prompting, speculative
from jaxlm.sampling.ask import LOOK, Ask, Row, begin, grouped, rows, watched
from jaxlm.sampling.decode import State
from jaxlm.sampling.prompting import Prompts


def generate(
    params: dict,
    config: Model,
    prompts: Sequence[Sequence[int]],
    settings: Sampling,
    *,
    sources: Sequence[Sequence[int]] | None = None,
    stop_ids: Sequence[int] = (),
    table_QV: np.ndarray | None = None,
    **asked: Any,
) -> list[list[Row]]:
    """`settings.samples` continuations of each prompt, a list of ids, the best first.

    A text depends on its prompt, the seed and its number among the samples, whatever
    else is in the batch. sources: what the encoder of an encoder-decoder reads for each
    prompt. stop_ids: besides those of the settings. table_QV: a constraint. asked: of
    `Ask`, its prefix, watch and draft. Raises ConfigError for what cannot be.
    """
    together, ask = _asked(config, prompts, settings, sources, stop_ids, table_QV)
    ask = ask._replace(**asked)
    return STRATEGIES[settings.strategy](params, config, together, ask)


def one_by_one(
    params: dict,
    config: Model,
    prompt: Sequence[int],
    settings: Sampling,
    *,
    sources: Sequence[Sequence[int]] | None = None,
    stop_ids: Sequence[int] = (),
    table_QV: np.ndarray | None = None,
    prefix: bool = False,
) -> Iterator[Row]:
    """What `generate` draws after one prompt, as far as it is, after each token."""
    together, ask = _asked(config, [prompt], settings, sources, stop_ids, table_QV)
    state = begin(params, config, together, ask._replace(prefix=prefix))
    while not np.asarray(state.done_B).all():
        state = go_on(params, config, state, ask, 1)
        yield rows(state)[0]


def _asked(
    config, prompts, settings, sources, stop_ids, table_QV
) -> tuple[Prompts, Ask]:
    stop_ids = tuple(dict.fromkeys((*settings.stop_ids, *stop_ids)))
    size = config.vocab_size
    require(
        settings.logprobs <= size,
        f"sampling.logprobs {settings.logprobs} is more than the {size} ids of the "
        f"model; give at most {size}",
    )
    require(
        max(stop_ids, default=0) < size,
        f"sampling.stop_ids {max(stop_ids, default=0)} is past the {size} ids of the "
        f"model; give at most {size - 1}",
    )
    for prompt in prompts:
        prompting.check(config, len(prompt), settings.max_new_tokens)
    chain = filters.from_settings(
        settings, config.vocab_size, stop_ids=stop_ids, table_QV=table_QV
    )
    keys_B = prompting.keys([settings.seed] * len(prompts))
    together = prompting.together(config, prompts, keys_B, sources)
    return together, Ask(settings, chain, np.array(stop_ids, np.int32))


def go_on(params: dict, config: Model, state: State, ask: Ask, at_once: int) -> State:
    """The state after as many tokens more, where rows have not ended before."""
    return decode.advance(
        params,
        config,
        state,
        ask.chain,
        stop_ids=jnp.asarray(ask.stop_ids, jnp.int32),
        limit_B=state.history.prompt_B + ask.settings.max_new_tokens,
        steps=at_once,
        greedy=ask.settings.strategy == "greedy",
    )


def ancestral(
    params: dict, config: Model, prompts: Prompts, ask: Ask, copies: int | None = None
) -> list[list[Row]]:
    """Each token drawn from what the filters leave, or the likeliest of it."""
    settings = ask.settings
    copies = copies or settings.samples
    state = begin(params, config, prompts, ask, copies=copies)
    at_once = settings.max_new_tokens if ask.watch is None else LOOK
    while not np.asarray(state.done_B).all():
        state = watched(go_on(params, config, state, ask, at_once), ask)
    return grouped(rows(state), copies)


def best_of(params: dict, config: Model, prompts: Prompts, ask: Ask) -> list[list[Row]]:
    """Of several drawn texts those with the highest mean log-probability of a token."""
    settings = ask.settings
    found = ancestral(params, config, prompts, ask, copies=settings.best_of)
    scored = [
        [row._replace(score=float(row.logprobs.mean())) for row in group]
        for group in found
    ]
    if settings.logprobs < 0:  # they were asked for the score alone
        scored = [[row._replace(logprobs=None) for row in group] for group in scored]
    return [
        sorted(group, key=lambda row: -row.score)[: settings.samples]
        for group in scored
    ]


STRATEGIES: dict[str, Callable[..., list[list[Row]]]] = {
    "greedy": ancestral,
    "sample": ancestral,
    "best_of": best_of,
    "beam": beam.beam,
    "diverse_beam": beam.beam,
    "contrastive": contrastive.contrastive,
    "speculative": speculative.speculative,
}
