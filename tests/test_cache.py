"""Keys and values of the tokens already read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.core import schema
from jaxlm.layers import cache


def made(config, rows, capacity, kind="compute"):
    return cache.empty(config, rows, capacity, kind)


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_an_empty_cache_has_room_for_each_layer_row_key_head_and_token(compute):
    config = schema.Model(width=12, depth=3, heads=4, kv_heads=2, compute=compute)
    found = made(config, 5, 7)
    for array in (found.k, found.v):
        assert array.shape == (3, 5, 2, 7, 3)
        assert array.dtype == compute
    assert found.capacity == 7
    np.testing.assert_array_equal(found.length_B, np.zeros(5))


def test_each_rows_tokens_go_after_its_own_length_and_nowhere_else():
    config = schema.Model(width=6, depth=2, heads=2, kv_heads=1)
    old = made(config, 2, 6)._replace(length_B=jnp.array([3, 0]))
    new = np.arange(1, 25, dtype=np.float32).reshape(2, 2, 2, 1, 3)
    order = np.array([[7, 8], [5, 6]])
    found = jax.jit(cache.append)(old, new, -new, np.array([[1, 1], [0, 1]]), order)
    expected = np.zeros((2, 2, 1, 6, 3), np.float32)
    expected[:, 0, 0, 3:5] = new[:, 0, :, 0]
    expected[:, 1, 0, 0:2] = new[:, 1, :, 0]
    np.testing.assert_array_equal(found.k, expected)
    np.testing.assert_array_equal(found.v, -expected)
    np.testing.assert_array_equal(found.length_B, [5, 2])
    np.testing.assert_array_equal(
        found.segments_BC, [[0, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(
        found.positions_BC, [[0, 0, 0, 7, 8, 0], [5, 6, 0, 0, 0, 0]]
    )


def test_rows_are_taken_in_any_order_and_more_than_once():
    config = schema.Model(width=6, depth=2, heads=2)
    shape = (2, 3, 2, 4, 3)
    k, v = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    slots = np.arange(12).reshape(3, 4)
    whole = made(config, 3, 4)._replace(
        k=k, v=v, length_B=np.array([1, 2, 3]), segments_BC=slots, cross=(v, k)
    )
    rows = np.array([2, 0, 2, 1])
    found = cache.take_rows(whole, rows)
    np.testing.assert_array_equal(found.k, k[:, rows])
    np.testing.assert_array_equal(found.cross[1], k[:, rows])
    np.testing.assert_array_equal(found.length_B, [3, 1, 3, 2])
    np.testing.assert_array_equal(found.segments_BC, slots[rows])


def test_rounded_vectors_differ_by_at_most_half_a_step_of_their_largest_number():
    vectors = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    vectors[3] = 0
    found = cache.rounded(vectors)
    assert found.numbers.dtype == np.int8
    back = np.float32(found.numbers) * np.asarray(found.scale)[:, None]
    step = np.abs(vectors).max(-1, keepdims=True) / 127
    assert (np.abs(back - vectors) <= 0.5001 * step).all()
    assert np.abs(np.int32(found.numbers)).max() == 127
