"""Proportions hold for every number of examples, and any example is found alone."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import corpus, mixing, prepare, sources, tokenizers
from jaxlm.data.loader import Loader, held_out_batches
from jaxlm.data.request import Request
from jaxlm.train import loop, run
from tests.objective_tasks import task_of

WEIGHTS = st.lists(st.integers(1, 60), min_size=1, max_size=6)


@settings(deadline=None)
@given(WEIGHTS)
def test_any_number_of_examples_has_the_proportions_within_one(weights):
    made = mixing.schedule(weights)
    number = np.arange(1, 2 * sum(weights) + 2)
    sources, _ = made.at(number - 1)
    for source, weight in enumerate(weights):
        exact = number * weight / sum(weights)
        off = np.abs(np.cumsum(sources == source) - exact).max()
        assert off < 1 - 1 / max(2, 2 * len(weights) - 2) + 1e-9


@settings(deadline=None)
@given(WEIGHTS)
def test_each_source_gives_its_examples_in_order_and_none_twice(weights):
    made = mixing.schedule(weights)
    sources, ranks = made.at(np.arange(3 * sum(weights)))
    for source in range(len(weights)):
        taken = ranks[sources == source]
        assert taken.tolist() == list(range(len(taken)))


def test_an_example_does_not_depend_on_which_others_are_asked_for():
    made = mixing.schedule([0.7, 0.2, 0.1])
    whole = np.stack(made.at(np.arange(1000)))
    for example in (0, 9, 10, 523, 999):
        assert tuple(map(int, made.at(example))) == tuple(whole[:, example])
    grid = np.stack(made.at(np.arange(1000).reshape(10, 100)))
    np.testing.assert_array_equal(grid, whole.reshape(2, 10, 100))


def test_examples_far_ahead_need_no_examples_before():
    made = mixing.schedule([3, 1])
    sources, ranks = made.at(np.array([4 * 10**15, 4 * 10**15 + 3]))
    assert sorted(ranks.tolist()) in (
        [10**15, 3 * 10**15],
        [3 * 10**15, 3 * 10**15 + 2],
    )


def test_one_and_one_take_turns():
    sources, ranks = mixing.schedule([1, 1]).at(np.arange(6))
    assert sources.tolist() in ([0, 1] * 3, [1, 0] * 3)
    assert ranks.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "weights, counts",
    [
        ([0.7, 0.2, 0.1], [7, 2, 1]),
        ([1 / 3, 1 / 2, 1 / 6], [2, 3, 1]),
        ([50, 50], [1, 1]),
        ([2.5], [1]),
        ([0.1234, 0.8766], [617, 4383]),
    ],
)
def test_weights_are_exact_as_small_whole_numbers(weights, counts):
    assert mixing.schedule(weights).counts.tolist() == counts


@pytest.mark.parametrize("examples", [0, 1, 7, 10, 12345])
def test_what_was_taken_of_each_source_is_what_was_given(examples):
    made = mixing.schedule([5, 3, 2])
    sources, _ = made.at(np.arange(examples))
    counted = np.bincount(sources, minlength=3)
    np.testing.assert_array_equal(made.taken(examples), counted)


@pytest.mark.parametrize("weights", [[], [1, 0], [1, -1], [float("inf"), 1]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ConfigError, match="give each source one above 0"):
        mixing.schedule(weights)


def test_weights_that_never_come_out_even_are_refused():
    with pytest.raises(ConfigError, match="more than 131072 examples.*whole numbers"):
        mixing.schedule([np.pi, np.e, 1.0])


# ------------------------------------------------------------------- from a corpus


@pytest.fixture
def corpora(monkeypatch):
    """Three sources of a corpus, each document of one letter and its number."""
    for letter, count in (("a", 40), ("b", 30), ("c", 20)):
        texts = [f"{letter}{number:07}" * 4 for number in range(count)]
        monkeypatch.setitem(sources.SOURCES, letter, lambda _, texts=texts: texts)
    mixture = (("a", 0.5), ("b", 0.25), ("c:folder", 0.25))
    return schema.Data(mixture=mixture, batch=8, held_out=0.2)


def loader_of(made, settings, context=11):
    return Loader.make(made.train, settings, task_of("causal", context=context))


def letters(batch) -> list[str]:
    """Which source each sequence is from."""
    return [
        next(iter(set("abc") & set(map(chr, row)))) for row in batch.inputs.tolist()
    ]


def test_a_batch_has_the_proportions_and_each_row_is_of_one_source(corpora):
    made = loader_of(corpus.build(corpora), corpora)
    for step in (0, 1, 100):
        batch = made.batch_at(step)
        assert batch.inputs.shape == (8, 11) and batch.segments is None
        assert Counter(letters(batch)) == {"a": 4, "b": 2, "c": 2}
        np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])


def test_hosts_with_their_own_rows_make_the_whole_batch(corpora):
    made = loader_of(corpus.build(corpora), corpora)
    for step in (0, 17):
        halves = [made.batch_at(step, rows=slice(*r)).inputs for r in ((0, 3), (3, 8))]
        whole = made.batch_at(step).inputs
        np.testing.assert_array_equal(np.concatenate(halves), whole)


def test_each_row_is_the_next_example_of_its_source(corpora):
    """Found one at a time, in a text whose ids say which source it is of."""
    made = loader_of(corpus.build(corpora), corpora)
    order, _ = made.schedule.at(np.arange(8 * 30))
    ranks = Counter()
    for number, source in enumerate(order.tolist()):
        row = made.batch_at(number // 8).inputs[number % 8]
        alone = made.loaders[source].batch_at(ranks[source])
        np.testing.assert_array_equal(row, alone.inputs[0])
        ranks[source] += 1


def rows_of(letter, settings):
    """What a mixture takes from one source in its first epoch, in order."""
    made = loader_of(corpus.build(settings), settings)
    rows = np.concatenate([made.batch_at(step).inputs for step in range(60)])
    return [row for row in rows.tolist() if ord(letter) in row][:50]


@pytest.mark.parametrize("letter", ["a", "b"])
def test_a_source_keeps_its_order_whatever_stands_beside_it(corpora, letter):
    two = replace(corpora, mixture=(("a", 1.0), ("b", 1.0)))
    more = replace(corpora, mixture=(("c:folder", 3.0), ("b", 2.0), ("a", 2.0)))
    assert rows_of(letter, two) == rows_of(letter, more)
    assert rows_of(letter, two) != rows_of(letter, replace(two, seed=1))


def test_two_sources_of_one_text_are_in_different_orders(corpora):
    found = corpus.build(replace(corpora, mixture=(("a", 1.0), ("a:again", 1.0))))
    one, two = loader_of(found, corpora).loaders
    assert one.windows == two.windows > 50
    orders = [
        [loader.batch_at(step).inputs.tobytes() for step in range(50)]
        for loader in (one, two)
    ]
    shared = sum(left == right for left, right in zip(*orders, strict=True))
    assert shared < 10  # of 50, where they share a seed


def test_each_source_has_its_own_epochs(corpora):
    made = loader_of(corpus.build(corpora), corpora)
    windows = [loader.windows for loader in made.loaders]
    assert windows[0] > windows[1] > windows[2] > 5
    epochs = made.epochs(50)
    taken = {"a": 200, "b": 100, "c:folder": 100}
    for (name, count), size in zip(taken.items(), windows, strict=True):
        assert epochs[name] == pytest.approx(count / size)
    # In its first epoch the smallest source gives each of its windows once.
    rows = np.concatenate([made.batch_at(step).inputs for step in range(windows[2])])
    own = [tuple(row) for row in rows.tolist() if ord("c") in row][: windows[2]]
    assert len(set(own)) == windows[2]


def test_the_sources_share_a_tokenizer_and_their_held_out_text_is_one(corpora):
    made = corpus.build(corpora)
    assert made.tokenizer == tokenizers.ByteTokenizer()
    parts = [corpus.build(replace(corpora, mixture=(), source=name)) for name in "abc"]
    texts = [made.tokenizer.decode(part.held_out) for part in parts]
    assert made.tokenizer.decode(made.held_out[:]) == "".join(t + "\0" for t in texts)
    assert made.bytes_per_token == 1
    ends = made.held_out_offsets[1:]
    assert (made.held_out[ends - 1] == 0).all() and ends[-1] == len(made.held_out)
    assert made.record["documents"] == 90
    assert json.loads(json.dumps(made.record)) == made.record
    assert len(made.train) == sum(len(part.train) for part in parts)


@pytest.mark.parametrize("count", [1, 2, 5, 99])
def test_evaluated_rows_have_the_weights_within_one(corpora, count):
    text, task = corpus.build(corpora).held_out, task_of("causal", context=11)
    batches = held_out_batches(text, corpora, task, count)
    inputs = np.concatenate([batch.inputs for batch in batches])
    weights = np.concatenate([batch.weights for batch in batches])
    rows = [set(map(chr, row)) & set("abc") for row in inputs[weights.any(1)].tolist()]
    found = Counter(letter for row in rows for letter in row)
    for letter, weight in (("a", 0.5), ("b", 0.25), ("c", 0.25)):
        assert abs(found[letter] - weight * len(rows)) <= 1


def test_a_source_is_evaluated_as_it_is_alone(corpora):
    """Row by row, its own held-out batches, again from the first when they end."""
    text, task = corpus.build(corpora).held_out, task_of("causal", context=11)
    mixed = held_out_batches(text, corpora, task, 99)
    rows = np.concatenate([batch.targets * batch.weights for batch in mixed])
    turns, ranks = mixing.schedule(text.weights).at(np.arange(len(rows)))
    for source, stream in enumerate(text.streams):
        alone = held_out_batches(stream, replace(corpora, batch=1), task, 999)
        expected = [batch.targets[0] * batch.weights[0] for batch in alone]
        own, places = rows[turns == source], ranks[turns == source]
        own, places = own[own.any(1)], places[own.any(1)]
        assert len(own) >= len(expected)
        for row, place in zip(own, places, strict=True):
            np.testing.assert_array_equal(row, expected[place % len(expected)])


def test_bytes_a_token_of_a_mixture_are_those_of_its_rows(corpora, monkeypatch):
    """A character a token: held out are 1000 bytes of 501 tokens, and 50 of 50."""
    for name, text in (("one", "ab" * 50), ("two", "éñ" * 500 + "ab")):
        monkeypatch.setitem(sources.SOURCES, name, lambda _, text=text: [text])
    mixture = (("two", 1.0), ("one", 3.0))
    settings = replace(corpora, tokenizer="character", held_out=0.5, mixture=mixture)
    made = corpus.build(settings)
    assert made.bytes_per_token == pytest.approx((1000 / 501 + 3 * 1) / 4)


def test_a_run_on_a_mixture_is_evaluated_again_with_its_own_result(corpora, tmp_path):
    changes = {"width": 16, "depth": 1, "heads": 2, "context": 16}
    config = schema.Experiment(
        model=schema.Model(**changes),
        data=corpora,
        train=schema.Train(steps=2),
        evaluation=schema.Evaluation(batches=3),
    )
    result = loop.train(config, tmp_path)
    trained = run.load(tmp_path)
    again = run.evaluate(trained, trained.config)
    assert again.loss == pytest.approx(result.loss, rel=1e-6)
    assert again.bits_per_byte == pytest.approx(result.bits_per_byte, rel=1e-6)


def test_a_mixtures_held_out_source_of_one_token_is_named():
    text = mixing.Mixed(("a", "b"), (1.0, 1.0), (np.arange(9), np.arange(1)))
    with pytest.raises(ConfigError, match="leaves 1 tokens and 2 are needed of 'b'"):
        held_out_batches(text, schema.Data(), task_of("causal", context=4), 1)


def test_a_mixture_of_prepared_text_is_in_its_ids(corpora, tmp_path):
    (tmp_path / "a.txt").write_text("words of one kind " * 3000)
    asked = Request(source=str(tmp_path / "a.txt"), data=corpora, rules=(), near=0.0)
    prepare.prepare(asked, tmp_path / "out")
    mixture = ((f"prepared:{tmp_path / 'out'}", 1.0), ("a", 1.0))
    made = corpus.build(replace(corpora, mixture=mixture))
    assert made.tokenizer.decode(made.train.streams[0][:5]) == "words"
    assert len(made.held_out) == made.held_out_offsets[-1]


@pytest.mark.parametrize(
    "mixture, message",
    [
        ((("nope", 1.0),), "config.data.source 'nope' is unknown"),
        ((("a", 1.0), ("b", 0.0)), "give each source one above 0"),
        ((("prepared", 1.0),), "config.data.path '' names no prepared corpus"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(corpora, mixture, message):
    with pytest.raises(ConfigError, match=message):
        corpus.build(replace(corpora, mixture=mixture))
