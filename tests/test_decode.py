"""Text from a model. B batch, T prompt length, V vocabulary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from jax.sharding import AxisType

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.core.sampling import Sampling
from jaxlm.layers import cache as caches
from jaxlm.models import transformer
from jaxlm.sampling import decode, prompting, strategies
from jaxlm.sharding import rules


@pytest.fixture(scope="module")
def config(tiny):
    return tiny(positions="rope")


@pytest.fixture(scope="module")
def params(config, random_params):
    return jax.tree.map(jnp.asarray, random_params(config))


def last_logits(forward, params, config, ids_BT):
    return np.asarray(forward(params, config, Batch(ids_BT, None, None))[0][:, -1])


def generate(params, config, ids, *, new=8, **settings):
    """Continuations of prompts of one length: (prompts x samples, new)."""
    if settings.get("temperature") is not None:
        settings["filters"] = (("temperature", settings.pop("temperature")),)
    wanted = Sampling(max_new_tokens=new, **settings)
    found = strategies.generate(params, config, list(ids), wanted)
    return np.stack([row.ids for group in found for row in group])


@pytest.mark.parametrize("positions", ["learned", "none", "rope"])
def test_greedy_text_is_the_argmax_of_the_forward_pass_again_and_again(
    forward, tiny, random_params, tokens, positions
):
    config = tiny(positions=positions)
    params = random_params(config)
    ids = tokens(3, 4)
    found = generate(params, config, ids, strategy="greedy")
    assert found.shape == (3, 8)
    for _ in range(8):
        # Padded to one length, so that one compiled function serves: a token does not
        # see what stands after it.
        padded = np.zeros((3, 12), np.int32)
        padded[:, : ids.shape[1]] = ids
        logits, _ = forward(params, config, Batch(padded, None, None))
        best = np.asarray(logits)[:, ids.shape[1] - 1].argmax(-1)
        ids = np.concatenate([ids, best[:, None].astype(np.int32)], axis=1)
    np.testing.assert_array_equal(found, ids[:, 4:])


def test_a_rows_text_does_not_depend_on_the_other_rows(params, config, tokens):
    """Nor on their number, their lengths, or the room that they need."""
    ids = tokens(4, 4)
    whole = generate(params, config, ids, temperature=1.0)
    np.testing.assert_array_equal(
        generate(params, config, ids[:1], temperature=1.0), whole[:1]
    )
    others = [[3], *ids[1:2], [1, 2], [4, 5, 6, 7]]
    settings = Sampling(filters=(("temperature", 1.0),), max_new_tokens=8)
    changed = strategies.generate(params, config, others, settings)
    np.testing.assert_array_equal(changed[1][0].ids, whole[1])
    assert (changed[3][0].ids != whole[3]).any()


def test_the_same_seed_draws_the_same_text_and_another_seed_another(
    params, config, tokens
):
    first, again, other = (
        generate(params, config, tokens(4, 4), temperature=1.0, seed=seed)
        for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_samples_of_one_prompt_draw_apart_and_more_change_none(params, config, tokens):
    ids = tokens(2, 4)
    found = generate(params, config, ids, temperature=1.0, samples=16)
    assert len(np.unique(found[:16], axis=0)) == 16
    fewer = generate(params, config, ids[1:], temperature=1.0, samples=3)
    np.testing.assert_array_equal(fewer, found[16:19])


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_draws_have_the_models_probabilities(forward, tiny, random_params, temperature):
    """Chi-square of 20,000 pairs of tokens against p(a) p(b | a): 25 cells.

    Pairs, so that a key used twice would show. A correct sampler fails for one key in a
    thousand; the key is fixed.
    """
    config = tiny(vocab_size=5, positions="rope")
    params, prompt = random_params(config), np.array([3, 1, 4], np.int32)
    rows = 20_000
    pairs = generate(
        params, config, prompt[None], new=2, temperature=temperature, samples=rows
    )

    def soft(logits):
        return scipy.special.softmax(logits / temperature, axis=-1)

    first = soft(last_logits(forward, params, config, prompt[None]))[0]
    longer = np.array([[*prompt, a] for a in range(5)], np.int32)
    second = soft(last_logits(forward, params, config, longer))
    expected = rows * first[:, None] * second
    count = np.zeros((5, 5))
    np.add.at(count, (pairs[:, 0], pairs[:, 1]), 1)
    # Cells that expect fewer than five draws are put together, as usual.
    few = expected < 5
    observed = np.append(count[~few], count[few].sum())
    expected = np.append(expected[~few], expected[few].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    assert len(expected) > 10
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert scipy.stats.chi2.sf(statistic, len(expected) - 1) > 1e-3


def test_another_temperature_seed_or_length_does_not_compile_again(params, config):
    def run(length, new, **settings):
        generate(params, config, [np.arange(length)], new=new, **settings)

    run(3, 4, temperature=0.5)
    compiled = decode.start._cache_size(), decode.advance._cache_size()
    for length, new in ((1, 1), (2, 10), (4, 8), (9, 3)):
        run(length, new, temperature=0.0, seed=length)
    assert (decode.start._cache_size(), decode.advance._cache_size()) == compiled


def test_a_longer_text_compiles_once_a_bucket(tiny, random_params):
    config = tiny(positions="rope", context=256)
    params = jax.tree.map(jnp.asarray, random_params(config))
    before = decode.advance._cache_size()
    for length in range(2, 120, 13):
        generate(params, config, [np.arange(length) % 7], new=100, strategy="greedy")
    rooms = {prompting.room(length + 100, 256) for length in range(2, 120, 13)}
    assert decode.advance._cache_size() - before == len(rooms) == 3


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 32), (32, 32), (33, 48), (49, 64), (65, 96), (97, 100)]
)
def test_rooms_are_powers_of_two_and_halves_between_up_to_the_context(length, expected):
    assert prompting.room(length, 100) == expected


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            dict(prompt_length=4, max_new_tokens=0),
            "--max_new_tokens 0 is below 1; give more",
        ),
        (
            dict(prompt_length=0, max_new_tokens=1),
            "--prompt '' has no tokens; give at least one character",
        ),
        (
            dict(prompt_length=4, max_new_tokens=9),
            "--max_new_tokens 9 after a prompt of 4 tokens exceeds the context of 12; "
            "give at most 8, or a shorter prompt",
        ),
        (
            dict(prompt_length=30, max_new_tokens=1),
            "--max_new_tokens 1 after a prompt of 30 tokens exceeds the context of 12; "
            "give at most 0, or a shorter prompt",
        ),
    ],
)
def test_an_impossible_request_is_one_line_with_the_remedy(config, request_, message):
    with pytest.raises(ConfigError) as error:
        prompting.check(config, **request_)
    assert str(error.value) == message


def test_a_request_that_just_fits_is_possible(config):
    prompting.check(config, 4, 8)


@pytest.mark.parametrize("kind", ["compute", "int8"])
def test_a_cache_is_cut_like_the_heads_and_the_text_is_the_same(
    tiny, random_params, tokens, kind
):
    """Over four devices, each with one of four key heads, or each with all."""
    config = tiny(positions="rope", kv_heads=4)
    mesh = jax.make_mesh((4,), ("tensor",), axis_types=(AxisType.Auto,))
    spec = transformer.spec(config)
    by_head = {"heads": "tensor", "kv_heads": "tensor"}
    places = rules.param_shardings(spec, mesh, by_head)
    whole = jax.tree.map(jnp.asarray, random_params(config))
    cut = jax.tree.map(jax.device_put, whole, places)
    prompts = prompting.together(config, list(tokens(2, 4)), prompting.keys([0, 1]))
    state = decode.start(
        cut, config, prompts, capacity=16, kind=kind, heads=caches.heads_of(cut)
    )
    for array in jax.tree.leaves((state.cache.k, state.cache.v)):
        assert array.sharding.shard_shape(array.shape)[2] == 1
        assert array.shape[2] == 4
    settings = dict(strategy="greedy", cache=kind)
    np.testing.assert_array_equal(
        generate(cut, config, tokens(2, 4), **settings),
        generate(whole, config, tokens(2, 4), **settings),
    )
    assert caches.heads_of(whole) is None
