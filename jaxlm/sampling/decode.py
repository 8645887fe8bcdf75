"""Text from a model: prompts are read at once, then one token at a time.

All of it stays on the device: `start` reads the prompts, `advance` adds tokens until
each row has ended or enough are there. What is compiled depends on the number of rows,
on the room for tokens and on the names of filters, and on nothing else.

B batch, T prompt length, C room for prompt and continuation, U encoder time, D width, V
vocabulary, K top tokens told.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlm.core.batch import Batch
from jaxlm.core.schema import Model
from jaxlm.layers import cache as caches
from jaxlm.layers.cache import Cache
from jaxlm.models import transformer
from jaxlm.sampling import draw, filters
from jaxlm.sampling.filters import Chain
from jaxlm.sampling.history import History
from jaxlm.sampling.prompting import Prompts, batch_of


class State(NamedTuple):
    """Texts under way.

    cache: of all tokens but each row's last, which the next step reads. history: the
    tokens. done_B: rows that have ended. logprobs_BC: of each generated token before
    filters; top_BCK: ids and log-probabilities of the likeliest ones. outputs_BTD: of
    the last layer at the prompts' tokens. None: not asked.
    """

    cache: Cache
    history: History
    keys_B: jax.Array
    done_B: jax.Array
    logprobs_BC: jax.Array | None = None
    top_BCK: tuple[jax.Array, jax.Array] | None = None
    outputs_BTD: jax.Array | None = None


@partial(
    jax.jit,
    static_argnames=(
        "config",
        "capacity",
        "prefix",
        "kind",
        "logprobs",
        "top",
        "constrained",
        "outputs",
        "heads",
    ),
)
def start(
    params: dict,
    config: Model,
    prompts: Prompts,
    *,
    capacity: int,
    prefix: bool = False,
    kind: str = "compute",
    logprobs: bool = False,
    top: int = 0,
    constrained: bool = False,
    outputs: bool = False,
    heads: Any = None,
) -> State:
    """The prompts, read, with room for `capacity` tokens in each row.

    prefix: a prompt's tokens see one another both ways. kind: of the cache, see
    `caches.empty`. logprobs, top: what to tell of the tokens to come. constrained: by
    an automaton, which starts in state 0. outputs: of
    the last layer, kept. heads: see `caches.heads_of`.
    """
    rows, time = prompts.ids_BT.shape
    # Padding stands after what is real, where nothing that is real sees it.
    cache = caches.empty(config, rows, max(capacity, time), kind)
    if heads is not None:
        cache = caches.cut(cache, *heads)
    batch = batch_of(prompts, prefix)
    out_BTD, cache = transformer.hidden(params, config, batch, cache, fresh=True)
    tokens_BC = jnp.zeros((rows, cache.capacity), jnp.int32)
    length_B = jnp.asarray(prompts.length_B, jnp.int32)
    history = History(
        tokens_BC.at[:, :time].set(prompts.ids_BT),
        length_B,
        length_B,
        jnp.zeros(rows, jnp.int32) if constrained else None,
    )
    zeros_BCK = jnp.zeros((rows, cache.capacity, top))
    return State(
        cache._replace(length_B=length_B - 1),
        history,
        prompts.keys_B,
        jnp.zeros(rows, bool),
        jnp.zeros(tokens_BC.shape) if logprobs or top else None,
        (zeros_BCK.astype(jnp.int32), zeros_BCK) if top else None,
        out_BTD if outputs else None,
    )


def take(state: State, rows: Any) -> State:
    """The state of these rows, in any order and more than once."""
    rest = state._replace(cache=None)
    rest = jax.tree.map(lambda array: array[rows], rest)
    return rest._replace(cache=caches.take_rows(state.cache, rows))


@partial(jax.jit, static_argnames=("config", "greedy"), donate_argnames="state")
def advance(
    params: dict,
    config: Model,
    state: State,
    chain: Chain,
    *,
    stop_ids: jax.Array,
    limit_B: jax.Array,
    steps: jax.Array | int,
    greedy: bool = False,
) -> State:
    """At most `steps` more tokens in each row, in one loop on the device.

    A row ends with the first of stop_ids, which it keeps, or when prompt and
    continuation are limit_B tokens. greedy: the likeliest token instead of a draw.
    """

    def going(carry):
        state, step = carry
        return (step < steps) & ~state.done_B.all()

    def step(carry):
        state, step = carry
        return _step(params, config, state, chain, stop_ids, limit_B, greedy), step + 1

    state = state._replace(done_B=state.done_B | (state.history.length_B >= limit_B))
    return jax.lax.while_loop(going, step, (state, 0))[0]


def _step(params, config, state, chain, stop_ids, limit_B, greedy) -> State:
    """One token more in each row that has not ended."""
    logits_BV, cache = read_last(params, config, state)
    history = state.history
    filtered_BV = filters.apply(chain, logits_BV, history)
    if greedy:
        token_B = draw.likeliest(filtered_BV)
    else:
        said_B = history.length_B - history.prompt_B
        keys_B = jax.vmap(jax.random.fold_in)(state.keys_B, said_B)
        token_B = draw.draw(filtered_BV, keys_B)
    state = add(state, chain, logits_BV, token_B, state.done_B, stop_ids, limit_B)
    return state._replace(cache=cache._replace(length_B=state.history.length_B - 1))


def read_last(params: dict, config: Model, state: State) -> tuple[jax.Array, Cache]:
    """Logits of what follows each row's last token, (B, V), and the cache with it."""
    history = state.history
    last_B1 = jnp.take_along_axis(
        history.tokens_BC, history.length_B[:, None] - 1, axis=1
    )
    batch = Batch(last_B1, None, None)
    logits_B1V, cache = transformer.forward(params, config, batch, state.cache)
    return logits_B1V[:, 0], cache


