"""Which of several texts continues this one? Questions that a held-out text asks.

Q questions, N options, C tokens of context, K tokens of a continuation, V words.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError, choose
from jaxlm.data.corpus import Corpus, separator_of
from jaxlm.data.objectives import span
from jaxlm.data.objectives.suits import kind_of
from jaxlm.data.objectives.task import Example, Task, pair
from jaxlm.data.tokenizers import Tokenizer

TRIES = 100  # draws of one question, until its options differ


class Questions(NamedTuple):
    """contexts_QC, options_QNK: ids. answers_Q: which option is the context's own."""

    contexts_QC: np.ndarray
    options_QNK: np.ndarray
    answers_Q: np.ndarray


def make(
    corpus: Corpus,
    count: int,
    *,
    options: int = 4,
    context: int = 64,
    continuation: int = 16,
) -> Questions:
    """Questions of held-out documents, always the same ones for the same text.

    A context and what follows it are from a random place of a random document; the
    other options are as long and from other documents, one each. Raises ConfigError
    where too few documents are long enough.
    """
    spans = _documents(corpus)
    longest = spans[:, 1] - spans[:, 0]
    asked = spans[longest >= context + continuation]
    others = spans[longest >= continuation]
    if not len(asked) or len(others) < options:
        raise ConfigError(
            f"config.grid.options {options} need as many held-out documents of "
            f"{continuation} tokens, one of them of {context + continuation}; there "
            f"are {len(others)} and {len(asked)}; raise config.data.held_out or lower "
            "config.grid.context"
        )
    drawn = [
        _draw(corpus.held_out, asked, others, number, options, context, continuation)
        for number in range(count)
    ]
    return Questions(*(np.stack(parts) for parts in zip(*drawn, strict=True)))


def _documents(corpus: Corpus) -> np.ndarray:
    """(documents, 2) first tokens and ends, separators left out."""
    spans = np.stack([corpus.held_out_offsets[:-1], corpus.held_out_offsets[1:]], 1)
    last_D = corpus.held_out[spans[:, 1] - 1]
    spans[:, 1] -= last_D == separator_of(corpus.tokenizer)
    return spans


def _draw(tokens, asked, others, number, options, context, continuation):
    """(context, options, answer) of the question with this number."""
    random = np.random.default_rng([5, number])
    for _ in range(TRIES):
        begin, end = asked[random.integers(len(asked))]
        start = random.integers(begin, end - context - continuation + 1)
        place = start + context
        strangers = others[others[:, 0] != begin]
        chosen = random.choice(len(strangers), options - 1, replace=False)
        places = [
            random.integers(first, last - continuation + 1)
            for first, last in strangers[chosen]
        ]
        answer = int(random.integers(options))
        places.insert(answer, place)
        texts_NK = np.stack([tokens[p : p + continuation] for p in places])
        if len(np.unique(texts_NK, axis=0)) == options:
            return np.int32(tokens[start:place]), np.int32(texts_NK), answer
    raise ConfigError(
        f"config.grid.options {options} of {continuation} tokens are not found to "
        "differ in the held-out text; give more tokens to config.grid.continuation"
    )


def rows(questions: Questions, task: Task) -> Batch:
    """What a model trained with the task's objective reads to answer.

    Each option of each question has equally many rows, in order; the targets with a
    weight of 1 are its tokens, each in one of its rows. Nothing is padding.
    """
    name = task.settings.name
    form = choose(FORMS, name, "config.objective.name of questions")
    examples = [
        example
        for context_C, options_NK in zip(*questions[:2], strict=True)
        for option_K in options_NK
        for example in form(context_C, option_K, task)
    ]

    def stacked(field: str) -> np.ndarray | None:
        values = [getattr(example, field) for example in examples]
        return None if values[0] is None else np.stack(values)

    inputs = stacked("inputs")
    prefixed = kind_of(task, task.settings, name) == "prefix_decoder"
    seen = stacked("seen")[:, None]
    return Batch(
        inputs=inputs,
        targets=stacked("targets"),
        weights=stacked("weights"),
        visibility=np.arange(inputs.shape[1]) < seen if prefixed else None,
        encoder_inputs=stacked("encoder_inputs"),
    )


def sizes(questions: Questions, tokenizer: Tokenizer, unit: str) -> np.ndarray:
    """(Q, N) lengths of the options in 'tokens' or in UTF-8 'bytes'."""
    options_QNK = questions.options_QNK
    if unit == "tokens":
        return np.full(options_QNK.shape[:2], options_QNK.shape[2])
    return np.array(
        [
            [len(tokenizer.decode(option_K).encode()) for option_K in options_NK]
            for options_NK in options_QNK
        ]
    )


def after(context_C: np.ndarray, option_K: np.ndarray, task: Task) -> list[Example]:
    """The option is the target, and the context its source or prefix."""
    return [pair(context_C, option_K, task)]


def in_a_span(context_C, option_K, task: Task) -> list[Example]:
    """'context <0> END' -> '<0> option END': the text's last span is what is asked.

    As T5 was trained, though its spans are short and spread over the text.
    """
    tokens_S = np.concatenate([context_C, option_K])
    noise_S = np.arange(len(tokens_S)) >= len(context_C)
    return [_asking(pair(*span.corrupt(tokens_S, noise_S, task), task), len(option_K))]


def in_mode(context_C, option_K, task: Task) -> list[Example]:
    """'S context' -> 'option', the form of UL2's sequential denoiser."""
    return [pair(np.concatenate([[task.id("S")], context_C]), option_K, task)]


def behind_masks(context_C, option_K, task: Task) -> list[Example]:
    """An encoder names each token of the option from all others (pseudo-likelihood).

    Salazar et al. 2020 (arXiv 1910.14659, equation 1): a row a token. Below a decoder,
    the encoder reads as many masks as the option has tokens, and the decoder writes
    the whole text, as it was trained to.
    """
    tokens_S = np.concatenate([context_C, option_K])
    mask = task.id("mask")
    if task.looks:
        shown_S = np.where(np.arange(len(tokens_S)) < len(context_C), tokens_S, mask)
        end = [task.id("end")]
        whole = pair(np.append(shown_S, end), np.append(tokens_S, end), task)
        return [_asking(whole, len(option_K))]
    whole_T = np.concatenate([[task.id("cls")], tokens_S, [task.id("sep")]])
    asked = []
    for place in range(1 + len(context_C), 1 + len(tokens_S)):
        weights_T = (np.arange(len(whole_T)) == place).astype(np.float32)
        shown_T = np.where(weights_T == 1, mask, whole_T)
        asked.append(Example(shown_T, whole_T, weights_T))
    return asked


def _asking(example: Example, size: int) -> Example:
    """The example with a weight at the option alone, which an end follows."""
    weights_T = np.zeros_like(example.weights)
    weights_T[-1 - size : -1] = 1
    return example._replace(weights=weights_T)


FORMS: dict[str, Callable[[np.ndarray, np.ndarray, Task], list[Example]]] = {
    "causal": after,
    "prefix": after,
    "masked": behind_masks,
    "span": in_a_span,
    "ul2": in_mode,
}
