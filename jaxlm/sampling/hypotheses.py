"""What a beam search keeps: texts under way, and the best of those that have ended.

B prompts, G groups, W beams of a group, K ways on of a group, R = B G W rows, N = B G K
ways on of all, V vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlm.sampling.decode import State
from jaxlm.sampling.history import mark


class Rules(NamedTuple):
    """What a search obeys; numbers, of which others compile nothing.

    stop_ids: (S,) ids that end a text.
    """

    stop_ids: jax.Array
    max_new_tokens: int
    length_penalty: float
    diversity: float


class Search(NamedTuple):
    """Texts under way, and those that have ended.

    running: R rows, and their sums of log-probabilities, -inf where there is no such
    text. ended: R rows without a cache, the best of a group first, and their scores,
    -inf where there is none yet. open_BG: groups that may yet find a better text.
    """

    running: State
    sum_BGW: jax.Array
    ended: State
    ended_BGW: jax.Array
    open_BG: jax.Array
    step: jax.Array


class Ways(NamedTuple):
    """The best ways on of each group, the best first.

    sum_BGK: of log-probabilities. beam_BGK, token_BGK: who says what. ends_BGK: texts
    that are set aside if they are among the first W. next_BGW, next_sum_BGW: the best
    that do not end, as places among the K, and their sums.
    """

    sum_BGK: jax.Array
    beam_BGK: jax.Array
    token_BGK: jax.Array
    ends_BGK: jax.Array
    next_BGW: jax.Array
    next_sum_BGW: jax.Array


def ways_on(search: Search, left_RV: jax.Array, rules: Rules) -> Ways:
    """Of each group in turn, as it shuns what the earlier ones say.

    K is so large that all beams go on where each might end by each of the stop ids.
    """
    rows, groups, beams = search.sum_BGW.shape
    words = left_RV.shape[1]
    ways = min(beams * max(2, 1 + rules.stop_ids.size), beams * words)

    def of_group(used_BV, group):
        left_BWV, sum_BW, open_B = group
        left_BWV = left_BWV - rules.diversity * used_BV[:, None]
        all_BS = (sum_BW[:, :, None] + left_BWV).reshape(rows, beams * words)
        sum_BK, index_BK = jax.lax.top_k(all_BS, ways)
        beam_BK, token_BK = index_BK // words, index_BK % words
        ends_BK = (token_BK[:, :, None] == rules.stop_ids[None, None]).any(-1)
        going_BK = jnp.where(ends_BK, -jnp.inf, sum_BK)
        next_sum_BW, next_BW = jax.lax.top_k(going_BK, beams)
        said_BW = jnp.take_along_axis(token_BK, next_BW, axis=1)
        heard_BW = open_B[:, None] & (next_sum_BW > -jnp.inf)
        used_BV = used_BV + mark(jnp.where(heard_BW, said_BW, words), words)
        last = search.step + 1 == rules.max_new_tokens
        next_sum_BW = jnp.where(last, -jnp.inf, next_sum_BW)
        return used_BV, Ways(
            sum_BK, beam_BK, token_BK, ends_BK | last, next_BW, next_sum_BW
        )

    left_BGWV = left_RV.reshape(rows, groups, beams, words)
    parts = left_BGWV, search.sum_BGW, search.open_BG
    parts = jax.tree.map(lambda array: array.swapaxes(0, 1), parts)
    used_BV = jnp.zeros((rows, words), jnp.int32)
    _, found = jax.lax.scan(of_group, used_BV, parts)
    return jax.tree.map(lambda array: array.swapaxes(0, 1), found)


def flat(index_BGK: jax.Array, size: int) -> jax.Array:
    """Places in groups of `size` as places in all rows: (B G K,)."""
    first_N = jnp.arange(index_BGK.shape[0] * index_BGK.shape[1]) * size
    return (first_N.reshape(*index_BGK.shape[:2], 1) + index_BGK).ravel()


def set_aside(
    search: Search, texts: State, sum_BGK, ends_BGK, rules: Rules, length
) -> tuple[State, jax.Array]:
    """The best of what had ended and of what ends now, of `length`, and their scores.

    texts: without a cache, whose sums are sum_BGK.
    """
    rows, groups, beams = search.ended_BGW.shape
    ends_BGK = ends_BGK & search.open_BG[:, :, None]
    score_BGK = sum_BGK / length.astype(jnp.float32) ** rules.length_penalty
    score_BGK = jnp.where(ends_BGK, score_BGK, -jnp.inf)
    both_BGS = jnp.concatenate([search.ended_BGW, score_BGK], axis=2)
    best_BGW, index_BGW = jax.lax.top_k(both_BGS, beams)
    index_MW = index_BGW.reshape(rows * groups, beams)

    def pick(old, new):
        apart = [x.reshape(len(index_MW), -1, *x.shape[1:]) for x in (old, new)]
        both = jnp.concatenate(apart, axis=1)
        picked = both[jnp.arange(len(index_MW))[:, None], index_MW]
        return picked.reshape(old.shape)

    return jax.tree.map(pick, search.ended, texts), best_BGW


def still_open(search: Search, rules: Rules, stopping: str) -> jax.Array:
    """Groups that may yet find a better text than the worst that they keep: (B, G).

    stopping: 'no' guesses that the best beam's score stays, 'never' gives it the most
    that length may add, 'yes' is content with as many texts as beams.
    """
    length = search.step
    if stopping == "never":
        lengthens = jnp.asarray(rules.length_penalty) > 0
        length = jnp.where(lengthens, rules.max_new_tokens, length)
    worst_BG = search.ended_BGW.min(-1)
    best_BG = search.sum_BGW.max(-1)
    best_BG = best_BG / length.astype(jnp.float32) ** rules.length_penalty
    open_BG = search.open_BG & (best_BG > worst_BG)
    return open_BG & (worst_BG == -jnp.inf) if stopping == "yes" else open_BG