def add(state, chain, logits_BV, token_B, idle_B, stop_ids, limit_B) -> State:
    """The state with a token more in each row that is not idle; its cache as it was.

    logits_BV: of the model, before filters, for what is told of the token.
    """
    if state.logprobs_BC is not None:
        state = _tell(state, logits_BV, token_B)
    history = say(state.history, chain, token_B, idle_B)
    ends_B = (token_B[:, None] == stop_ids[None]).any(-1)
    ends_B = ends_B | (history.length_B >= limit_B)
    return state._replace(history=history, done_B=state.done_B | (ends_B & ~idle_B))


def say(history: History, chain: Chain, token_B, idle_B) -> History:
    """The history with one token more in each row that is not idle."""
    rows_B = jnp.arange(len(token_B))
    end_B = jnp.where(idle_B, history.tokens_BC.shape[1], history.length_B)
    tokens_BC = history.tokens_BC.at[rows_B, end_B].set(token_B, mode="drop")
    length_B, state_B = history.length_B + ~idle_B, history.state_B
    if state_B is not None:
        table_QV = chain.values[chain.names.index("constraint")]
        state_B = jnp.where(idle_B, state_B, table_QV[state_B, token_B])
    return history._replace(tokens_BC=tokens_BC, length_B=length_B, state_B=state_B)


def _tell(state: State, logits_BV, token_B) -> State:
    """The state with the log-probabilities of this step in it."""
    logprobs_BV = jax.nn.log_softmax(logits_BV)
    rows_B, at_B = jnp.arange(len(token_B)), state.history.length_B
    chosen_B = jnp.take_along_axis(logprobs_BV, token_B[:, None], axis=1)[:, 0]
    state = state._replace(
        logprobs_BC=state.logprobs_BC.at[rows_B, at_B].set(chosen_B, mode="drop")
    )
    if state.top_BCK is None:
        return state
    ids_BCK, top_BCK = state.top_BCK
    best_BK, best = jax.lax.top_k(logprobs_BV, ids_BCK.shape[-1])
    return state._replace(
        top_BCK=(
            ids_BCK.at[rows_B, at_B].set(best, mode="drop"),
            top_BCK.at[rows_B, at_B].set(best_BK, mode="drop"),
        )
    )
