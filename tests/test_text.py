"""From prompts to texts: how they end, what is told of them, streams, and encoders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.core.sampling import Sampling
from jaxlm.data.tokenizers import CharacterTokenizer
from jaxlm.models import transformer
from jaxlm.sampling import text
from tests.small_tokenizers import scored

LETTERS = CharacterTokenizer("abcdefghijklmnopq")  # 17, as the tiny models have


@pytest.fixture(scope="module")
def config(tiny):
    return tiny(positions="rope")


@pytest.fixture(scope="module")
def params(config, random_params):
    return jax.tree.map(jnp.asarray, random_params(config))


@pytest.fixture(scope="module")
def draw(params, config):
    def draw(prompts=("abcd",), tokenizer=LETTERS, **settings):
        wanted = Sampling(**({"max_new_tokens": 8} | settings))
        return text.sample(params, config, tokenizer, prompts, wanted)

    return draw


@pytest.fixture(scope="module")
def greedy(draw):
    """The 8 letters that the model says after 'abcd'."""
    return draw(strategy="greedy")[0][0].text


def test_samples_continue_each_prompt_and_leave_it_out(draw, greedy):
    first, second = draw(["abcd", "qp"], samples=3)
    assert [len(one.text) for one in (*first, *second)] == [8] * 6
    assert len({one.text for one in first}) == 3
    assert [one.text for one in draw(["qp"], samples=3)[0]] == [
        one.text for one in second
    ]
    assert draw(filters=(("temperature", 0.0),))[0][0].text == greedy


def test_a_text_ends_before_a_stop_id_which_its_ids_keep(draw, greedy):
    for letter in set(greedy):
        ((found,),) = draw(strategy="greedy", stop_ids=(LETTERS.encode(letter)[0],))
        assert found.text == greedy[: greedy.index(letter)]
        assert found.ended == "stop"
        assert LETTERS.decode(found.ids) == found.text + letter
    ((found,),) = draw(strategy="greedy")
    assert found.ended == "length" and LETTERS.decode(found.ids) == found.text


def test_a_text_ends_with_the_tokenizers_own_end(params, config):
    tokenizer, _ = scored()
    end = tokenizer.specials["eos"]
    wanted = Sampling(forced=(10, end), filters=(), max_new_tokens=8)
    ((found,),) = text.sample(params, config, tokenizer, ["ab"], wanted)
    assert found.ids.tolist() == [10, end]
    assert (found.text, found.ended) == ("b", "stop")


@pytest.mark.parametrize("strategy", ["greedy", "sample", "contrastive", "speculative"])
def test_a_text_ends_before_a_stop_string_wherever_it_stands(draw, config, strategy):
    """Past the place where the loop on the device is looked at, too; and so its ids."""
    settings = dict(strategy=strategy, max_new_tokens=config.context - 1, logprobs=0)
    ((whole,),) = draw(["a"], **settings)
    for first in (1, 4, 7, 9):
        stop = whole.text[first : first + 2]
        ((found,),) = draw(["a"], stop=(stop, "zz"), **settings)
        end = whole.text.index(stop)
        assert (found.text, found.ended) == (whole.text[:end], "stop")
        assert LETTERS.decode(found.ids) == whole.text[: end + 2]
        np.testing.assert_allclose(
            found.logprobs, whole.logprobs[: end + 2], rtol=1e-4, atol=1e-5
        )


def test_the_best_are_ranked_by_the_tokens_of_their_texts_alone(draw, config):
    """Those up to a stop string, not what was drawn after it."""
    settings = dict(max_new_tokens=config.context - 1, logprobs=0)
    drawn = draw(["a"], samples=6, **settings)[0]
    stop = drawn[0].text[3]
    kept = [(one.text + stop).index(stop) + 1 for one in drawn]
    means = [one.logprobs[:n].mean() for one, n in zip(drawn, kept, strict=True)]
    found = draw(
        ["a"], strategy="best_of", best_of=6, samples=6, stop=(stop,), **settings
    )
    np.testing.assert_allclose(
        [one.score for one in found[0]], sorted(means, reverse=True), rtol=1e-4
    )


def test_log_probabilities_are_told_where_they_are_asked_for(draw):
    assert draw(strategy="best_of", best_of=2)[0][0].logprobs is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(logprobs=18), "sampling.logprobs 18 is more than the 17 ids .* at most"),
        (dict(stop_ids=(17,)), "sampling.stop_ids 17 is past the 17 ids .* at most 16"),
    ],
)
def test_more_than_the_vocabulary_is_refused(draw, settings, message):
    with pytest.raises(ConfigError, match=message):
        draw(**settings)


def test_a_text_ends_with_what_the_model_was_trained_to_end_with(
    params, config, greedy
):
    settings = Sampling(strategy="greedy", max_new_tokens=8)
    end = int(LETTERS.encode(greedy[2])[0])
    ((found,),) = text.sample(params, config, LETTERS, ["abcd"], settings, ends=(end,))
    assert found.text == greedy[: greedy.index(greedy[2])]


def test_log_probabilities_are_those_of_the_model_before_filters(
    draw, forward, params, config
):
    ((found,),) = draw(logprobs=3, filters=(("temperature", 2.0), ("top_k", 5)))
    ids = np.concatenate([LETTERS.encode("abcd"), found.ids])[None]
    padded = np.pad(ids, [(0, 0), (0, 12 - ids.shape[1])])
    logits = np.asarray(forward(params, config, Batch(padded, None, None))[0])[0]
    expected = scipy.special.log_softmax(logits[3 : ids.shape[1] - 1], axis=-1)
    chosen = expected[np.arange(len(found.ids)), found.ids]
    np.testing.assert_allclose(found.logprobs, chosen, atol=1e-4)
    top_ids, top = found.top
    np.testing.assert_array_equal(top_ids, np.argsort(-expected, axis=-1)[:, :3])
    np.testing.assert_allclose(top, -np.sort(-expected, axis=-1)[:, :3], atol=1e-4)
    told = text.record(found)
    assert told["ids"] == found.ids.tolist()
    assert told["top"][2][1] == (top_ids[2, 1], pytest.approx(top[2, 1]))
    assert "top" not in text.record(draw()[0][0])


def test_the_best_of_several_are_those_with_the_highest_mean_log_probability(draw):
    drawn = draw(samples=6, logprobs=0)[0]
    means = sorted((one.logprobs.mean() for one in drawn), reverse=True)
    found = draw(strategy="best_of", best_of=6, samples=2)[0]
    np.testing.assert_allclose([one.score for one in found], means[:2], rtol=1e-5)


@pytest.mark.parametrize("stop", [(), ("ab",), ("q", "p", "h", "c")], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_stream_is_the_same_text_in_pieces(draw, params, config, stop, seed):
    settings = Sampling(max_new_tokens=8, seed=seed, stop=stop)
    found = list(text.stream(params, config, LETTERS, "abcd", settings))
    assert all(found) and "".join(found) == draw(seed=seed, stop=stop)[0][0].text
    if not stop:
        assert len(found) == 8


@pytest.mark.parametrize(
    "settings", [dict(samples=2), dict(strategy="best_of")], ids=str
)
def test_what_is_known_at_the_end_alone_is_not_streamed(params, config, settings):
    with pytest.raises(ConfigError, match="cannot be streamed; choose greedy or"):
        next(text.stream(params, config, LETTERS, "ab", Sampling(**settings)))


def test_a_regex_holds_for_every_text(draw):
    import re

    found = draw(
        ["abcd", "q"],
        samples=20,
        regex="(ab|qq+c)(d|e)*",
        stop_ids=(16 + 0,),
        filters=(("temperature", 3.0),),
        banned=(),
        max_new_tokens=7,
    )
    texts = [one for group in found for one in group]
    ended = [one.text for one in texts if one.ended == "stop"]
    assert ended
    for one in ended:
        assert re.fullmatch("(ab|qq+c)(d|e)*", one)


def test_an_encoder_decoder_reads_prompts_of_any_lengths_with_its_encoder(
    tiny, random_params
):
    """Greedy text is the argmax of the forward pass; its decoder has `start` first."""
    config = tiny(architecture="encoder_decoder", positions="buckets", head="untied")
    params = jax.tree.map(jnp.asarray, random_params(config))
    prompts = ["abcdef", "nml"]
    found = text.sample(
        params,
        config,
        LETTERS,
        prompts,
        Sampling(strategy="greedy", max_new_tokens=6),
        start=3,
    )
    for prompt, (one,) in zip(prompts, found, strict=True):
        source, ids = LETTERS.encode(prompt), [3]
        for _ in range(6):
            batch = Batch(np.array([ids]), None, None, encoder_inputs=source[None])
            logits, _ = transformer.forward(params, config, batch)
            ids.append(int(logits[0, -1].argmax()))
        assert one.text == LETTERS.decode(ids[1:])
    assert found[0][0].text != found[1][0].text


def test_a_prefix_model_reads_its_prompt_both_ways(tiny, random_params, forward):
    config = tiny(positions="rope", context=16)
    params = jax.tree.map(jnp.asarray, random_params(config))
    wanted = Sampling(strategy="greedy", max_new_tokens=4, logprobs=0)
    prompts = ["abcdefg", "nml"]
    found = text.sample(params, config, LETTERS, prompts, wanted, prefix=True)
    for prompt, (one,) in zip(prompts, found, strict=True):
        ids = LETTERS.encode(prompt).tolist()
        for _ in range(4):
            shown = np.arange(len(ids))[None] < len(prompt)
            batch = Batch(np.array([ids]), None, None, visibility=shown)
            ids.append(
                int(transformer.forward(params, config, batch)[0][0, -1].argmax())
            )
        assert one.text == LETTERS.decode(ids[len(prompt) :])
    causal = text.sample(params, config, LETTERS, prompts, wanted)
    assert np.abs(causal[0][0].logprobs - found[0][0].logprobs).max() > 0.01


def test_an_int8_cache_holds_the_same_to_a_percent(params, config, tiny, forward):
    """The probabilities that a text was drawn with, of the same tokens."""
    settings = dict(logprobs=0, max_new_tokens=8, filters=())
    exact = text.sample(params, config, LETTERS, ["abcd"], Sampling(**settings))[0][0]
    forced = Sampling(**settings, forced=tuple(exact.ids.tolist()), cache="int8")
    found = text.sample(params, config, LETTERS, ["abcd"], forced)[0][0]
    np.testing.assert_allclose(found.logprobs, exact.logprobs, atol=0.05)
    assert (found.logprobs != exact.logprobs).any()


def test_an_encoder_decoder_without_a_start_says_so(tiny):
    config = tiny(architecture="encoder_decoder")
    with pytest.raises(ConfigError, match="begins with a token of its own"):
        text.sample(None, config, LETTERS, ["abc"], Sampling())


def test_a_source_that_the_encoder_cannot_read_says_so(tiny):
    config = tiny(architecture="encoder_decoder", positions="learned")
    with pytest.raises(ConfigError, match="13 tokens and the encoder reads 1 to 12"):
        text.sample(None, config, LETTERS, [13 * "a"], Sampling(), start=0)


def test_a_source_may_be_longer_than_the_decoders_context(tiny, random_params):
    config = tiny(architecture="encoder_decoder", positions="buckets")
    params = jax.tree.map(jnp.asarray, random_params(config))
    wanted = Sampling(strategy="greedy", max_new_tokens=2, logprobs=0)
    prompt = "abcdefghijklmnopqabcdefghijk"
    ((found,),) = text.sample(params, config, LETTERS, [prompt], wanted, start=3)
    source = LETTERS.encode(prompt)[None]
    batch = Batch(np.array([[3]]), None, None, encoder_inputs=source)
    logits = np.asarray(transformer.forward(params, config, batch)[0])[0, 0]
    assert found.ids[0] == logits.argmax()
    expected = scipy.special.log_softmax(logits).max()
    np.testing.assert_allclose(found.logprobs[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    "changes", [{"architecture": "encoder"}, {"head": "none"}], ids=str
)
def test_a_model_that_does_not_decode_says_so(tiny, changes):
    with pytest.raises(ConfigError, match="does not continue a text; choose a model"):
        text.sample(None, tiny(**changes), LETTERS, ["abc"], Sampling(max_new_tokens=2))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["ab", "abc"], "--max_new_tokens 10 after a prompt of 3 .* at most 9"),
        (["ab", ""], "--prompt '' has no tokens"),
    ],
)
def test_an_impossible_request_for_text_is_refused_before_anything_runs(
    config, prompts, message
):
    with pytest.raises(ConfigError, match=message):
        text.sample(None, config, LETTERS, prompts, Sampling(max_new_tokens=10))
