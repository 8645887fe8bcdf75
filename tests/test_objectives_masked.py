"""Masked tokens: how many, which, what is shown instead, and BERT's second task."""

import math

import numpy as np
import pytest
import scipy.stats as stats
from objective_tasks import BYTES, Chosen, config_of, examples, parts, task_of, text

from jaxlm.core import schema
from jaxlm.core.config import override
from jaxlm.data import objectives
from jaxlm.data.loader import Loader
from jaxlm.data.objectives import masked

ENGLISH = (
    "It is a truth universally acknowledged, that a single man in possession of a "
    "good fortune, must be in want of a wife. However little known the feelings! "
)


def encoder(context=64, **settings):
    return task_of("masked", "encoder", context, **settings)


def restored(example):
    """The text of an encoder's example, without what stands around it."""
    return np.where(example.weights == 1, example.targets, example.inputs)[1:-1]


def test_berts_sentence_by_hand():
    """'my dog is hairy': hairy becomes [MASK], apple, or stays (section 3.1)."""
    task = encoder()
    words = {
        word: number
        for number, word in enumerate(["my", "dog", "is", "hairy", "apple"])
    }
    sentence = np.array([words[word] for word in ["my", "dog", "is", "hairy"]]) + 1
    for luck, shown in ((0.9, task.id("mask")), (0.15, 5), (0.05, 4)):
        swaps = [5] if shown == 5 else []
        random = Chosen(choice=[[4], swaps], random=[[luck]])
        example = masked.example(sentence, random, task)
        cls, sep = task.id("cls"), task.id("sep")
        assert example.inputs.tolist() == [cls, 1, 2, 3, shown, sep]
        assert example.targets.tolist() == [cls, 1, 2, 3, 4, sep]
        assert example.weights.tolist() == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("unit", ["token", "word"])
@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_the_text_comes_back_from_every_example(unit, rate):
    task = encoder(mask_unit=unit, mask_rate=rate)
    for tokens, example in examples(task, 2000):
        np.testing.assert_array_equal(restored(example), tokens)


def test_above_an_encoder_the_whole_text_is_written():
    task = task_of("masked", "encoder_decoder")
    for tokens, example in examples(task, 500):
        source, target = parts(example)
        np.testing.assert_array_equal(target, [*tokens, task.id("end")])
        assert len(source) == len(target) and source[-1] == task.id("end")
        changed = source[:-1] != tokens
        assert changed.sum() <= max(1, round(0.15 * len(tokens)))


def test_rates_are_those_of_the_paper_over_100000_tokens():
    """15% exactly in each sequence; of these 80% mask, 10% another, 10% kept."""
    task, chosen, mask, kept = encoder(context=512), 0, 0, 0
    for number in range(200):
        tokens = text(510, seed=number)
        random = np.random.default_rng(number)
        example = masked.example(tokens, random, task)
        places = example.weights == 1
        assert places.sum() == round(0.15 * 510) == 76
        chosen += 76
        mask += (example.inputs[places] == task.id("mask")).sum()
        kept += (example.inputs[places] == example.targets[places]).sum()
        np.testing.assert_array_equal(example.inputs[~places], example.targets[~places])
    for count, rate in ((mask, 0.8), (kept, 0.1 + 0.1 / 255)):
        assert abs(count - chosen * rate) < 3 * math.sqrt(chosen * rate * (1 - rate))


def test_every_place_is_as_likely_as_any_other():
    task = encoder(context=42)
    hits = sum(e.weights for _, e in full_examples(task, 3000))
    assert hits[0] == hits[-1] == 0
    rate = 6 / 40
    error = math.sqrt(3000 * rate * (1 - rate))
    assert (np.abs(hits[1:-1] - 3000 * rate) < 4 * error).all()


def full_examples(task, count):
    for number in range(count):
        tokens = text(task.context - 2, seed=number)
        yield tokens, masked.example(tokens, np.random.default_rng(number), task)


def test_a_special_token_is_never_hidden_and_never_shown_instead():
    task = encoder(mask_rate=0.5, mask_random=0.9, mask_kept=0.0)
    for number in range(500):
        tokens = text(62, seed=number)
        tokens[::5] = 0  # separators
        example = masked.example(tokens, np.random.default_rng(number), task)
        hidden = example.weights == 1
        special = task.vocabulary.special_V
        assert not special[example.targets[hidden]].any()
        shown = example.inputs[hidden]
        assert not special[shown[shown != task.id("mask")]].any()
        free = (~special[example.targets]).sum()
        assert hidden.sum() == round(0.5 * free)


