"""Every objective trains: its loss falls below what the frequency of targets gives.

That is the entropy of the targets that were asked for, counted as they were drawn: the
least loss of a model that does not look at its inputs.
"""

import dataclasses

import jax
import numpy as np
import pytest
from objective_tasks import config_of, task_of

from jaxlm.core import schema
from jaxlm.core.config import override
from jaxlm.data import corpus, loader, objectives
from jaxlm.models import transformer
from jaxlm.train import loop, run
from jaxlm.train import step as steps
from jaxlm.train.schedules import Hyper

SMALL = {
    "model.width": 48,
    "model.depth": 1,
    "model.norm": "rms",
    "model.biases": "none",
    "optimizer.learning_rate": 1e-2,
    "schedule.warmup_steps": 20,
    "train.steps": 120,
}
CASES = [
    ("decoder", "causal", {}),
    ("decoder", "prefix", {}),
    ("decoder", "ul2", {}),
    ("decoder", "mixture", {}),
    ("decoder", "conditional", {}),
    ("encoder_decoder", "masked", {}),
    ("encoder_decoder", "span", {}),
    ("encoder_decoder", "denoise", {}),
    ("encoder", "masked", {"mask_unit": "word"}),
]


@pytest.fixture(scope="module")
def prose():
    """The embedded English, as bytes; an even number of documents."""
    text = corpus.build(schema.Data())
    (ends,) = np.nonzero(text.train == 0)
    return dataclasses.replace(text, train=text.train[: ends[len(ends) // 2 * 2 - 1]])


@pytest.mark.parametrize("architecture, name, settings", CASES)
def test_the_loss_falls_below_the_entropy_of_the_targets(
    prose, architecture, name, settings
):
    config = config_of(name, architecture, 32, sentinels=1, **settings)
    config = override(config, SMALL)
    if architecture == "encoder":  # a seventh of the targets that others have
        config = override(config, {"train.steps": 200})
    config = loop.with_vocabulary(config, prose.tokenizer)
    task = objectives.task(config, prose.tokenizer)
    batches = loader.Loader.make(prose.train, config.data, task)
    program = steps.build(config, jax.devices()[:1])
    state, losses = program.init(0), []
    counts = np.zeros(config.model.vocab_size)
    for index in range(config.train.steps):
        batch = batches.batch_at(index)
        asked = batch.targets[batch.weights > 0]
        counts += np.bincount(asked, minlength=len(counts))
        state, metrics = program.train_step(state, batch, Hyper.of(config))
        losses.append(metrics["loss"])
    shares = counts[counts > 0] / counts.sum()
    entropy = -(shares * np.log(shares)).sum()
    losses = np.array(jax.device_get(losses))
    assert losses[0] == pytest.approx(np.log(config.model.vocab_size), abs=0.5)
    assert losses[-20:].mean() < entropy - 0.05


# --------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize(
    "architecture, name, settings",
    [
        ("encoder", "masked", {"mask_pairs": "next_sentence"}),
        ("encoder_decoder", "span", {}),
        ("decoder", "ul2", {}),
    ],
)
def test_a_run_is_evaluated_again_with_its_own_result(
    architecture, name, settings, tmp_path
):
    """Over eight devices and on one, from its own record of settings and tokenizer."""
    path = tmp_path / "text.txt"
    words = np.random.default_rng(0).integers(100, size=(400, 12))
    path.write_text("\n\n".join(" ".join(map(str, row)) for row in words))
    config = override(
        config_of(name, architecture, 32, **settings),
        {
            "model.width": 16,
            "model.depth": 1,
            "model.heads": 2,
            "model.token_types": 2 if settings else 0,
            "model.pooler": "next_sentence" if settings else "none",
            "data.source": "files",
            "data.path": str(path),
            "data.batch": 8,
            "train.steps": 4,
            "evaluation.every": 2,
            "evaluation.batches": 2,
            "mesh.data": 8,
        },
    )
    result = loop.train(config, tmp_path / "run")
    trained = run.load(tmp_path / "run")
    again = run.evaluate(trained, trained.config)
    assert again[:3] == pytest.approx(result[:3], rel=1e-5)
    assert again.bits_per_byte is result.bits_per_byte is None


# -------------------------------------------------------------- BERT's second objective


@pytest.fixture(scope="module")
def pairs():
    """(config, parameters, batch) of a small BERT and its pairs of sentences."""
    config = override(
        config_of("masked", "encoder", 24, mask_pairs="next_sentence"),
        {
            "model.width": 16,
            "model.depth": 1,
            "model.heads": 2,
            "model.token_types": 2,
            "model.pooler": "next_sentence",
            "model.vocab_size": 261,
            "data.batch": 8,
        },
    )
    task = task_of("masked", "encoder", 24, mask_pairs="next_sentence")
    tokens = np.random.default_rng(0).integers(1, 256, size=2000)
    batch = loader.Loader.make(tokens, config.data, task).batch_at(0)
    params = steps.build(config, jax.devices()[:1]).init(0).params
    noise = np.random.default_rng(1)
    params["pooler"] = jax.tree.map(
        lambda x: x + np.float32(0.3 * noise.normal(size=x.shape)), params["pooler"]
    )
    return config, params, batch


def test_the_second_loss_is_added_with_the_weight_of_each_sequences_tokens(pairs):
    """In NumPy, from the vectors of the first tokens (section 3.1, task 2)."""
    config, params, batch = pairs
    x_BTD, _ = transformer.hidden(params, config.model, batch)
    part = jax.tree.map(np.asarray, params["pooler"])
    pooled = np.tanh(np.asarray(x_BTD)[:, 0] @ part["kernel"] + part["bias"])
    second = part["next_sentence"]
    scores = pooled @ second["kernel"] + second["bias"]
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    losses = -logs[np.arange(8), batch.labels[:, 0]]
    expected = (losses * batch.weights.sum(1)).sum()
    with_labels = steps.loss_sums(params, config, batch)
    without = steps.loss_sums(params, config, batch._replace(labels=None))
    assert with_labels.loss - without.loss == pytest.approx(expected, rel=1e-4)
    assert with_labels.weight == without.weight == batch.weights.sum()


def test_four_microbatches_of_pairs_make_one_batch(pairs):
    config, params, batch = pairs
    parts = override(config, {"train.accumulation": 4})
    one, four = (steps.gradients(params, c, batch) for c in (config, parts))
    for a, b in zip(*map(jax.tree.leaves, (one, four)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_labels_go_where_the_batch_goes(cpus, pairs):
    config, _, batch = pairs
    placed = jax.device_put(batch, steps.build(config, cpus).batch_sharding)
    assert {s.data.shape for s in placed.labels.addressable_shards} == {(1, 1)}
