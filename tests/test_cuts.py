"""Cuts of a text on a disk: found slice by slice, as if it were all in memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import corpus, cuts, questions
from jaxlm.data.cuts import Pairs, Windows
from jaxlm.data.shards import Mapped


class Disk(Mapped):
    """Says how many tokens were read at once, at most."""

    read = 0

    def __getitem__(self, places):
        found = super().__getitem__(places)
        object.__setattr__(self, "read", max(self.read, found.size))
        return found


def on_disk(tokens) -> Disk:
    return Disk.of(np.array_split(np.array(tokens, np.uint16), 3))


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 70))
def test_a_token_is_found_wherever_slices_end(tokens, size):
    whole = np.array(tokens, np.uint16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "SLICE", size)
        found = cuts.places_of(0, whole)
    assert found.tolist() == [p for p, token in enumerate(tokens) if token == 0]


@pytest.mark.parametrize("end", [[], [0]])
def test_pairs_on_a_disk_are_those_between_separators(monkeypatch, end):
    """With a separator behind the last, as shards have it, and without."""
    monkeypatch.setattr(cuts, "SLICE", 64)
    pairs = [[n + 1, n + 2, 0, n + 3] for n in range(300)]
    text = on_disk([token for pair in pairs for token in [*pair, 0]][:-1] + end)
    cut = Pairs(text, separator=0)
    assert cut.count == 300
    assert [cut.window(place).tolist() for place in range(300)] == pairs
    assert text.read <= 64


@pytest.mark.parametrize("text", [[1], [1, 0, 2, 0, 3], [1, 0, 2, 0, 3, 0]])
def test_half_a_pair_is_refused(text):
    with pytest.raises(ConfigError, match="reads pairs and the text has [13] docum"):
        _ = Pairs(np.array(text), separator=0).count


@pytest.mark.parametrize("size", [10, 21])
def test_elsewhere_is_every_run_of_other_documents_and_no_other(size):
    """Against a search of all places; own is what most of a window is of."""
    tokens = np.array(list(b"abcdefghi\0jklm\0nopqrstuvwxyz0123456789\0ABCDE\0FG"))
    cut = Windows(tokens, reads=size, overlap=0, separator=0)
    random, number = np.random.default_rng(0), np.cumsum(tokens == 0) - (tokens == 0)
    for start in range(len(tokens) - size + 1):
        runs = np.bincount(
            number[start : start + size][tokens[start : start + size] > 0]
        )
        own = {runs.argmax()}
        allowed = {
            tokens[p : p + size].tobytes()
            for p in range(len(tokens) - size + 1)
            if not own & set(number[p : p + size])
        }
        drawn = {cut.elsewhere(0, start, random).tobytes() for _ in range(300)}
        if allowed:
            assert drawn == allowed
        else:
            (other,) = drawn
            inside = np.frombuffer(other, tokens.dtype)
            assert len(inside) < size and tokens.tobytes().find(other) >= 0
            assert not set(inside) & set(tokens[np.isin(number, list(own))]) - {0}


def test_questions_read_no_more_of_the_held_out_text_than_they_ask_about(monkeypatch):
    texts = [f"document {n} is this, and {n} times it says so " * 9 for n in range(80)]
    monkeypatch.setitem(corpus.sources.SOURCES, "given", lambda _: texts)
    built = corpus.build(schema.Data(source="given", held_out=0.5))
    disk = on_disk(built.held_out)
    options = dict(context=40, continuation=8)
    asked = questions.make(replace(built, held_out=disk), 20, **options)
    expected = questions.make(built, 20, **options)
    for one, two in zip(asked, expected, strict=True):
        np.testing.assert_array_equal(one, two)
    assert disk.read <= max(40, len(built.held_out_offsets))
