"""How a stream of tokens is cut into what examples are made of.

S tokens of one example.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jaxlm.core.config import ConfigError

SLICE = 2**22  # tokens looked at together


@dataclass(frozen=True, eq=False)
class Windows:
    """Equal windows, one after the other, whatever documents they are of.

    reads: tokens from one window to the next. overlap: how many more a window has.
    separator: the id between documents, for `elsewhere`.
    """

    tokens: np.ndarray
    reads: int
    overlap: int
    separator: int | None = None

    waste = 0.0  # the part of all rows that is padding

    @property
    def offsets(self) -> int:
        """Places where the first window may start, so that all of them are whole."""
        return len(self.tokens) - self.overlap - self.count * self.reads + 1

    @property
    def count(self) -> int:
        """Windows that are whole wherever the first one starts."""
        return max(1, (len(self.tokens) - self.overlap + 1) // self.reads - 1)

    @property
    def all(self) -> int:
        """Windows with two tokens or more, from the very first token on."""
        return (len(self.tokens) - 2) // self.reads + 1

    def window(self, place: int, offset: int = 0) -> np.ndarray:
        """(S,) tokens, fewer where the text ends."""
        start = offset + place * self.reads
        return self.tokens[start : start + self.reads + self.overlap]

    def elsewhere(
        self, place: int, offset: int, random: np.random.Generator
    ) -> np.ndarray:
        """As many tokens as a window has, none of the document of its `longest` run.

        All places are equally likely. Where no run of others is as long, it is what
        there is on one side of the document, and where there are no others, from it.
        """
        window, end = self.window(place, offset), len(self.tokens)
        size, run = len(window), longest(window, self.separator)
        own = np.array([run.start, run.stop]) + offset + place * self.reads
        first, last = np.searchsorted(self._ends, own)
        low = self._ends[first - 1] + 1 if first else 0
        high = self._ends[last] + 1 if last < len(self._ends) else end
        if low == 0 and high == end:
            low = end
        rooms = [max(0, room - size + 1) for room in (low, end - high)]
        if not any(rooms):
            before, after = self.tokens[:low], self.tokens[high:]
            return max(before, after, key=len)
        chosen = random.integers(sum(rooms))
        begin = chosen if chosen < rooms[0] else high + chosen - rooms[0]
        return self.tokens[begin : begin + size]

    @cached_property
    def _ends(self) -> np.ndarray:
        return places_of(self.separator, self.tokens)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two documents at a time, with the separator that stands between them."""

    tokens: np.ndarray
    separator: int

    @cached_property
    def edges(self) -> np.ndarray:
        """(documents + 1,) places before each document, where a separator stands.

        The last one may have a separator behind it too.
        """
        edges = np.concatenate([[-1], places_of(self.separator, self.tokens)])
        if edges[-1] < len(self.tokens) - 1:
            edges = np.append(edges, len(self.tokens))
        if len(edges) % 2 == 0:
            raise ConfigError(
                f"config.objective.name 'conditional' reads pairs and the text has "
                f"{len(edges) - 1} documents, an odd number; choose config.data.source "
                "'pairs'"
            )
        return edges

    offsets = 1
    waste = 0.0  # of a row that a pair would fill

    @property
    def count(self) -> int:
        """Pairs that there are."""
        return len(self.edges) // 2

    all = count

    def window(self, place: int, offset: int = 0) -> np.ndarray:
        """(S,) tokens: a source, a separator, a target."""
        before, _, after = self.edges[2 * place : 2 * place + 3]
        return self.tokens[before + 1 : after]


def longest(tokens_S: np.ndarray, separator: int | None) -> slice:
    """Where the longest run without a separator is, the first of them."""
    edges = np.concatenate([[-1], places_of(separator, tokens_S), [len(tokens_S)]])
    run = np.argmax(np.diff(edges))
    return slice(int(edges[run]) + 1, int(edges[run + 1]))


def places_of(token: int | None, tokens: np.ndarray) -> np.ndarray:
    """Where a token is; of tokens on a disk only a slice at a time is in memory."""
    found = [
        start + np.flatnonzero(tokens[start : start + SLICE] == token)
        for start in range(0, len(tokens), SLICE)
    ]
    return np.concatenate([np.empty(0, np.int64), *found])
