"""Beam search and diverse beam search. V vocabulary."""

import itertools
from collections import Counter

import numpy as np
import pytest
import scipy.special

from jaxlm.core.batch import Batch
from jaxlm.core.params import map_spec
from jaxlm.core.sampling import Sampling
from jaxlm.models import transformer
from jaxlm.sampling import ask, beam, filters, prompting

END = 0


def search(params, config, prompts, *, sources=None, stop_ids=(), **changes):
    """The texts of each prompt, by the code under test."""
    asked = {key: changes.pop(key) for key in ("prefix", "watch") if key in changes}
    table_QV = changes.pop("table_QV", None)
    settings = {"strategy": "beam", "filters": (), "max_new_tokens": 3} | changes
    settings = Sampling(**settings)
    chain = filters.from_settings(
        settings, config.vocab_size, stop_ids=stop_ids, table_QV=table_QV
    )
    keys_B = prompting.keys([0] * len(prompts))
    together = prompting.together(config, prompts, keys_B, sources)
    wanted = ask.Ask(settings, chain, np.array(stop_ids, np.int32), **asked)
    return beam.beam(params, config, together, wanted)


def texts(rows):
    return [row.ids.tolist() for row in rows]


@pytest.fixture(scope="module")
def chain_of(tiny):
    """A model that knows the last token alone, from its table of probabilities."""

    def make(p_VV, **changes):
        size = len(p_VV)
        config = tiny(
            vocab_size=size,
            width=16,
            norm="rms",
            norm_epsilon=1e-12,
            biases="none",
            positions="none",
            head="untied",
            **changes,
        )
        spec = transformer.spec(config)
        params = map_spec(lambda _, p: np.zeros(p.shape, np.float32), spec)
        params["tokens"]["table"] = np.eye(size, 16, dtype=np.float32)
        params["norm"]["scale"] = np.ones(16, np.float32)
        kernel_DV = np.zeros((16, size), np.float32)
        kernel_DV[:size] = np.log(np.maximum(p_VV, 1e-30)) / 4  # sqrt(width)
        params["head"]["kernel"] = kernel_DV
        return params, config

    return make


# After 3 a 1 is likelier than a 2, but what follows the 2 is certain.
FORK = np.array(
    [
        [1.0, 0, 0, 0],
        [0.4, 0.3, 0.2, 0.1],
        [0.05, 0.9, 0.03, 0.02],
        [0.0, 0.6, 0.4, 0.0],
    ]
)


def test_two_beams_find_what_greed_misses(chain_of):
    """By hand: 1 0 has 0.6 x 0.4 = 0.24, 2 1 has 0.4 x 0.9 = 0.36."""
    params, config = chain_of(FORK)
    asked = dict(max_new_tokens=2, length_penalty=0.0)
    (greedy,) = search(params, config, [[3]], beams=1, **asked)
    (found,) = search(params, config, [[3]], beams=2, samples=2, **asked)
    assert texts(greedy) == [[1, 0]]
    assert texts(found) == [[2, 1], [1, 0]]
    np.testing.assert_allclose(
        [row.score for row in found], np.log([0.36, 0.24]), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("length_penalty", "expected"),
    [(0.0, [1, END]), (0.5, [1, END]), (1.0, [2, 1, END])],
)
def test_a_score_is_divided_by_a_power_of_the_length_said(
    chain_of, length_penalty, expected
):
    """By hand: log(0.6 x 0.4) = -1.43 of two tokens, log(0.4 x 0.9 x 0.4) = -1.94 of 3.

    The end counts and the prompt does not: -1.01 and -1.12 over the roots of 2 and 3,
    -0.71 and -0.65 over 2 and 3.
    """
    params, config = chain_of(FORK)
    (found,) = search(
        params,
        config,
        [[3, 3, 3]],
        stop_ids=(END,),
        beams=4,
        length_penalty=length_penalty,
        early_stopping="never",
    )
    assert texts(found)[0] == expected
    size = len(expected) ** length_penalty
    logprob = np.log(0.24 if len(expected) == 2 else 0.144)
    np.testing.assert_allclose(found[0].score, logprob / size, rtol=1e-5)


def test_early_stopping_is_content_with_as_many_texts_as_beams(chain_of):
    """By hand, two beams: END has 0.3, then 1 END 0.225; 1 1 0.275 and 2 2 0.2 go on.

    They are better a token: 2 2 2 has 0.2 and 1 1 1 0.15 of three, a mean of -0.54 and
    -0.63 where 1 END has -0.75.
    """
    params, config = chain_of(
        np.array([[1, 0, 0, 0], [0.45, 0.55, 0, 0], [0, 0, 1, 0], [0.3, 0.5, 0.2, 0]])
    )
    asked = dict(stop_ids=(END,), beams=2, samples=2)
    for early_stopping, expected in (
        ("yes", [[1, END], [END]]),
        ("no", [[2, 2, 2], [1, 1, 1]]),
        ("never", [[2, 2, 2], [1, 1, 1]]),
    ):
        asked["early_stopping"] = early_stopping
        (found,) = search(params, config, [[3]], **asked)
        assert texts(found) == expected