def test_a_text_of_specials_alone_asks_for_nothing():
    example = masked.example(np.zeros(9, np.int32), np.random.default_rng(0), encoder())
    assert not example.weights.any()


# -------------------------------------------------------------------------- whole words


def words_of(string):
    """(first, last + 1) of each word, by Python's own idea of a letter."""
    edges, start = [], 0
    for place in range(1, len(string) + 1):
        inside = (
            place < len(string)
            and string[place].isalnum()
            and string[place - 1].isalnum()
        )
        if not inside:
            edges.append((start, place))
            start = place
    return edges


def test_whole_words_are_hidden_whole_or_not_at_all():
    task = encoder(context=len(ENGLISH) + 2, mask_unit="word")
    budget = round(0.15 * len(ENGLISH))
    edges = words_of(ENGLISH)
    seen = set()
    for number in range(300):
        random = np.random.default_rng(number)
        example = masked.example(BYTES.encode(ENGLISH), random, task)
        hidden = example.weights[1:-1] == 1
        # A comma or a space is left, unless the words have used all there is.
        assert budget - 1 <= hidden.sum() <= budget
        for first, last in edges:
            assert hidden[first:last].all() or not hidden[first:last].any()
            if hidden[first]:
                seen.add(ENGLISH[first:last])
    assert {"truth", "acknowledged", "wife", "a", ","} <= seen


def test_whole_words_by_hand():
    """'the cat sat', 4 letters of it, words drawn in the order sat, the, space, ..."""
    task = encoder(mask_unit="word", mask_rate=0.36)
    random = Chosen(permutation=[[4, 0, 1, 2, 3]], random=[[0.9] * 4], choice=[[]])
    example = masked.example(BYTES.encode("the cat sat"), random, task)
    # sat (3 letters) fits, the (3) no longer does, a space (1) does.
    shown = example.inputs[1:-1]
    assert "".join(chr(i) if i < 256 else "_" for i in shown) == "the_cat ___"


# ------------------------------------------------------------------------ next sentence


def pairs_task(context=64):
    return encoder(context, mask_pairs="next_sentence")


def split_pair(example, task):
    """(A, B) without what stands around them; their layout is checked on the way."""
    whole = np.where(example.weights == 1, example.targets, example.inputs)
    first = int(np.argmax(example.types == 1)) - 2
    assert whole[0] == task.id("cls")
    assert whole[1 + first] == whole[-1] == task.id("sep")
    assert (np.diff(example.types) >= 0).all() and set(example.types) == {0, 1}
    return whole[1 : 1 + first], whole[2 + first : -1]


def test_b_follows_a_where_the_label_says_so_and_is_from_elsewhere_where_not():
    """The text counts up from 1, elsewhere from 101, so that places show."""
    task, labels, starts = pairs_task(), [], set()
    tokens = np.concatenate([np.arange(1, 62), np.arange(101, 162)]).astype(np.int32)
    for number in range(2000):
        example = masked.example(tokens, np.random.default_rng(number), task)
        first, second = split_pair(example, task)
        np.testing.assert_array_equal(first, np.arange(1, len(first) + 1))
        assert (np.diff(second) == 1).all()
        if example.label == 0:
            assert second[0] == first[-1] + 1
            assert len(first) + len(second) == 61
        else:
            assert second[0] > 100
            starts.add(int(second[0]))
        labels.append(example.label)
    assert abs(sum(labels) - 1000) < 3 * math.sqrt(500)
    assert len(starts) > 40  # of 61: as a continuation, it may begin anywhere


def test_the_length_of_b_does_not_tell_whether_it_follows():
    task = pairs_task()
    lengths = {0: [], 1: []}
    for number in range(4000):
        tokens = text(122, seed=number)
        example = masked.example(tokens, np.random.default_rng(number), task)
        lengths[example.label].append(len(split_pair(example, task)[1]))
    one, two = (np.array(lengths[label]) for label in (0, 1))
    error = math.sqrt(one.var() / len(one) + two.var() / len(two))
    assert abs(one.mean() - two.mean()) < 3 * error


def documents_of(lengths, seed=0):
    """A text whose document d is all of byte 1 + d % 250, and 0 after it."""
    random = np.random.default_rng(seed)
    parts = [np.full(length, 1 + number % 250) for number, length in enumerate(lengths)]
    random.shuffle(parts)
    return np.concatenate([np.append(part, 0) for part in parts]).astype(np.uint16)


def next_sentences(tokens, count, seed=0):
    """(A, B, label) of so many examples of a text."""
    task = pairs_task()
    made = Loader.make(tokens, schema.Data(batch=1, seed=seed), task)
    for example in made.examples(np.arange(count)):
        yield *split_pair(example, task), example.label


