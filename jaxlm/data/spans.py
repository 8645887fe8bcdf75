"""Texts taken apart many at a time: words, lines and paragraphs as NumPy arrays.

C characters of all texts in a row, S spans (W where they are words), D documents.

A span is known by 64 bits of its characters, so that equal ones are found by numbers.
Different ones have the same with probability 2^-64, for all pairs of a million words
one in ten million.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

LETTER, SPACE, BREAK, NEWLINE = 1, 2, 3, 4  # the last two are white space as well
ODD = 0x9E3779B97F4A7C15  # multipliers without a pattern in their bits
OTHER = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, eq=False)
class Spans:
    """Words, lines or paragraphs of all documents, in their order.

    starts_S, ends_S: places of characters. keys_S: uint64, equal for equal spans.
    edges_D: (D + 1,) document d has the spans edges_D[d] to edges_D[d + 1].
    """

    starts_S: np.ndarray
    ends_S: np.ndarray
    keys_S: np.ndarray
    edges_D: np.ndarray

    @cached_property
    def sizes_S(self) -> np.ndarray:
        """Characters of each."""
        return self.ends_S - self.starts_S

    @cached_property
    def counts_D(self) -> np.ndarray:
        return np.diff(self.edges_D)

    @cached_property
    def characters_D(self) -> np.ndarray:
        """Of each document, in its spans."""
        return self.total(self.sizes_S)

    @cached_property
    def left_S(self) -> np.ndarray:
        """How many of its document there are from each on."""
        return np.repeat(self.edges_D[1:], self.counts_D) - np.arange(len(self.keys_S))

    @cached_property
    def documents_S(self) -> np.ndarray:
        """The document of each."""
        return np.repeat(np.arange(len(self.counts_D)), self.counts_D)

    def of(self, chosen_D: np.ndarray) -> "Spans":
        """The chosen documents' alone, numbered anew."""
        if chosen_D.all():
            return self
        chosen_S = np.repeat(chosen_D, self.counts_D)
        counts = self.counts_D[chosen_D]
        arrays = (self.starts_S, self.ends_S, self.keys_S)
        return Spans(*(a[chosen_S] for a in arrays), _edges(counts))

    def total(self, values_S: np.ndarray) -> np.ndarray:
        """(D,) sums of integers over each document's spans."""
        return np.diff(_edges(values_S)[self.edges_D])


@dataclass(frozen=True, eq=False)
class Documents:
    """Texts, and `joined`: all of them in a row, '\\n' before, between and after.

    folded: spans are equal whatever the case.
    """

    texts: Sequence[str]
    joined: str
    folded: bool

    @cached_property
    def codes_C(self) -> np.ndarray:
        return _codes(self.joined)

    @cached_property
    def words(self) -> Spans:
        """What white space separates, as `str.split` does."""
        space_C = self.kinds_C >= SPACE
        places = np.flatnonzero(space_C[1:] != space_C[:-1]) + 1
        starts_W, ends_W = places[::2], places[1::2]
        sizes = np.fromiter(map(len, self.texts), np.int64, len(self.texts))
        begins_D = 1 + _edges(sizes + 1)
        keys_W = _keys(self._sums_C, starts_W, ends_W)
        return Spans(starts_W, ends_W, keys_W, np.searchsorted(starts_W, begins_D))

    @cached_property
    def lines(self) -> Spans:
        """Those with a word, without white space at their ends."""
        breaks = np.flatnonzero(self.kinds_C >= BREAK)
        return self._from_words(np.searchsorted(self.words.starts_S, breaks))

    @cached_property
    def paragraphs(self) -> Spans:
        """Like lines, but with two '\\n' in the white space before each."""
        newlines = np.flatnonzero(self.kinds_C == NEWLINE)
        next_words = np.searchsorted(self.words.starts_S, newlines)
        return self._from_words(next_words[1:][next_words[1:] == next_words[:-1]])

    @cached_property
    def kinds_C(self) -> np.ndarray:
        """LETTER, SPACE, BREAK, NEWLINE or 0."""
        return _of_each(self.codes_C, _kinds)

    @cached_property
    def _sums_C(self) -> np.ndarray:
        folded = self.folded
        return _sums(_of_each(self.codes_C, _lower) if folded else self.codes_C)

    def _from_words(self, firsts: np.ndarray) -> Spans:
        """Spans that begin with these words; each document's first word is one."""
        words = self.words
        is_first_W = np.zeros(len(words.starts_S) + 1, bool)
        is_first_W[firsts] = is_first_W[words.edges_D] = True
        firsts = np.flatnonzero(is_first_W[:-1])
        lasts = np.append(firsts[1:], len(words.starts_S))[: len(firsts)] - 1
        starts_S, ends_S = words.starts_S[firsts], words.ends_S[lasts]
        keys_S = _keys(self._sums_C, starts_S, ends_S)
        return Spans(starts_S, ends_S, keys_S, np.searchsorted(firsts, words.edges_D))


