"""Filters that look at the logits alone. B batch, V vocabulary.

Those that cut find the logit at which to cut by halving the ordered float32 numbers,
32 times: exact, and far faster than a sort of the vocabulary on a CPU.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxlm.sampling.draw import likeliest
from jaxlm.sampling.history import History


def temperature(
    logits_BV: jax.Array, value: jax.Array | float, history: History | None = None
) -> jax.Array:
    """Log-odds divided by `value`; at 0 only the most likely token is left, exactly.

    Of equally likely ones, the first.
    """
    best_B1 = likeliest(logits_BV)[:, None]
    greedy_BV = jnp.where(jnp.arange(logits_BV.shape[-1])[None] == best_B1, 0, -jnp.inf)
    warm_BV = logits_BV / jnp.where(value == 0, 1.0, value)
    return jnp.where(value == 0, greedy_BV, warm_BV)


def top_k(
    logits_BV: jax.Array, value: jax.Array | float, history: History | None = None
) -> jax.Array:
    """The `value` most likely tokens (Fan et al. 2018, arXiv 1805.04833, sec. 5).

    All that are as likely as the last of them stay too.
    """

    def enough(cut_B):
        return (logits_BV >= cut_B[:, None]).sum(-1) >= value

    return keep(logits_BV, logits_BV >= highest(enough, logits_BV)[:, None])


def top_p(
    logits_BV: jax.Array, spare: jax.Array | float, history: History | None = None
) -> jax.Array:
    """The fewest tokens that reach the mass p, with the one that crosses it.

    Holtzman et al. 2020 (arXiv 1904.09751, eq. 2). Of tokens that are as likely as the
    last of them, those with the lowest ids; at p 1 every token stays. spare: 1 - p,
    for float32 has more digits of 0.1 than of 0.9.
    """
    weights_BV = jnp.exp(logits_BV - logits_BV.max(-1, keepdims=True))
    # What is left out is summed, not what is kept: the tail is lost beside the head.
    spare_B = spare * weights_BV.sum(-1)

    def below(cut_B):
        return jnp.where(logits_BV < cut_B[:, None], weights_BV, 0).sum(-1)

    cut_B1 = highest(lambda cut_B: below(cut_B) <= spare_B, logits_BV)[:, None]
    ties_BV = logits_BV == cut_B1
    kept_BV = logits_BV >= cut_B1

    def without_spare_ties():
        weight_B = jnp.where(ties_BV, weights_BV, 0).max(-1)
        spare_ties_B = (spare_B - below(cut_B1[:, 0])) // weight_B
        needed_B = jnp.maximum(ties_BV.sum(-1) - spare_ties_B, 1)
        return kept_BV & ~(ties_BV & (ties_BV.cumsum(-1) > needed_B[:, None]))

    tied = (ties_BV.sum(-1) > 1).any()
    kept_BV = lax.cond(tied, without_spare_ties, lambda: kept_BV)
    return keep(logits_BV, kept_BV | (spare <= 0))


def min_p(
    logits_BV: jax.Array, value: jax.Array | float, history: History | None = None
) -> jax.Array:
    """Tokens at least `value` times as likely as the most likely one.

    Nguyen et al. 2024 (arXiv 2407.01082, sec. 3).
    """
    probs_BV = jax.nn.softmax(logits_BV)
    least_B1 = value * probs_BV.max(-1, keepdims=True)
    return keep(logits_BV, probs_BV >= least_B1)


def typical(
    logits_BV: jax.Array, value: jax.Array | float, history: History | None = None
) -> jax.Array:
    """The fewest tokens reaching the mass `value` whose surprise is the expected one.

    Meister et al. 2023 (arXiv 2202.00666, eq. 9): in the order of |-log p - entropy|.
    All that are as near as the last of them stay too; at 1 every token stays.
    """
    below_BV = logits_BV - logits_BV.max(-1, keepdims=True)
    weights_BV = jnp.exp(below_BV)
    total_B1 = weights_BV.sum(-1, keepdims=True)
    # Surprise and entropy less what both have, log(total).
    mean_B1 = _mean(below_BV, weights_BV / total_B1)
    far_BV = jnp.abs(mean_B1 - below_BV)
    least_B = value * total_B1[:, 0]

    def short(cut_B):
        return jnp.where(far_BV < cut_B[:, None], weights_BV, 0).sum(-1) < least_B

    cut_B1 = highest(short, far_BV)[:, None]
    return keep(logits_BV, (far_BV <= cut_B1) | (value >= 1))


def epsilon(
    logits_BV: jax.Array, value: jax.Array | float, history: History | None = None
) -> jax.Array:
    """Tokens of probability `value` or more, and always the most likely.

    Hewitt et al. 2022 (arXiv 2210.15191, sec. 4.1).
    """
    best_BV = logits_BV == logits_BV.max(-1, keepdims=True)
    return keep(logits_BV, (jax.nn.softmax(logits_BV) >= value) | best_BV)


def eta(
    logits_BV: jax.Array, value: jax.Array | float, history: History | None = None
) -> jax.Array:
    """As epsilon, with min(value, sqrt(value) exp(-entropy)): less where all is open.

    Hewitt et al. 2022 (arXiv 2210.15191, eq. 4).
    """
    logp_BV = jax.nn.log_softmax(logits_BV)
    spread_B1 = jnp.exp(_mean(logp_BV, jnp.exp(logp_BV)))  # exp(-entropy)
    return epsilon(logits_BV, jnp.minimum(value, jnp.sqrt(value) * spread_B1))


def keep(logits_BV: jax.Array, kept_BV: jax.Array) -> jax.Array:
    """The logits of what is kept; -inf elsewhere."""
    return jnp.where(kept_BV, logits_BV, -jnp.inf)


def keep_some(logits_BV: jax.Array, kept_BV: jax.Array) -> jax.Array:
    """As keep, but a row that would have nothing left stays as it is."""
    left_BV = keep(logits_BV, kept_BV)
    some_B1 = (left_BV > -jnp.inf).any(-1, keepdims=True)
    return jnp.where(some_B1, left_BV, logits_BV)


def highest(holds: Callable[[jax.Array], jax.Array], values_BV: jax.Array) -> jax.Array:
    """The highest float32 number of each row's range of which `holds` is true: (B,).

    holds: (B,) numbers -> (B,) booleans; where false, it is false of higher ones too.
    Where it is false of the whole range, the lowest value.
    """

    def step(_, ends):
        low_B, high_B = ends
        middle_B = (low_B | high_B) - ((low_B ^ high_B) >> 1)  # rounded up
        true_B = holds(_float(middle_B))
        return jnp.where(true_B, middle_B, low_B), jnp.where(
            true_B, high_B, middle_B - 1
        )

    ends = _ordered(values_BV.min(-1)), _ordered(values_BV.max(-1))
    return _float(lax.fori_loop(0, 32, step, ends)[0])


def _mean(values_BV: jax.Array, probs_BV: jax.Array) -> jax.Array:
    """Expected value of each row, (B, 1); what has no probability may be -inf."""
    parts_BV = jnp.where(probs_BV > 0, probs_BV * values_BV, 0)
    return parts_BV.sum(-1, keepdims=True)


def _ordered(numbers_B: jax.Array) -> jax.Array:
    """Integers in the order of the float32 numbers, as many apart as those are."""
    bits_B = lax.bitcast_convert_type(numbers_B, jnp.int32)
    return jnp.where(bits_B < 0, bits_B ^ 0x7FFFFFFF, bits_B)


def _float(ordered_B: jax.Array) -> jax.Array:
    """The numbers that `_ordered` was given."""
    bits_B = jnp.where(ordered_B < 0, ordered_B ^ 0x7FFFFFFF, ordered_B)
    return lax.bitcast_convert_type(bits_B, jnp.float32)
