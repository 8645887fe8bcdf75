"""Masked places, filled. T length of a row, V vocabulary."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
from small_tokenizers import pieces_of_words

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.core.sampling import Sampling
from jaxlm.data.tokenizers import ByteTokenizer
from jaxlm.sampling import filters, infill, prompting

MASK = 16
ROWS = [[3, 1, MASK, 1, 5, MASK, 2], [MASK, 9], [7, 8, 9], [MASK] * 5]


@pytest.fixture(scope="module")
def config(tiny):
    return tiny(architecture="encoder", head="masked", mlp="gelu", norm="layer")


@pytest.fixture(scope="module")
def params(config, random_params):
    return random_params(config)


def together(rows=ROWS):
    """(ids, segments) of rows of different lengths."""
    ids_BT = np.zeros((len(rows), max(map(len, rows))), np.int32)
    segments_BT = np.zeros(ids_BT.shape, np.int32)
    for ids, segments, row in zip(ids_BT, segments_BT, rows, strict=True):
        ids[: len(row)], segments[: len(row)] = row, 1
    return ids_BT, segments_BT


def fill(params, config, rows=ROWS, **options):
    """Each row filled, and the log-probabilities of what was put in."""
    ids_BT, segments_BT = together(rows)
    found_BT, logprobs_BT = infill.fill(
        params, config, ids_BT, MASK, segments=segments_BT, **options
    )
    lengths = map(len, rows)
    return [
        (ids[:length].tolist(), logprobs[:length])
        for ids, logprobs, length in zip(found_BT, logprobs_BT, lengths, strict=True)
    ]


@pytest.fixture(scope="module")
def log_softmax(forward, params, config):
    """A function: log-probabilities (T, V) at each place of one row, alone."""

    def of(ids):
        batch = Batch(np.array([ids], np.int32), None, None)
        logits = np.float64(forward(params, config, batch)[0][0])
        return scipy.special.log_softmax(logits, axis=-1)

    return of


def mask_predict(log_softmax, row, steps):
    """Ghazvininejad et al. 2019, section 3, over one row."""
    places = [place for place, word in enumerate(row) if word == MASK]
    ids, sure = list(row), {place: -np.inf for place in places}
    for step in range(steps):
        count = len(places) * (steps - step) // steps
        again = sorted(places, key=lambda place: sure[place])[:count]
        for place in again:
            ids[place] = MASK
        logp_TV = log_softmax(ids)
        for place in again:
            ids[place] = int(logp_TV[place].argmax())
            sure[place] = logp_TV[place].max()
    return ids, [sure[place] for place in places]


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9])
def test_rounds_mask_again_what_is_least_certain(params, config, log_softmax, steps):
    """All at once in 1 step, with 5 steps for 5 masks one less each time."""
    found = fill(params, config, steps=steps)
    for row, (ids, logprobs) in zip(ROWS, found, strict=True):
        expected, sure = mask_predict(log_softmax, row, steps)
        assert ids == expected
        masked = np.array(row) == MASK
        np.testing.assert_allclose(logprobs[masked], sure, rtol=1e-4)
        assert not logprobs[~masked].any()


def test_only_masked_places_change(params, config):
    keys_B = prompting.keys([0] * len(ROWS))
    for ids, row in zip(fill(params, config, keys_B=keys_B), ROWS, strict=True):
        assert all(old in (MASK, new) for old, new in zip(row, ids[0], strict=True)), (
            row
        )


def test_drawn_words_have_the_models_probabilities(params, config, log_softmax):
    """Chi-square of 20,000 words against softmax(logits / 0.7): 17 cells at most.

    A correct sampler fails for one key in a thousand; the keys are fixed.
    """
    rows, row = 20_000, ROWS[1]
    chain = filters.chain([("temperature", 0.7)], config.vocab_size)
    found = fill(
        params, config, [row] * rows, chain=chain, keys_B=prompting.keys(range(rows))
    )
    expected = rows * scipy.special.softmax(log_softmax(row)[0] / 0.7)
    count = np.bincount([ids[0] for ids, _ in found], minlength=config.vocab_size)
    few = expected < 5
    observed = np.append(count[~few], count[few].sum())
    expected = np.append(expected[~few], expected[few].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    assert len(expected) > 5
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert scipy.stats.chi2.sf(statistic, len(expected) - 1) > 1e-3


def test_a_rows_words_do_not_depend_on_the_other_rows(params, config):
    asked = dict(steps=3)
    keys_B = prompting.keys(range(len(ROWS)))
    found = fill(params, config, keys_B=keys_B, **asked)
    for number, row in enumerate(ROWS):
        keys_1 = prompting.keys([number])
        ((ids, _),) = fill(params, config, [row], keys_B=keys_1, **asked)
        assert ids == found[number][0]


def test_what_is_banned_is_not_put_in(params, config, log_softmax):
    best = {int(log_softmax(row).argmax(-1)[row.index(MASK)]) for row in ROWS[:2]}
    chain = filters.chain([("banned", [*best])], config.vocab_size)
    for (ids, _), row in zip(fill(params, config, chain=chain), ROWS, strict=True):
        put = {new for old, new in zip(row, ids, strict=True) if old == MASK}
        assert not put & best


def test_lengths_masks_and_steps_inside_a_bucket_compile_nothing(params, config):
    fill(params, config)
    compiled = infill._fill._cache_size()
    for length in (2, 5, 11):
        rows = [[MASK] * length, [1, 2], [MASK], [4]]
        fill(params, config, rows, steps=length)
    assert infill._fill._cache_size() == compiled


@pytest.fixture(scope="module")
def bert(tiny, random_params):
    """(params, config, tokenizer) of a few words."""
    tokenizer, _ = pieces_of_words()
    config = tiny(architecture="encoder", head="masked", vocab_size=13)
    return random_params(config), config, tokenizer


def test_a_prompts_masks_become_words(bert):
    """Nothing else becomes another, and none becomes a special token."""
    settings = Sampling(samples=8, filters=(("temperature", 3.0),), seed=3)
    prompts = ["ab [MASK] a [MASK]", "[MASK] ab"]
    found = infill.sample(*bert, prompts, settings, steps=2)
    assert [len(texts) for texts in found] == [8, 8]
    for text in found[0]:
        assert len(text.ids) == len(text.logprobs) == 2
        assert text.text.startswith("ab") and "[" not in text.text
        assert all(5 <= word < 11 for word in text.ids)
    assert len({text.text for text in found[0]}) > 1
    again = infill.sample(*bert, prompts[1:], settings, steps=2)
    assert [text.text for text in again[0]] == [text.text for text in found[1]]


def test_a_tokenizer_without_a_mask_has_its_place_written(tiny, random_params):
    """Bytes: the roles that they lack are the ids 257 and on, as in training."""
    config = tiny(architecture="encoder", head="masked", vocab_size=264)
    params, tokenizer = random_params(config), ByteTokenizer()
    settings = Sampling(strategy="greedy", filters=())
    ((text,),) = infill.sample(params, config, tokenizer, ["a[MASK][MASK]d"], settings)
    assert text.text.startswith("a") and text.text.endswith("d")
    assert len(text.ids) == 2 and (text.ids < 256).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (dict(strategy="beam", filters=()), "strategy 'beam'"),
        (dict(max_new_tokens=3), "max_new_tokens 3"),
        (dict(logprobs=2), "logprobs 2"),
        (dict(filters=(("repetition", 1.2),)), "repetition"),
        (dict(stop=(".",)), "stop"),
    ],
)
def test_what_means_nothing_where_masks_are_filled_is_refused(bert, changes, named):
    with pytest.raises(ConfigError, match=named):
        infill.sample(*bert, ["a [MASK]"], Sampling(**changes))


def test_prompts_and_models_that_cannot_be_filled_are_refused(
    bert, tiny, random_params
):
    settings = Sampling(strategy="greedy", filters=())
    with pytest.raises(ConfigError, match="no mask; write"):
        infill.sample(*bert, ["a b"], settings)
    with pytest.raises(ConfigError, match="reads 12; give a shorter one"):
        infill.sample(*bert, ["a [MASK]" * 6], settings)
    _, _, tokenizer = bert
    config = tiny(vocab_size=13)
    params = random_params(config)
    with pytest.raises(ConfigError, match="'decoder'.* fills no masks"):
        infill.sample(params, config, tokenizer, ["a [MASK]"], settings)
    with pytest.raises(ConfigError, match="steps 0"):
        infill.sample(*bert, ["a [MASK]"], settings, steps=0)
