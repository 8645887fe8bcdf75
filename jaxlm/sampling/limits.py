"""Filters that say which tokens may come at all. B batch, V vocabulary, Q states.

One that would leave a row no token lets that row pass: what contradicts itself from the
start is refused in sampling/filters, before a token is drawn.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.core.checks import require
from jaxlm.sampling.cutoffs import keep_some
from jaxlm.sampling.history import History


class Least(NamedTuple):
    """Before `count` tokens are said, none of stop_V is."""

    count: jax.Array
    stop_V: jax.Array


def bias(
    logits_BV: jax.Array, value_V: jax.Array, history: History | None = None
) -> jax.Array:
    """A number added to each token's logit."""
    return logits_BV + value_V[None]


def bias_array(pairs: Iterable[tuple[int, float]], vocab_size: int) -> np.ndarray:
    """(V,) numbers, from pairs of an id and what is added to its logit."""
    pairs = list(pairs)
    _check_ids("bias", [token for token, _ in pairs], vocab_size)
    value_V = np.zeros(vocab_size, np.float32)
    for token, value in pairs:
        require(
            np.isfinite(value),
            f"sampling.bias {value} of token {token} is no number; to forbid the "
            "token, name it in sampling.banned",
        )
        value_V[token] += value
    return value_V


def banned(
    logits_BV: jax.Array, banned_V: jax.Array, history: History | None = None
) -> jax.Array:
    """Tokens that are never said."""
    return keep_some(logits_BV, ~banned_V[None])


def banned_array(ids: Iterable[int], vocab_size: int) -> np.ndarray:
    """(V,) booleans, True of what is banned."""
    banned_V = _marked("banned", ids, vocab_size)
    require(
        not banned_V.all(),
        f"sampling.banned has all {vocab_size} tokens of the vocabulary; give fewer",
    )
    return banned_V


def min_new_tokens(logits_BV: jax.Array, value: Least, history: History) -> jax.Array:
    """No token that ends the text before enough are said."""
    early_B = history.length_B - history.prompt_B < value.count
    kept_BV = ~(early_B[:, None] & value.stop_V[None])
    return keep_some(logits_BV, kept_BV)


def min_new_tokens_array(value: tuple[int, Iterable[int]], vocab_size: int) -> Least:
    """From (how many tokens at least, ids that end a text)."""
    count, ids = value
    require(count >= 0, f"sampling.min_new_tokens {count} is negative; give 0 or more")
    stop_V = _marked("stop_ids", ids, vocab_size)
    require(
        stop_V.any() or not count,
        f"sampling.min_new_tokens {count} does nothing where no token ends a text; "
        "give sampling.stop_ids",
    )
    return Least(np.int32(count), stop_V)


def forced(logits_BV: jax.Array, ids_F: jax.Array, history: History) -> jax.Array:
    """The first F tokens said are these, in this order."""
    said_B = history.length_B - history.prompt_B
    next_B1 = ids_F[jnp.clip(said_B, 0, ids_F.size - 1)][:, None]
    free_B1 = (said_B >= ids_F.size)[:, None]
    chosen_BV = jnp.arange(logits_BV.shape[1])[None] == next_B1
    return keep_some(logits_BV, chosen_BV | free_B1)


def forced_array(ids: Iterable[int], vocab_size: int) -> np.ndarray:
    """(F,) ids."""
    ids = np.array(list(ids), np.int32)
    require(ids.size > 0, "sampling.forced () has no ids; leave it out")
    _check_ids("forced", ids.tolist(), vocab_size)
    return ids


def constraint(
    logits_BV: jax.Array, table_QV: jax.Array, history: History
) -> jax.Array:
    """Tokens that a row's automaton has a move for.

    table_QV: the state after a token, -1 where it may not come. A text begins in
    state 0.
    """
    allowed_BV = table_QV[history.state_B] >= 0
    return keep_some(logits_BV, allowed_BV)


def constraint_array(table_QV: np.ndarray, vocab_size: int) -> jax.Array:
    """The table as it is, on the device, where its size is the vocabulary's."""
    states, width = table_QV.shape
    require(
        width == vocab_size,
        f"the constraint's table has {width} tokens and the vocabulary {vocab_size}; "
        "compile it for this vocabulary",
    )
    return jnp.asarray(table_QV, jnp.int32)


def _marked(name: str, ids: Iterable[int], vocab_size: int) -> np.ndarray:
    ids = list(ids)
    _check_ids(name, ids, vocab_size)
    marked_V = np.zeros(vocab_size, bool)
    marked_V[ids] = True
    return marked_V


def _check_ids(name: str, ids: list[int], vocab_size: int) -> None:
    beyond = [token for token in ids if not 0 <= token < vocab_size]
    require(
        not beyond,
        f"sampling.{name} {beyond} is not in the vocabulary of {vocab_size}; give ids "
        f"from 0 to {vocab_size - 1}",
    )