def take_apart(texts: Sequence[str], *, folded: bool = False) -> Documents:
    """The words, lines and paragraphs of texts, each made when it is asked for."""
    return Documents(texts, "\n".join(["", *texts, ""]), folded)


def in_a_row(keys_W: np.ndarray, n: int) -> np.ndarray:
    """(W - n + 1,) keys of n words, from each word on, over all documents."""
    count = max(0, len(keys_W) - n + 1)
    keys = keys_W[:count]
    for place in range(1, n):
        keys = keys * np.uint64(ODD) + keys_W[place : place + count]
    return keys


def within(words: Spans, n: int) -> np.ndarray:
    """Words with n - 1 more after them in their document."""
    return np.flatnonzero(words.left_S >= n)


def apart(keys_S: np.ndarray, documents_S: np.ndarray) -> np.ndarray:
    """Keys that are equal only within one document."""
    return keys_S + (documents_S.astype(np.uint64) + np.uint64(1)) * OTHER


def again(keys_S: np.ndarray) -> np.ndarray:
    """Places whose key an earlier place has, in order."""
    order = np.argsort(keys_S)
    ordered = keys_S[order]
    shared = np.zeros(len(keys_S), bool)
    same = ordered[1:] == ordered[:-1]
    shared[1:] |= same
    shared[:-1] |= same
    places = np.sort(order[shared])
    _, firsts = np.unique(keys_S[places], return_index=True)
    return np.delete(places, firsts)


def _codes(text: str) -> np.ndarray:
    """(C,) code points, of one byte each where all are below 256."""
    try:
        return np.frombuffer(text.encode("latin-1"), np.uint8)
    except UnicodeEncodeError:
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _sums(codes_C: np.ndarray) -> np.ndarray:
    """(C,) sums of code * ODD^place modulo 2^64, up to and with each character."""
    terms_C = codes_C.astype(np.uint64)
    terms_C *= _powers(ODD, len(codes_C))
    return np.cumsum(terms_C, out=terms_C)


def _keys(sums_C: np.ndarray, starts_S: np.ndarray, ends_S: np.ndarray) -> np.ndarray:
    """Keys of spans: the same wherever they are."""
    keys_S = sums_C[ends_S - 1] - sums_C[starts_S - 1]
    keys_S *= _powers(pow(ODD, -1, 2**64), len(sums_C))[starts_S]
    keys_S += (ends_S - starts_S).view(np.uint64)  # as NUL adds nothing
    keys_S ^= keys_S >> np.uint64(32)
    keys_S *= OTHER
    return keys_S ^ (keys_S >> np.uint64(29))


def _powers(base: int, count: int) -> np.ndarray:
    """(count,) base^0, base^1, ... modulo 2^64."""
    return _all_powers(base, 1 << count.bit_length())[:count]


@lru_cache(maxsize=8)
def _all_powers(base: int, count: int) -> np.ndarray:
    powers = np.full(count, np.uint64(base))
    powers[0] = 1
    return np.cumprod(powers, out=powers)


def _edges(counts: np.ndarray) -> np.ndarray:
    """Where each part begins, and where the last ends."""
    edges = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=edges[1:])
    return edges


def _of_each(codes_C: np.ndarray, table: Callable[[int], np.ndarray]) -> np.ndarray:
    """What the table of enough codes says of each."""
    largest = 255 if codes_C.itemsize == 1 else int(codes_C.max())
    return table(min(0x110000, 1 << largest.bit_length()))[codes_C]


@lru_cache(maxsize=8)
def _kinds(size: int) -> np.ndarray:
    """(size,) LETTER, SPACE, BREAK, NEWLINE or 0 for each of the first codes."""
    text = "".join(map(chr, range(size)))
    kinds = np.fromiter(map(str.isalpha, text), np.uint8, size) * np.uint8(LETTER)
    spaces = [letter for letter in text[:0x3001] if letter.isspace()]  # none above
    kinds[list(map(ord, spaces))] = SPACE
    kinds[[ord(one) for one in spaces if len(f".{one}.".splitlines()) > 1]] = BREAK
    kinds[ord("\n")] = NEWLINE
    return kinds


@lru_cache(maxsize=8)
def _lower(size: int) -> np.ndarray:
    """(size,) the small letter of each code; one for both small sigmas."""
    text = "".join(map(chr, range(size))).replace("\u0130", "i")  # else two characters
    return _codes(text.lower().replace("ς", "σ"))
