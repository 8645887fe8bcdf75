"""Masked places of a text, filled by a model that sees both sides of each.

B batch, T time, M masked places of a row, D width, V vocabulary.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.core.batch import Batch
from jaxlm.core.checks import require
from jaxlm.core.filter_values import PENALTIES
from jaxlm.core.sampling import Sampling
from jaxlm.core.schema import Model
from jaxlm.data import vocabulary
from jaxlm.data.tokenizers import Tokenizer
from jaxlm.data.vocabulary import Vocabulary
from jaxlm.models import transformer
from jaxlm.sampling import draw, filters, prompting
from jaxlm.sampling.ask import grouped
from jaxlm.sampling.filters import Chain

MASK = "[MASK]"  # as a prompt has it where the tokenizer has none of its own
EMPTY = Chain((), ())
ORDERED = (*PENALTIES, "forced", "min_new_tokens", "constraint")  # what came before
READ = ("strategy", "filters", "bias", "banned", "samples", "seed", "logprobs")


class Text(NamedTuple):
    """A prompt with its masks filled.

    text: all of it. ids: what was put in, from left to right, and logprobs: natural,
    under the model as it stood then, before filters.
    """

    text: str
    ids: np.ndarray
    logprobs: np.ndarray


def sample(
    params: dict,
    config: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    settings: Sampling,
    *,
    steps: int = 1,
) -> list[list[Text]]:
    """`settings.samples` texts of each prompt, which has masks in it.

    A mask is written as the tokenizer's own, or as [MASK] where it has none. Only words
    are put in. Raises ConfigError for what cannot be.
    """
    words = vocabulary.make(tokenizer, ("mask", "cls", "sep", "end"))
    _check(config, settings, words)
    special = {*range(words.text, config.vocab_size), *words.special}
    banned = tuple(sorted(special | {*settings.banned}))
    settings = dataclasses.replace(settings, banned=banned)
    rows = [_encode(tokenizer, words, prompt) for prompt in prompts]
    for row in rows:
        require(
            len(row) <= config.context,
            f"--prompt has {len(row)} tokens and the model reads {config.context}; "
            "give a shorter one",
        )
    keys_B = None
    if settings.strategy == "sample":
        keys_B = prompting.keys([settings.seed] * (len(rows) * settings.samples))
        copy_B = np.tile(np.arange(settings.samples), len(rows))
        keys_B = jax.vmap(jax.random.fold_in)(keys_B, copy_B)
    rows = [row for row in rows for _ in range(settings.samples)]
    together = prompting.together(config, rows, keys_B)
    place_T = np.arange(together.ids_BT.shape[1])
    mask_id = words.ids["mask"]
    ids_BT, logprobs_BT = fill(
        params,
        config,
        together.ids_BT,
        mask_id,
        segments=place_T[None] < together.length_B[:, None],
        steps=steps,
        chain=filters.from_settings(settings, config.vocab_size),
        keys_B=keys_B,
    )
    found = []
    for row, ids, logprobs in zip(rows, ids_BT, logprobs_BT, strict=True):
        ids, put = ids[: len(row)], np.flatnonzero(row == mask_id)
        text = tokenizer.decode(ids[~np.isin(ids, [*special])])
        found.append(Text(text, ids[put], logprobs[put]))
    return grouped(found, settings.samples)


def _check(config: Model, settings: Sampling, words: Vocabulary) -> None:
    mask_id = words.ids["mask"]
    require(
        mask_id < config.vocab_size,
        f"config.model.vocab_size {config.vocab_size} has no mask, which would be id "
        f"{mask_id}; choose a model that was trained with masks",
    )
    require(
        settings.strategy in ("greedy", "sample"),
        f"sampling.strategy {settings.strategy!r} fills no masks; choose greedy or "
        "sample",
    )
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        require(
            field.name in READ or value == field.default,
            f"sampling.{field.name} {value!r} does nothing where masks are filled; "
            "leave it out",
        )
    require(
        settings.logprobs < 1,
        f"sampling.logprobs {settings.logprobs} tells of top tokens, which are not "
        "kept where masks are filled; give 0 or -1",
    )


def _encode(tokenizer: Tokenizer, words: Vocabulary, prompt: str) -> np.ndarray:
    """The prompt with what the masked objective puts around a text."""
    mask_id, name = words.ids["mask"], MASK
    if "mask" in tokenizer.specials:
        ids = tokenizer.encode(prompt, specials=True)
        name = tokenizer.decode([mask_id])
    else:
        first, *others = map(tokenizer.encode, prompt.split(MASK))
        parts = [first, *([mask_id, *part] for part in others)]
        ids = np.concatenate([[words.ids["cls"]], *parts, [words.ids["sep"]]])
    require(mask_id in ids, f"--prompt {prompt!r} has no mask; write {name} in it")
    return ids.astype(np.int32)


def fill(
    params: dict,
    config: Model,
    ids_BT: np.ndarray,
    mask_id: int,
    *,
    segments: np.ndarray | None = None,
    steps: int = 1,
    chain: Chain = EMPTY,
    keys_B: jax.Array | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The ids with every mask_id replaced, and log-probabilities of what replaced it.

    Each (B, T); log-probabilities are 0 where there was no mask. keys_B: of random
    numbers, one a row; None takes the likeliest tokens. steps: rounds of Mask-Predict
    (Ghazvininejad et al. 2019, arXiv 1904.09324, section 3): each fills all that is
    masked, and masks anew those that the model was least certain of, fewer each time;
    with as many steps as masks, one less. Raises ConfigError for a model or a chain
    that cannot.
    """
    require(
        config.architecture == "encoder" and config.head != "none",
        f"config.model.architecture {config.architecture!r} with config.model.head "
        f"{config.head!r} fills no masks; choose an encoder with a head",
    )
    require(steps >= 1, f"steps {steps} is below 1; give 1 or more")
    ordered = [name for name in chain.names if name in ORDERED]
    require(
        not ordered,
        f"sampling.filters {ordered} need what was said before, and masks are filled "
        "in no order; leave them out",
    )
    ids_BT = np.asarray(ids_BT, np.int32)
    rows, time = ids_BT.shape
    counts_B = (ids_BT == mask_id).sum(-1)
    room = prompting.room(time, max(time, config.context))
    most = prompting.room(counts_B.max(initial=0), room)
    places_BM = np.full((rows, most), room, np.int32)
    for places, row in zip(places_BM, ids_BT, strict=True):
        (found,) = np.nonzero(row == mask_id)
        places[: len(found)] = found
    segments = np.ones((rows, time)) if segments is None else segments
    padding = [(0, 0), (0, room - time)]
    filled_BM, logprobs_BM = _fill(
        params,
        config,
        np.pad(ids_BT, padding),
        np.pad(np.asarray(segments, np.int32), padding),
        places_BM,
        np.int32(mask_id),
        np.int32(steps),
        chain,
        keys_B,
    )
    masked_BT, filled_BT = ids_BT == mask_id, ids_BT.copy()
    logprobs_BT = np.zeros(ids_BT.shape, np.float32)
    real_BM = np.arange(most)[None] < counts_B[:, None]
    filled_BT[masked_BT] = np.asarray(filled_BM)[real_BM]
    logprobs_BT[masked_BT] = np.asarray(logprobs_BM)[real_BM]
    return filled_BT, logprobs_BT


