"""What is asked of sampling, in a config or on a command line, can be done."""

import dataclasses
import math

import pytest

from jaxlm.core import schema
from jaxlm.core.config import ConfigError, from_mapping
from jaxlm.core.filter_values import NUMBERS, check_number, parse_filters
from jaxlm.core.sampling import READERS, STRATEGIES, Sampling


def refused(**settings):
    with pytest.raises(ConfigError) as error:
        Sampling(**settings)
    assert "\n" not in str(error.value) and ";" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_can_be_asked_for_and_nothing_else(strategy):
    assert Sampling(strategy=strategy).strategy == strategy


def test_a_config_file_starts_from_the_defaults():
    config = schema.sampling_defaults()
    config.filters = (("top_k", 50), ("temperature", 1))
    config.stop = ("\n", "###")
    made = from_mapping(schema.Sampling, config, "sampling")
    assert made.filters == (("top_k", 50.0), ("temperature", 1.0))
    assert made == Sampling(filters=made.filters, stop=("\n", "###"))
    hash(made)


def test_filters_are_read_from_a_command_line_in_their_order():
    found = parse_filters("top_k=50, temperature=0.7,min_p=1e-3")
    assert found == (("top_k", 50.0), ("temperature", 0.7), ("min_p", 0.001))
    assert parse_filters("") == ()


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "topp=0.9",
            "sampling.filters 'topp' is unknown; did you mean 'top_p'? choose",
        ),
        (
            "top_p",
            "sampling.filters 'top_p' has no number; write top_p=NUMBER: a number",
        ),
        ("top_p=much", "sampling.filters 'top_p=much' has no number; write top_p="),
        ("top_p=1.5", "sampling.filters top_p 1.5 is out of range; give a number in"),
        ("top_k=2,top_k=3", "sampling.filters 'top_k' is given 2 times; give one"),
        (
            "banned=2",
            "sampling.filters 'banned' is unknown; choose one of temperature,",
        ),
    ],
)
def test_what_a_command_line_cannot_mean_is_refused(text, message):
    with pytest.raises(ConfigError) as error:
        parse_filters(text)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


