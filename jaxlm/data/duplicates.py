"""Which documents came before: exactly, or with nearly the same words.

D documents, W words, H minima in a sketch.
"""

import hashlib

import numpy as np

from jaxlm.core.config import ConfigError
from jaxlm.data import spans
from jaxlm.data.spans import Documents

SHINGLE = 5  # words that make one element of a document's set
HASHES = 128  # minima in a sketch: a similarity is known to about 0.04
SEED = 42
REASONS = ("exact_duplicate", "near_duplicate")
RECALL = 0.9  # of documents exactly at the threshold, how many are compared at least


def digest(text: str) -> bytes:
    """16 bytes that texts share that are equal but for white space at their ends."""
    return hashlib.sha256(text.strip().encode()).digest()[:16]


def shingles(documents: Documents) -> tuple[np.ndarray, np.ndarray]:
    """Keys of every SHINGLE words in a row, and (D + 1,) edges between documents.

    documents: folded, so that the case does not matter. One of fewer words is one
    shingle.
    """
    words, keys_W = documents.words, documents.words.keys_S
    whole_D = words.counts_D >= SHINGLE
    edges_D = np.concatenate(
        [[0], np.cumsum(np.maximum(1, words.counts_D + 1 - SHINGLE))]
    )
    keys = np.zeros(edges_D[-1], np.uint64)
    is_whole = np.repeat(whole_D, np.diff(edges_D))
    keys[is_whole] = spans.in_a_row(keys_W, SHINGLE)[spans.within(words, SHINGLE)]
    for place in np.flatnonzero(~whole_D).tolist():
        mine = keys_W[words.edges_D[place] : words.edges_D[place + 1]]
        keys[edges_D[place]] = spans.in_a_row(mine, len(mine)).sum(dtype=np.uint64)
    return keys, edges_D


def sketches(documents: Documents) -> np.ndarray:
    """(D, H) uint32: a MinHash (Broder 1997) of each document's shingles."""
    keys, edges_D = shingles(documents)
    return np.array(
        _library()
        .RMinHash.digest_matrix_from_flat_token_hashes(
            keys, edges_D.astype(np.uint64), HASHES, SEED
        )
        .to_rows(),
        np.uint32,
    )


class Seen:
    """The documents kept so far, about two and a half kilobytes each.

    Of similar ones the first stays. Similar: the estimated Jaccard index of the sets of
    shingles reaches `near`; 0 compares exactly only. Locality-sensitive hashing finds
    the candidates, and RECALL says how many of those at the threshold it finds.
    """

    def __init__(self, near: float):
        if near != 0 and not 0.1 <= near <= 1:
            raise ConfigError(
                f"--near {near} is not a similarity between 0.1 and 1; give 0.8, or 0 "
                "for exact duplicates alone"
            )
        if near:
            _library()  # what is missing is said before there is work
        self._digests: set[bytes] = set()
        self._near, self._bands = near, bands(near) if near else 1
        # Of the kept: sketches, and of each band the last document with that minima.
        # Rows are linked to those before them that share a band; -1 ends a chain.
        self._sketches = np.empty((1024, HASHES), np.uint32)
        self._before = np.empty((1024, self._bands), np.int32)
        self._last: list[dict[int, int]] = [{} for _ in range(self._bands)]
        self._count = 0

    def reason(self, exact: bytes, similar: np.ndarray | None) -> str | None:
        """'exact_duplicate', 'near_duplicate' or None: then it is remembered.

        Takes the `digest` of a document and its sketch (H,), or None with `near` 0.
        """
        if exact in self._digests:
            return "exact_duplicate"
        if self._near and not self._add(similar):
            return "near_duplicate"
        self._digests.add(exact)
        return None

    def _add(self, sketch: np.ndarray) -> bool:
        """Remembers the sketch unless one like it is there."""
        data, size = sketch.tobytes(), sketch.nbytes // self._bands
        keys = [hash(data[at : at + size]) for at in range(0, sketch.nbytes, size)]
        before = [last.get(key, -1) for last, key in zip(self._last, keys, strict=True)]
        candidates = set()
        for band, row in enumerate(before):
            while row >= 0:
                candidates.add(row)
                row = self._before[row, band]
        if candidates:
            equal = self._sketches[list(candidates)] == sketch
            if equal.mean(1).max() >= self._near:
                return False
        if self._count == len(self._sketches):
            self._sketches, self._before = map(_doubled, (self._sketches, self._before))
        self._sketches[self._count], self._before[self._count] = sketch, before
        for last, key in zip(self._last, keys, strict=True):
            last[key] = self._count
        self._count += 1
        return True


def bands(near: float) -> int:
    """Bands into which sketches are cut: the fewest with RECALL at the threshold.

    With b bands of r rows a pair of similarity s is compared with probability
    1 - (1 - s^r)^b (Leskovec et al., Mining of Massive Datasets, section 3.4.2).
    """
    sizes = [2**power for power in range(HASHES.bit_length())]
    return next(b for b in sizes if 1 - (1 - near ** (HASHES // b)) ** b >= RECALL)


def _doubled(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.empty_like(rows)])


def _library():
    try:
        import rensa
    except ImportError:
        raise ConfigError(
            "near duplicates need the package rensa, which is not installed; run "
            "pip install 'jaxlm[prepare]', or give --near=0"
        ) from None
    return rensa
