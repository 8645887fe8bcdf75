"""Batches of every objective: alike in shape, a function of the step, rows alone."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from objective_tasks import PAIRS, task_of, text

from jaxlm.core import schema
from jaxlm.data import objectives
from jaxlm.data.loader import Loader, held_out_batches
from jaxlm.data.mixing import Mixed

DATA = schema.Data(batch=7, seed=1)


def stream(length=4000, every=23):
    """Text with a separator now and then, and an even number of documents."""
    tokens = text(length)
    tokens[every - 1 :: every] = 0
    if (tokens == 0).sum() % 2 == 0:
        tokens[np.flatnonzero(tokens == 0)[-1]] = 1
    return tokens.astype(np.uint16)


def made(name, architecture, **changes):
    data = schema.Data(**({"batch": 7, "seed": 1} | changes))
    return Loader.make(stream(), data, task_of(name, architecture))


def assert_equal(one, two):
    assert type(one) is type(two)
    for field, a, b in zip(one._fields, one, two, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=field)


def shapes(batch):
    return {
        name: (array.shape[1:], array.dtype)
        for name, array in batch._asdict().items()
        if array is not None
    }


@pytest.mark.parametrize("architecture, name", PAIRS)
def test_a_batch_is_a_function_of_the_step(architecture, name):
    loader = made(name, architecture)
    later = [loader.batch_at(step) for step in (0, 5, 40)]
    for step, batch in zip((40, 0, 5), (later[2], later[0], later[1]), strict=True):
        assert_equal(made(name, architecture).batch_at(step), batch)


@pytest.mark.parametrize("architecture, name", PAIRS)
def test_any_row_can_be_made_alone(architecture, name):
    loader = made(name, architecture)
    for step in (0, 11, 29):
        whole = loader.batch_at(step)
        for row in range(7):
            alone = loader.batch_at(step, rows=slice(row, row + 1))
            for a, b in zip(whole, alone, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_array_equal(a[row : row + 1], b)


@pytest.mark.parametrize("architecture, name", PAIRS)
def test_batches_are_alike_and_have_the_types_that_models_read(architecture, name):
    loader = made(name, architecture)
    first = shapes(loader.batch_at(0))
    assert all(shapes(loader.batch_at(step)) == first for step in range(1, 30))
    time_, encoder_time = objectives.get(loader.task.settings).lengths(loader.task)
    for field, (shape, dtype) in first.items():
        wide = encoder_time if field.startswith("encoder") else time_
        assert shape == (wide,)
        expected = {"weights": np.float32, "visibility": bool}.get(field, np.int32)
        assert dtype == expected
    assert loader.tokens_a_step == 7 * (time_ + encoder_time)


@pytest.mark.parametrize("architecture, name", PAIRS)
def test_ids_are_within_the_vocabulary(architecture, name):
    loader = made(name, architecture)
    size = loader.task.vocabulary.size
    for step in range(20):
        batch = loader.batch_at(step)
        for ids in (batch.inputs, batch.targets, batch.encoder_inputs):
            assert ids is None or (ids.min() >= 0 and ids.max() < size)


DRAWN = [pair for pair in PAIRS if pair[1] not in ("causal", "conditional")]


@pytest.mark.parametrize("architecture, name", DRAWN)
def test_another_seed_draws_another_example_of_the_same_text(architecture, name):
    """One window, so that the order of windows does not matter."""
    row = objectives.OBJECTIVES[name]
    task = task_of(name, architecture)
    tokens = text(row.reads(task) + row.overlap(task))
    batches = [
        Loader.make(tokens, schema.Data(batch=8, seed=seed), task).batch_at(0)
        for seed in (1, 2)
    ]
    fields = [(b.inputs, b.weights, b.encoder_inputs, b.visibility) for b in batches]
    assert any(a is not None and (a != b).any() for a, b in zip(*fields, strict=True))


@pytest.mark.parametrize("architecture, name", PAIRS)
def test_held_out_batches_cover_the_text_and_say_nothing_of_the_seed(
    architecture, name
):
    task, tokens = task_of(name, architecture), stream(1500)
    one = held_out_batches(tokens, DATA, task, 99)
    two = held_out_batches(tokens, schema.Data(batch=7, seed=5), task, 99)
    row = objectives.get(task.settings)
    for a, b in zip(one, two, strict=True):
        assert_equal(a, b)
    assert len({str(shapes(batch)) for batch in one}) == 1
    rows = sum((batch.weights.sum(1) > 0).sum() for batch in one)
    if row.cut == "pairs":
        assert rows == ((tokens == 0).sum() + 1) // 2
    else:
        assert abs(rows - 1500 / row.reads(task)) <= 1
    for batch in one:
        if batch.segments is not None:
            assert not batch.weights[batch.segments == 0].any()


@pytest.mark.parametrize("name", ["prefix", "span", "denoise", "ul2", "conditional"])
def test_what_a_prefix_decoder_sees_ends_where_its_targets_begin(name):
    """At the last token of the source the first target is asked for."""
    batch = made(name, "decoder").batch_at(0)
    np.testing.assert_array_equal(
        batch.visibility.sum(1), 1 + np.argmax(batch.weights, axis=1)
    )
    assert (np.diff(batch.visibility.astype(int)) <= 0).all()
    causal = task_of(name, "decoder", prefix="causal")
    assert Loader.make(stream(), DATA, causal).batch_at(0).visibility is None


@pytest.mark.parametrize("architecture, name", PAIRS)
def test_sources_are_mixed_by_weight_whatever_the_objective(architecture, name):
    """A quarter of the rows from the first text, each batch as from one text alone."""
    task = task_of(name, architecture)
    one, two = stream(), stream() // 2 * 2  # the second has no odd ids
    data = schema.Data(batch=8)
    mixed = Loader.make(Mixed(("one", "two"), (1.0, 3.0), (one, two)), data, task)
    alone = Loader.make(one, data, task)
    assert shapes(mixed.batch_at(0)) == shapes(alone.batch_at(0))
    assert mixed.tokens_a_step == alone.tokens_a_step
    for step in range(5):
        batch = mixed.batch_at(step)
        odd = (batch.targets % 2 == 1) & (batch.targets < 256)
        assert odd.any(1).sum() == 2


@pytest.mark.parametrize("architecture, name", PAIRS)
def test_bits_a_byte_are_of_losses_that_ask_for_every_token_once(architecture, name):
    """As the batches of a text whose tokens are all different do or do not."""
    tokens = np.arange(1, 201) if name != "conditional" else stream()
    task, data = task_of(name, architecture), schema.Data(batch=4)
    asked = [
        batch.targets[batch.weights > 0]
        for batch in held_out_batches(tokens, data, task, 99)
    ]
    every = np.concatenate(asked).tolist() == tokens[1:].tolist()
    corpus = SimpleNamespace(bytes_per_token=4.0)
    assert objectives.bytes_per_token(task.settings, corpus) == (4.0 if every else None)


def test_padding_is_a_segment_that_no_text_is_in():
    """The text ends within the second row, and there is no third."""
    tokens, data = text(80), schema.Data(batch=3)
    task = task_of("masked", "encoder")
    (batch,) = held_out_batches(tokens, data, task, 9)
    assert batch.segments.sum(1).tolist() == [64, 80 - 62 + 2, 64]
    assert (batch.weights.sum(1) > 0).tolist() == [True, True, False]
    task = task_of("span", "encoder_decoder")
    (batch,) = held_out_batches(tokens, data, task, 9)
    # 71 tokens fill 64 of the encoder; of the 9 that are left one is in a span.
    assert batch.encoder_segments.sum(1).tolist() == [64, 8 + 1 + 1, 64]


@pytest.mark.parametrize("architecture, name", PAIRS)
def test_32_sequences_of_512_take_less_than_a_step(architecture, name):
    """About 1 to 8 ms; the bound leaves room for a machine that does other things."""
    task = task_of(name, architecture, context=512)
    loader = Loader.make(stream(60_000, 301), schema.Data(batch=32), task)
    loader.batch_at(0)
    seconds = []
    for step in range(1, 6):
        began = time.perf_counter()
        loader.batch_at(step)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.020
