"""Of equal and of nearly equal documents the first stays."""

import itertools
import math
import random
import sys

import numpy as np
import pytest

from jaxlm.core.config import ConfigError
from jaxlm.data import duplicates, spans
from jaxlm.data.duplicates import Seen, digest


def sketches(texts):
    return duplicates.sketches(spans.take_apart(texts, folded=True))


def reasons(texts, near=0.8):
    seen, found = Seen(near), sketches(texts) if near else [None] * len(texts)
    pairs = zip(map(digest, texts), found, strict=True)
    return [seen.reason(exact, similar) for exact, similar in pairs]


def shingles(text: str) -> list[str]:
    """Every five words in a row, whatever the case; a shorter text is one."""
    words = text.lower().split()
    count = max(1, len(words) - 4)
    return [" ".join(words[start : start + 5]) for start in range(count)]


def pair(similarity: float, seed: int) -> tuple[str, str]:
    """Two texts of 600 words whose sets of shingles are about so similar."""
    rng = random.Random(seed)
    text = [f"w{rng.randrange(10**9)}" for _ in range(604)]
    # Changing the ends leaves a common run of k shingles: k / (1200 - k).
    common = round(1200 * similarity / (1 + similarity))
    other = text[: common + 4] + [
        f"v{rng.randrange(10**9)}" for _ in text[common + 4 :]
    ]
    return " ".join(text), " ".join(other)


def jaccard(one: str, two: str) -> float:
    a, b = set(shingles(one)), set(shingles(two))
    return len(a & b) / len(a | b)


def test_shingles_are_five_words_in_a_row_whatever_the_case():
    rng = random.Random(0)
    words = [
        "a",
        "B",
        "b",
        "ß",
        "Ä",
        "ä",
        "ΟΔΟΣ",
        "οδος",
        "語",
        "Abc",
        "aBC",
        "long-er",
    ]
    texts = ["", " ", "a b", "A  B\n", "b a", "A b c  d\ne F", "a b c d e f"]
    for count in range(4, 40):
        texts.append(rng.choice([" ", "\n"]).join(rng.choices(words, k=count)))
    keys, edges = duplicates.shingles(spans.take_apart(texts, folded=True))
    spelled = [shingle for text in texts for shingle in shingles(text)]
    assert [0, *itertools.accumulate(len(shingles(t)) for t in texts)] == edges.tolist()
    # As many different keys as different shingles, and each shingle one key.
    assert len(set(keys.tolist())) == len(set(spelled))
    assert len(set(zip(keys.tolist(), spelled, strict=True))) == len(set(spelled))


def test_a_sketch_does_not_depend_on_the_texts_beside_it():
    texts = [pair(0.5, seed)[0] for seed in range(5)] + ["", "few words", "ΟΔΟΣ 語"]
    alone = [sketches([text])[0].tolist() for text in texts]
    assert sketches(texts).tolist() == alone
    assert sketches(texts[::-1]).tolist() == alone[::-1]


@pytest.mark.parametrize("similarity", [0.5, 0.8, 0.95])
def test_sketches_agree_as_often_as_sets_of_shingles_are_similar(similarity):
    found = []
    for seed in range(50):
        one, two = pair(similarity, seed)
        first, second = sketches([one, two])
        found.append((first == second).mean() - jaccard(one, two))
    # The mean of 50 has the standard error of one estimate, 128 draws, over sqrt 50.
    error = math.sqrt(similarity * (1 - similarity) / 128 / 50)
    assert abs(sum(found) / 50) < 3 * error


def test_equal_documents_but_for_white_space_around_are_one():
    assert reasons(["a b c", "d", " a b c\n", "a  b c"], near=0) == [
        None,
        None,
        "exact_duplicate",
        None,
    ]


@pytest.mark.parametrize(
    "similarity, least, most", [(0.95, 98, 100), (0.88, 90, 100), (0.6, 0, 2)]
)
def test_similar_documents_are_dropped_and_others_are_not(similarity, least, most):
    found = 0
    for seed in range(100):
        one, two = pair(similarity, seed)
        assert jaccard(one, two) == pytest.approx(similarity, abs=0.01)
        first, second = reasons([one, two])
        assert first is None and second in (None, "near_duplicate")
        found += second is not None
    assert least <= found <= most


def test_a_document_is_compared_with_what_was_kept_among_many():
    texts = [pair(0.95, seed) for seed in range(200)]
    found = reasons([one for one, _ in texts] + [two for _, two in texts])
    assert found[:200] == [None] * 200
    assert found[200:].count("near_duplicate") >= 196


def test_a_document_like_one_of_thousands_is_found_behind_what_only_shares_a_band():
    rng, seen = np.random.default_rng(0), Seen(0.8)
    rows = 128 // duplicates.bands(0.8)
    first_DH = rng.integers(0, 2**32, (3000, 128), dtype=np.uint32)
    beside_DH = rng.integers(0, 2**32, (3000, 128), dtype=np.uint32)
    beside_DH[:, :rows] = first_DH[:, :rows]  # one band alike, and no other
    alike_DH = first_DH.copy()
    alike_DH[:, rows::rows] += np.uint32(1)  # one minimum another in each other band
    assert 0.8 <= (alike_DH == first_DH).mean() < 1
    for number in range(3000):
        assert seen.reason(b"%d" % number, first_DH[number]) is None
        assert seen.reason(b"beside %d" % number, beside_DH[number]) is None
    found = [seen.reason(b"%d like" % n, alike_DH[n]) for n in range(3000)]
    assert found == ["near_duplicate"] * 3000


def test_what_is_dropped_is_not_compared_with():
    # Each is near the one before, the last is far from the first.
    text = [f"w{number}" for number in range(600)]
    chain = []
    for step in range(12):
        text[step * 20 : step * 20 + 20] = [f"x{step}y{n}" for n in range(20)]
        chain.append(" ".join(text))
    found = reasons(chain)
    assert found[:3] == [None, "near_duplicate", "near_duplicate"]
    assert found.count(None) >= 2


@pytest.mark.parametrize("near", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_the_fewest_bands_find_nine_in_ten_at_the_threshold(near):
    rng = random.Random(0)

    def found(bands):  # of sketches whose minima agree with that probability
        rows = 128 // bands
        sketches = ([rng.random() < near for _ in range(128)] for _ in range(1000))
        return sum(
            any(all(s[b * rows : (b + 1) * rows]) for b in range(bands))
            for s in sketches
        )

    bands = duplicates.bands(near)
    assert found(bands) > 870
    assert bands == 1 or found(bands // 2) < 930


@pytest.mark.parametrize("near", [-0.1, 0.01, 1.5])
def test_a_similarity_that_is_none_is_refused(near):
    with pytest.raises(ConfigError, match=f"--near {near} is not a similarity"):
        Seen(near)


def test_a_missing_library_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(ConfigError, match=r"need the package rensa.*jaxlm\[prepare\]"):
        Seen(0.8)
    Seen(0)
