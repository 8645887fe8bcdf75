"""Contrastive search: likely tokens whose meaning has not been there before.

B prompts, K candidates, R = B K rows, T prompt length, C room, D width, V vocabulary.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.core.batch import Batch
from jaxlm.core.schema import Model
from jaxlm.layers import cache as caches
from jaxlm.layers.cache import Cache
from jaxlm.models import transformer
from jaxlm.sampling import decode, filters
from jaxlm.sampling.ask import LOOK, Ask, Row, begin, grouped, rows, watched
from jaxlm.sampling.decode import State
from jaxlm.sampling.filters import Chain
from jaxlm.sampling.prompting import Prompts


class Search(NamedTuple):
    """Texts under way.

    state: B rows, but R in its cache, where each text stands K times, its last token
    included. seen_BCD: the last layer's output at each token, scaled to length 1.
    last_BD: that at the last token, not scaled.
    """

    state: State
    seen_BCD: jax.Array
    last_BD: jax.Array


def contrastive(
    params: dict, config: Model, prompts: Prompts, ask: Ask
) -> list[list[Row]]:
    """One text of each prompt, by Su et al. 2022 (arXiv 2202.06417, eq. 5).

    The next token is that of the `candidates` likeliest with the highest
    (1 - alpha) p - alpha s. p is its probability after filters; s the highest cosine
    of the last layer's output at it and at any token before it, the prompt's too.
    """
    settings = ask.settings
    state = begin(params, config, prompts, ask, outputs=True)
    candidates = min(settings.candidates, config.vocab_size)
    search = _begun(state, candidates=candidates)
    while not np.asarray(search.state.done_B).all():
        search = advance(
            params,
            config,
            search,
            ask.chain,
            stop_ids=jnp.asarray(ask.stop_ids, jnp.int32),
            limit_B=search.state.history.prompt_B + settings.max_new_tokens,
            alpha=settings.alpha,
            steps=settings.max_new_tokens if ask.watch is None else LOOK,
        )
        search = search._replace(state=watched(search.state, ask))
    return grouped(rows(search.state), 1)


@partial(jax.jit, static_argnames="candidates")
def _begun(state: State, *, candidates: int) -> Search:
    """The search after the prompts."""
    out_BTD, state = state.outputs_BTD, state._replace(outputs_BTD=None)
    length_B = state.history.length_B
    rows_B = jnp.arange(len(length_B))
    room = state.history.tokens_BC.shape[1] - out_BTD.shape[1]
    seen_BCD = jnp.pad(_scaled(out_BTD), [(0, 0), (0, room), (0, 0)])
    cache = state.cache._replace(length_B=length_B)  # it holds the last token, too
    cache = caches.take_rows(cache, jnp.repeat(rows_B, candidates))
    last_BD = out_BTD[rows_B, length_B - 1]
    return Search(state._replace(cache=cache), seen_BCD, last_BD)


def _scaled(out_BTD: jax.Array) -> jax.Array:
    """Vectors of length 1, in float32, so that products are cosines."""
    out_BTD = out_BTD.astype(jnp.float32)
    length_BT1 = jnp.linalg.norm(out_BTD, axis=-1, keepdims=True)
    return out_BTD / jnp.where(length_BT1 == 0, 1, length_BT1)


@partial(jax.jit, static_argnames="config", donate_argnames="search")
def advance(
    params: dict,
    config: Model,
    search: Search,
    chain: Chain,
    *,
    stop_ids: jax.Array,
    limit_B: jax.Array,
    alpha: jax.Array | float,
    steps: jax.Array | int,
) -> Search:
    """At most `steps` more tokens in each text, in one loop on the device."""

    def going(carry):
        search, step = carry
        return (step < steps) & ~search.state.done_B.all()

    def step(carry):
        search, step = carry
        return _step(params, config, search, chain, stop_ids, limit_B, alpha), step + 1

    return jax.lax.while_loop(going, step, (search, 0))[0]


def _step(params, config, search, chain, stop_ids, limit_B, alpha) -> Search:
    """One token more in each text that has not ended."""
    state, history = search.state, search.state.history
    logits_BV = transformer.logits(params, config, search.last_BD[:, None])[:, 0]
    logits_BV = logits_BV.astype(jnp.float32)
    left_BV = filters.apply(chain, logits_BV, history)
    candidates = len(state.cache.length_B) // len(left_BV)
    left_BK, id_BK = jax.lax.top_k(left_BV, candidates)
    batch = Batch(id_BK.reshape(-1, 1), None, None)
    out_R1D, cache = transformer.hidden(params, config, batch, state.cache)
    out_BKD = out_R1D.reshape(*id_BK.shape, -1)
    scaled_BKD = _scaled(out_BKD)

    p_BK = jnp.exp(left_BK - jax.nn.logsumexp(left_BV, axis=-1, keepdims=True))
    score_BK = (1 - alpha) * p_BK - alpha * _likeness(search, scaled_BKD)
    score_BK = jnp.where(left_BK > -jnp.inf, score_BK, -jnp.inf)
    best_B = score_BK.argmax(-1)

    rows_B, place_B, done_B = jnp.arange(len(best_B)), history.length_B, state.done_B
    token_B = id_BK[rows_B, best_B]
    state = decode.add(state, chain, logits_BV, token_B, done_B, stop_ids, limit_B)
    cache = _chosen(cache, place_B, best_B, candidates)
    length_R = jnp.repeat(state.history.length_B, candidates)
    state = state._replace(cache=cache._replace(length_B=length_R))
    # Of a text that has ended nothing is read any more.
    seen_BCD = search.seen_BCD.at[rows_B, place_B].set(scaled_BKD[rows_B, best_B])
    return Search(state, seen_BCD, out_BKD[rows_B, best_B])


def _likeness(search: Search, scaled_BKD: jax.Array) -> jax.Array:
    """The highest cosine with a token before, (B, K): the degeneration penalty."""
    cosine_BKC = jnp.einsum(
        "bkd,bcd->bkc", scaled_BKD, search.seen_BCD, precision="highest"
    )
    places_C = jnp.arange(cosine_BKC.shape[2])
    before_BC = places_C[None] < search.state.history.length_B[:, None]
    return jnp.where(before_BC[:, None], cosine_BKC, -jnp.inf).max(-1)


def _chosen(cache: Cache, place_B, best_B, candidates: int) -> Cache:
    """The cache with the best candidate in all rows of its text.

    They differ in the last token alone: no other is copied.
    """
    first_B = jnp.arange(len(best_B)) * candidates
    source_R = jnp.repeat(first_B + best_B, candidates)
    place_R, rows_R = jnp.repeat(place_B, candidates), jnp.arange(len(source_R))

    def copy(array):
        best = array[:, source_R, :, place_R]
        return array.at[:, rows_R, :, place_R].set(best)

    return cache._replace(k=jax.tree.map(copy, cache.k), v=jax.tree.map(copy, cache.v))
