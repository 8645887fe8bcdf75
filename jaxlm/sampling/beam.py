"""Beam search, and diverse beam search: several texts of a prompt are kept at a time.

As in `transformers`: a text's score is the sum of its tokens' log-probabilities, after
filters and not normalized again, over its length to the power `length_penalty`; of the
texts that may end at a step only those end that are among the best as many as beams.

B prompts, G groups, W beams of a group, K ways on of a group, R = B G W rows, V
vocabulary, C room.
"""

from functools import partial
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.core.schema import Model
from jaxlm.layers import cache as caches
from jaxlm.layers.cache import Cache
from jaxlm.sampling import decode, filters
from jaxlm.sampling.ask import Ask, Row, begin, grouped, rows
from jaxlm.sampling.decode import State
from jaxlm.sampling.filters import Chain
from jaxlm.sampling.hypotheses import (
    Rules,
    Search,
    flat,
    set_aside,
    still_open,
    ways_on,
)
from jaxlm.sampling.prompting import Prompts


def beam(params: dict, config: Model, prompts: Prompts, ask: Ask) -> list[list[Row]]:
    """The `samples` best texts that `beams` beams find, with their scores.

    With strategy 'diverse_beam' beams are in groups, and each group has `diversity` off
    the log-probability of a token for each beam of an earlier group that says it now
    (Vijayakumar et al. 2016, arXiv 1610.02424, algorithm 1 with the Hamming diversity
    of section 5.1). A prompt with fewer texts than samples, as a constraint may leave,
    has fewer.
    """
    settings = ask.settings
    groups = settings.groups if settings.strategy == "diverse_beam" else 1
    state = begin(params, config, prompts, ask, copies=settings.beams)
    rules = Rules(
        jnp.asarray(ask.stop_ids, jnp.int32),
        settings.max_new_tokens,
        settings.length_penalty,
        settings.diversity if groups > 1 else 0.0,
    )
    stopping = settings.early_stopping
    search = _begun(state, groups, settings.beams)
    steps = settings.max_new_tokens if ask.watch is None else 1
    search = advance(params, config, search, ask.chain, rules, stopping, steps)
    numbers = count()  # a row is another text tomorrow: all of it is read again
    while np.asarray(search.open_BG).any() and search.step < settings.max_new_tokens:
        ends = [
            ask.watch(next(numbers), row.ids) is not None
            for row in rows(search.running)
        ]
        if any(ends):
            search = end(search, np.array(ends), rules, stopping)
        search = advance(params, config, search, ask.chain, rules, stopping, steps)
    return _best(search, len(prompts.length_B), settings.samples)


