"""A constrained text is one that the expression matches, and every such text can be."""

import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from small_tokenizers import SMALL

from jaxlm.core.config import ConfigError
from jaxlm.data import tokenizer_files
from jaxlm.data.pieces import special_ids
from jaxlm.sampling import constraint

pytest.importorskip("outlines_core", reason="pip install 'jaxlm[constraint]'")

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
SHARED = Path(__file__).parents[2] / "shared" / "data"
PATTERNS = ["", "a|b", "(ab)*", "a(b )?", " ?ab?", "[^b]+", "a{2,3}", "é|日a", "."]
PATTERNS += [r"(\s*\w)*", "( ?(ab|[.é]))*"]
LENGTH = 4  # tokens
START = 0  # state


def small(name):
    """A tokenizer, a prompt, ids that sequences are made of, and one that ends them."""
    tokenizer, prompt = SMALL[name]()
    end = tokenizer.specials.get("eos", 0)
    choice = [*range(tokenizer.vocab_size)]
    if len(choice) > 100:
        choice = [*tokenizer.encode("ba é日").tolist(), *choice[256:]]
    return tokenizer, prompt, sorted({*choice} - {end})[-11:], end


def walk(automaton, ids):
    """The state after these ids, -1 once one of them may not come."""
    state = START
    for number in ids:
        state = automaton.table_QV[state, number]
        if state < 0:
            return -1
    return state


def accepts(automaton, ids, end):
    return walk(automaton, [*ids, end]) >= 0


def texts(tokenizer, prompt, choice):
    """What every few of these ids add to the prompt, None where that is no text."""
    first, special = tokenizer.decode(prompt), special_ids(tokenizer)
    for length in range(LENGTH + 1):
        for ids in itertools.product(choice, repeat=length):
            text = tokenizer.decode([*prompt, *ids]).removeprefix(first)
            yield ids, None if special & {*ids} or UNKNOWN in text else text


# Expressions


@pytest.mark.parametrize("name", SMALL)
def test_tokens_are_accepted_exactly_where_their_text_matches(name):
    """By Python's expressions and the tokenizer's own decoder."""
    tokenizer, prompt, choice, end = small(name)
    every = list(texts(tokenizer, prompt, choice))
    found = 0
    for pattern in PATTERNS:
        matched = {
            ids
            for ids, text in every
            if text is not None and re.fullmatch(pattern, text)
        }
        found += bool(matched)
        try:
            automaton = constraint.of_regex(pattern, tokenizer, ends=[end])
        except ConfigError as error:
            assert "no match that tokens of this vocabulary spell" in str(error)
            accepted = set()
        else:
            accepted = {ids for ids, _ in every if accepts(automaton, ids, end)}
        assert accepted == matched, pattern
    assert found > 5


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("pattern", ["( ?ab)*", "[^b]+", " ?(é|a)", " ?[ab日]{1,3}"])
def test_no_path_is_a_dead_end(name, pattern):
    tokenizer, _, _, end = small(name)
    table_QV = constraint.of_regex(pattern, tokenizer, ends=[end]).table_QV
    ended = {len(table_QV) - 1}
    for _ in table_QV:
        ended |= {q for q, row in enumerate(table_QV) if ended & {*row.tolist()}}
    assert len(ended) == len(table_QV)
    assert np.flatnonzero(table_QV[-1] >= 0).tolist() == [end]


def test_an_automaton_by_hand():
    tokenizer, _ = SMALL["character"]()  # NUL, space, a, b, é, 日
    automaton = constraint.of_regex("ab?|éx", tokenizer, ends=[0])
    # There is no x, so é leads nowhere. After the end comes the end.
    no = -1
    expected = [
        [no, no, 1, no, no, no],
        [3, no, no, 2, no, no],
        [3, no, no, no, no, no],
        [3, no, no, no, no, no],
    ]
    np.testing.assert_array_equal(automaton.table_QV, expected)
    assert automaton.table_QV.dtype == np.int32


def test_a_character_in_parts_is_whole_or_not_at_all():
    tokenizer, _ = SMALL["byte"]()
    automaton = constraint.of_regex("日*", tokenizer, ends=[0])
    e, z, y = "日".encode()
    assert accepts(automaton, [e, z, y] * 2, 0)
    assert walk(automaton, [e, z]) >= 0 and not accepts(automaton, [e, z], 0)
    assert walk(automaton, [e, y]) == -1