ARCHITECTURES = {
    "decoder": dict(),
    "prefix": dict(),
    "encoder_decoder": dict(architecture="encoder_decoder", encoder_depth=2),
}
PROMPTS = [[3, 1, 4, 1], [2], [4, 4, 2, 0, 1, 3]]
WORDS, NEW = 5, 3


@pytest.fixture(scope="module")
def model(tiny, random_params):
    """A function: parameters and settings of a random model of that architecture."""

    def make(architecture):
        config = tiny(vocab_size=WORDS, **ARCHITECTURES[architecture])
        return random_params(config), config

    return make


def every_text(end):
    """All texts of at most NEW words: they end with the first END, or at NEW words."""
    for size in range(1, NEW + 1):
        for text in itertools.product(range(WORDS), repeat=size):
            ended = end and text[-1] == END
            if END not in text[: -1 if end else 0] and (size == NEW or ended):
                yield text


def logprobs(forward, params, config, prompt, said, *, prefix, source):
    """Of each word of each text, (texts, words), by a forward pass without a cache."""
    inputs = np.zeros((len(said), config.context), np.int32)
    inputs[:, : len(prompt)] = prompt
    for row, text in zip(inputs, said, strict=True):
        row[len(prompt) : len(prompt) + len(text)] = text
    batch = Batch(inputs, None, None)
    if prefix:
        visible = np.arange(config.context) < len(prompt)
        batch = batch._replace(visibility=np.tile(visible, (len(said), 1)))
    if source is not None:
        batch = batch._replace(
            encoder_inputs=np.tile(source, (len(said), 1)).astype(np.int32),
            encoder_segments=np.ones((len(said), len(source)), np.int32),
        )
    logits, _ = forward(params, config, batch)
    logp = scipy.special.log_softmax(np.float64(logits), axis=-1)
    rows = np.arange(len(said))[:, None]
    places = len(prompt) - 1 + np.arange(NEW)[None]
    return logp[rows, places, inputs[rows, places + 1]]