def _begun(state: State, groups: int, beams: int) -> Search:
    """The search after the prompts: of equal beams each group has one."""
    state = state._replace(keys_B=None)
    shape = (len(state.done_B) // beams, groups, beams // groups)
    none_BGW = jnp.full(shape, -jnp.inf)
    # Copies: what is given away to a compiled function is given away once.
    ended = jax.tree.map(jnp.copy, state._replace(cache=None))
    return Search(
        state,
        none_BGW.at[:, :, 0].set(0.0),
        ended,
        none_BGW,
        jnp.ones(shape[:2], bool),
        jnp.zeros((), jnp.int32),
    )


@partial(jax.jit, static_argnames=("config", "stopping"), donate_argnames="search")
def advance(
    params: dict,
    config: Model,
    search: Search,
    chain: Chain,
    rules: Rules,
    stopping: str,
    steps: jax.Array | int,
) -> Search:
    """The search at most `steps` tokens further, in one loop on the device."""
    last = jnp.minimum(search.step + steps, rules.max_new_tokens)

    def going(search):
        return (search.step < last) & search.open_BG.any()

    def step(search):
        return _step(params, config, search, chain, rules, stopping)

    return jax.lax.while_loop(going, step, search)


def _step(params, config, search, chain, rules, stopping) -> Search:
    """One token more in each beam; texts that end with it are set aside."""
    beams, length = search.sum_BGW.shape[2], search.step + 1
    logits_RV, cache = decode.read_last(params, config, search.running)
    logprobs_RV = jax.nn.log_softmax(logits_RV)
    left_RV = filters.apply(chain, logprobs_RV, search.running.history)
    ways = ways_on(search, left_RV, rules)
    row_N = flat(ways.beam_BGK, beams)
    texts = _said(search.running, chain, logprobs_RV, row_N, ways.token_BGK.ravel())
    way_R = flat(ways.next_BGW, ways.sum_BGK.shape[2])
    running = jax.tree.map(lambda array: array[way_R], texts)
    cache = _of_beams(cache, row_N[way_R])
    cache = cache._replace(length_B=running.history.length_B - 1)
    first_K = jnp.arange(ways.sum_BGK.shape[2]) < beams
    ends_BGK = ways.ends_BGK & first_K[None, None]
    ended, ended_BGW = set_aside(search, texts, ways.sum_BGK, ends_BGK, rules, length)
    search = Search(
        running._replace(cache=cache),
        ways.next_sum_BGW,
        ended,
        ended_BGW,
        search.open_BG,
        length,
    )
    return search._replace(open_BG=still_open(search, rules, stopping))


def _said(state: State, chain: Chain, logprobs_RV, row_N, token_N) -> State:
    """The texts of those rows, each with a token more, and no cache."""
    texts = jax.tree.map(lambda array: array[row_N], state._replace(cache=None))
    at_N, place_N = jnp.arange(len(row_N)), texts.history.length_B
    if texts.logprobs_BC is not None:
        chosen_N = logprobs_RV[row_N, token_N]
        logprobs_NC = texts.logprobs_BC.at[at_N, place_N].set(chosen_N)
        texts = texts._replace(logprobs_BC=logprobs_NC)
    if texts.top_BCK is not None:
        ids_NCK, top_NCK = texts.top_BCK
        best_RK, best = jax.lax.top_k(logprobs_RV, ids_NCK.shape[-1])
        ids_NCK = ids_NCK.at[at_N, place_N].set(best[row_N])
        top_NCK = top_NCK.at[at_N, place_N].set(best_RK[row_N])
        texts = texts._replace(top_BCK=(ids_NCK, top_NCK))
    history = decode.say(texts.history, chain, token_N, texts.done_B)
    return texts._replace(history=history)


def _of_beams(cache: Cache, rows: jax.Array) -> Cache:
    """The cache of these rows; what an encoder made is the same for all of a prompt."""
    crossed = {"cross": cache.cross, "encoder_segments_BU": cache.encoder_segments_BU}
    own = cache._replace(**dict.fromkeys(crossed))
    return caches.take_rows(own, rows)._replace(**crossed)


@partial(jax.jit, static_argnames="stopping", donate_argnames="search")
def end(search: Search, ends_R, rules: Rules, stopping: str) -> Search:
    """The search with these beams' texts set aside; others follow at the next step."""
    ends_BGW = ends_R.reshape(search.sum_BGW.shape)
    texts = search.running._replace(cache=None)
    ended, ended_BGW = set_aside(
        search, texts, search.sum_BGW, ends_BGW, rules, search.step
    )
    sum_BGW = jnp.where(ends_BGW, -jnp.inf, search.sum_BGW)
    search = search._replace(sum_BGW=sum_BGW, ended=ended, ended_BGW=ended_BGW)
    return search._replace(open_BG=still_open(search, rules, stopping))


def _best(search: Search, prompts: int, samples: int) -> list[list[Row]]:
    """The best texts of each prompt, of all its groups."""
    scores_R = np.asarray(search.ended_BGW).ravel()
    scored = [
        row._replace(score=float(score))
        for row, score in zip(rows(search.ended), scores_R, strict=True)
    ]
    found = []
    for group in grouped(scored, len(scored) // prompts):
        group = [row for row in group if row.score > -np.inf]
        found.append(sorted(group, key=lambda row: -row.score)[:samples])
    return found
