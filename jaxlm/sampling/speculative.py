"""Several tokens for one reading of the model: guesses are read at once and judged.

What is said has the model's own distribution, whatever the guesses are worth. Leviathan
et al. 2023 (arXiv 2211.17192, algorithm 1); Chen et al. 2023 (arXiv 2302.01318).

B batch, C capacity, K tokens guessed, T = K + 1 tokens read, V vocabulary.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.core.schema import Model
from jaxlm.layers.cache import Cache
from jaxlm.models import transformer
from jaxlm.sampling import decode, drafts, draw, filters
from jaxlm.sampling.ask import Ask, Row, begin, grouped, rows, watched
from jaxlm.sampling.decode import State
from jaxlm.sampling.drafts import ACCEPT, REDRAW, Draft, Guesses, keys_at
from jaxlm.sampling.filters import Chain
from jaxlm.sampling.prompting import Prompts

LOOK = 4  # readings between two looks for stop strings


class Tally(NamedTuple):
    """Of each row: guesses made and taken, and readings of the model, (B,) each.

    Guesses for which there was no more room do not count.
    """

    guessed_B: jax.Array
    taken_B: jax.Array
    readings_B: jax.Array


class Work(NamedTuple):
    """Texts under way; cache: the draft's, where it is a model."""

    state: State
    cache: Cache | None
    tally: Tally


def speculative(
    params: dict, config: Model, prompts: Prompts, ask: Ask
) -> list[list[Row]]:
    """As drawing one token after another, in fewer readings of the model.

    With the cache 'int8' that holds up to rounding: tokens that are read together see
    one another as they are, and rounded later.
    """
    state, _ = run(params, config, prompts, ask)
    return grouped(rows(state), ask.settings.samples)


def run(params: dict, config: Model, prompts: Prompts, ask: Ask) -> tuple[State, Tally]:
    """The texts when all have ended, and what the guesses were worth.

    Raises ConfigError for a draft that cannot guess for this model.
    """
    settings, draft = ask.settings, _draft(config, prompts, ask)
    copies = settings.samples
    state = begin(params, config, prompts, ask, copies=copies)
    cache = None
    if draft is not None:
        cache = begin(draft.params, draft.config, prompts, ask, copies=copies).cache
    tally = Tally(*jnp.zeros((3, len(state.done_B)), jnp.int32))
    work = Work(state, cache, tally)
    while True:
        work = advance(
            params,
            config,
            work,
            ask.chain,
            draft,
            stop_ids=jnp.asarray(ask.stop_ids, jnp.int32),
            limit_B=work.state.history.prompt_B + settings.max_new_tokens,
            steps=settings.max_new_tokens if ask.watch is None else LOOK,
            size=min(settings.draft_tokens, max(settings.max_new_tokens - 1, 1)),
            ngram=settings.ngram,
        )
        work = work._replace(state=watched(work.state, ask))
        if np.asarray(work.state.done_B).all():
            return work.state, work.tally


def _draft(config: Model, prompts: Prompts, ask: Ask) -> Draft | None:
    name = ask.settings.draft
    if (name == "ngram") != (ask.draft is None):
        found = "none was loaded" if ask.draft is None else "one was"
        raise ConfigError(
            f"sampling.draft {name!r} and a model that guesses do not agree: {found}; "
            "load a model exactly where the draft is not ngram"
        )
    if ask.draft is None:
        return None
    draft = Draft(*ask.draft)
    longest = int(np.max(prompts.length_B)) + ask.settings.max_new_tokens
    if prompts.encoder_BU is not None:
        longest = max(longest, int(np.max(prompts.encoder_length_B)))
    drafts.check(name, draft.config, config, longest)
    return draft


@partial(jax.jit, static_argnames=("config", "size"), donate_argnames="work")
def advance(
    params: dict,
    config: Model,
    work: Work,
    chain: Chain,
    draft: Draft | None,
    *,
    stop_ids: jax.Array,
    limit_B: jax.Array,
    steps: jax.Array | int,
    size: int,
    ngram: jax.Array | int,
) -> Work:
    """At most `steps` more readings, each of `size` guesses, in one loop.

    Each gives every row that has not ended 1 to size + 1 tokens. draft: None looks for
    the last `ngram` tokens earlier in the row. Others as in `decode.advance`.
    """

    def going(carry):
        work, step = carry
        return (step < steps) & ~work.state.done_B.all()

    def step(carry):
        work, step = carry
        history = work.state.history
        if draft is None:
            guesses, cache = drafts.repeated(history, size, ngram), None
        else:
            keys_B = work.state.keys_B
            guesses, cache = drafts.drawn(
                draft, work.cache, history, keys_B, chain, size
            )
        left_B = limit_B - history.length_B
        guesses = guesses._replace(count_B=jnp.minimum(guesses.count_B, left_B))
        state, tally = _read(
            params, config, work.state, work.tally, guesses, chain, stop_ids, limit_B
        )
        return Work(state, cache, tally), step + 1

    state = work.state
    done_B = state.done_B | (state.history.length_B >= limit_B)
    work = work._replace(state=state._replace(done_B=done_B))
    return jax.lax.while_loop(going, step, (work, 0))[0]


