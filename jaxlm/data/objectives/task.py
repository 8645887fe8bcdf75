"""What an objective is: how much text an example takes, and what becomes of it.

S tokens of text, T tokens that a decoder or an encoder alone reads, U tokens that the
encoder below a decoder reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxlm.core import schema
from jaxlm.data.vocabulary import Vocabulary
from jaxlm.data.words import Find


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What an objective has to know besides the text.

    context: T at most. encoder_context: U at most. starts, ends: where words start and
    sentences end among ids, for objectives that ask.
    """

    settings: schema.Objective
    architecture: str  # decoder, encoder, encoder_decoder
    context: int
    encoder_context: int
    vocabulary: Vocabulary | None
    starts: Find | None
    ends: Find | None

    @property
    def looks(self) -> bool:
        """Whether a decoder looks at an encoder."""
        return self.architecture == "encoder_decoder"

    def id(self, role: str) -> int:
        """The id of a role: 'mask', 'end', ..."""
        return self.vocabulary.ids[role]


class Example(NamedTuple):
    """One row of a batch before padding.

    inputs, targets, weights: (T,), as in Batch. seen: how many of the first inputs all
    others see. segments, positions, types: (T,), as in Batch. encoder_inputs: (U,).
    label: 0 where the second sentence follows the first, 1 where it does not.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    seen: int = 0
    segments: np.ndarray | None = None
    positions: np.ndarray | None = None
    types: np.ndarray | None = None
    encoder_inputs: np.ndarray | None = None
    label: int | None = None


def whole(task: Task) -> tuple[int, int]:
    """(T, U) of an objective that fills what the model reads."""
    return task.context, task.encoder_context if task.looks else 0


class Objective(NamedTuple):
    """One row of OBJECTIVES.

    example(tokens_S, random, task) -> Example, a pure function of the text and the
        generator. S is `reads`, and less only where the text ends.
    reads(task) -> how many tokens of the text are one example's own.
    overlap: how many more it reads, which are the next one's too.
    lengths(task) -> (T, U) of its batches.
    roles(task): ids that it needs, as in vocabulary.ROLES.
    sentinels(task) -> how many spans an example may have.
    ragged(task) -> whether full examples leave padding that others could see.
    draws: whether it draws random numbers.
    stranger: whether it is given as many tokens again, from other documents.
    cut: 'stream' of all documents, or 'pairs' of them.
    complete: whether it asks for every token of a text, once.
    """

    example: Callable[[np.ndarray, np.random.Generator, Task], Example]
    reads: Callable[[Task], int]
    overlap: Callable[[Task], int] = lambda task: 0
    lengths: Callable[[Task], tuple[int, int]] = whole
    roles: Callable[[Task], tuple[str, ...]] = lambda task: ()
    sentinels: Callable[[Task], int] = lambda task: 0
    ragged: Callable[[Task], bool] = lambda task: False
    draws: bool = True
    stranger: Callable[[Task], bool] = lambda task: False
    cut: str = "stream"
    complete: bool = False


def pair(source_U: np.ndarray, target_T: np.ndarray, task: Task) -> Example:
    """A target to be written after a source has been read, by either kind of decoder.

    The encoder reads the source and the decoder its target, one token late; or one
    sequence has both, and its first part is seen by all of it.
    """
    if task.looks:
        late_T = np.concatenate([[task.vocabulary.start], target_T[:-1]])
        ones_T = np.ones(len(target_T), np.float32)
        return Example(late_T, target_T, ones_T, encoder_inputs=source_U)
    both_S = np.concatenate([source_U, target_T])
    weights_T = np.ones(len(both_S) - 1, np.float32)
    weights_T[: len(source_U) - 1] = 0
    return Example(both_S[:-1], both_S[1:], weights_T, seen=len(source_U))


def part(tokens_S: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """`size` tokens from a random place; all of them where there are no more."""
    start = random.integers(max(1, len(tokens_S) - size + 1))
    return tokens_S[start : start + size]


def apart(example: Example, task: Task) -> Example:
    """The example with a segment a document, and positions that restart with each.

    A separator begins the document after it, so every prediction is still asked for:
    that of a separator by the document that it ends, that of a first token by it.
    """
    if task.settings.documents == "joined":
        return example
    begins_T = example.inputs == task.vocabulary.separator
    order_T = np.arange(len(begins_T))
    first_T = np.maximum.accumulate(np.where(begins_T, order_T, 0))
    return example._replace(
        segments=1 + np.cumsum(begins_T), positions=order_T - first_T
    )
