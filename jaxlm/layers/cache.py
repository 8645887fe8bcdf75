"""Keys and values of the tokens already read, so that each is computed once.

L layers, B batch, T new tokens, C the cache's capacity in slots, U encoder time, K key
heads, H head width.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxlm.core.architecture import Model
from jaxlm.core.config import ConfigError

INT8 = 127.0


class Cache(NamedTuple):
    """k and v, each (L, B, K, C, H) or `Rounded`; a row's first length_B are filled.

    Heads stand before slots, so that what one head reads lies together. Rows may differ
    in length: to forget a row's last tokens is to lower its length.

    segments_BC, positions_BC: of the tokens in the slots. cross: (k_LBKUH, v_LBKUH) of
    what the encoder made, once it has been read; encoder_segments_BU: of its tokens.
    """

    k: Any
    v: Any
    length_B: jax.Array
    segments_BC: jax.Array
    positions_BC: jax.Array
    cross: tuple[Any, Any] | None = None
    encoder_segments_BU: jax.Array | None = None

    @property
    def capacity(self) -> int:
        """Slots of each row."""
        return self.segments_BC.shape[1]


class Rounded(NamedTuple):
    """Vectors as int8 numbers, (..., H), times a scale each, (...) in float32."""

    numbers: jax.Array
    scale: jax.Array


def rounded(vectors: jax.Array) -> Rounded:
    """Each vector in 127 steps of its largest number, rounded to the nearest."""
    vectors = vectors.astype(jnp.float32)
    scale = jnp.abs(vectors).max(-1) / INT8
    steps = vectors / jnp.where(scale == 0, 1, scale)[..., None]
    return Rounded(jnp.round(steps).astype(jnp.int8), scale)


def empty(config: Model, batch: int, capacity: int, kind: str = "compute") -> Cache:
    """Room for `capacity` tokens of each of `batch` sequences.

    kind: 'compute' keeps the compute type; 'int8' a quarter or half of its bytes.
    """
    shape = (config.depth, batch, config.key_heads, capacity, config.head_width)
    k, v = jnp.zeros((2, *shape), config.compute)
    if kind == "int8":
        k, v = rounded(k), rounded(v)
    slots_BC = jnp.zeros((batch, capacity), jnp.int32)
    return Cache(k, v, jnp.zeros(batch, jnp.int32), slots_BC, slots_BC)


def append(cache: Cache, k_LBTKH, v_LBTKH, segments_BT, positions_BT) -> Cache:
    """The cache with T more tokens in each row, after those that it has.

    Raises ConfigError for more tokens than slots. A token past the last slot is lost:
    room is the caller's care.
    """
    rows, time = segments_BT.shape
    if time > cache.capacity:
        raise ConfigError(
            f"{time} tokens exceed the cache's capacity of {cache.capacity}; make a "
            "larger one"
        )
    row_B1 = jnp.arange(rows)[:, None]
    slot_BT = cache.length_B[:, None] + jnp.arange(time)[None]

    def write(old, new_LBTKH):
        if isinstance(old, Rounded):
            numbers, scale = rounded(new_LBTKH)
            numbers = old.numbers.at[:, row_B1, :, slot_BT].set(_by_token(numbers))
            scale = old.scale.at[:, row_B1, :, slot_BT].set(_by_token(scale))
            return Rounded(numbers, scale)
        new = _by_token(new_LBTKH).astype(old.dtype)
        return old.at[:, row_B1, :, slot_BT].set(new)

    return cache._replace(
        k=write(cache.k, k_LBTKH),
        v=write(cache.v, v_LBTKH),
        length_B=cache.length_B + time,
        segments_BC=cache.segments_BC.at[row_B1, slot_BT].set(segments_BT),
        positions_BC=cache.positions_BC.at[row_B1, slot_BT].set(positions_BT),
    )


def _by_token(new_LBTK: jax.Array) -> jax.Array:
    """(L, B, T, K, ...) as (B, T, L, K, ...), the order of what is written."""
    return jnp.moveaxis(new_LBTK, 0, 2)


def heads_first(x_BUKH: jax.Array) -> jax.Array:
    """As a cache has it: (B, K, U, H)."""
    return x_BUKH.swapaxes(1, 2)


def take_rows(cache: Cache, rows: jax.Array) -> Cache:
    """The cache of these rows, which may be given in any order and more than once."""
    whole = cache._replace(length_B=None, segments_BC=None, positions_BC=None)
    whole = whole._replace(encoder_segments_BU=None)
    seen_BU = cache.encoder_segments_BU
    return jax.tree.map(lambda array: array[:, rows], whole)._replace(
        length_B=cache.length_B[rows],
        segments_BC=cache.segments_BC[rows],
        positions_BC=cache.positions_BC[rows],
        encoder_segments_BU=None if seen_BU is None else seen_BU[rows],
    )


def heads_of(params: dict) -> tuple[Mesh, str] | None:
    """The mesh and the axis over which key heads are cut; None where they are whole."""
    keys = jax.tree.leaves(params["blocks"]["attention"]["k"])[0]
    where = getattr(keys, "sharding", None)
    if not isinstance(where, NamedSharding):
        return None
    _, _, axis, *_ = (*where.spec, None, None, None)
    return None if axis is None else (where.mesh, axis)


def cut(cache: Cache, mesh: Mesh, axis: str) -> Cache:
    """The cache with its heads over an axis of a mesh, as those of the model are."""
    where = NamedSharding(mesh, PartitionSpec(None, None, axis))
    return cache._replace(
        k=jax.lax.with_sharding_constraint(cache.k, where),
        v=jax.lax.with_sharding_constraint(cache.v, where),
    )
