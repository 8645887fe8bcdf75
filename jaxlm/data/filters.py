"""Which documents are text that one would want to read: Gopher's rules.

Rae et al. 2021 (arXiv 2112.11446), appendix A1.1, without its one rule about English
(two of eight stop words), so that no rule looks at the language. Words are what white
space separates: a script that writes none fails `word_length` and needs other limits.

W words, S lines or paragraphs, D documents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from jaxlm.core.config import ConfigError, choose
from jaxlm.data import spans
from jaxlm.data.spans import Documents, Spans

BULLETS = ("•", "‣", "▪", "●", "◦", "-", "*", "–")
TOP = {2: 0.20, 3: 0.18, 4: 0.16}  # table A1: characters in the commonest n-gram
REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # in all repeated


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Thresholds, those of the paper; a document at one of them is kept."""

    least_words: int = 50
    most_words: int = 100_000
    least_word_length: float = 3.0  # mean, in characters
    most_word_length: float = 10.0
    symbols: float = 0.1  # '#', and apart from them '...', a word
    bullet_lines: float = 0.9  # of the lines
    ellipsis_lines: float = 0.3
    alphabetic_words: float = 0.8  # least, of the words: a letter in each
    repeated_lines: float = 0.3  # of the lines; 0.2 of the characters
    repeated_line_characters: float = 0.2
    repeated_paragraphs: float = 0.3
    repeated_paragraph_characters: float = 0.2
    ngrams: float = 1.0  # times the thresholds of TOP and REPEATED


def reasons(
    documents: Documents, limits: Limits, names: Sequence[str] | None = None
) -> list[str | None]:
    """The first rule that each text fails, in the order of FILTERS; None: keep it.

    documents: best folded, as `duplicates.sketches` takes them too. What repeats
        itself repeats itself whatever the case, so few have to be looked at twice.
    names: the rules to apply, all of them where it is None.
    """
    found: list[str | None] = [None] * len(documents.texts)
    for name in FILTERS if names is None else names:
        drop = np.flatnonzero(FILTERS[name](documents, limits))
        if name in REPETITIONS and documents.folded:
            exact = spans.take_apart([documents.texts[place] for place in drop])
            drop = drop[FILTERS[name](exact, limits)]
        for place in drop.tolist():
            found[place] = found[place] or name
    return found


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """These rules in the order of FILTERS. Raises ConfigError for an unknown one."""
    for name in names:
        choose(FILTERS, name, "--filters")
    return tuple(name for name in FILTERS if name in names)


def limits_of(settings: Sequence[str]) -> Limits:
    """Limits from 'name=number' each; the rest are the paper's."""
    kinds = {field.name: field.type for field in fields(Limits)}
    values = {}
    for setting in settings:
        name, _, number = setting.partition("=")
        kind = choose(kinds, name, "--limit")
        try:
            values[name] = kind(number)
        except ValueError:
            raise ConfigError(
                f"--limit {setting!r} has no number of type {kind.__name__}; write "
                f"{name}={getattr(Limits(), name)}"
            ) from None
    return Limits(**values)


# Each rule is a function (documents, limits) -> (D,) whether to drop each document.


def length(documents: Documents, limits: Limits) -> np.ndarray:
    """Fewer words than least_words, or more than most_words."""
    counts_D = documents.words.counts_D
    return (counts_D < limits.least_words) | (counts_D > limits.most_words)


def word_length(documents: Documents, limits: Limits) -> np.ndarray:
    """Words that are on average too short or too long, in characters."""
    words = documents.words
    means_D = words.characters_D / np.maximum(1, words.counts_D)
    return (means_D < limits.least_word_length) | (means_D > limits.most_word_length)


def symbols(documents: Documents, limits: Limits) -> np.ndarray:
    """More hash signs or ellipses a word than `symbols`."""
    texts, most_D = documents.texts, limits.symbols * documents.words.counts_D
    hashes = [text.count("#") for text in texts]
    ellipses = [text.count("...") + text.count("…") for text in texts]
    return (np.array(hashes) > most_D) | (np.array(ellipses) > most_D)


def bullets(documents: Documents, limits: Limits) -> np.ndarray:
    """A larger part of lines that begin with a bullet than bullet_lines."""
    lines = documents.lines
    found_S = np.isin(documents.codes_C[lines.starts_S], list(map(ord, BULLETS)))
    return lines.total(found_S) > limits.bullet_lines * lines.counts_D


def ellipses(documents: Documents, limits: Limits) -> np.ndarray:
    """A larger part of lines that end with an ellipsis than ellipsis_lines."""
    lines, codes_C = documents.lines, documents.codes_C
    last, second, third = (codes_C[lines.ends_S - back] for back in (1, 2, 3))
    dot = ord(".")
    found_S = (last == dot) & (second == dot) & (third == dot) | (last == ord("…"))
    return lines.total(found_S) > limits.ellipsis_lines * lines.counts_D


def alphabetic(documents: Documents, limits: Limits) -> np.ndarray:
    """A smaller part of words with a letter than alphabetic_words."""
    words = documents.words
    letters_C = np.cumsum(documents.kinds_C == spans.LETTER, dtype=np.int32)
    found_W = letters_C[words.ends_S - 1] > letters_C[words.starts_S - 1]
    return words.total(found_W) < limits.alphabetic_words * words.counts_D


def repeated_lines(documents: Documents, limits: Limits) -> np.ndarray:
    """Too large a part of lines, or of their characters, that came before."""
    return _repeats(
        documents.lines, limits.repeated_lines, limits.repeated_line_characters
    )


