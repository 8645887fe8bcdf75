"""What a text may be, as a table of what token may come next.

Q states, V vocabulary, S states over bytes, W words of kinds of bytes, L their length.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxlm.core.config import ConfigError
from jaxlm.data.pieces import pieces, special_ids
from jaxlm.data.tokenizers import Tokenizer
from jaxlm.sampling import expression, json_schema

LIMIT = 2 * 2**30  # bytes of a table


class Automaton(NamedTuple):
    """table_QV: (Q, V) int32, the state after a token, -1 where it may not come.

    A text begins in state 0. From every state one can be reached that allows the end;
    after the end, in the last state, only the end may come.
    """

    table_QV: np.ndarray


def of_regex(
    pattern: str, tokenizer: Tokenizer, *, ends: Sequence[int] = (), vocab_size=None
) -> Automaton:
    """Continuations that match the expression from their first to their last character.

    A continuation is what tokens add to a prompt, spaces included. ends: ids that end a
    text, besides the tokenizer's 'eos'; they may come exactly where the text matches.
    vocab_size: of the model, if it has more ids than the tokenizer. Raises ConfigError
    where nothing matches, no tokens spell a match, or the table is past LIMIT.
    """
    named = f"sampling.regex {pattern!r}"
    expression.check(pattern, named)
    found = expression.compiled(pattern, named)
    return _over_tokens(found, named, tokenizer, ends, vocab_size)


def of_json_schema(
    schema: str, tokenizer: Tokenizer, *, ends: Sequence[int] = (), vocab_size=None
) -> Automaton:
    """Continuations that are a JSON text of the schema, itself given as JSON.

    Properties come in the schema's order. Other arguments as in `of_regex`.
    """
    named = "sampling.json_schema"
    found = expression.compiled(json_schema.regex(schema), named)
    return _over_tokens(found, named, tokenizer, ends, vocab_size)


def _over_tokens(
    found: expression.Bytes,
    named: str,
    tokenizer: Tokenizer,
    ends: Sequence[int],
    vocab_size: int | None,
) -> Automaton:
    size = vocab_size or tokenizer.vocab_size
    ends = sorted({*ends, tokenizer.specials.get("eos")} - {None})
    if not ends:
        raise ConfigError(
            f"{named} needs a token that ends a text and the tokenizer has no 'eos'; "
            "give its id, that of a separator say, in sampling.stop_ids"
        )
    if ends[-1] >= size:
        raise ConfigError(
            f"sampling.stop_ids {ends[-1]} is past the {size} ids of the model; give "
            f"at most {size - 1}"
        )
    barred = {*special_ids(tokenizer), *ends}
    kinds = found.kind_B.tobytes()
    alike: dict[bytes, list[int]] = {}  # tokens whose bytes are of the same kinds
    for number, piece in enumerate(pieces(tokenizer)):
        if piece and number not in barred:
            alike.setdefault(piece.translate(kinds), []).append(number)
    words = sorted(alike, key=len)
    rows = _rows(found, named, words, size)
    alive = _alive(rows, found.final_S)
    if found.start not in alive:
        raise ConfigError(
            f"{named} has no match that tokens of this vocabulary spell; allow "
            "characters that it has, and the space with which its words may begin"
        )
    ended = len(alive)
    place_S = np.full(len(found.next_SK) + 1, -1, np.int32)  # the last, -1, is nowhere
    place_S[alive] = np.arange(ended)
    ids = np.array([number for word in words for number in alike[word]], np.int64)
    word_of = np.repeat(np.arange(len(words)), [len(alike[word]) for word in words])
    table_QV = np.full((ended + 1, size), -1, np.int32)
    for place, state in enumerate(alive):
        table_QV[place, ids] = place_S[rows[state]][word_of]
        if found.final_S[state]:
            table_QV[place, ends] = ended
    table_QV[ended, ends] = ended
    return Automaton(table_QV)


def _rows(
    found: expression.Bytes, named: str, words: list[bytes], size: int
) -> dict[int, np.ndarray]:
    """The states where a token may begin, and each one's state after every word.

    words: of kinds of bytes, by length. The state of the start comes first.
    """
    length_W = np.array([len(word) for word in words], np.int64)
    kinds_WL = np.zeros((len(words), length_W.max(initial=0)), np.uint8)
    for place, word in enumerate(words):
        kinds_WL[place, : len(word)] = np.frombuffer(word, np.uint8)
    rows, waiting = {}, [found.start]
    while waiting:
        state = waiting.pop()
        if state in rows:
            continue
        rows[state] = _after(found.next_SK, state, kinds_WL, length_W)
        waiting += sorted({*np.unique(rows[state]).tolist()} - rows.keys() - {-1})
        if len(rows) * size * 4 > LIMIT:
            raise ConfigError(
                f"{named} takes {len(rows)} states or more over {size} ids, at 4 bytes "
                f"each past {LIMIT / 2**30:g} GiB; repeat and nest less, or write "
                "[a-z] for \\w"
            )
    return rows


def _after(
    next_SK: np.ndarray, state: int, kinds_WL: np.ndarray, length_W: np.ndarray
) -> np.ndarray:
    """(W,) the state after each word, -1 for none."""
    after_W = np.full(len(kinds_WL), -1, np.int32)
    words = np.arange(len(kinds_WL))  # those that are still going
    states = np.full(len(kinds_WL), state, np.int32)
    for place in range(kinds_WL.shape[1]):
        states = next_SK[states, kinds_WL[words, place]]
        words, states = words[states >= 0], states[states >= 0]
        done = np.searchsorted(length_W[words], place + 1, side="right")
        after_W[words[:done]] = states[:done]
        words, states = words[done:], states[done:]
        if not len(words):
            break
    return after_W


def _alive(rows: dict[int, np.ndarray], final_S: np.ndarray) -> list[int]:
    """The states from which one is reached that is final, in the order of `rows`."""
    sources: dict[int, list[int]] = {state: [] for state in rows}
    for state, row_W in rows.items():
        for target in {*np.unique(row_W).tolist()} - {-1}:
            sources[target].append(state)
    alive, waiting = set(), [state for state in rows if final_S[state]]
    while waiting:
        state = waiting.pop()
        if state not in alive:
            alive.add(state)
            waiting += sources[state]
    return [state for state in rows if state in alive]
