"""Contrastive search. T length of a text, D width, V vocabulary."""

import jax
import numpy as np
import pytest
import scipy.special

from jaxlm.core.batch import Batch
from jaxlm.core.sampling import Sampling
from jaxlm.models import transformer
from jaxlm.sampling import ask, contrastive, decode, filters, prompting

PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6, 5], [7]]
hidden = jax.jit(transformer.hidden, static_argnums=1)


def search(params, config, prompts=PROMPTS, sources=None, stop_ids=(), **settings):
    """The texts, by the code under test."""
    settings = {"filters": (), "max_new_tokens": 6, "candidates": 4} | settings
    settings = Sampling(strategy="contrastive", **settings)
    chain = filters.from_settings(settings, config.vocab_size, stop_ids=stop_ids)
    keys_B = prompting.keys([0] * len(prompts))
    together = prompting.together(config, prompts, keys_B, sources)
    asked = ask.Ask(settings, chain, np.array(stop_ids, np.int32))
    return [row for (row,) in contrastive.contrastive(params, config, together, asked)]


def by_hand(params, config, prompt, *, alpha, candidates, new, source=None, banned=()):
    """Equation 5 of Su et al. 2022, reading the whole text for each candidate."""

    def read(ids):
        padded = np.zeros((1, config.context), np.int32)
        padded[0, : len(ids)] = ids
        batch = Batch(padded, None, None)
        if source is not None:
            ones = np.ones((1, len(source)), np.int32)
            batch = batch._replace(
                encoder_inputs=np.array([source]), encoder_segments=ones
            )
        out_BTD, _ = hidden(params, config, batch)
        logits = transformer.logits(params, config, out_BTD[:, len(ids) - 1][:, None])
        return np.float64(out_BTD[0, : len(ids)]), np.float64(logits[0, 0])

    text = list(prompt)
    for _ in range(new):
        _, logits_V = read(text)
        logits_V[list(banned)] = -np.inf
        p_V = scipy.special.softmax(logits_V)
        scores = {}
        for token in np.argsort(-p_V)[:candidates]:
            if p_V[token] == 0:
                continue
            out_TD, _ = read([*text, token])
            out_TD = out_TD / np.linalg.norm(out_TD, axis=1, keepdims=True)
            likeness = (out_TD[:-1] @ out_TD[-1]).max()
            scores[token] = (1 - alpha) * p_V[token] - alpha * likeness
        text.append(int(max(scores, key=scores.get)))
    return text[len(prompt) :]


@pytest.mark.parametrize("positions", ["learned", "rope", "alibi"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.6, 1.0])
def test_each_token_is_the_one_that_equation_5_names(
    tiny, random_params, positions, alpha
):
    config = tiny(positions=positions)
    params = random_params(config)
    found = search(params, config, alpha=alpha)
    for prompt, row in zip(PROMPTS, found, strict=True):
        expected = by_hand(params, config, prompt, alpha=alpha, candidates=4, new=6)
        assert row.ids.tolist() == expected


def test_a_decoder_over_an_encoder_compares_its_own_tokens(tiny, random_params):
    config = tiny(architecture="encoder_decoder", encoder_depth=2)
    params = random_params(config)
    found = search(params, config, [[1]] * 3, sources=PROMPTS)
    for source, row in zip(PROMPTS, found, strict=True):
        expected = by_hand(
            params, config, [1], alpha=0.6, candidates=4, new=6, source=source
        )
        assert row.ids.tolist() == expected


@pytest.fixture(scope="module")
def config(tiny):
    return tiny(positions="rope")


@pytest.fixture(scope="module")
def params(config, random_params):
    return random_params(config)


def test_what_is_removed_is_no_candidate_however_new_it_would_be(params, config):
    """Two words are left of the four that are asked for."""
    left, banned = {2, 11}, [word for word in range(17) if word not in (2, 11)]
    found = search(params, config, banned=tuple(banned), alpha=0.9)
    for prompt, row in zip(PROMPTS, found, strict=True):
        expected = by_hand(
            params, config, prompt, alpha=0.9, candidates=4, new=6, banned=banned
        )
        assert row.ids.tolist() == expected and {*expected} <= left


def test_a_text_ends_with_the_first_stop_id_and_keeps_it(params, config):
    whole = [row.ids.tolist() for row in search(params, config)]
    stop = whole[0][2]
    for ids, row in zip(whole, search(params, config, stop_ids=(stop,)), strict=True):
        assert row.ids.tolist() == ids[: (ids + [stop]).index(stop) + 1]


def test_one_candidate_is_the_likeliest_and_log_probabilities_are_told(params, config):
    for row in search(params, config, candidates=1, logprobs=2):
        ids, top = row.top
        np.testing.assert_array_equal(row.ids, ids[:, 0])
        np.testing.assert_array_equal(row.logprobs, top[:, 0])


def test_a_text_does_not_depend_on_the_other_prompts(params, config):
    together = search(params, config, stop_ids=(4,))
    for prompt, row in zip(PROMPTS, together, strict=True):
        (alone,) = search(params, config, [prompt], stop_ids=(4,))
        np.testing.assert_array_equal(alone.ids, row.ids)


def test_lengths_and_weights_inside_a_bucket_compile_nothing(params, config):
    def run(length, new, alpha):
        prompts = [np.arange(length)]
        search(params, config, prompts, max_new_tokens=new, alpha=alpha)

    run(3, 4, 0.6)
    compiled = contrastive.advance._cache_size(), decode.start._cache_size()
    for length, new in ((1, 1), (2, 10), (4, 8), (9, 3)):
        run(length, new, alpha=length / 10)
    again = contrastive.advance._cache_size(), decode.start._cache_size()
    assert again == compiled
