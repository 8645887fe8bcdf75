"""One layer of a transformer: how branches meet the residual stream."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.core import params as specs
from jaxlm.core.config import ConfigError
from jaxlm.layers import attention, mlps, norms
from jaxlm.models import blocks
from jaxlm.models.blocks import BLOCKS
from jaxlm.models.views import Sight, View
from tests import reference

TIME = 5
VIEW = View(jnp.arange(TIME)[None].repeat(2, 0), Sight(is_causal=True))


def make(config, seed=0, cross=False):
    rng = np.random.default_rng(seed)
    spec = blocks.spec(config, cross)

    def draw(_, p):
        return jnp.float32(rng.normal(size=p.shape) * 0.4)

    x_BTD = jnp.float32(rng.normal(size=(2, TIME, config.width)))
    return specs.map_spec(draw, spec), x_BTD


def apply(config, params, x_BTD, memory=None, view=VIEW):
    def layer(p, x, m):
        return blocks.apply(p, x, m, None, view, config)

    return jax.jit(layer)(params, x_BTD, memory or {})


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_the_equation_of_its_paper(tiny, block, cross):
    """Two branches or three, each a normed function of the stream or beside a norm."""
    config = tiny(norm="layer", positions="none", block=block)
    params, x_BTD = make(config, cross=cross)
    encoded = np.random.default_rng(1).normal(size=(2, 7, config.width))
    view = VIEW._replace(encoded_BUD=jnp.float32(encoded)) if cross else VIEW
    found, left = apply(config, params, x_BTD, view=view)
    assert left == {}
    p = jax.tree.map(np.float64, params)
    past = np.tri(TIME, dtype=bool)
    for row in range(2):
        branches = {
            "attention": lambda y: reference.attend(
                p["attention"], config, y, y, past, np.zeros(4)
            ),
            "cross": lambda y, at=row: reference.attend(
                p.get("cross"), config, y, encoded[at]
            ),
            "mlp": lambda y: reference.mlp(p["mlp"], config, y),
        }
        if not cross:
            del branches["cross"]
        expected = reference.block(p, config, np.float64(x_BTD[row]), branches)
        np.testing.assert_allclose(found[row], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("block", ["pre", "parallel"])
@pytest.mark.parametrize("norm", norms.NORMS)
@pytest.mark.parametrize("mlp", mlps.MLPS)
def test_a_block_that_writes_nothing_is_the_identity(tiny, norm, mlp, block):
    config = tiny(norm=norm, mlp=mlp, biases="none", block=block)
    params, x_BTD = make(config)
    params["attention"]["out"] *= 0
    params["mlp"]["down"] *= 0
    np.testing.assert_array_equal(apply(config, params, x_BTD)[0], x_BTD)


@pytest.mark.parametrize(
    ("silent", "other"), [(("attention", "out"), "mlp"), (("mlp", "down"), "attention")]
)
def test_a_parallel_block_with_one_branch_zeroed_is_the_other_branch(
    tiny, silent, other
):
    """x + attention(norm x) + mlp(norm x): neither sees what the other wrote."""
    config = tiny(block="parallel", biases="none", positions="none")
    params, x_BTD = make(config)
    both, _ = apply(config, params, x_BTD)
    branch, weight = silent
    alone = params | {branch: params[branch] | {weight: params[branch][weight] * 0}}
    one, _ = apply(config, alone, x_BTD)
    y_BTD = norms.layer(params["norm"], x_BTD, config.norm_epsilon)
    if other == "mlp":
        expected = mlps.MLPS[config.mlp].apply(params["mlp"], y_BTD)
    else:
        past = np.tri(TIME, dtype=bool)
        a = jax.tree.map(np.float64, params["attention"])
        expected = [
            reference.attend(a, config, y, y, past, np.zeros(4))
            for y in np.float64(y_BTD)
        ]
    np.testing.assert_allclose(one - x_BTD, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(both - one).max() > 0.01


def test_post_norm_output_has_unit_scale(tiny):
    """However large the input: zero mean and unit variance, before gain and shift."""
    config = tiny(block="post", norm="layer", biases="none")
    params, x_BTD = make(config)
    params["mlp_norm"]["scale"] = jnp.ones(config.width)
    for size in (1e-2, 1.0, 1e4):
        y = np.asarray(apply(config, params, size * x_BTD)[0])
        np.testing.assert_allclose(y.mean(-1), 0, atol=1e-5)
        np.testing.assert_allclose(y.std(-1), 1, rtol=2e-3)


def test_a_block_leaves_the_keys_and_values_of_what_it_reads(tiny):
    """Not those that it was given: of them it sees what the mask shows."""
    config = tiny(positions="none", norm="rms")
    params, x_BTD = make(config)
    k_BKCH, v_BKCH = jax.random.normal(
        jax.random.key(1), (2, 2, config.key_heads, 4, config.head_width)
    )
    mask = jnp.tri(TIME, 4 + TIME, 4, dtype=bool) & (jnp.arange(4 + TIME) != 2)[None]
    view = View(VIEW.positions_BT, Sight(mask[None, None]), keep=True)
    memory = {"attention": (k_BKCH, v_BKCH)}
    found, left = apply(config, params, x_BTD, memory, view)
    y_BTD = norms.rms(params["attention_norm"], x_BTD, config.norm_epsilon)
    q, k, v = (
        attention.project(params["attention"], y_BTD, name, config) for name in "qkv"
    )
    for kept, new in zip(left["attention"], (k, v), strict=True):
        np.testing.assert_allclose(kept, new, rtol=1e-4, atol=1e-5)
    # The same by one list of keys.
    k, v = (
        jnp.concatenate([old.swapaxes(1, 2), new], axis=1)
        for old, new in ((k_BKCH, k), (v_BKCH, v))
    )
    seen = attention.plain(q, k, v, mask_BNTS=mask[None, None], scale=config.scale)
    x_BTD = x_BTD + attention.output(params["attention"], seen)
    y_BTD = norms.rms(params["mlp_norm"], x_BTD, config.norm_epsilon)
    expected = x_BTD + mlps.MLPS[config.mlp].apply(params["mlp"], y_BTD)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("norm", r"config\.model\.norm 'no' is unknown; .*layer, rms"),
        ("mlp", r"config\.model\.mlp 'no' is unknown; .*gelu, .*relu, .*swiglu"),
        ("block", r"config\.model\.block 'no' is unknown; .*pre, post, sandwich"),
    ],
)
def test_an_unknown_part_is_answered_with_the_names(tiny, field, message):
    with pytest.raises(ConfigError, match=message):
        blocks.spec(tiny(**{field: "no"}))
