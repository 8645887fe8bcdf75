"""Guesses of the next tokens, which a better model then reads all at once.

B batch, C capacity, K tokens guessed, V vocabulary.
"""

from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.core.schema import Model
from jaxlm.data.pieces import pieces
from jaxlm.data.tokenizers import Tokenizer
from jaxlm.layers.cache import Cache
from jaxlm.models import transformer
from jaxlm.sampling import decode, draw, filters
from jaxlm.sampling.filters import Chain
from jaxlm.sampling.history import History

GUESS, ACCEPT, REDRAW = range(3)  # uses of random numbers at one place of a text


@flax.struct.dataclass
class Draft:
    """A model that guesses."""

    params: dict
    config: Model = flax.struct.field(pytree_node=False)


class Guesses(NamedTuple):
    """ids_BK; count_B: how many of them are meant: K or 0.

    probs_BKV: what each was drawn from; None: each was certain.
    """

    ids_BK: jax.Array
    count_B: jax.Array
    probs_BKV: jax.Array | None = None


def repeated(history: History, size: int, ngram: jax.Array | int) -> Guesses:
    """What followed the last tokens where they stood before.

    Saxena 2023, prompt lookup decoding: of the places before which as many as possible
    of the last `ngram` tokens stand, the latest. Where the text ends, what was taken
    from it is taken again. A row whose last token is new has no guesses.
    """
    tokens_BC, length_B1 = history.tokens_BC, history.length_B[:, None]
    capacity = tokens_BC.shape[1]
    index_1C = jnp.arange(capacity)[None]

    def longer(back, carry):
        """Places where the token `back` before is the one `back` before the last."""
        same_BC, run_BC = carry
        last_B1 = jnp.take_along_axis(tokens_BC, length_B1 - 1 - back, 1, mode="clip")
        same_BC = same_BC & (jnp.roll(tokens_BC, back, 1) == last_B1)
        same_BC = same_BC & (index_1C >= back)
        return same_BC, run_BC + same_BC

    earlier_BC = index_1C < length_B1 - 1
    most = jnp.minimum(ngram, capacity)
    carry = earlier_BC, jnp.zeros(tokens_BC.shape, jnp.int32)
    _, run_BC = jax.lax.fori_loop(0, most, longer, carry)
    longest_B1 = run_BC.max(-1, keepdims=True)
    found_B1 = longest_B1 > 0
    best_BC = (run_BC == longest_B1) & found_B1
    after_B1 = jnp.where(best_BC, index_1C, 0).max(-1, keepdims=True) + 1
    period_B1 = jnp.maximum(length_B1 - after_B1, 1)
    places_BK = after_B1 + jnp.arange(size)[None] % period_B1
    ids_BK = jnp.take_along_axis(tokens_BC, places_BK, axis=1, mode="clip")
    return Guesses(ids_BK, jnp.where(found_B1[:, 0], size, 0))


def drawn(
    draft: Draft,
    cache: Cache,
    history: History,
    keys_B: jax.Array,
    chain: Chain,
    size: int,
) -> tuple[Guesses, Cache]:
    """What the draft says next, under the same filters, and its cache.

    The cache may hold more or fewer than all tokens but the last two, which are read:
    where every guess was good, the draft has not read the last of them.
    """
    cache, logits_BV = _read_two(draft, cache, history)
    never_B = jnp.zeros(history.length_B.shape, bool)

    def guess(history, logits_BV):
        filtered_BV = filters.apply(chain, logits_BV, history)
        token_B = draw.draw(filtered_BV, keys_at(keys_B, history, GUESS))
        history = decode.say(history, chain, token_B, never_B)
        return history, (token_B, jax.nn.softmax(filtered_BV))

    def read_and_guess(carry, _):
        cache, history, token_B = carry
        batch = Batch(token_B[:, None], None, None)
        logits_B1V, cache = transformer.forward(
            draft.params, draft.config, batch, cache
        )
        history, (token_B, probs_BV) = guess(history, logits_B1V[:, 0])
        return (cache, history, token_B), (token_B, probs_BV)

    history, (token_B, probs_BV) = guess(history, logits_BV)
    (cache, *_), (token_JB, probs_JBV) = jax.lax.scan(
        read_and_guess, (cache, history, token_B), length=size - 1
    )
    ids_BK = jnp.concatenate([token_B[None], token_JB]).T
    probs_BKV = jnp.concatenate([probs_BV[None], probs_JBV]).swapaxes(0, 1)
    return Guesses(ids_BK, jnp.full(token_B.shape, size), probs_BKV), cache


def _read_two(draft: Draft, cache: Cache, history: History) -> tuple[Cache, jax.Array]:
    """The cache of all tokens, and the logits of what follows: (B, V)."""
    # A row of one token reads that and whatever stands after it, which it forgets.
    length_B = history.length_B
    first_B = jnp.maximum(length_B - 2, 0)
    places_B2 = first_B[:, None] + jnp.arange(2)[None]
    two_B2 = jnp.take_along_axis(history.tokens_BC, places_B2, axis=1)
    logits_B2V, cache = transformer.forward(
        draft.params,
        draft.config,
        Batch(two_B2, None, None),
        cache._replace(length_B=first_B),
    )
    last_B11 = (length_B - 1 - first_B)[:, None, None]
    logits_BV = jnp.take_along_axis(logits_B2V, last_B11, axis=1)[:, 0]
    return cache._replace(length_B=length_B), logits_BV


def keys_at(keys_B: jax.Array, history: History, use: int) -> jax.Array:
    """A key of each row for its next token, another for each use: (B,)."""
    fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
    said_B = history.length_B - history.prompt_B
    return fold(jax.vmap(jax.random.fold_in)(keys_B, said_B), use)


def check(name: str, draft: Model, config: Model, longest: int) -> None:
    """Raises ConfigError where the model `name` cannot guess for this one.

    longest: tokens of a prompt and its continuation, or of what an encoder reads.
    """
    for field in ("vocab_size", "architecture"):
        ours, theirs = getattr(config, field), getattr(draft, field)
        if ours != theirs:
            raise ConfigError(
                f"sampling.draft {name!r} has {field} {theirs!r} and the model "
                f"{ours!r}; choose a draft with the model's own"
            )
    if draft.head == "none":
        raise ConfigError(
            f"sampling.draft {name!r} has the head 'none' and guesses no tokens; "
            "choose a model that decodes"
        )
    if draft.context < longest:
        raise ConfigError(
            f"sampling.draft {name!r} has a context of {draft.context} and {longest} "
            "tokens are to be read; choose another, or lower sampling.max_new_tokens"
        )


def check_tokenizers(name: str, draft: Tokenizer, tokenizer: Tokenizer) -> None:
    """Raises ConfigError where an id of the model `name` is another piece of text."""
    if draft == tokenizer:
        return
    theirs, ours = pieces(draft), pieces(tokenizer)
    if len(theirs) != len(ours):
        raise ConfigError(
            f"sampling.draft {name!r} has a tokenizer of {len(theirs)} ids and the "
            f"model one of {len(ours)}; choose a draft with the model's own"
        )
    for token, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        if their != our:
            raise ConfigError(
                f"sampling.draft {name!r} has {their!r} for the id {token} and the "
                f"model {our!r}; choose a draft with the model's tokenizer"
            )