def test_every_end_may_come_and_no_other_special_id():
    tokenizer, _ = SMALL["unigrams"]() if "unigrams" in SMALL else SMALL["bpe"]()
    eos = tokenizer.specials["eos"]
    automaton = constraint.of_regex("(?s:.*)", tokenizer, ends=[2], vocab_size=300)
    assert automaton.table_QV.shape[1] == 300
    allowed = {*np.flatnonzero(automaton.table_QV[START] >= 0).tolist()}
    assert {eos, 2} <= allowed
    assert not allowed & (special_ids(tokenizer) - {eos})
    assert max(allowed) < tokenizer.vocab_size


def gpt2(tmp_path):
    directory = SHARED / "tiktoken"
    pytest.importorskip("tokenizers", reason="pip install 'jaxlm[hub]'")
    if not directory.exists():
        pytest.skip("GPT-2's vocabulary is not beside this checkout")
    (tmp_path / "vocab.json").symlink_to(directory / "encoder.json")
    (tmp_path / "merges.txt").symlink_to(directory / "vocab.bpe")
    return tokenizer_files.read(tmp_path)


def drawn(automaton, tokenizer, rng, most=200):
    """A text by allowed tokens, the end as soon as it may come after `most`."""
    state, ids, end = START, [], tokenizer.specials["eos"]
    while True:
        (allowed,) = np.nonzero(automaton.table_QV[state] >= 0)
        if end in allowed and (len(ids) >= most or rng.random() < 0.3):
            return ids
        choices = allowed[allowed != end]
        if not len(choices):
            return ids
        ids.append(int(rng.choice(choices)))
        state = automaton.table_QV[state, ids[-1]]


def test_fifty_thousand_tokens(tmp_path):
    tokenizer, rng = gpt2(tmp_path), np.random.default_rng(0)
    for pattern in (
        r"[0-9]{3}-[0-9]{4}",
        r"([A-Z][a-z ]{1,9}\. ){1,3}",
        "[^é]{1,20}",
        ".+",
    ):
        automaton = constraint.of_regex(pattern, tokenizer)
        for _ in range(20):
            ids = drawn(automaton, tokenizer, rng)
            assert re.fullmatch(pattern, tokenizer.decode(ids)), ids
    # ' the' and 'the' by hand: one token each, and one spelled letter by letter.
    automaton = constraint.of_regex(" ?the", tokenizer)
    spelled = tokenizer.encode("t")[0], tokenizer.encode("h")[0], tokenizer.encode("e")
    for ids in ([262], [1169], [spelled[0], spelled[1], *spelled[2]]):
        assert accepts(automaton, ids, 50256)


# Impossible requests


def refused(make, words):
    with pytest.raises(ConfigError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "pattern, words",
    [
        (r"[^\s\S]", r"sampling.regex '\[.*matches no text.*; take it out$"),
        ("a{3,9000}", r"repeats something 9000 times; give at most 4096, or \+"),
        ("a)(b", r"'a\)\(b' does not compile"),
        ("(", r"sampling.regex '\(' does not compile .*; .*close every bracket"),
        ("(?=a)b", "does not compile .*look-around"),
        (r"(a)\1", "does not compile .*back-references"),
        ("^a$", r"does not compile .*leave out \^, \$"),
        ("x+", r"'x\+' has no match that tokens of this vocabulary spell; allow"),
    ],
)
def test_an_expression_that_no_text_can_match_is_one_line(pattern, words):
    tokenizer, _ = SMALL["character"]()
    refused(lambda: constraint.of_regex(pattern, tokenizer, ends=[0]), words)


def test_a_text_must_be_able_to_end():
    tokenizer, _ = SMALL["character"]()
    refused(
        lambda: constraint.of_regex("a", tokenizer),
        "needs a token that ends.*no 'eos'; give its id.*in sampling.stop_ids",
    )
    refused(
        lambda: constraint.of_regex("a", tokenizer, ends=[6]),
        "sampling.stop_ids 6 is past the 6 ids of the model; give at most 5",
    )


def test_a_table_past_the_limit_is_refused_before_it_is_made(monkeypatch):
    tokenizer, _ = SMALL["byte"]()
    monkeypatch.setattr(constraint, "LIMIT", 256 * 4 * 50)
    constraint.of_regex("a{45}", tokenizer, ends=[0])
    refused(
        lambda: constraint.of_regex("a{60}", tokenizer, ends=[0]),
        r"'a\{60\}' takes 51 states or more over 256 ids.*past .* GiB; repeat",
    )


def test_a_missing_library_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "outlines_core", None)
    refused(
        lambda: constraint.of_regex("a", SMALL["byte"]()[0], ends=[0]),
        "package outlines-core.*pip install 'jaxlm",
    )
