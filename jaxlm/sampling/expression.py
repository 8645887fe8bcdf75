"""A regular expression as an automaton over the bytes of UTF-8.

S states, B bytes, K kinds of bytes: those of a kind are alike to every state.
"""

import contextlib
import re
from typing import NamedTuple

import numpy as np

from jaxlm.core.config import ConfigError

END = 256  # outlines-core wants an id for the end of a text
# Closes every text: the library loses what goes on where a text might have ended
# (0.2.14: of 'a(bc)?' it keeps 'a'). No text has this character, which is none.
CLOSE = "\U0010ffff"
REPEATS = 4096  # at most, {m,n}: the library's time grows with their square
COUNTED = re.compile(r"(?<!\\)\{(\d+),?(\d*)\}")


class Bytes(NamedTuple):
    """What may follow.

    next_SK: the state after a byte of a kind, -1 for none. kind_B: of each byte.
    final_S: whether a text may end in a state. start: where it begins.
    """

    next_SK: np.ndarray
    kind_B: np.ndarray
    final_S: np.ndarray
    start: int


def compiled(pattern: str, named: str) -> Bytes:
    """The automaton of what `pattern` matches from its first to its last character.

    The syntax is that of Rust's crate regex: Python's, without look-around and
    back-references. named: the setting and its value, for errors.
    """
    try:
        found = _index(f"(?:{pattern}){CLOSE}", named)
    except _NothingMatches:
        raise ConfigError(
            f"{named} matches no text, or has a branch that matches none; take it out"
        ) from None
    moves = found.get_transitions()
    number = {state: index for index, state in enumerate(sorted(moves))}
    next_SB = np.full((len(moves), 256), -1, np.int32)
    for state, row in moves.items():
        for byte, target in row.items():
            if byte != END:
                next_SB[number[state], byte] = number[target]
    closed = [number[state] for state in found.get_final_states()]
    after_S = np.arange(len(moves))
    for byte in CLOSE.encode():
        after_S = np.where(after_S < 0, -1, next_SB[after_S, byte])
    next_SB[np.isin(next_SB, closed)] = -1
    next_SK, kind_B = np.unique(next_SB, axis=1, return_inverse=True)
    final_S, start = np.isin(after_S, closed), number[found.get_initial_state()]
    return Bytes(next_SK, kind_B.ravel().astype(np.uint8), final_S, start)


def check(pattern: str, named: str) -> None:
    """Raises ConfigError for a pattern that is none by itself, 'a)(b' say."""
    with contextlib.suppress(_NothingMatches):
        _index(pattern, named)


class _NothingMatches(Exception):
    pass


def _index(pattern: str, named: str):
    """The library's automaton, over bytes for tokens."""
    library = outlines()
    counts = [int(n) for pair in COUNTED.findall(pattern) for n in pair if n]
    if max(counts, default=0) > REPEATS:
        raise ConfigError(
            f"{named} repeats something {max(counts)} times; give at most {REPEATS}, "
            "or + or * for any number"
        )
    letters = library.Vocabulary(END, {bytes([n]): [n] for n in range(256)})
    try:
        return library.Index(pattern, letters)
    except ValueError as error:
        if "Found no transitions" in str(error):
            raise _NothingMatches from None
        raise ConfigError(
            f"{named} does not compile ({' '.join(str(error).split())}); it matches "
            "the whole text: leave out ^, $, \\b, look-around and back-references, and "
            "close every bracket"
        ) from None


def outlines():
    """The `outlines_core` package."""
    try:
        import outlines_core
    except ImportError:
        raise ConfigError(
            "sampling.regex and sampling.json_schema need the package outlines-core, "
            "which is not installed; run pip install 'jaxlm[constraint]'"
        ) from None
    return outlines_core
