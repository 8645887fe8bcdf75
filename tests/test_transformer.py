"""The model, against its equations in NumPy, against itself, and against autodiff.

B batch, T time, S key time, D width, V vocabulary.
"""

import dataclasses
import math
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxlm.core import params as specs
from jaxlm.core import schema
from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.layers.cache import Cache
from jaxlm.layers.norms import NORMS
from jaxlm.layers.positions import POSITIONS
from jaxlm.models import transformer
from jaxlm.train import losses, step
from tests import reference


def reading(inputs, **fields):
    return Batch(inputs, None, None, **fields)


# Every row of every table at least once, each beside another.
VARIANTS = {
    "gpt2": dict(norm="layer", mlp="gelu", positions="learned", biases="all"),
    "llama": dict(norm="rms", mlp="swiglu", positions="rope", biases="none")
    | dict(head="untied"),
    "none": dict(norm="layer", mlp="relu", positions="none", biases="none")
    | dict(head="untied"),
    "multi-query": dict(norm="rms", mlp="relu", positions="rope", kv_heads=1),
    "wide-heads": dict(mlp="swiglu", kv_heads=4, head_dim=6, position_offset=3),
    "bert": dict(architecture="encoder", block="post", mlp="gelu_exact", head="masked")
    | dict(embedding_norm="layer", token_types=2),
    "bloom": dict(positions="alibi", embedding_norm="layer"),
    "palm": dict(block="parallel", mlp="swiglu", biases="none", positions="rope"),
    "gemma": dict(block="sandwich", mlp="geglu", norm="rms", positions="rope")
    | dict(score_cap=2.0, logit_cap=3.0, embedding_scale=4.0, biases="none"),
    "normed-heads": dict(qk_norm="rms", positions="rope", window=4),
    "t5-decoder": dict(positions="buckets", buckets=8, max_distance=6)
    | dict(score_scale=1.0, logit_scale=0.25, norm="rms", mlp="geglu"),
    "windowed-encoder": dict(architecture="encoder", positions="buckets", buckets=8)
    | dict(max_distance=6, window=3, head="tied_bias", mlp="silu", qk_norm="layer"),
    "sinusoids": dict(positions="sinusoidal", block="post"),
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_the_forward_pass_is_the_published_equations(
    forward, tiny, random_params, tokens, variant
):
    config = tiny(**variant)
    params, inputs = random_params(config), tokens(2, 12)
    logits_BTV, cache = forward(params, config, reading(inputs))
    assert cache is None
    assert logits_BTV.dtype == jnp.float32
    for row in range(2):
        expected = reference.logits(params, config, inputs[row])
        np.testing.assert_allclose(logits_BTV[row], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_token_never_sees_its_future(tiny, random_params, positions, norm):
    """The derivative of the logits at t by the embedding at s is 0 exactly if s > t.

    With an embedding of its own for each token and an untied head, the row of the table
    that token s reads is the embedding at s and nothing else.
    """
    config = tiny(positions=positions, norm=norm, head="untied", vocab_size=12)
    params = random_params(config)
    inputs = np.random.default_rng(0).permutation(12).astype(np.int32)[None]
    mix_V = np.random.default_rng(1).normal(size=12).astype(np.float32)

    def score_T(table, params):
        params = params | {"tokens": {"table": table}}
        return transformer.forward(params, config, reading(inputs))[0][0] @ mix_V

    jacobian_TVD = jax.jit(jax.jacrev(score_T))(params["tokens"]["table"], params)
    influence_TS = np.abs(jacobian_TVD).max(-1)[:, inputs[0]]
    np.testing.assert_array_equal(influence_TS > 0, np.tri(12, dtype=bool))


@pytest.mark.parametrize("positions", POSITIONS)
def test_packed_sequences_do_not_see_each_other(
    forward, tiny, random_params, tokens, positions
):
    config = tiny(positions=positions)
    params, inputs = random_params(config), tokens(2, 12)
    segments = np.array([[0] * 5 + [1] * 7, [3] * 8 + [9] * 4])
    order = np.stack(
        [np.r_[np.arange(5), np.arange(7)], np.r_[np.arange(8), np.arange(4)]]
    )
    packed, _ = forward(
        params, config, reading(inputs, positions=order, segments=segments)
    )
    for row, cut in enumerate((5, 8)):
        for part in (slice(0, cut), slice(cut, 12)):
            alone = reference.logits(params, config, inputs[row, part])
            np.testing.assert_allclose(packed[row, part], alone, rtol=1e-3, atol=1e-3)


def garbage_cache(config, rows, capacity):
    """A cache whose empty slots hold numbers that would show if they were read."""
    shape = (config.depth, rows, config.key_heads, capacity, config.head_width)
    slots = np.full((2, *shape), 100.0, config.compute)
    ones_BC = np.ones((rows, capacity), np.int32)
    return Cache(*slots, np.zeros(rows, np.int32), ones_BC, 100 * ones_BC)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("positions", POSITIONS)
def test_decoding_with_a_cache_is_the_forward_pass(
    forward, tiny, random_params, tokens, positions, kv_heads
):
    """A prompt and then one token at a time, or uneven pieces: equal at every position.

    The cache has more room than is used, and nonsense in it.
    """
    config = tiny(positions=positions, kv_heads=kv_heads)
    params, inputs = random_params(config), tokens(2, 12)
    expected, _ = forward(params, config, reading(inputs))
    for lengths in ([4] + [1] * 8, [1, 4, 3, 4]):
        cache, at = garbage_cache(config, 2, capacity=15), 0
        for length in lengths:
            piece = inputs[:, at : at + length]
            found, cache = forward(params, config, reading(piece), cache)
            np.testing.assert_allclose(
                found, expected[:, at : at + length], rtol=1e-3, atol=1e-4
            )
            at += length
            assert (cache.length_B == at).all()


def test_positions_count_from_zero_unless_they_are_given(
    forward, tiny, random_params, tokens
):
    config = tiny(positions="learned")
    params, inputs = random_params(config), tokens(2, 5)
    counted = np.arange(5)[None].repeat(2, 0)
    first, _ = forward(params, config, reading(inputs))
    second, _ = forward(params, config, reading(inputs, positions=counted))
    shifted, _ = forward(params, config, reading(inputs, positions=counted + 1))
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)
    assert np.abs(first - shifted).max() > 0.01


def test_rows_of_a_batch_do_not_see_each_other(forward, tiny, random_params, tokens):
    config = tiny()
    params, inputs = random_params(config), tokens(2, 12)
    changed = inputs.copy()
    changed[1] = (inputs[1] + 1) % 17
    first, _ = forward(params, config, reading(inputs))
    second, _ = forward(params, config, reading(changed))
    np.testing.assert_array_equal(first[0], second[0])
    assert np.abs(first[1] - second[1]).max() > 0.01


# --------------------------------------------------------------------- the whole loss


def experiment(model, **train):
    return schema.Experiment(
        model=model, data=schema.Data(batch=4), train=schema.Train(**train)
    )


def trained_on(inputs):
    """Each token's target is the next one, around the corner."""
    weights = np.ones(inputs.shape, np.float32)
    return Batch(inputs, np.roll(inputs, -1, 1), weights)


@pytest.fixture(scope="module")
def gradients():
    """(sums, gradients) of the mean loss, compiled once for equal settings."""
    return jax.jit(step.gradients, static_argnums=1)


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_neither_loss_nor_gradients(
    gradients, tiny, random_params, tokens, remat
):
    params, batch = random_params(tiny()), trained_on(tokens(4, 12))
    expected = gradients(params, experiment(tiny()), batch)
    found = gradients(params, experiment(tiny(remat=remat)), batch)
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-5),
        found,
        expected,
    )


