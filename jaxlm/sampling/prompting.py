"""What is to be continued, as arrays of few shapes.

B batch, T prompt length, U encoder time.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.core.schema import Model

LEAST_ROOM = 32


class Prompts(NamedTuple):
    """What is to be continued.

    ids_BT: prompts, each from the left; length_B: how many of a row's ids are real.
    keys_B: of random numbers, one a row. A row's text depends on its own key and prompt
        alone. encoder_BU, encoder_length_B: the same of what an encoder reads.
    """

    ids_BT: Any
    length_B: Any
    keys_B: jax.Array
    encoder_BU: Any = None
    encoder_length_B: Any = None


def check(config: Model, prompt_length: int, max_new_tokens: int) -> None:
    """Raises ConfigError for what cannot be continued."""
    if config.architecture == "encoder" or config.head == "none":
        raise ConfigError(
            f"config.model.architecture {config.architecture!r} with config.model.head "
            f"{config.head!r} does not continue a text; choose a model that decodes"
        )
    if max_new_tokens < 1:
        raise ConfigError(f"--max_new_tokens {max_new_tokens} is below 1; give more")
    if prompt_length < 1:
        raise ConfigError("--prompt '' has no tokens; give at least one character")
    room = config.context - prompt_length
    if max_new_tokens > room:
        raise ConfigError(
            f"--max_new_tokens {max_new_tokens} after a prompt of {prompt_length} "
            f"tokens exceeds the context of {config.context}; give at most "
            f"{max(room, 0)}, or a shorter prompt"
        )


def room(length: int, most: int) -> int:
    """The least of 32, 48, 64, 96, 128, ... that holds `length`; at most `most`.

    So that few lengths are compiled, and at most a third of the room is idle.
    """
    size = LEAST_ROOM
    while size < length:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return max(length, min(size, most))


def keys(seeds: Any) -> jax.Array:
    """A key of random numbers for each seed: (B,)."""
    return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))


def together(
    config: Model, rows: list, keys_B: jax.Array, sources: list | None = None
) -> Prompts:
    """Lists of ids, of any lengths, as one batch; sources: what the encoder reads."""
    ids_BT, length_B = _together(config, rows)
    if sources is None:
        return Prompts(ids_BT, length_B, keys_B)
    return Prompts(ids_BT, length_B, keys_B, *_together(config, sources))


def _together(config: Model, rows: list) -> tuple[np.ndarray, np.ndarray]:
    length_B = np.array([len(row) for row in rows], np.int32)
    time = room(length_B.max(), max(config.context, length_B.max()))
    ids_BT = np.zeros((len(rows), time), np.int32)
    for place, row in zip(ids_BT, rows, strict=True):
        place[: len(row)] = row
    return ids_BT, length_B


def batch_of(prompts: Prompts, prefix: bool) -> Batch:
    """The prompts as a model reads them; with `prefix` both ways."""
    batch = Batch(jnp.asarray(prompts.ids_BT), None, None)
    if prefix:
        place_T = jnp.arange(prompts.ids_BT.shape[1])[None]
        batch = batch._replace(visibility=place_T < prompts.length_B[:, None])
    if prompts.encoder_BU is not None:
        place_U = jnp.arange(prompts.encoder_BU.shape[1])[None]
        real_BU = place_U < prompts.encoder_length_B[:, None]
        batch = batch._replace(
            encoder_inputs=jnp.asarray(prompts.encoder_BU),
            encoder_segments=real_BU.astype(jnp.int32),
        )
    return batch
