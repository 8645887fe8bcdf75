"""What can be counted in texts: how many different words, and how many said before."""

import re
from collections.abc import Iterator, Sequence

WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Runs of letters and digits, and every other mark by itself.

    Words and not tokens, so that models with different tokenizers compare.
    """
    return WORD.findall(text)


def distinct(texts: Sequence[Sequence[str]], size: int) -> float:
    """Different n-grams of all texts over all their n-grams; nan where none is so long.

    Li et al. 2016 (arXiv 1510.03055, sec. 5.2). It falls as texts get longer or more:
    compare equal numbers of equal lengths.
    """
    found = [gram for text in texts for gram in _grams(text, size)]
    return len({*found}) / len(found) if found else float("nan")


def repetition(texts: Sequence[Sequence[str]], size: int = 4) -> float:
    """The share of a text's n-grams that it has said before, averaged over texts.

    seq-rep-n of Welleck et al. 2020 (arXiv 1908.04319). Texts of fewer than
    `size` words are left out; nan where all are.
    """
    shares = []
    for text in texts:
        found = list(_grams(text, size))
        if found:
            shares.append(1 - len({*found}) / len(found))
    return sum(shares) / len(shares) if shares else float("nan")


def _grams(text: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return zip(*(text[start:] for start in range(size)), strict=False)