@pytest.mark.parametrize("remat", ["none", "full"])
def test_unrolling_layers_changes_neither_loss_nor_gradients(
    gradients, tiny, random_params, tokens, remat
):
    params, batch = random_params(tiny()), trained_on(tokens(4, 12))
    expected = gradients(params, experiment(tiny()), batch)
    found = gradients(params, experiment(tiny(unroll=2, remat=remat)), batch)
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-5),
        found,
        expected,
    )


def test_bfloat16_compute_keeps_float32_parameters_and_gradients_and_is_close(
    gradients, forward, tiny, random_params, tokens
):
    full, half = tiny(), tiny(compute="bfloat16")
    params, batch = random_params(full), trained_on(tokens(4, 12))
    spec = transformer.spec(half)
    assert {p.dtype for p in jax.tree.leaves(specs.abstract(spec))} == {
        np.dtype("float32")
    }
    x_BTD, _ = jax.eval_shape(
        lambda p, b: transformer.hidden(p, half, b), params, batch
    )
    assert x_BTD.dtype == jnp.bfloat16

    (expected, expected_g), (found, found_g) = (
        gradients(params, experiment(config), batch) for config in (full, half)
    )
    assert {g.dtype for g in jax.tree.leaves(found_g)} == {np.dtype("float32")}
    # bfloat16 has 8 bits: 0.4% a rounding.
    np.testing.assert_allclose(found.loss, expected.loss, rtol=0.01)
    for f, e in zip(*map(jax.tree.leaves, (found_g, expected_g)), strict=True):
        assert np.linalg.norm(f - e) < 0.1 * np.linalg.norm(e) + 1e-3
    # ... and is not float32 in disguise.
    assert found.loss != expected.loss


