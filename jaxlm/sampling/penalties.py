"""Filters that look at what has been said. B batch, C capacity, V vocabulary."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxlm.sampling.cutoffs import keep_some
from jaxlm.sampling.history import History, counts, mark


def repetition(logits_BV: jax.Array, value: jax.Array, history: History) -> jax.Array:
    """Tokens read or said before: positive logits over `value`, negative ones times it.

    Keskar et al. 2019 (arXiv 1909.05858, sec. 4.1); the prompt counts, as in
    transformers.
    """
    start_B = jnp.zeros_like(history.length_B)
    seen_BV = counts(history, start_B, logits_BV.shape[1]) > 0
    less_BV = jnp.where(logits_BV < 0, logits_BV * value, logits_BV / value)
    return jnp.where(seen_BV, less_BV, logits_BV)


def presence(logits_BV: jax.Array, value: jax.Array, history: History) -> jax.Array:
    """`value` off the logit of each token said before, once; the prompt is free.

    As OpenAI's presence_penalty.
    """
    said_BV = counts(history, history.prompt_B, logits_BV.shape[1])
    return logits_BV - value * (said_BV > 0)


def frequency(logits_BV: jax.Array, value: jax.Array, history: History) -> jax.Array:
    """`value` off the logit of a token for each time it was said; the prompt is free.

    As OpenAI's frequency_penalty.
    """
    said_BV = counts(history, history.prompt_B, logits_BV.shape[1])
    return logits_BV - value * said_BV


def no_repeat_ngram(
    logits_BV: jax.Array, value: jax.Array, history: History
) -> jax.Array:
    """No `value` tokens that stand in the prompt or after it in a row come again.

    Paulus et al. 2018 (arXiv 1705.04304, sec. 2.5), the prompt counted as in
    transformers. A row of which every token is removed stays as it is.
    """
    tokens_BC, length_B1 = history.tokens_BC, history.length_B[:, None]
    size = value.astype(jnp.int32)
    index_1C = jnp.arange(tokens_BC.shape[1])[None]

    def same(back, match_BC):
        """Those with the same token `back` before them as is `back` before the next."""
        last_B1 = jnp.take_along_axis(tokens_BC, length_B1 - back, 1, mode="clip")
        return match_BC & (jnp.roll(tokens_BC, back, 1) == last_B1)

    match_BC = (index_1C >= size - 1) & (index_1C < length_B1)
    match_BC = lax.fori_loop(1, size, same, match_BC)
    vocab_size = logits_BV.shape[1]
    said_BV = mark(jnp.where(match_BC, tokens_BC, vocab_size), vocab_size) > 0
    return keep_some(logits_BV, ~said_BV)
