"""Beams find what `transformers` finds, and masks are filled as it fills them."""

import dataclasses

import numpy as np
import pytest
from peers import peer, torch

from jaxlm.core.sampling import Sampling
from jaxlm.sampling import infill, strategies

pytestmark = pytest.mark.parity

START, PAD, EOS, NEW = 0, 1, 3, 8
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12], [14, 4, 21, 20, 13, 9]]
STOPPING = {"no": False, "yes": True, "never": "never"}


def found_by_transformers(model, settings, prompts):
    """(ids, score) of each text of each prompt; padding stands to the left."""
    skip = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (skip - len(row)) + row for row in prompts])
    asked = dict(input_ids=ids, attention_mask=(ids != PAD).long())
    if model.config.is_encoder_decoder:
        asked["decoder_start_token_id"] = START
        skip = 1
    penalties = dict(settings.filters)
    forced = [*settings.forced]
    if forced:
        everything = list(range(model.config.vocab_size))
        asked["prefix_allowed_tokens_fn"] = lambda _, said: (
            forced[len(said) - skip :][:1] or everything
        )
    out = model.generate(
        **asked,
        do_sample=False,
        num_beams=1 if settings.strategy == "greedy" else settings.beams,
        num_return_sequences=settings.samples,
        length_penalty=settings.length_penalty,
        early_stopping=settings.strategy != "greedy"
        and STOPPING[settings.early_stopping],
        max_new_tokens=settings.max_new_tokens,
        min_new_tokens=settings.min_new_tokens,
        eos_token_id=EOS,
        pad_token_id=PAD,
        sequence_bias={(token,): value for token, value in settings.bias} or None,
        bad_words_ids=[[token] for token in settings.banned] or None,
        repetition_penalty=penalties.get("repetition"),
        no_repeat_ngram_size=penalties.get("no_repeat_ngram"),
        return_dict_in_generate=True,
        output_scores=True,
    )
    found = []
    scores = out.get("sequences_scores")  # of beams alone
    scores = [None] * len(out.sequences) if scores is None else scores.tolist()
    for row, score in zip(out.sequences[:, skip:].tolist(), scores, strict=True):
        end = row.index(EOS) + 1 if EOS in row else len(row)
        found.append((row[:end], score))
    return found


def found_by_us(ours, settings, prompts):
    sources = None
    if ours.config.architecture == "encoder_decoder":
        prompts, sources = [[START]] * len(prompts), prompts
    found = strategies.generate(
        ours.params, ours.config, prompts, settings, sources=sources, stop_ids=(EOS,)
    )
    return [(row.ids.tolist(), row.score) for rows in found for row in rows]


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_greedy_text_is_that_of_transformers(name):
    settings = Sampling(strategy="greedy", filters=(), max_new_tokens=NEW)
    other = peer(name)
    expected = found_by_transformers(other.model, settings, PROMPTS)
    assert found_by_us(other.ours, settings, PROMPTS) == expected


LIKELY = {"gpt2": 5.0, "llama": 3.0, "t5": 1.5}  # so that some texts end early


@pytest.mark.parametrize("early", [False, True], ids=["late", "early"])
@pytest.mark.parametrize("length_penalty", [-0.7, 0.0, 1.0, 2.5])
@pytest.mark.parametrize("early_stopping", STOPPING)
@pytest.mark.parametrize("beams", [2, 4, 7])
@pytest.mark.parametrize("name", LIKELY)
def test_beams_find_what_transformers_finds(
    name, beams, early_stopping, length_penalty, early
):
    likely = LIKELY[name] if early else 0.0
    settings = Sampling(
        strategy="beam",
        filters=(),
        bias=((EOS, likely),),
        max_new_tokens=NEW,
        beams=beams,
        samples=min(beams, 3),
        length_penalty=length_penalty,
        early_stopping=early_stopping,
    )
    found = compare(name, settings, PROMPTS)
    if length_penalty <= 1:  # else the longest texts may be the best
        assert any(len(ids) < NEW for ids in found) or not early


@pytest.mark.parametrize("name", LIKELY)
@pytest.mark.parametrize(
    "settings",
    [
        dict(filters=(("repetition", 1.4),)),
        dict(filters=(("repetition", 1.2), ("no_repeat_ngram", 2))),
        dict(filters=(), banned=(5, 7, 12, 17, 26)),
        dict(filters=(), min_new_tokens=3, bias=((EOS, 6.0),)),
        dict(filters=(), forced=(9, 4)),
    ],
    ids=["repetition", "ngrams", "banned", "least", "forced"],
)
def test_filters_change_beams_as_processors_do(name, settings):
    """Prompts of one length: there padding counts as said."""
    settings = Sampling(
        strategy="beam",
        max_new_tokens=NEW,
        samples=4,
        **settings,
    )
    prompts = [[5, 6, 7, 5], [8, 9, 10, 11], [4, 4, 4, 4]]
    plain = Sampling(strategy="beam", filters=(), max_new_tokens=NEW, samples=4)
    plain = dataclasses.replace(plain, bias=settings.bias)
    found = compare(name, settings, prompts)
    assert found != [ids for ids, _ in found_by_us(peer(name).ours, plain, prompts)]


def compare(name, settings, prompts):
    """The ids that both find, in order."""
    other = peer(name)
    expected = found_by_transformers(other.model, settings, prompts)
    found = found_by_us(other.ours, settings, prompts)
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    scores, scores_there = ([score for _, score in rows] for rows in (found, expected))
    np.testing.assert_allclose(scores, scores_there, rtol=1e-4)
    return [ids for ids, _ in found]


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_masks_are_filled_with_what_transformers_finds_likeliest(name):
    """Rows of different lengths, a third of their words masked."""
    other, rng = peer(name), np.random.default_rng(0)
    mask_id = other.ours.config.vocab_size - 1
    ids_BT = rng.integers(4, mask_id, size=(4, 16))
    real_BT = np.arange(16)[None] < np.array([[16], [9], [12], [3]])
    masked_BT = real_BT & (rng.random(ids_BT.shape) < 0.35)
    ids_BT = np.where(masked_BT, mask_id, np.where(real_BT, ids_BT, PAD))
    with torch.no_grad():
        logits_BTV = other.model(
            input_ids=torch.tensor(ids_BT), attention_mask=torch.tensor(real_BT).long()
        ).logits.numpy()
    found_BT, _ = infill.fill(
        other.ours.params, other.ours.config, ids_BT, mask_id, segments=real_BT
    )
    expected_BT = np.where(masked_BT, logits_BTV.argmax(-1), ids_BT)
    assert masked_BT.sum() > 10
    np.testing.assert_array_equal(found_BT, expected_BT)