def test_a_tied_head_reads_the_embeddings_table(forward, tiny, random_params, tokens):
    tied, untied = tiny(head="tied"), tiny(head="untied")
    assert (
        specs.count(transformer.spec(untied))
        == specs.count(transformer.spec(tied)) + 17 * 16
    )
    params, inputs = random_params(tied), reading(tokens(2, 12))
    copied = params | {"head": {"kernel": params["tokens"]["table"].T}}
    np.testing.assert_allclose(
        forward(params, tied, inputs)[0],
        forward(copied, untied, inputs)[0],
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(("head", "excess"), [("tied", 0.0), ("untied", 0.5)])
def test_an_untrained_model_knows_nothing(gradients, tokens, head, excess):
    """Its loss is log V, plus half the variance of its logits: E exp(x) = exp(v / 2).

    That is width * 0.02^2 with a tied head, nearly 0, and 1 with an untied one.
    """
    model = schema.Model(
        vocab_size=256, context=32, width=64, depth=2, heads=4, head=head
    )
    spec = transformer.spec(model)
    params = jax.jit(lambda: specs.init(spec, jax.random.key(0)))()
    # Targets that are drawn apart: an untrained tied model expects the token it read.
    batch = trained_on(tokens(4, 32, 256))._replace(targets=tokens(4, 32, 256, seed=1))
    sums, _ = gradients(params, experiment(model), batch)
    mean = float(sums.loss / sums.weight)
    # 128 targets whose log-odds deviate by up to 1: a standard error of 0.09.
    assert mean == pytest.approx(math.log(256) + excess, abs=0.25 if excess else 0.05)


def test_logits_are_the_only_array_as_large_as_the_vocabulary_times_tokens(tiny):
    """`hidden` ends before the head, so that a loss may make logits in pieces."""
    config = tiny(vocab_size=1000)
    params = specs.abstract(transformer.spec(config))
    x_BTD, _ = jax.eval_shape(
        lambda p, ids: transformer.hidden(p, config, reading(ids)),
        params,
        jax.ShapeDtypeStruct((2, 12), np.int32),
    )
    assert x_BTD.shape == (2, 12, 16)
    logits = jax.eval_shape(
        lambda p, x: transformer.logits(p, config, x), params, x_BTD
    )
    assert (logits.shape, logits.dtype) == ((2, 12, 1000), np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"head": "bound"},
            r"config\.model\.head 'bound' is unknown; .*tied, .*untied",
        ),
        ({"block": "prep"}, r"config\.model\.block 'prep'.*did you mean 'pre'\?"),
        ({"norm": "rm"}, r"config\.model\.norm 'rm'.*did you mean 'rms'\?"),
        ({"positions": "roped"}, r"config\.model\.positions .*did you mean 'rope'\?"),
    ],
)
def test_an_unknown_part_is_answered_with_the_names(tiny, changes, message):
    with pytest.raises(ConfigError, match=message):
        transformer.spec(tiny(**changes))


# ------------------------------------------------------------------------ compile time


def lowered(config, rows=2):
    """The loss and its gradient, traced for parameters that need not exist."""
    ids = jax.ShapeDtypeStruct((rows, config.context), np.int32)
    weights = jax.ShapeDtypeStruct(ids.shape, np.float32)
    params = specs.abstract(transformer.spec(config))
    settings = experiment(config)
    return jax.jit(lambda p, b: step.gradients(p, settings, b)).lower(
        params, Batch(ids, ids, weights)
    )


def test_the_program_does_not_grow_with_depth(tiny):
    shallow, deep = (lowered(tiny(depth=d)).as_text().count("\n") for d in (2, 30))
    assert shallow == deep


@pytest.fixture
def no_compilation_cache():
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()


def test_compiling_96_layers_takes_at_most_1_3_times_as_long_as_12(
    no_compilation_cache, tiny
):
    """Tracing and compiling loss and gradient, in seconds of the processor's time.

    Which other programs of this machine do not lengthen. Medians of three, in turns.
    """
    seconds = {12: [], 96: []}
    for depth in [12] + 3 * [12, 96]:  # the very first one warms up
        start = time.process_time()
        lowered(tiny(depth=depth)).compile()
        seconds[depth].append(time.process_time() - start)
    ratio = statistics.median(seconds[96]) / statistics.median(seconds[12][1:])
    assert ratio <= 1.3
    assert min(seconds[12]) > 0.1  # not read from a cache


def test_a_second_call_does_not_compile(forward, tiny, random_params, tokens):
    config = tiny(rope=schema.Rope(base=500.0))
    forward(random_params(config), config, reading(tokens(2, 12)))
    compiled = forward._cache_size()
    same = dataclasses.replace(config)
    forward(random_params(config, seed=1), same, reading(tokens(2, 12, seed=1)))
    assert forward._cache_size() == compiled


def test_z_loss_and_chunks_go_through_the_model(gradients, tiny, random_params, tokens):
    """With both on, the gradient is that of the plain formula of the mean loss."""
    config = tiny()
    params, batch = random_params(config), trained_on(tokens(4, 12))

    def plain(params):
        logits_BTV, _ = transformer.forward(params, config, batch)
        sums = losses.cross_entropy(logits_BTV, batch.targets, batch.weights)
        return (sums.loss + 0.1 * sums.z) / sums.weight

    expected = jax.jit(jax.grad(plain))(params)
    _, found = gradients(params, experiment(config, z_loss=0.1, loss_chunks=3), batch)
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-3, atol=1e-5),
        found,
        expected,
    )
