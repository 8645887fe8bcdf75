"""What a row has read and said. B batch, C capacity, V vocabulary."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class History(NamedTuple):
    """What each row has read and said so far.

    tokens_BC: the first length_B[b] ids of row b are real: its prompt, then what it
        said. The others may be anything.
    prompt_B: how many of them are the prompt.
    state_B: of a constraint's automaton, for the filter `constraint` alone.
    """

    tokens_BC: jax.Array
    prompt_B: jax.Array
    length_B: jax.Array
    state_B: jax.Array | None = None


def counts(history: History, since_B: jax.Array, vocab_size: int) -> jax.Array:
    """How often each token stands at `since_B` or after it: (B, V) integers."""
    index_C = jnp.arange(history.tokens_BC.shape[1])[None]
    real_BC = (index_C >= since_B[:, None]) & (index_C < history.length_B[:, None])
    return mark(jnp.where(real_BC, history.tokens_BC, vocab_size), vocab_size)


def mark(ids_BC: jax.Array, vocab_size: int) -> jax.Array:
    """How often each row has each id: (B, V) integers. Ids from V on do not count."""
    rows_B1 = jnp.arange(ids_BC.shape[0])[:, None]
    zeros_BV = jnp.zeros((ids_BC.shape[0], vocab_size), jnp.int32)
    return zeros_BV.at[rows_B1, ids_BC].add(1, mode="drop")