@partial(jax.jit, static_argnames="config")
def _fill(
    params, config, ids_BT, segments_BT, places_BM, mask_id, steps, chain, keys_B
):
    """What is put in the places, (B, M), and its log-probabilities, in one loop."""
    rows_B1 = jnp.arange(len(ids_BT))[:, None]
    real_BM = places_BM < ids_BT.shape[1]  # the others are of no row
    counts_B = real_BM.sum(-1)
    shape = places_BM.shape

    def going(carry):
        step, _, _, masked_BM = carry
        return (step < steps) & masked_BM.any()

    def once(carry):
        step, filled_BM, logprobs_BM, masked_BM = carry
        shown_BM = jnp.where(masked_BM, mask_id, filled_BM)
        shown_BT = ids_BT.at[rows_B1, places_BM].set(shown_BM, mode="drop")
        batch = Batch(shown_BT, None, None, segments=segments_BT)
        x_BTD, _ = transformer.hidden(params, config, batch)
        x_BMD = x_BTD.at[rows_B1, places_BM].get(mode="clip")
        logits_BMV = transformer.logits(params, config, x_BMD)
        logits_NV = logits_BMV.astype(jnp.float32).reshape(places_BM.size, -1)
        left_NV = filters.apply(chain, logits_NV, None)
        if keys_B is None:
            word_N = draw.likeliest(left_NV)
        else:
            word_N = draw.draw(left_NV, _keys(keys_B, step, shape[1]))
        new_N = jax.nn.log_softmax(logits_NV)[jnp.arange(len(word_N)), word_N]
        filled_BM = jnp.where(masked_BM, word_N.reshape(shape), filled_BM)
        logprobs_BM = jnp.where(masked_BM, new_N.reshape(shape), logprobs_BM)
        left_B = counts_B * (steps - step - 1) // steps
        certain_BM = jnp.where(real_BM, logprobs_BM, jnp.inf)
        rank_BM = certain_BM.argsort(-1).argsort(-1)  # 0: the least certain
        return step + 1, filled_BM, logprobs_BM, rank_BM < left_B[:, None]

    zeros_BM = jnp.zeros(shape)
    start = 0, zeros_BM.astype(jnp.int32), zeros_BM, real_BM
    _, filled_BM, logprobs_BM, _ = jax.lax.while_loop(going, once, start)
    return filled_BM, logprobs_BM


def _keys(keys_B: jax.Array, step: jax.Array, count: int) -> jax.Array:
    """A key for each masked place of each row in this round, (B M,)."""
    keys_B = jax.vmap(jax.random.fold_in, (0, None))(keys_B, step)
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    return jax.vmap(fold, (0, None))(keys_B, jnp.arange(count)).ravel()
