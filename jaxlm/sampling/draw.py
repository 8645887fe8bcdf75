"""One token from logits. B batch, V vocabulary."""

import math

import jax
import jax.numpy as jnp


def likeliest(logits_BV: jax.Array) -> jax.Array:
    """The most likely token of each row, the first of equals: (B,).

    A maximum and a minimum: on a CPU argmax takes ten times as long.
    """
    best_B1 = logits_BV.max(-1, keepdims=True)
    ids_BV = jnp.broadcast_to(jnp.arange(logits_BV.shape[-1])[None], logits_BV.shape)
    return jnp.where(logits_BV == best_B1, ids_BV, ids_BV.shape[-1] - 1).min(-1)


def draw(logits_BV: jax.Array, keys_B: jax.Array) -> jax.Array:
    """A token of each row with probability softmax(logits): (B,).

    One uniform number a row and the inverse of the distribution function, first of
    pieces of the vocabulary and then inside one: a twentieth of the time of a Gumbel
    number for every word. Numbers have 23 bits, so a probability is exact to 1.2e-7.
    """
    rows, words = logits_BV.shape
    size = math.isqrt(words - 1) + 1
    missing = -words % size
    p_BV = jnp.exp(logits_BV - logits_BV.max(-1, keepdims=True))
    p_BPS = jnp.pad(p_BV, [(0, 0), (0, missing)]).reshape(rows, -1, size)
    piece_BP = p_BPS.sum(-1)
    uniform_B = jax.vmap(jax.random.uniform)(keys_B)
    piece_B, rest_B = _invert(piece_BP, uniform_B * piece_BP.sum(-1))
    p_BS = jnp.take_along_axis(p_BPS, piece_B[:, None, None], axis=1)[:, 0]
    word_B, _ = _invert(p_BS, rest_B)
    return piece_B * size + word_B


def _invert(p_BS: jax.Array, target_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where the running sum of p passes the target, and the target less what is before.

    Rounding may carry the target past the last sum: then the last that has any p.
    """
    upto_BS = jnp.cumsum(p_BS, axis=-1)
    index_BS = jnp.broadcast_to(jnp.arange(p_BS.shape[-1])[None], p_BS.shape)
    last_B = jnp.where(p_BS > 0, index_BS, 0).max(-1)
    found_B = jnp.minimum((upto_BS <= target_B[:, None]).sum(-1), last_B)
    before_BS = upto_BS - p_BS
    before_B = jnp.take_along_axis(before_BS, found_B[:, None], axis=1)[:, 0]
    return found_B, target_B - before_B