def repeated_paragraphs(documents: Documents, limits: Limits) -> np.ndarray:
    """Too large a part of paragraphs, or of characters, that came before."""
    return _repeats(
        documents.paragraphs,
        limits.repeated_paragraphs,
        limits.repeated_paragraph_characters,
    )


def repeated_ngrams(documents: Documents, limits: Limits) -> np.ndarray:
    """Too large a part of the words' characters in repetitions of n words."""
    words = documents.words
    drop_D = np.zeros(len(documents.texts), bool)
    # Three or four words are two overlapping or adjoining pairs, each of which comes
    # as often or more: their characters are at most twice the commonest pair's.
    open_D = most_pairs(words) > limits.ngrams * min(TOP.values()) / 2
    if open_D.any():
        some = words.of(open_D)
        for n, threshold in TOP.items():
            drop_D[open_D] |= commonest(some, n) > limits.ngrams * threshold
    open_D = ~drop_D
    for n, threshold in REPEATED.items():
        # A repeated sequence consists of shorter repeated ones: shares only fall.
        if n == min(REPEATED):
            open_D &= most_repeated(words, n) > limits.ngrams * min(REPEATED.values())
        if open_D.any():
            shares = repeated(words.of(open_D), n)
            drop_D[open_D] = shares > limits.ngrams * threshold
            open_D[open_D] = shares > limits.ngrams * min(REPEATED.values())
            open_D &= ~drop_D
    return drop_D


def most_pairs(words: Spans) -> np.ndarray:
    """(D,) at least the share of characters in the commonest two words."""
    places, keys = _grams(words, 2)
    drawers = (keys >> np.uint64(48)).view(np.int64)  # which different pairs may share
    sizes = words.sizes_S[places] + words.sizes_S[places + 1]
    return _most(words, 2, np.bincount(drawers, sizes, minlength=1)[drawers])


def commonest(words: Spans, n: int) -> np.ndarray:
    """(D,) the share of characters in the commonest n words of each document."""
    places, keys = _grams(words, n)
    order = np.argsort(keys)
    ordered = keys[order]
    edges = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    counts = np.diff(edges, append=len(keys))
    edges, counts = edges[counts > 1], counts[counts > 1]
    firsts = places[order[edges]]
    sizes = sum(words.sizes_S[firsts + place] for place in range(n))
    most_D = np.zeros(len(words.counts_D))
    np.maximum.at(most_D, words.documents_S[firsts], counts * sizes)
    return most_D / np.maximum(1, words.characters_D)


def most_repeated(words: Spans, n: int) -> np.ndarray:
    """(D,) at least the share of `repeated`."""
    places, keys = _grams(words, n)
    # With the document in the upper bits sorted keys are those of one after another.
    bits = np.uint64(len(words.counts_D).bit_length())
    owners = words.documents_S[places].astype(np.uint64) << (np.uint64(64) - bits)
    keys = np.sort(owners | (keys >> bits))
    again = (keys[1:][keys[1:] == keys[:-1]] >> (np.uint64(64) - bits)).view(np.int64)
    counts_D = np.bincount(again, minlength=len(words.counts_D))
    sizes = words.ends_S[places + n - 1] - words.starts_S[places]
    return counts_D * _most(words, n, sizes)


def repeated(words: Spans, n: int) -> np.ndarray:
    """(D,) the share of characters in any n words that came before, each once."""
    places, keys = _grams(words, n)
    places = places[spans.again(keys)]
    # +1 where a repeated sequence begins, -1 after it ends: inside where > 0.
    edges = np.zeros(len(words.keys_S) + 1, np.int64)
    edges[places] += 1
    edges[places + n] -= 1
    inside_W = np.cumsum(edges[:-1]) > 0
    return words.total(words.sizes_S * inside_W) / np.maximum(1, words.characters_D)


def _grams(words: Spans, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first words of all n in a row, and their keys, equal within a document."""
    places = spans.within(words, n)
    keys = spans.in_a_row(words.keys_S, n)[places]
    return places, spans.apart(keys, words.documents_S[places])


def _most(words: Spans, n: int, sizes: np.ndarray) -> np.ndarray:
    """(D,) the largest size of n words as a share of the document's characters."""
    counts_D = np.maximum(0, words.counts_D - n + 1)
    firsts_D, most_D = np.cumsum(counts_D) - counts_D, np.zeros(len(counts_D))
    if len(sizes):
        some_D = counts_D > 0
        most_D[some_D] = np.maximum.reduceat(sizes, firsts_D[some_D])
    return most_D / np.maximum(1, words.characters_D)


def _repeats(parts: Spans, share: float, characters: float) -> np.ndarray:
    """Whether parts that came before are too many, or have too many characters."""
    came_before_S = np.zeros(len(parts.keys_S), bool)
    came_before_S[spans.again(spans.apart(parts.keys_S, parts.documents_S))] = True
    characters_D = parts.total(came_before_S * parts.sizes_S)
    return (parts.total(came_before_S) > share * parts.counts_D) | (
        characters_D > characters * parts.characters_D
    )


REPETITIONS = ("repeated_lines", "repeated_paragraphs", "repeated_ngrams")
FILTERS: dict[str, Callable[[Documents, Limits], np.ndarray]] = {
    "length": length,
    "word_length": word_length,
    "symbols": symbols,
    "bullets": bullets,
    "ellipses": ellipses,
    "alphabetic": alphabetic,
    "repeated_lines": repeated_lines,
    "repeated_paragraphs": repeated_paragraphs,
    "repeated_ngrams": repeated_ngrams,
}
