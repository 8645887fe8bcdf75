"""Some tokens are hidden, and the model says what they were.

Devlin et al. 2018 (arXiv 1810.04805, section 3.1). S tokens of text, T of a sequence.
"""

import numpy as np

from jaxlm.data.cuts import longest
from jaxlm.data.objectives.task import Example, Objective, Task, apart, pair


def example(tokens_S: np.ndarray, random: np.random.Generator, task: Task) -> Example:
    """An encoder has [CLS] text [SEP], and the loss at the hidden tokens alone.

    Above an encoder, a decoder writes the whole text (Raffel et al. 2019, table 3,
    "BERT-style").
    """
    if _pairs(task):
        return next_sentence(*np.split(tokens_S, 2), random, task)
    if task.looks:
        shown_S, _ = hide(tokens_S, random, task)
        end = [task.id("end")]
        return pair(np.append(shown_S, end), np.append(tokens_S, end), task)
    whole_T = np.concatenate([[task.id("cls")], tokens_S, [task.id("sep")]])
    return apart(_asked(whole_T, random, task), task)


def next_sentence(
    tokens_S: np.ndarray,
    others_S: np.ndarray,
    random: np.random.Generator,
    task: Task,
) -> Example:
    """[CLS] A [SEP] B [SEP]: half of all B follow A, the others come from elsewhere.

    B is the end of a run of tokens of one document, the longest that is here: of the
    run that A begins, or of the other. How long it is, is drawn for both alike, from
    what either could give. Only where nothing can follow A is the label not drawn.
    """
    own_S, other_S = (
        tokens[longest(tokens, task.vocabulary.separator)]
        for tokens in (tokens_S, others_S)
    )
    size = int(random.integers(1, max(min(len(own_S), len(other_S)), 2)))
    label = int(random.integers(2)) if len(own_S) > 1 else 1
    first = own_S[: max(len(own_S) - size, 1)]
    second = (own_S, other_S)[label][-size:]
    sep = [task.id("sep")]
    whole_T = np.concatenate([[task.id("cls")], first, sep, second, sep])
    types_T = (np.arange(len(whole_T)) >= len(first) + 2).astype(np.int32)
    return _asked(whole_T, random, task)._replace(types=types_T, label=label)


def hide(
    tokens_S: np.ndarray, random: np.random.Generator, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """(what is shown, the places that were chosen), special tokens never among them.

    `mask_rate` of the tokens are chosen, rounded, and one at least; in whole words no
    more than that. Each is shown as the mask, as a random word, or as it is.
    """
    settings, vocabulary = task.settings, task.vocabulary
    (free,) = np.nonzero(~vocabulary.special_V[tokens_S])
    count = min(max(1, round(settings.mask_rate * len(free))), len(free))
    if settings.mask_unit == "word":
        chosen = _words(free, task.starts(tokens_S), count, random)
    else:
        chosen = random.choice(free, count, replace=False, shuffle=False)
    luck = random.random(len(chosen))
    shown_S = tokens_S.copy()
    shown_S[chosen[luck >= settings.mask_kept]] = task.id("mask")
    swapped = chosen[
        (luck >= settings.mask_kept)
        & (luck < settings.mask_kept + settings.mask_random)
    ]
    shown_S[swapped] = random.choice(vocabulary.words, len(swapped))
    return shown_S, chosen


def _words(
    free: np.ndarray, starts_S: np.ndarray, count: int, random: np.random.Generator
) -> np.ndarray:
    """Places of whole words in random order, while they are no more than `count`."""
    # A special token between two places parts their words, wherever words start.
    first = starts_S[free] | (np.diff(free, prepend=-2) > 1)
    words = np.split(free, np.flatnonzero(first)[1:])
    chosen, room = [], count
    for number in random.permutation(len(words)):
        if len(words[number]) <= room:
            chosen.append(words[number])
            room -= len(words[number])
        if not room:
            break
    return np.concatenate(chosen) if chosen else free[:0]


def _asked(whole_T: np.ndarray, random: np.random.Generator, task: Task) -> Example:
    shown_T, chosen = hide(whole_T, random, task)
    weights_T = np.zeros(len(whole_T), np.float32)
    weights_T[chosen] = 1
    return Example(shown_T, whole_T, weights_T)


def _pairs(task: Task) -> bool:
    return task.settings.mask_pairs == "next_sentence"


def reads(task: Task) -> int:
    """What is left beside the tokens around a text."""
    if task.looks:
        return min(task.context, task.encoder_context) - 1
    return task.context - (3 if _pairs(task) else 2)


def lengths(task: Task) -> tuple[int, int]:
    return (reads(task) + 1,) * 2 if task.looks else (task.context, 0)


MASKED = Objective(
    example,
    reads=reads,
    lengths=lengths,
    roles=lambda task: ("mask", "cls", "sep", "end"),
    ragged=_pairs,
    stranger=_pairs,
)
