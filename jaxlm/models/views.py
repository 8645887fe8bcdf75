"""What all layers of one forward pass share: places, and who sees whom.

B batch, T time, S key time, U encoder time, D width, N heads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlm.core.architecture import Model
from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.layers import masks
from jaxlm.layers.cache import Cache
from jaxlm.layers.positions import POSITIONS

NEVER = jnp.iinfo(jnp.int32).max


class Sight(NamedTuple):
    """What attention may look at.

    mask_BNTS: True where visible, or None. bias_BNTS: added to scores, or None.
    is_causal: query t sees keys 0..t.
    """

    mask_BNTS: jax.Array | None = None
    bias_BNTS: jax.Array | None = None
    is_causal: bool = False


class View(NamedTuple):
    """What every layer of a tower shares.

    positions_BT: of the tokens being read. sight: what they see of one another.
    cross: what they see of the encoder's tokens. encoded_BUD: those tokens, or None
    where a cache has their keys. keep: whether layers leave keys and values behind.
    observe: whether they tell what they looked at.
    """

    positions_BT: jax.Array
    sight: Sight
    cross: Sight = Sight()
    encoded_BUD: jax.Array | None = None
    keep: bool = False
    observe: bool = False


def of_inputs(
    params: dict, config: Model, batch: Batch, cache: Cache | None, encoded_BUD=None
) -> View:
    """The view of the tokens in batch.inputs, after those that the cache holds.

    With a cache of C slots, keys are those C and then the tokens' own. Raises
    ConfigError for a batch or a cache that the architecture cannot read.
    """
    _check(config, batch, cache)
    time = jnp.arange(batch.inputs.shape[1])[None]
    if cache is None:
        order_BT = order_BS = time
        positions_BT, far = positions(batch), (time, time)
        segments_BT, visibility_BS = batch.segments, batch.visibility
        segments_BS, seen_BU = segments_BT, batch.encoder_segments
    else:
        slots_C = jnp.arange(cache.capacity)[None]
        order_BT = time + cache.length_B[:, None]
        # What is not filled comes after everything.
        order_BC = jnp.where(slots_C < cache.length_B[:, None], slots_C, NEVER)
        order_BS = jnp.concatenate([order_BC, order_BT], axis=1)
        positions_BT = positions(batch, cache.length_B)
        far = positions_BT, jnp.concatenate([cache.positions_BC, positions_BT], axis=1)
        segments_BT = segments(batch)
        segments_BS = jnp.concatenate([cache.segments_BC, segments_BT], axis=1)
        visibility_BS, seen_BU = batch.visibility, cache.encoder_segments_BU
        if visibility_BS is not None:
            visibility_BS = jnp.asarray(visibility_BS, bool)
            shown_BC = jnp.zeros(cache.segments_BC.shape, bool)
            visibility_BS = jnp.concatenate([shown_BC, visibility_BS], axis=1)
        if batch.encoder_inputs is not None:
            seen_BU = batch.encoder_segments
    sight = _sight(
        params,
        config,
        (order_BT, order_BS),
        far,
        segments_BT=segments_BT,
        segments_BS=segments_BS,
        visibility_BS=visibility_BS,
        causal=config.architecture != "encoder",
        cached=cache is not None,
    )
    cross = Sight()
    if seen_BU is not None:
        cross = Sight(masks.same(segments(batch), seen_BU))
    return View(positions_BT, sight, cross, encoded_BUD)


def positions(batch: Batch, start_B: jax.Array | None = None) -> jax.Array:
    """Of the tokens, (B, T): where none are given they count on from `start`, or 0."""
    order_BT = jnp.arange(batch.inputs.shape[1])[None]
    if start_B is not None:
        order_BT = order_BT + start_B[:, None]
    return jnp.broadcast_to(_given(batch.positions, order_BT), batch.inputs.shape)


def segments(batch: Batch) -> jax.Array:
    """Of the tokens, (B, T): by default all are of one."""
    if batch.segments is None:
        return jnp.ones(batch.inputs.shape, jnp.int32)
    return jnp.asarray(batch.segments)


def _check(config: Model, batch: Batch, cache: Cache | None) -> None:
    across = batch.encoder_inputs is not None or (cache and cache.cross is not None)
    if config.architecture == "encoder_decoder" and not across:
        raise ConfigError(
            "config.model.architecture 'encoder_decoder' looks at encoder_inputs and "
            "the batch has none; give an objective that makes them"
        )
    if config.architecture == "encoder" and cache is not None:
        raise ConfigError(
            "config.model.architecture 'encoder' reads a sequence at once; leave the "
            "cache out"
        )
    if cache is None and batch.positions is None:
        _check_learned(config, batch.inputs)


def _check_learned(config: Model, inputs_BT: jax.Array) -> None:
    time = inputs_BT.shape[1]
    if config.positions == "learned" and time > config.context:
        raise ConfigError(
            f"{time} tokens exceed the {config.context} positions learned, "
            f"config.model.context; give at most {config.context}"
        )


def of_encoder(params: dict, config: Model, batch: Batch) -> View:
    """The view of batch.encoder_inputs: all of a segment see all of it."""
    if batch.encoder_positions is None:
        _check_learned(config, batch.encoder_inputs)
    order_BU = jnp.arange(batch.encoder_inputs.shape[1])[None]
    positions_BU = _given(batch.encoder_positions, order_BU)
    sight = _sight(
        params,
        config,
        (order_BU, order_BU),
        (order_BU, order_BU),
        segments_BT=batch.encoder_segments,
        segments_BS=batch.encoder_segments,
        visibility_BS=None,
        causal=False,
        cached=False,
    )
    positions_BU = jnp.broadcast_to(positions_BU, batch.encoder_inputs.shape)
    return View(positions_BU, sight)


def _sight(
    params: dict,
    config: Model,
    order,
    far,
    *,
    segments_BT,
    segments_BS,
    visibility_BS,
    causal: bool,
    cached: bool,
) -> Sight:
    # Order decides what is past, as positions restart with each packed document. `far`,
    # of which distances are taken, is order too, the same for all rows, but in a cache:
    # there padding may stand between two tokens, and parts them no farther.
    bias = POSITIONS[config.positions].bias
    bias_BNTS = bias(params["positions"], *far, config, causal)
    parts = []
    if segments_BS is not None:
        parts.append(masks.same(segments_BT, segments_BS))
    if config.window is not None:
        parts.append(masks.window(*far, config.window))
    if visibility_BS is not None:
        parts.append(masks.causal(*order) | masks.shown(visibility_BS.astype(bool)))
    elif causal and (parts or cached):
        parts.append(masks.causal(*order))
    if not parts:
        return Sight(None, bias_BNTS, is_causal=causal)
    mask_BNTS = parts[0]
    for part in parts[1:]:
        mask_BNTS = mask_BNTS & part
    return Sight(mask_BNTS, bias_BNTS)


def _given(positions_BT, order_BT) -> jax.Array:
    """Positions, or the order of tokens where none are given: (B or 1, T)."""
    return order_BT if positions_BT is None else jnp.asarray(positions_BT)
