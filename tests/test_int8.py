"""Weights as int8 numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.core.weights import contract
from jaxlm.models import transformer
from jaxlm.quant import int8


@pytest.mark.parametrize(
    ("equation", "x_shape", "shape", "summed"),
    [
        ("btd,dnh->btnh", (2, 3, 24), (24, 4, 6), (0,)),
        ("btd,dnh->btnh", (1, 1, 24), (24, 4, 6), (0,)),
        ("btnh,nhd->btd", (2, 3, 4, 6), (4, 6, 24), (0, 1)),
        ("btd,vd->btv", (2, 1, 24), (40, 24), (1,)),
    ],
)
def test_products_are_those_of_the_rounded_weight(equation, x_shape, shape, summed):
    """To the 16 bits of tokens: 1/32,000 of the largest number, as sums of squares go.

    The rounded weight by NumPy: the nearest of 255 steps of each output's largest.
    """
    rng = np.random.default_rng(0)
    x, weight = (rng.normal(size=s).astype(np.float32) for s in (x_shape, shape))
    size = np.abs(weight).max(summed, keepdims=True) / 127
    rounded = np.round(weight / size) * size
    made = int8.of(jnp.asarray(weight), summed)
    assert made.numbers.dtype == np.int8 and made.numbers.shape == shape
    found = contract(equation, jnp.asarray(x), made)
    expected = np.einsum(equation, np.float64(x), np.float64(rounded))
    room = np.abs(x).max() / 127 / 254 * np.sqrt(24) * np.abs(weight).max()
    np.testing.assert_allclose(found, expected, atol=room)
    assert np.abs(expected - np.einsum(equation, x, weight)).max() > 5 * room


def test_a_table_gives_the_rows_that_it_rounded():
    table = np.random.default_rng(0).normal(size=(9, 16)).astype(np.float32)
    made, ids = int8.of(jnp.asarray(table), (1,)), np.array([[3, 8], [0, 3]])
    half_steps = np.abs(table).max(1) / 127 / 2
    rows = np.asarray(made[ids])
    assert rows.shape == (2, 2, 16)
    assert (np.abs(rows - table[ids]) <= 1.001 * half_steps[ids][..., None]).all()


FAMILIES = {
    "llama": dict(positions="rope", mlp="swiglu", norm="rms", biases="none"),
    "gpt2": dict(positions="learned"),
    "untied": dict(positions="alibi", head="untied"),
    "t5": dict(architecture="encoder_decoder", positions="buckets", mlp="geglu"),
    "bert": dict(architecture="encoder", head="masked", block="post"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_models_matrices_are_rounded_and_its_logits_stay(
    tiny, random_params, tokens, name
):
    config = tiny(**FAMILIES[name])
    params = jax.tree.map(jnp.asarray, random_params(config))
    rounded = int8.quantize(params)
    left = jax.tree.leaves(rounded, is_leaf=lambda leaf: isinstance(leaf, int8.Int8))
    matrices = [leaf for leaf in left if isinstance(leaf, int8.Int8)]
    ids = tokens(2, 8)
    batch = Batch(ids, None, None)
    if config.architecture == "encoder_decoder":
        batch = batch._replace(encoder_inputs=tokens(2, 6, seed=1))
    exact, found = (
        np.asarray(jax.jit(transformer.forward, static_argnums=1)(p, config, batch)[0])
        for p in (params, rounded)
    )
    assert len(matrices) >= 7
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.05


def test_what_is_rounded_already_is_refused():
    with pytest.raises(ConfigError, match="type int8 is rounded already"):
        int8.of(jnp.zeros((2, 2), jnp.int8), (0,))