def _read(
    params, config, state, tally, guesses, chain, stop_ids, limit_B
) -> tuple[State, Tally]:
    """The last token and the guesses, read together; what is said because of them."""
    history, live_B = state.history, ~state.done_B
    last_B1 = jnp.take_along_axis(
        history.tokens_BC, history.length_B[:, None] - 1, axis=1
    )
    tokens_BT = jnp.concatenate([last_B1, guesses.ids_BK], axis=1)
    logits_BTV, cache = transformer.forward(
        params, config, Batch(tokens_BT, None, None), state.cache
    )

    def going(carry):
        _, going_B, _, at = carry
        return (at < tokens_BT.shape[1]) & going_B.any()

    def say(carry):
        state, going_B, taken_B, at = carry
        history = state.history
        logits_BV = _at(logits_BTV, at)
        p_BV = jax.nn.softmax(filters.apply(chain, logits_BV, history))
        guess_B, q_BV = _guess(guesses, at, p_BV.shape[1])
        q_BV = jnp.where((at < guesses.count_B)[:, None], q_BV, 0)
        token_B, good_B = judge(p_BV, q_BV, guess_B, state.keys_B, history)
        state = decode.add(
            state, chain, logits_BV, token_B, ~going_B, stop_ids, limit_B
        )
        good_B = good_B & going_B
        return state, good_B & ~state.done_B, taken_B + good_B, at + 1

    # The cache stays outside of this loop, which has no use for it.
    carry = state._replace(cache=None), live_B, tally.taken_B, 0
    state, _, taken_B, _ = jax.lax.while_loop(going, say, carry)
    cache = cache._replace(length_B=state.history.length_B - 1)
    tally = Tally(
        tally.guessed_B + jnp.where(live_B, guesses.count_B, 0),
        taken_B,
        tally.readings_B + live_B,
    )
    return state._replace(cache=cache), tally


def judge(p_BV, q_BV, guess_B, keys_B, history) -> tuple[jax.Array, jax.Array]:
    """The next token, with probabilities p, and whether it is the guess: (B,) each.

    q_BV: what the guess was drawn from; 0 where there is no guess. A guess is taken
    with probability min(1, p / q), and replaced by a draw from max(0, p - q) otherwise.
    """
    guess_B1 = guess_B[:, None]
    p_B = jnp.take_along_axis(p_BV, guess_B1, axis=1)[:, 0]
    q_B = jnp.take_along_axis(q_BV, guess_B1, axis=1)[:, 0]
    uniform_B = jax.vmap(jax.random.uniform)(keys_at(keys_B, history, ACCEPT))
    good_B = (uniform_B * q_B < p_B) & (q_B > 0)
    rest_BV = jnp.maximum(p_BV - q_BV, 0)
    # Where p and q differ by rounding alone, nothing may be left.
    rest_BV = jnp.where(rest_BV.any(-1, keepdims=True), rest_BV, p_BV)
    other_B = draw.draw(jnp.log(rest_BV), keys_at(keys_B, history, REDRAW))
    return jnp.where(good_B, guess_B, other_B), good_B


def _guess(guesses: Guesses, at: jax.Array, words: int) -> tuple[jax.Array, jax.Array]:
    """The guess at a place, (B,), and what it was drawn from, (B, V).

    After the last guess: anything.
    """
    guess_B = _at(guesses.ids_BK, at)
    if guesses.probs_BKV is None:
        return guess_B, jax.nn.one_hot(guess_B, words)
    return guess_B, _at(guesses.probs_BKV, at)


def _at(array: jax.Array, at: jax.Array) -> jax.Array:
    """What stands at a place of axis 1, the last where there are fewer."""
    return jax.lax.dynamic_index_in_dim(array, at, axis=1, keepdims=False)
