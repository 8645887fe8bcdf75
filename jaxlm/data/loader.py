"""From a stream of tokens to batches, each a function of the seed and the step.

B sequences a batch, T tokens a sequence, S tokens of text behind one of them.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxlm.core import schema
from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError
from jaxlm.data import objectives
from jaxlm.data.batches import assemble
from jaxlm.data.cuts import Pairs, Windows
from jaxlm.data.mixing import Mixed, Mixture, schedule, seed_of
from jaxlm.data.objectives.task import Example, Task
from jaxlm.data.packing import Packed
from jaxlm.data.permutation import permute

HELD_OUT = 2**63  # the seed of held-out examples, which is no run's


@dataclass(frozen=True, eq=False, kw_only=True)
class Loader:
    """Batches of training text.

    An epoch cuts the text into `windows` and shuffles them. Each epoch starts its cuts
    at another place, so what one leaves over others read; and what an objective draws
    is another in each. Where examples are static, both are the same in all epochs.
    """

    cut: Windows | Pairs | Packed
    batch: int  # sequences a step
    seed: int
    task: Task

    @classmethod
    def make(
        cls, tokens: np.ndarray | Mixed, settings: schema.Data, task: Task
    ) -> "Loader | Mixture":
        """A loader of (all,) ids, or one for each source of a mixture, in turn.

        Raises ConfigError where not one window fits.
        """
        if isinstance(tokens, Mixed):
            loaders = []
            for name, stream in zip(tokens.names, tokens.streams, strict=True):
                own = replace(settings, batch=1, seed=seed_of(name, settings.seed))
                loaders.append(cls.make(stream, own, task))
            return Mixture(tokens, tuple(loaders), settings.batch)
        row = objectives.get(task.settings)
        size = row.reads(task) + row.overlap(task)
        if row.cut == "stream" and len(tokens) < size:
            raise ConfigError(
                f"config.model.context {task.context} needs {size} training tokens "
                f"and there are {len(tokens)}; give a shorter context or more text"
            )
        cut = _cut(tokens, task)
        if not cut.count:
            raise ConfigError(
                f"config.objective.name {task.settings.name!r} finds no document among "
                f"{len(tokens)} training tokens; give more text"
            )
        return cls(
            cut=cut,
            batch=settings.batch,
            seed=settings.seed,
            task=task,
        )

    @property
    def windows(self) -> int:
        """Sequences an epoch: as many as fit wherever its cuts start."""
        return self.cut.count

    @property
    def tokens_a_step(self) -> int:
        """Tokens that a model reads, by its encoder or its decoder."""
        return self.batch * sum(objectives.get(self.task.settings).lengths(self.task))

    def batch_at(self, step: int, rows: slice = slice(None)) -> Batch:
        """The batch of one step, or those `rows` of it that a host has to feed."""
        first = step * self.batch
        return self.assemble(
            self.examples(first + np.arange(self.batch, dtype=np.int64)[rows])
        )

    def assemble(self, examples: Sequence[Example]) -> Batch:
        """The batch of examples, all full."""
        return assemble(examples, self.task, full=True)

    def examples(self, examples_B: np.ndarray) -> list[Example]:
        """Those of the examples from 0 on whose numbers, increasing, are given."""
        epochs_B, places_B = np.divmod(examples_B, self.windows)
        examples: list[Example] = []
        for epoch in np.unique(epochs_B).tolist():
            now_B = epochs_B == epoch
            shuffle = (self.seed << 32) + epoch  # a seed for the pair
            order_B = permute(places_B[now_B], self.windows, shuffle)
            offset, numbers_B = self.offset(epoch), examples_B[now_B]
            if self._static:
                numbers_B = order_B
            for place, number in zip(order_B.tolist(), numbers_B.tolist(), strict=True):
                seed = self.seed % HELD_OUT, number
                examples.append(_example(self.cut, place, offset, seed, self.task))
        return examples

    def offset(self, epoch: int) -> int:
        """Where the first window starts: each place before any again."""
        if self._static:
            return 0
        places = self.cut.offsets
        return int(permute(np.array(epoch % places), places, self.seed))

    def epochs(self, steps: int) -> float:
        """How many times that many steps see the data."""
        return steps * self.batch / self.windows

    @property
    def waste(self) -> float:
        """The part of rows that is padding, where documents are packed."""
        return self.cut.waste

    @property
    def _static(self) -> bool:
        return self.task.settings.examples == "static"


def held_out_batches(
    tokens: np.ndarray | Mixed, settings: schema.Data, task: Task, count: int
) -> list[Batch]:
    """The first `count` batches of held-out text, fewer where it ends before.

    In order and always the same, whatever the seed. The last sequence has what is left
    of the text, and what the last batch lacks is padding. So a causal objective
    predicts every token but the first once. Sources of a mixture take turns by their
    weights until each has been read whole, and the shorter ones begin again. Raises
    ConfigError for fewer than two tokens.
    """
    if not isinstance(tokens, Mixed):
        tokens = Mixed(("",), (1.0,), (tokens,))
    for name, stream in zip(tokens.names, tokens.streams, strict=True):
        if len(stream) < 2:
            named = f" of {name!r}" if name else ""
            raise ConfigError(
                f"config.data.held_out {settings.held_out} leaves {len(stream)} tokens "
                f"and 2 are needed{named}; raise it or give more text"
            )
    cuts = [_cut(stream, task) for stream in tokens.streams]
    turns = schedule(tokens.weights)
    periods = [-(-cut.all // n) for cut, n in zip(cuts, turns.counts, strict=True)]
    rows = int(max(periods) * turns.counts.sum())
    count = min(count, -(-rows // settings.batch))
    batches = []
    for number in range(count):
        places_B = number * settings.batch + np.arange(settings.batch)
        examples = []
        for place, source, rank in zip(
            places_B.tolist(), *map(np.ndarray.tolist, turns.at(places_B)), strict=True
        ):
            cut, seed = cuts[source], (HELD_OUT, place)
            made = (
                _example(cut, rank % cut.all, 0, seed, task) if place < rows else None
            )
            examples.append(made)
        batches.append(assemble(examples, task, full=False))
    return batches


def prefetch(
    batch_at: Callable[[int], Any],
    start: int,
    stop: int,
    *,
    ahead: int = 2,
    place: Callable[[Any], Any] = lambda batch: batch,
) -> Iterator[tuple[int, Any]]:
    """Yields (step, place(batch_at(step))) for each step from start to stop.

    A thread computes them, `ahead` steps in front. What it raises is raised here at
    that step; it ends with the iteration, also when the generator is closed early.
    """

    def ready(step: int) -> Any:
        return place(batch_at(step))

    steps = range(start, stop)
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
    try:
        waiting = deque(pool.submit(ready, step) for step in steps[:ahead])
        for step in steps:
            if step + ahead < stop:
                waiting.append(pool.submit(ready, step + ahead))
            yield step, waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cut(tokens: np.ndarray, task: Task) -> Windows | Pairs | Packed:
    row = objectives.get(task.settings)
    if row.cut == "pairs":
        return Pairs(tokens, task.vocabulary.separator)
    if task.settings.documents == "packed":
        return Packed.of(tokens, task.vocabulary.separator, row.reads(task))
    separator = task.vocabulary.separator
    return Windows(tokens, row.reads(task), row.overlap(task), separator)


def _example(
    cut: Windows | Pairs | Packed,
    place: int,
    offset: int,
    seed: tuple[int, int],
    task: Task,
) -> Example:
    """The example of one window; `seed` is of all that is drawn for it."""
    row = objectives.get(task.settings)
    random = np.random.default_rng(seed) if row.draws else None
    tokens_S = np.asarray(cut.window(place, offset), np.int32)
    if row.stranger(task):
        other_S = np.asarray(cut.elsewhere(place, offset, random), np.int32)
        # Both have one length, so that the objective can part them.
        lacks = [task.vocabulary.separator] * (len(tokens_S) - len(other_S))
        tokens_S = np.concatenate([tokens_S, other_S, np.array(lacks, np.int32)])
    return row.example(tokens_S, random, task)
