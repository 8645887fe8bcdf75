"""What every strategy takes and gives, and how each begins."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.core.sampling import Sampling
from jaxlm.core.schema import Model
from jaxlm.layers import cache as caches
from jaxlm.sampling import decode, prompting
from jaxlm.sampling.decode import State
from jaxlm.sampling.filters import Chain
from jaxlm.sampling.prompting import Prompts

LOOK = 16  # tokens between two looks for stop strings


class Ask(NamedTuple):
    """What is asked of a strategy.

    stop_ids: (S,) ids that end a text. prefix: the prompt is read both ways. watch: of
    a row's number and all that it said, how many ids its text has if it has ended for a
    reason that ids do not show, None otherwise. draft: parameters and settings of a
    model that guesses.
    """

    settings: Sampling
    chain: Chain
    stop_ids: np.ndarray
    prefix: bool = False
    watch: Callable[[int, np.ndarray], int | None] | None = None
    draft: tuple[dict, Model] | None = None


class Row(NamedTuple):
    """One continuation: ids, with the stop id where it has ended by one.

    score: what the strategy ranks by, or None. logprobs: (ids,) of each before filters,
    top: (ids, K) ids and log-probabilities of the likeliest; None where not asked.
    """

    ids: np.ndarray
    score: float | None = None
    logprobs: np.ndarray | None = None
    top: tuple[np.ndarray, np.ndarray] | None = None


def capacity(config: Model, prompts: Prompts, ask: Ask) -> int:
    """Room for each prompt and its continuation, in tokens."""
    longest = int(np.max(prompts.length_B)) + ask.settings.max_new_tokens
    return prompting.room(longest, config.context)


def begin(
    params: dict,
    config: Model,
    prompts: Prompts,
    ask: Ask,
    *,
    copies: int = 1,
    outputs: bool = False,
) -> State:
    """The prompts, read once, and `copies` rows of each, which draw apart.

    outputs: whether to keep the last layer's, see `decode.start`.
    """
    settings = ask.settings
    state = decode.start(
        params,
        config,
        prompts,
        capacity=capacity(config, prompts, ask),
        prefix=ask.prefix,
        kind=settings.cache,
        # The best of several are found by them, whether or not they are told.
        logprobs=settings.logprobs >= 0 or settings.strategy == "best_of",
        top=max(settings.logprobs, 0),
        constrained="constraint" in ask.chain.names,
        heads=caches.heads_of(params),
        outputs=outputs,
    )
    copy_B = np.tile(np.arange(copies), len(prompts.length_B))
    if copies > 1:
        state = decode.take(state, np.repeat(np.arange(len(prompts.length_B)), copies))
    keys_B = jax.vmap(jax.random.fold_in)(state.keys_B, copy_B)
    return state._replace(keys_B=keys_B)


def watched(state: State, ask: Ask) -> State:
    """The state with those rows ended, and cut, whose text says so."""
    if ask.watch is None:
        return state
    history, done_B = state.history, np.array(state.done_B)
    length_B, prompt_B = np.array(history.length_B), np.asarray(history.prompt_B)
    for at, row in enumerate(rows(state)):
        kept = ask.watch(at, row.ids)
        if kept is not None:
            done_B[at], length_B[at] = True, prompt_B[at] + kept
    history = history._replace(length_B=jnp.asarray(length_B))
    return state._replace(done_B=jnp.asarray(done_B), history=history)


def rows(state: State) -> list[Row]:
    """What each row of the state has said, on the host."""
    history = state.history
    told = history.tokens_BC, state.logprobs_BC, state.top_BCK
    tokens_BC, logprobs_BC, top_BCK = jax.tree.map(np.asarray, told)
    starts, ends = np.asarray(history.prompt_B), np.asarray(history.length_B)
    found = []
    for at, (first, end) in enumerate(zip(starts, ends, strict=True)):
        own = lambda x: None if x is None else x[at, first:end]  # noqa: B023, E731
        top = None if top_BCK is None else tuple(map(own, top_BCK))
        found.append(Row(own(tokens_BC), None, own(logprobs_BC), top))
    return found


def grouped(found: list[Any], size: int) -> list[list[Any]]:
    """A list cut into lists of `size`."""
    return [found[at : at + size] for at in range(0, len(found), size)]