def test_in_a_text_of_documents_the_length_of_b_says_nothing_of_the_label():
    """The two samples differ with p < 0.001, so in one of 1000 texts, by chance."""
    lengths = np.random.default_rng(5).lognormal(3, 1, size=2000).astype(int) + 1
    found = {0: [], 1: []}
    for _, second, label in next_sentences(documents_of(lengths), 6000):
        found[label].append(len(second))
    assert min(map(len, found.values())) > 2500
    assert stats.ks_2samp(found[0], found[1]).pvalue > 1e-3
    assert np.std(found[0]) > 10  # there was something to say


@pytest.mark.parametrize(
    "lengths", [[30] * 40, [900, 20, 20], [5, 3, 900], [200, 40]], ids=str
)
def test_a_b_from_elsewhere_is_from_another_document(lengths):
    """Documents count from 1, and each has its own byte."""
    labels = []
    for first, second, label in next_sentences(documents_of(lengths), 400):
        assert len(set(first)) == len(set(second)) == 1
        assert (first[0] != second[0]) == bool(label)
        labels.append(label)
    assert 100 < sum(labels) < 300


def test_every_other_document_is_where_a_b_may_come_from():
    found = {second[0] for _, second, _ in next_sentences(documents_of([40] * 9), 900)}
    assert found == set(range(1, 10))


def test_a_text_of_one_document_has_its_strangers_from_itself():
    tokens = text(5000)
    labels = [label for *_, label in next_sentences(tokens, 200)]
    assert 60 < sum(labels) < 140


def test_a_sentence_is_of_one_document():
    task = pairs_task()
    for number in range(500):
        tokens = text(122, seed=number)
        tokens[[17, 40, 80, 100]] = 0
        example = masked.example(tokens, np.random.default_rng(number), task)
        whole = np.where(example.weights == 1, example.targets, example.inputs)
        assert (whole == 0).sum() == 2  # the two [SEP], which bytes have from documents


def test_batches_of_pairs_have_types_labels_and_strangers_from_all_over():
    tokens = np.arange(1, 20_001) % 255 + 1
    data = schema.Data(batch=64)
    made = Loader.make(tokens, data, pairs_task())
    batch = made.batch_at(0)
    assert batch.labels.shape == (64, 1) and set(batch.labels.ravel()) == {0, 1}
    assert batch.types.shape == batch.segments.shape == (64, 64)
    np.testing.assert_array_equal(batch.segments == 0, batch.types * 0 + padding(batch))
    for row in np.flatnonzero(batch.labels[:, 0] == 0):
        real = batch.segments[row] == 1
        whole = np.where(batch.weights[row] == 1, batch.targets[row], batch.inputs[row])
        run = whole[real & (whole > 0) & (whole < 256)]
        assert set((np.diff(run) % 255).tolist()) <= {1}


def padding(batch):
    lengths = [np.flatnonzero(row)[-1] + 1 for row in batch.segments]
    return np.arange(batch.inputs.shape[1]) >= np.array(lengths)[:, None]


# -------------------------------------------------------------------- dynamic or static


def rows_by_text(made, epoch):
    """The rows of an epoch by their text."""
    steps = range(epoch * made.windows, (epoch + 1) * made.windows)
    found = {}
    for step in steps:
        batch = made.batch_at(step)
        found[batch.targets.tobytes()] = batch.inputs.tobytes()
    return found


def test_static_masks_are_the_same_every_epoch_and_dynamic_ones_are_not():
    tokens = text(1000)
    data = schema.Data(batch=1)
    static = Loader.make(tokens, data, encoder(examples="static"))
    one, two = rows_by_text(static, 0), rows_by_text(static, 1)
    assert len(one) == static.windows and one == two
    steps = range(2 * static.windows)
    order = [static.batch_at(step).targets[0, 1] for step in steps]
    assert order[: static.windows] != order[static.windows :]  # but another order

    # Where both epochs begin at the first token, the text is the same, the masks not.
    size = encoder().context - 2
    dynamic = Loader.make(tokens[:size], data, encoder())
    (one,), (two,) = (rows_by_text(dynamic, epoch).items() for epoch in (0, 1))
    assert one[0] == two[0] and one[1] != two[1]


def test_a_config_may_ask_for_all_of_it():
    settings = {"objective.mask_pairs": "next_sentence", "objective.mask_unit": "word"}
    config = override(config_of("masked", "encoder"), settings)
    assert objectives.task(config, BYTES).vocabulary.size == 261
