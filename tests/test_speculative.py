"""Speculative decoding: the model's own texts, in fewer readings.

B batch, V vocabulary.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.core.sampling import Sampling
from jaxlm.sampling import filters, prompting, speculative, strategies
from jaxlm.sampling.ask import Ask, rows
from jaxlm.sampling.history import History

POSITIONS = ["alibi", "buckets", "learned", "rope"]
COLD = (("temperature", 0.0),)


def settings(**changes):
    return Sampling(**({"strategy": "speculative", "filters": COLD} | changes))


def asked(config, ids, sampling, *, sources=None, seeds=None, table_QV=None, **more):
    """(prompts, ask) of lists of ids."""
    chain = filters.from_settings(
        sampling, config.vocab_size, stop_ids=sampling.stop_ids, table_QV=table_QV
    )
    keys_B = prompting.keys([sampling.seed] * len(ids) if seeds is None else seeds)
    stop_ids = np.array(sampling.stop_ids, np.int32)
    prompts = prompting.together(config, ids, keys_B, sources)
    return prompts, Ask(sampling, chain, stop_ids, **more)


def run(params, config, ids, sampling, **more):
    """What each row said, and the tally."""
    state, tally = speculative.run(
        params, config, *asked(config, ids, sampling, **more)
    )
    return rows(state), tally


def said(found):
    return [row.ids.tolist() for row in found]


def greedy(params, config, ids, sources=None, **changes):
    sampling = Sampling(strategy="greedy", **changes)
    prompts, ask = asked(config, ids, sampling, sources=sources)
    return [row for (row,) in strategies.ancestral(params, config, prompts, ask)]


@pytest.fixture(scope="module")
def make(tiny, random_params):
    """A model with room for 24 tokens, and one that often says the same."""

    def pair(noise=0.05, **changes):
        config = tiny(context=24, **changes)
        params = jax.tree.map(jnp.asarray, random_params(config))
        other = random_params(config, seed=1)
        near = jax.tree.map(lambda a, b: a + noise * jnp.asarray(b), params, other)
        return config, params, (near, config)

    return pair


@pytest.fixture(scope="module")
def prompts(tokens):
    """Of unequal lengths; 12 more tokens fill the room of the longest."""
    sizes = (1, 12, 2, 7)
    return [ids[:size].tolist() for ids, size in zip(tokens(4, 12), sizes, strict=True)]


def drafted(name, draft):
    """Settings and what to give beside them for a draft by this name."""
    return (name, None) if name == "ngram" else (name, draft)


@pytest.mark.parametrize("draft", ["ngram", "near"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_without_chance_the_text_is_that_of_greedy_decoding(
    make, prompts, positions, draft
):
    config, params, near = make(positions=positions)
    name, model = drafted(draft, near)
    expected = greedy(params, config, prompts, max_new_tokens=12)
    found, tally = run(
        params,
        config,
        prompts,
        settings(max_new_tokens=12, draft=name),
        draft=model,
    )
    assert said(found) == said(expected)
    taken, readings = int(tally.taken_B.sum()), int(tally.readings_B.sum())
    assert taken > 0
    # Each reading says one token of its own, but one whose guesses end the text.
    assert 0 <= taken + readings - 4 * 12 <= 4


@pytest.mark.parametrize("draft", ["ngram", "near"])
def test_an_encoder_decoder_says_what_it_says_without_guesses(make, prompts, draft):
    config, params, near = make(
        architecture="encoder_decoder", positions="buckets", head="untied"
    )
    name, model = drafted(draft, near)
    starts = [[3]] * len(prompts)
    expected = greedy(params, config, starts, prompts, max_new_tokens=12)
    assert len({tuple(row) for row in said(expected)}) > 1
    found, tally = run(
        params,
        config,
        starts,
        settings(max_new_tokens=12, draft=name),
        sources=prompts,
        draft=model,
    )
    assert said(found) == said(expected)
    assert int(tally.taken_B.sum()) > 0


@pytest.mark.parametrize("draft_tokens", [1, 2, 5, 40])
def test_filters_see_the_guesses_taken_before(make, prompts, draft_tokens):
    """Penalties, forced and barred tokens depend on what was said up to each place."""
    config, params, near = make(positions="rope")
    kinds = dict(
        filters=(("repetition", 1.5), ("frequency", 0.5), ("no_repeat_ngram", 2)),
        forced=(3, 5, 3),
        min_new_tokens=6,
        max_new_tokens=12,
    )
    free = greedy(params, config, prompts, max_new_tokens=12)
    stop_ids = (min({*said(free)[0]} - {*kinds["forced"]}),)
    expected = greedy(params, config, prompts, stop_ids=stop_ids, **kinds)
    assert said(expected) != said(free)
    cold = kinds | {"filters": (*kinds["filters"], *COLD)}
    for name in ("ngram", "near"):
        found, _ = run(
            params,
            config,
            prompts,
            settings(draft=name, draft_tokens=draft_tokens, stop_ids=stop_ids, **cold),
            draft=drafted(name, near)[1],
        )
        assert said(found) == said(expected)


def test_a_constraint_moves_with_the_tokens_that_are_said(make, prompts):
    """One that lets a token i be followed by i + 1, i + 2, i + 5 or i - 1 alone."""
    config, params, near = make(positions="rope")
    table_QV = np.full((18, 17), -1, np.int32)
    table_QV[0] = 1 + np.arange(17)
    for token, step in itertools.product(range(17), (1, 2, 5, 16)):
        table_QV[1 + token, (token + step) % 17] = 1 + (token + step) % 17
    kinds = dict(max_new_tokens=12)
    for name in ("ngram", "near"):
        model = drafted(name, near)[1]
        found, tally = run(
            params,
            config,
            prompts,
            settings(draft=name, **kinds),
            table_QV=table_QV,
            draft=model,
        )
        texts = said(found)
        for text, ids in zip(texts, prompts, strict=True):
            steps = np.diff(text) % 17
            assert {*steps.tolist()} <= {1, 2, 5, 16}
            expected = constrained_greedy(params, config, ids, table_QV, 12)
            assert text == expected
        assert (tally.taken_B < tally.guessed_B).any()


def constrained_greedy(params, config, ids, table_QV, count):
    sampling = Sampling(strategy="greedy", max_new_tokens=count)
    prompts, ask = asked(config, [ids], sampling, table_QV=table_QV)
    ((row,),) = strategies.ancestral(params, config, prompts, ask)
    return row.ids.tolist()


# Distributions. Five words, three tokens: 125 cells, and 10^5 rows in one batch.

ROWS = 100_000
PROMPT = [2, 0, 2, 0, 2]
WARM = (("temperature", 1.0),)
SHARP = (("repetition", 1.3), ("temperature", 0.7), ("top_p", 0.8))


@pytest.fixture(scope="module")
def small(tiny, random_params):
    """A model of five words with room for 8 tokens, and one quite unlike it."""
    config = tiny(context=8, vocab_size=5, positions="rope")
    draft = tiny(context=8, vocab_size=5, positions="alibi", depth=1, width=8)
    params, other = random_params(config, seed=7), random_params(draft, seed=5)
    return config, params, (jax.tree.map(lambda a: 0.5 * a, other), draft)


def filtered(kinds, logits_V, said_before):
    """Probabilities of one place, by float64 and a sort."""
    logits_V = np.array(logits_V, np.float64)
    for name, value in kinds:
        if name == "repetition":
            for token in {*said_before}:
                factor = 1 / value if logits_V[token] > 0 else value
                logits_V[token] *= factor
        elif name == "temperature":
            logits_V = logits_V / value
        elif name == "top_p":
            p_V = scipy.special.softmax(logits_V)
            order = np.argsort(-p_V)
            short = np.cumsum(p_V[order]) < value
            logits_V[order[1:][~short[:-1]]] = -np.inf
    return scipy.special.softmax(logits_V)


def probabilities(forward, params, config, kinds, prompt, count):
    """p(a) p(b | a) p(c | a, b) by the forward pass without a cache: (V, V, V)."""
    joint = np.ones(())
    for size in range(count):
        before = list(itertools.product(range(5), repeat=size))
        ids = np.array([[*prompt, *said] for said in before], np.int32)
        logits, _ = forward(params, config, Batch(ids, None, None))
        p = [
            filtered(kinds, row_V, row)
            for row_V, row in zip(np.asarray(logits)[:, -1], ids, strict=True)
        ]
        joint = joint[..., None] * np.reshape(p, (5,) * (size + 1))
    return joint


def chi_square(count, expected):
    """The probability of counts so unlike the expected ones.

    Cells that expect fewer than five are put together; those that expect none have
    none.
    """
    assert (count[expected < 1e-9] == 0).all()
    few = expected < 5
    observed = np.append(count[~few], count[few].sum())
    expected = np.append(expected[~few], expected[few].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    assert len(expected) > 10
    statistic = ((observed - expected) ** 2 / expected).sum()
    return scipy.stats.chi2.sf(statistic, len(expected) - 1)


@pytest.mark.parametrize(
    ("draft", "kinds", "draft_tokens"),
    [
        ("ngram", WARM, 2),
        ("ngram", SHARP, 1),
        ("unlike", WARM, 1),
        ("unlike", SHARP, 1),
        ("unlike", SHARP, 2),
    ],
    ids=["ngram", "ngram-sharp-1", "unlike-1", "unlike-sharp-1", "unlike-sharp"],
)
def test_texts_have_the_models_own_probabilities(
    forward, small, draft, kinds, draft_tokens
):
    """Chi-square of 100,000 triples against the products of the model's probabilities.

    With one guess at a time a text takes several readings; with two, one may do. A
    correct program fails for one seed in a thousand; the seeds are fixed. The draft's
    own probabilities would fail at once.
    """
    config, params, unlike = small
    name, model = drafted(draft, unlike)
    sampling = settings(
        filters=kinds, max_new_tokens=3, draft=name, draft_tokens=draft_tokens
    )
    found, tally = run(
        params,
        config,
        [PROMPT] * ROWS,
        sampling,
        seeds=np.arange(ROWS),
        draft=model,
    )
    count = np.zeros((5, 5, 5))
    np.add.at(count, tuple(np.array(said(found)).T), 1)
    expected = ROWS * probabilities(forward, params, config, kinds, PROMPT, 3)
    assert chi_square(count, expected) > 1e-3
    taken = float(tally.taken_B.sum() / tally.guessed_B.sum())
    assert 0.05 < taken < 0.95
    if model is not None:
        other = ROWS * probabilities(forward, *model, kinds, PROMPT, 3)
        assert chi_square(np.round(other), np.maximum(expected, 1)) < 1e-9


@pytest.mark.parametrize("kinds", [WARM, SHARP], ids=["warm", "sharp"])
def test_a_guess_is_taken_as_often_as_both_models_would_say_it(forward, small, kinds):
    """Leviathan et al. 2023, theorem 3.5: the sum of min(p, q).

    Within 4 standard errors: a correct program fails for one seed in 16,000.
    """
    config, params, draft = small
    p_V = probabilities(forward, params, config, kinds, PROMPT, 1)
    q_V = probabilities(forward, *draft, kinds, PROMPT, 1)
    rate = np.minimum(p_V, q_V).sum()
    assert 0.2 < rate < 0.9
    sampling = settings(filters=kinds, max_new_tokens=1, draft="unlike")
    _, tally = run(
        params,
        config,
        [PROMPT] * ROWS,
        sampling,
        seeds=np.arange(ROWS),
        draft=draft,
    )
    assert int(tally.guessed_B.sum()) == int(tally.readings_B.sum()) == ROWS
    error = np.sqrt(rate * (1 - rate) / ROWS)
    assert abs(float(tally.taken_B.mean()) - rate) < 4 * error


def test_a_guess_that_the_model_never_says_is_never_taken_and_does_no_harm():
    """Chi-square of 100,000 draws beside a draft that is certain of such a token."""
    p_V = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
    p_BV = jnp.asarray(np.tile(p_V, (ROWS, 1)), jnp.float32)
    guess_B, none_B = jnp.full(ROWS, 4), jnp.zeros(ROWS, jnp.int32)
    history = History(none_B[:, None], none_B, none_B)
    keys_B = prompting.keys(np.arange(ROWS))
    token_B, good_B = speculative.judge(
        p_BV, jax.nn.one_hot(guess_B, 5), guess_B, keys_B, history
    )
    assert not good_B.any()
    count = np.bincount(token_B, minlength=5)
    assert count[4] == 0
    assert scipy.stats.chisquare(count[:4], ROWS * p_V[:4]).pvalue > 1e-3


def test_a_draft_that_is_the_model_is_always_right(make, prompts):
    config, params, _ = make(positions="rope")
    sampling = settings(filters=SHARP, max_new_tokens=12, draft="itself")
    found, tally = run(params, config, prompts, sampling, draft=(params, config))
    np.testing.assert_array_equal(tally.taken_B, tally.guessed_B)
    # 5 tokens in each of the first two readings, and the other two in a third.
    np.testing.assert_array_equal(tally.readings_B, [3, 3, 3, 3])
    np.testing.assert_array_equal(tally.taken_B, [4 + 4 + 2] * 4)
    assert [len(row.ids) for row in found] == [12] * 4


@pytest.mark.parametrize("draft", ["ngram", "near"])
def test_a_rows_text_does_not_depend_on_the_other_rows(make, prompts, draft):
    config, params, near = make(positions="rope")
    name, model = drafted(draft, near)

    def draw(ids, seeds):
        found, _ = run(
            params,
            config,
            ids,
            settings(filters=WARM, max_new_tokens=12, draft=name),
            seeds=seeds,
            draft=model,
        )
        return said(found)

    whole = draw(prompts, [5, 6, 7, 8])
    for at, ids in enumerate(prompts):
        assert draw([ids], [5 + at]) == [whole[at]]
    assert draw(prompts, [1, 6, 2, 3])[1] == whole[1]
    assert draw(prompts, [1, 2, 3, 4])[1] != whole[1]


@pytest.mark.parametrize("draft", ["ngram", "near"])
def test_a_stop_id_among_guesses_that_are_taken_ends_the_text_there(
    make, prompts, draft
):
    config, params, near = make(positions="rope")
    name, model = drafted(draft, near)
    # Prompts that have begun to go round, so that what comes is in them.
    short = [ids for ids in prompts if len(ids) < 12]
    whole = said(greedy(params, config, short, max_new_tokens=16))
    longer = [ids + text[:8] for ids, text in zip(short, whole, strict=True)]
    texts, inside = [text[8:] for text in whole], 0
    for stop in range(17):
        found, tally = run(
            params,
            config,
            longer,
            settings(max_new_tokens=8, stop_ids=(stop,), draft=name),
            draft=model,
        )
        ends = [text.index(stop) + 1 if stop in text else 8 for text in texts]
        expected = [text[:end] for text, end in zip(texts, ends, strict=True)]
        assert said(found) == expected
        # A reading whose guesses were taken to the end of the text says no other token.
        over = tally.taken_B + tally.readings_B > np.array(ends)
        inside += int((over & (np.array(ends) < 8)).sum())
    assert inside > 0


def test_log_probabilities_are_the_models_own_of_each_token(make, prompts, forward):
    config, params, near = make(positions="rope")
    found, _ = run(
        params,
        config,
        prompts,
        settings(filters=SHARP, max_new_tokens=12, draft="near", logprobs=3),
        draft=near,
    )
    for row, ids in zip(found, prompts, strict=True):
        whole = np.zeros((1, 24), np.int32)
        whole[0, : len(ids) + 12] = [*ids, *row.ids]
        logits, _ = forward(params, config, Batch(whole, None, None))
        logp = scipy.special.log_softmax(np.asarray(logits)[0], axis=-1)
        logp = logp[len(ids) - 1 :][:12]
        np.testing.assert_allclose(
            row.logprobs, logp[np.arange(12), row.ids], atol=1e-5
        )
        best, values = row.top
        np.testing.assert_array_equal(best, np.argsort(-logp, axis=-1)[:, :3])
        np.testing.assert_allclose(values, -np.sort(-logp, axis=-1)[:, :3], atol=1e-5)


def test_samples_of_one_prompt_are_drawn_apart(make, prompts):
    config, params, near = make(positions="rope")
    sampling = settings(filters=WARM, max_new_tokens=8, samples=6, draft="near")
    found = speculative.speculative(
        params, config, *asked(config, prompts, sampling, draft=near)
    )
    assert [len(group) for group in found] == [6] * 4
    for group in found:
        assert len({tuple(row.ids.tolist()) for row in group}) > 3


def test_a_row_that_is_watched_ends_soon_after_it_should(make, prompts):
    """The text is that of an unwatched row up to where it was stopped."""
    config, params, _ = make(positions="rope")
    sampling = settings(max_new_tokens=12, draft_tokens=1)
    whole, _ = run(params, config, prompts, sampling)
    found, _ = run(
        params,
        config,
        prompts,
        sampling,
        watch=lambda row, ids: 1 if row == 2 and len(ids) >= 1 else None,
    )
    assert [len(row.ids) for row in found] == [12, 12, 1, 12]
    for row, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(row.ids, other.ids[: len(row.ids)])


# What is compiled, and what is refused.


def test_other_lengths_settings_and_seeds_do_not_compile_again(make, tokens):
    config, params, near = make(positions="rope")
    run_ = speculative.advance

    def draw(size, **changes):
        kinds = dict(max_new_tokens=8, draft="near") | changes
        ids = tokens(3, size).tolist()
        name, model = drafted(kinds.pop("draft"), near)
        run(params, config, ids, settings(draft=name, **kinds), draft=model)

    draw(3)
    compiled = run_._cache_size()
    draw(9, seed=4, max_new_tokens=12, filters=(("temperature", 0.9),))
    assert run_._cache_size() == compiled
    draw(3, draft="ngram")
    compiled = run_._cache_size()
    draw(7, draft="ngram", ngram=1, seed=2)
    assert run_._cache_size() == compiled


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(vocab_size=18),
            "sampling.draft 'small' has vocab_size 18 and the model 17; choose a draft "
            "with the model's own",
        ),
        (
            dict(architecture="encoder_decoder"),
            "sampling.draft 'small' has architecture 'encoder_decoder' and the model "
            "'decoder'; choose a draft with the model's own",
        ),
        (
            dict(head="none"),
            "sampling.draft 'small' has the head 'none' and guesses no tokens; choose "
            "a model that decodes",
        ),
        (
            dict(context=19),
            "sampling.draft 'small' has a context of 19 and 20 tokens are to be read; "
            "choose another, or lower sampling.max_new_tokens",
        ),
    ],
    ids=["vocabulary", "architecture", "head", "context"],
)
def test_a_draft_that_cannot_guess_is_one_line_with_the_remedy(
    make, tiny, tokens, changes, message
):
    config, _, _ = make()
    draft = None, tiny(**({"context": 24} | changes))
    prompts, ask = asked(
        config,
        tokens(2, 8).tolist(),
        settings(draft="small", max_new_tokens=12),
        draft=draft,
    )
    with pytest.raises(ConfigError) as error:
        speculative.run(None, config, prompts, ask)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "draft", "found"),
    [("small", None, "none was loaded"), ("ngram", (None, None), "one was")],
)
def test_a_model_is_loaded_exactly_where_one_guesses(make, tokens, name, draft, found):
    config, _, _ = make()
    ids, sampling = tokens(2, 8).tolist(), settings(draft=name, max_new_tokens=4)
    prompts, ask = asked(config, ids, sampling, draft=draft)
    with pytest.raises(ConfigError, match=f"draft '{name}' .* {found}; load a model"):
        speculative.run(None, config, prompts, ask)