GOOD = {
    "temperature": (0, 1e-6, 0.8, 100),
    "top_k": (1, 50, 50.0, 1e6),
    "top_p": (1e-9, 0.9, 1),
    "min_p": (0, 0.1, 1),
    "typical": (1e-9, 0.9, 1),
    "epsilon": (0, 3e-4, 0.99),
    "eta": (0, 3e-4, 0.99),
    "repetition": (0.5, 1, 1.2),
    "presence": (-2, 0, 2),
    "frequency": (-2, 0, 2),
    "no_repeat_ngram": (1, 3),
}
BAD = {
    "temperature": (-0.1, 1e-7),
    "top_k": (0, -1, 2.5),
    "top_p": (0, -0.1, 1.5),
    "min_p": (-0.1, 1.1),
    "typical": (0, 1.5),
    "epsilon": (-0.1, 1),
    "eta": (-0.1, 1),
    "repetition": (0, -1),
    "presence": (),
    "frequency": (),
    "no_repeat_ngram": (0, 1.5),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_filter_has_the_numbers_that_it_can_have_and_no_others(name):
    for value in GOOD[name]:
        check_number(name, value)
    for value in (*BAD[name], math.nan, math.inf, -math.inf, True, "1", None):
        with pytest.raises(ConfigError, match=f"^sampling.filters {name} .*; give "):
            check_number(name, value)


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            dict(filters=(("top_p", 1.5),)),
            "sampling.filters top_p 1.5 is out of range; give a number in (0, 1]",
        ),
        (
            dict(strategy="greedy", filters=(("top_k", 0),)),
            "sampling.filters top_k 0 is out of range; give a whole number, 1 or more",
        ),
        (
            dict(strategy="greedy", filters=(("top_k", 50),)),
            "sampling.filters top_k 50 does nothing with sampling.strategy 'greedy'; "
            "leave it out, or choose sample or best_of or speculative",
        ),
        (
            dict(strategy="contrastive", filters=(("temperature", 0.7),)),
            "sampling.filters temperature 0.7 does nothing with sampling.strategy 'con",
        ),
        (
            dict(filters=(("top_k", 5), ("top_k", 6))),
            "sampling.filters 'top_k' is given 2 times; give one",
        ),
        (
            dict(strategy="best"),
            "sampling.strategy 'best' is unknown; did you mean 'best_of'? choose one",
        ),
        (
            dict(strategy="beam", samples=5),
            "sampling.samples 5 is more than sampling.beams 4 finds; give at most 4",
        ),
        (
            dict(strategy="best_of", samples=5),
            "sampling.samples 5 is more than sampling.best_of 4 finds; give at most 4",
        ),
        (
            dict(strategy="greedy", samples=2),
            "sampling.samples 2 is more than sampling.strategy 'greedy' finds; give at",
        ),
        (
            dict(strategy="diverse_beam", beams=5),
            "sampling.beams 5 over sampling.groups 2 leaves 1; choose a divisor of 5",
        ),
        (
            dict(forced=(1, 2), banned=(2, 3)),
            "sampling.forced and sampling.banned both have [2]; remove them from one",
        ),
        (
            dict(bias=((3, 1.0),), banned=(3,)),
            "sampling.bias and sampling.banned both have [3]; remove them from one",
        ),
        (
            dict(stop_ids=(3,), banned=(3,)),
            "sampling.stop_ids and sampling.banned both have [3]; remove them from one",
        ),
        (
            dict(bias=((3, 1.0), (3, 2.0))),
            "sampling.bias has token 3 2 times; give the sum once",
        ),
        (
            dict(bias=((3, -math.inf),)),
            "sampling.bias -inf of token 3 is no number; to forbid the token, name it",
        ),
        (dict(banned=(-1,)), "sampling.banned [-1] is no id; give 0 or more"),
        (
            dict(regex="a+", json_schema="{}"),
            "sampling.regex 'a+' and sampling.json_schema are both given; give one",
        ),
        (
            dict(min_new_tokens=9, max_new_tokens=8),
            "sampling.min_new_tokens 9 is more than sampling.max_new_tokens 8; give",
        ),
        (
            dict(forced=(1, 2), max_new_tokens=1),
            "sampling.forced has 2 ids and sampling.max_new_tokens is 1; give fewer",
        ),
        (
            dict(forced=(1, 2), stop_ids=(1,)),
            "sampling.forced has [1], in sampling.stop_ids, before the text may end;",
        ),
        (
            dict(forced=(2, 1), stop_ids=(1,), min_new_tokens=3),
            "sampling.forced has [1], in sampling.stop_ids, before the text may end;",
        ),
        (dict(stop=("a", "")), "sampling.stop '' is empty; leave it out"),
        (dict(max_new_tokens=0), "sampling.max_new_tokens 0 is not between 1 and 2147"),
        (dict(samples=0), "sampling.samples 0 is not between 1 and 2147483647; give"),
        (dict(seed=-1), "sampling.seed -1 is not between 0 and 2147483647; give a"),
        (dict(logprobs=-2), "sampling.logprobs -2 is not between -1 and 2147483647;"),
        (dict(cache="int4"), "sampling.cache 'int4' is unknown; did you mean 'int8'?"),
        (
            dict(strategy="beam", early_stopping="maybe"),
            "sampling.early_stopping 'maybe' is unknown; choose one of no, yes, never",
        ),
        (
            dict(strategy="contrastive", alpha=1.5),
            "sampling.alpha 1.5 is not between 0 and 1; give a number in that range",
        ),
        (
            dict(strategy="speculative", draft="runs/small", ngram=2),
            "sampling.ngram 2 does nothing with sampling.draft 'runs/small'; leave it",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_its_remedy(settings, message):
    assert refused(**settings).startswith(message)


OTHER = {
    **dict(beams=6, groups=4, diversity=1.0, length_penalty=2.0, early_stopping="yes"),
    **dict(best_of=6, alpha=0.5, candidates=3, draft="runs/small", draft_tokens=5),
    **dict(ngram=2),
}


@pytest.mark.parametrize("name", READERS)
def test_a_setting_that_would_do_nothing_is_refused(name):
    default = next(f.default for f in dataclasses.fields(Sampling) if f.name == name)
    for strategy in STRATEGIES:
        Sampling(strategy=strategy, **{name: default})
        if strategy not in READERS[name]:
            message = refused(strategy=strategy, **{name: OTHER[name]})
            assert message.startswith(f"sampling.{name} {OTHER[name]!r} does nothing")
    with_beams = {"beams": 4} if name == "groups" else {}
    Sampling(strategy=READERS[name][0], **with_beams, **{name: OTHER[name]})


def test_where_nothing_is_drawn_penalties_alone_are_applied():
    penalty = ("repetition", 1.2)
    both = (penalty, ("temperature", 0.8))
    assert Sampling(filters=both).applied == both
    assert Sampling(strategy="beam", filters=both).applied == (penalty,)
