"""Several sources in fixed proportions: which one example n is from, for any n alone.

K sources, M examples a period.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.data.shards import Mapped

LARGEST = 10_000  # denominator of a weight
PERIOD = 2**17  # examples at most until the schedule repeats itself


@dataclass(frozen=True, eq=False)
class Schedule:
    """Sources in turn, a period again and again.

    counts: (K,) examples of each source a period. sources_M: the source of each place;
    ranks_M: how many of that source come before it.
    """

    counts: np.ndarray
    sources_M: np.ndarray
    ranks_M: np.ndarray

    def at(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(source, how many of that source came before) of examples, in their shape."""
        periods, places = np.divmod(np.asarray(examples, np.int64), len(self.sources_M))
        sources = self.sources_M[places]
        return sources, periods * self.counts[sources] + self.ranks_M[places]

    def taken(self, examples: int) -> np.ndarray:
        """(K,) how many of the first `examples` are from each source."""
        periods, rest = divmod(examples, len(self.sources_M))
        part = np.bincount(self.sources_M[:rest], minlength=len(self.counts))
        return periods * self.counts + part


@dataclass(frozen=True, eq=False)
class Mixed:
    """The text of several sources: streams of ids, and how much each counts.

    Indexed, it is all of the first stream, then all of the second, and so on.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    streams: tuple[Any, ...]

    def __len__(self) -> int:
        return sum(map(len, self.streams))

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        return self._joined[places]

    @cached_property
    def _joined(self) -> Mapped:
        streams = (getattr(part, "parts", (part,)) for part in self.streams)
        return Mapped.of([part for parts in streams for part in parts])


@dataclass(frozen=True, eq=False)
class Mixture:
    """Batches from several sources: what `loader.Loader` is for one.

    loaders: one a source, each with batches of one sequence. batch: sequences a step.
    A source that comes to its end begins another epoch, whatever the others do.
    """

    text: Mixed
    loaders: tuple[Any, ...]
    batch: int

    @cached_property
    def schedule(self) -> "Schedule":
        return schedule(self.text.weights)

    @property
    def tokens_a_step(self) -> int:
        return self.batch * self.loaders[0].tokens_a_step

    def batch_at(self, step: int, rows: slice = slice(None)) -> Batch:
        """The batch of one step, or those `rows` of it that a host has to feed."""
        examples_B = step * self.batch + np.arange(self.batch, dtype=np.int64)[rows]
        sources_B, ranks_B = self.schedule.at(examples_B)
        found = {}
        for source in np.unique(sources_B).tolist():
            (places,) = np.nonzero(sources_B == source)
            made = self.loaders[source].examples(ranks_B[places])
            found |= zip(places.tolist(), made, strict=True)
        return self.loaders[0].assemble([found[place] for place in sorted(found)])

    def epochs(self, steps: int) -> dict[str, float]:
        """How many times that many steps see each source."""
        taken = self.schedule.taken(steps * self.batch).tolist()
        return {
            name: loader.epochs(count)
            for name, loader, count in zip(
                self.text.names, self.loaders, taken, strict=True
            )
        }

    @property
    def waste(self) -> dict[str, float]:
        """The part of each source's rows that is padding."""
        loaders = zip(self.text.names, self.loaders, strict=True)
        return {name: loader.waste for name, loader in loaders}


def seed_of(name: str, seed: int) -> int:
    """The seed of a source, which depends on no other source: 56 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7])


def schedule(weights: Sequence[float]) -> Schedule:
    """The sources in proportion to positive weights.

    Of the first n examples, for every n, a source of weight w of 1 has n w, give or
    take 1 - 1 / (2 K - 2): Tijdeman 1980 (The Chairman Assignment Problem). A weight is
    taken as the nearest fraction with a denominator of at most LARGEST. Raises
    ConfigError where one is not positive, or the proportions need a longer PERIOD.
    """
    counts = _counts(weights)
    period, slack = sum(counts), max(1, 2 * len(counts) - 2)
    taken, sources_M, ranks_M = [0] * len(counts), [], []
    for place in range(1, period + 1):
        # Those that may have the place, and of them the one that has to soonest.
        allowed = [
            source
            for source, count in enumerate(counts)
            if slack * (count * place - period * taken[source]) >= period
        ]
        chosen = min(
            allowed,
            key=lambda source: Fraction(
                slack * (taken[source] + 1) - 1, counts[source]
            ),
        )
        sources_M.append(chosen)
        ranks_M.append(taken[chosen])
        taken[chosen] += 1
    return Schedule(np.array(counts), np.array(sources_M), np.array(ranks_M))


def _counts(weights: Sequence[float]) -> list[int]:
    """Whole numbers in the weights' proportions, as small as can be."""
    if not weights or not all(0 < weight < math.inf for weight in weights):
        raise ConfigError(
            f"config.data.mixture has the weights {tuple(weights)}; give each source "
            "one above 0"
        )
    shares = [Fraction(weight).limit_denominator(LARGEST) for weight in weights]
    common = math.lcm(*(share.denominator for share in shares))
    counts = [int(share * common) for share in shares]
    divisor = math.gcd(*counts)
    if min(counts) == 0 or sum(counts) // divisor > PERIOD:
        raise ConfigError(
            f"config.data.mixture has the weights {tuple(weights)}, which come out "
            f"even after more than {PERIOD} examples; give whole numbers, the largest "
            "of a few thousand"
        )
    return [count // divisor for count in counts]