@pytest.mark.parametrize("end", [False, True], ids=["endless", "ending"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_enough_beams_find_the_best_of_all_texts(
    forward, model, architecture, length_penalty, end
):
    """As many beams as there are ways to the last word lose nothing."""
    params, config = model(architecture)
    sources = PROMPTS if architecture == "encoder_decoder" else None
    prompts = [[1]] * len(PROMPTS) if sources else PROMPTS
    found = search(
        params,
        config,
        prompts,
        sources=sources,
        stop_ids=(END,) if end else (),
        prefix=architecture == "prefix",
        beams=WORDS ** (NEW - 1),
        samples=20,
        length_penalty=length_penalty,
        early_stopping="never",
    )
    said = list(every_text(end))
    for number, (prompt, rows) in enumerate(zip(prompts, found, strict=True)):
        logp = logprobs(
            forward,
            params,
            config,
            prompt,
            said,
            prefix=architecture == "prefix",
            source=sources[number] if sources else None,
        )
        scores = {
            text: logp[at, : len(text)].sum() / len(text) ** length_penalty
            for at, text in enumerate(said)
        }
        best = sorted(scores, key=scores.get, reverse=True)[:20]
        assert [tuple(ids) for ids in texts(rows)] == best
        np.testing.assert_allclose(
            [row.score for row in rows], [scores[text] for text in best], rtol=1e-4
        )


def test_one_beam_that_stops_early_is_greedy(forward, model):
    params, config = model("decoder")
    found = search(
        params, config, PROMPTS, stop_ids=(END,), beams=1, early_stopping="yes"
    )
    for prompt, rows in zip(PROMPTS, found, strict=True):
        ids = list(prompt)
        while len(ids) < len(prompt) + NEW and (ids == prompt or ids[-1] != END):
            padded = np.zeros((1, config.context), np.int32)
            padded[0, : len(ids)] = ids
            logits, _ = forward(params, config, Batch(padded, None, None))
            ids.append(int(logits[0, len(ids) - 1].argmax()))
        assert texts(rows) == [ids[len(prompt) :]]


def test_a_prompts_texts_do_not_depend_on_the_other_prompts(model):
    params, config = model("decoder")
    asked = dict(stop_ids=(END,), beams=3, samples=3, max_new_tokens=5)
    together = search(params, config, PROMPTS, **asked)
    for prompt, rows in zip(PROMPTS, together, strict=True):
        (alone,) = search(params, config, [prompt], **asked)
        assert texts(alone) == texts(rows)


def diverse(p_VV, last, *, groups, beams, new, diversity):
    """Algorithm 1 of Vijayakumar et al. 2016 with Hamming diversity, over lists.

    Scores are means over a text's words. A text that ends gives its beam to another.
    """
    size = beams // groups
    running = [[(0.0, [last])] for _ in range(groups)]
    ended = [[] for _ in range(groups)]
    still_open = [True] * groups
    for step in range(1, new + 1):
        used = Counter()
        for group in range(groups):
            ways = [
                (total + np.log(p) - diversity * used[word], [*text, word])
                for total, text in running[group]
                for word, p in enumerate(p_VV[text[-1]])
            ]
            ways = sorted(ways, key=lambda way: -way[0])[: 2 * size]
            going = [way for way in ways if way[1][-1] != END][:size]
            running[group] = going
            if not still_open[group]:
                continue
            used.update(text[-1] for _, text in going)
            ended[group] += [
                (total / step, text[1:])
                for total, text in ways[:size]
                if step == new or text[-1] == END
            ]
            ended[group] = sorted(ended[group], key=lambda way: -way[0])[:size]
            if len(ended[group]) == size:
                still_open[group] = going[0][0] / step > ended[group][-1][0]
    every = sorted(itertools.chain(*ended), key=lambda way: -way[0])
    return [text for _, text in every], [score for score, _ in every]


@pytest.mark.parametrize("diversity", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("groups", [2, 3, 6])
def test_groups_shun_what_earlier_groups_say(chain_of, groups, diversity):
    rng = np.random.default_rng(0)
    p_VV = rng.dirichlet(np.full(7, 0.7), size=7)
    params, config = chain_of(p_VV)
    prompts = [[3], [5, 1], [2, 2, 6]]
    found = search(
        params,
        config,
        prompts,
        strategy="diverse_beam",
        stop_ids=(END,),
        beams=6,
        samples=6,
        groups=groups,
        diversity=diversity,
        max_new_tokens=5,
    )
    for prompt, rows in zip(prompts, found, strict=True):
        expected, scores = diverse(
            p_VV, prompt[-1], groups=groups, beams=6, new=5, diversity=diversity
        )
        assert sorted(texts(rows)) == sorted(expected)
        np.testing.assert_allclose([row.score for row in rows], scores, rtol=1e-4)


def test_a_high_diversity_begins_each_group_with_another_word(chain_of):
    params, config = chain_of(np.full((6, 6), 1 / 6) + np.eye(6)[[1] * 6])
    (found,) = search(
        params,
        config,
        [[2]],
        strategy="diverse_beam",
        beams=4,
        samples=4,
        groups=4,
        diversity=50.0,
    )
    for column in zip(*texts(found), strict=True):
        assert len({*column}) == 4


def test_beams_keep_to_a_constraint_and_may_be_fewer(chain_of):
    """A table of states in which 1 or 2 comes first, then END: two texts in all."""
    params, config = chain_of(np.full((4, 4), 0.25))
    table_QV = np.array([[-1, 1, 1, -1], [2, -1, -1, -1], [2, -1, -1, -1]])
    (found,) = search(
        params, config, [[3]], table_QV=table_QV, stop_ids=(END,), beams=3, samples=3
    )
    assert sorted(texts(found)) == [[1, END], [2, END]]


def test_log_probabilities_told_are_of_the_text_and_sum_to_its_score(model):
    params, config = model("decoder")
    found = search(
        params,
        config,
        PROMPTS,
        stop_ids=(END,),
        beams=4,
        samples=4,
        logprobs=2,
        length_penalty=0.0,
    )
    for row in (row for rows in found for row in rows):
        assert row.logprobs.shape == row.ids.shape
        np.testing.assert_allclose(row.logprobs.sum(), row.score, rtol=1e-5)
        ids, top = row.top
        assert ids.shape == top.shape == (len(row.ids), 2)
        assert (top[:, 0] >= top[:, 1]).all() and (top[:, 0] >= row.logprobs).all()
        first = row.ids == ids[:, 0]
        np.testing.assert_array_equal(row.logprobs[first], top[first, 0])


def test_a_text_ends_where_a_watcher_says(model):
    """As with a stop id that no beam runs out for: here, a 1 after a 1."""
    params, config = model("decoder")

    def ended(_, ids):
        return len(ids) if ids[-2:].tolist() == [1, 1] else None

    asked = dict(beams=6, samples=6, max_new_tokens=5)
    plain = search(params, config, PROMPTS, **asked)
    same = search(params, config, PROMPTS, watch=lambda *_: None, **asked)
    assert [texts(rows) for rows in same] == [texts(rows) for rows in plain]
    found = search(params, config, PROMPTS, watch=ended, **asked)
    found = [ids for rows in found for ids in texts(rows)]
    assert any(len(ids) < 5 for ids in found)
    for ids in found:
        pairs = list(itertools.pairwise(ids))
        assert (1, 1) not in pairs[:-1]
        assert len(ids) == 5 or pairs[-1] == (1, 1)


def test_lengths_and_numbers_inside_a_bucket_compile_nothing(model):
    params, config = model("decoder")

    def run(length, new, **changes):
        prompt = [np.arange(length) % WORDS]
        changes = {"beams": 3, "strategy": "diverse_beam", "groups": 3} | changes
        search(params, config, prompt, max_new_tokens=new, stop_ids=(END,), **changes)

    run(3, 4)
    compiled = beam.advance._cache_size()
    for length, new in ((1, 1), (2, 10), (4, 8), (9, 3)):
        run(length, new, length_penalty=0.1 * length, diversity=float(new))
    assert beam.advance._cache_size() == compiled
