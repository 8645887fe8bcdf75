"""What is guessed of the next tokens, and by whom."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.core.config import ConfigError
from jaxlm.data.tokenizers import ByteTokenizer, CharacterTokenizer
from jaxlm.sampling import drafts
from jaxlm.sampling.history import History


def repeated(rows, size=4, ngram=3):
    length_B = np.array([len(row) for row in rows], np.int32)
    tokens_BC = np.full((len(rows), 16), 7, np.int32)
    for place, row in zip(tokens_BC, rows, strict=True):
        place[: len(row)] = row
    history = History(jnp.asarray(tokens_BC), jnp.asarray(length_B), length_B)
    found = jax.jit(drafts.repeated, static_argnums=1)(history, size, ngram)
    return [
        ids[:count].tolist()
        for ids, count in zip(
            np.asarray(found.ids_BK), np.asarray(found.count_B), strict=True
        )
    ]


def test_what_followed_the_last_tokens_is_guessed():
    assert repeated([[1, 2, 3, 4, 5, 6, 0, 1, 2, 3]]) == [[4, 5, 6, 0]]


def test_the_latest_of_equally_long_matches_is_taken():
    assert repeated([[1, 2, 5, 9, 1, 2, 6, 9, 8, 1, 2]]) == [[6, 9, 8, 1]]


def test_a_longer_match_is_better_than_a_later_one():
    assert repeated([[0, 1, 2, 5, 5, 2, 6, 5, 1, 2]], size=2) == [[5, 5]]
    assert repeated([[0, 1, 2, 5, 5, 2, 6, 5, 1, 2]], size=2, ngram=1) == [[6, 5]]


def test_a_loop_goes_on():
    assert repeated([[5, 1, 1], [0, 1, 2, 1, 2]]) == [[1, 1, 1, 1], [1, 2, 1, 2]]


def test_a_new_token_has_no_guesses():
    assert repeated([[1, 2, 3], [7], [7, 6]]) == [[], [], []]


def brute_repeated(row, size, ngram):
    for n in range(min(ngram, len(row)), 0, -1):
        for start in reversed(range(len(row) - n)):
            if row[start : start + n] == row[len(row) - n :]:
                after = row[start + n :]
                return [after[i % len(after)] for i in range(size)]
    return []


@pytest.mark.parametrize("ngram", [1, 2, 3, 2**31 - 1])
def test_guesses_are_those_of_a_search_from_the_end(ngram):
    rng = np.random.default_rng(0)
    rows = [rng.integers(3, size=size).tolist() for size in range(1, 17)] * 8
    expected = [brute_repeated(row, 5, ngram) for row in rows]
    assert repeated(rows, 5, ngram) == expected


def test_two_tokenizers_agree_when_each_id_is_the_same_text():
    one, same = CharacterTokenizer("abc"), CharacterTokenizer("abc")
    drafts.check_tokenizers("small", one, same)
    with pytest.raises(ConfigError) as error:
        drafts.check_tokenizers("small", CharacterTokenizer("abd"), one)
    assert str(error.value) == (
        "sampling.draft 'small' has b'd' for the id 2 and the model b'c'; choose a "
        "draft with the model's tokenizer"
    )
    with pytest.raises(ConfigError) as error:
        drafts.check_tokenizers("small", ByteTokenizer(), one)
    assert str(error.value) == (
        "sampling.draft 'small' has a tokenizer of 256 ids and the model one of 3; "
        "choose a draft with the model's own"
    )
