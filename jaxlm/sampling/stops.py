"""Strings that end a text, wherever tokens part them, and what may be shown till then.

All is done in bytes: a stop string's UTF-8 stands in a text's only where the string
does.
"""

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jaxlm.core.config import ConfigError
from jaxlm.data.pieces import pieces
from jaxlm.data.tokenizers import Tokenizer

NO_ID = b"\xff"  # an id past the vocabulary: never in UTF-8, so U+FFFD


class Reading(NamedTuple):
    """A text as far as it has been read.

    text: what the last ids add that may be shown. held: what may yet become a stop
    string or a whole character. finished: a stop string has ended the text.
    """

    text: str = ""
    held: bytes = b""
    finished: bool = False


@dataclass(frozen=True)
class Stops:
    """pieces: what each id adds to a text; strings: the stop strings' UTF-8."""

    pieces: tuple[bytes, ...]
    strings: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, tokenizer: Tokenizer, strings: Sequence[str] = ()) -> "Stops":
        """Raises ConfigError for a stop string that is empty or no Unicode."""
        for string in strings:
            if not string or string.encode(errors="ignore").decode() != string:
                raise ConfigError(
                    f"sampling.stop {string!r} is empty or no Unicode text; give at "
                    "least one character"
                )
        return cls(pieces(tokenizer), tuple(string.encode() for string in strings))

    def read(self, before: Reading, ids: Iterable[int]) -> Reading:
        """The reading after more ids; its cost does not grow with what was shown.

        A text ends with the first byte that completes a stop string, and is what stands
        before the longest one that is complete there: so it does not matter which ids
        are read at once.
        """
        if before.finished:
            return Reading(finished=True)
        data = before.held + b"".join(map(self._piece, ids))
        found = [(data.find(string), len(string)) for string in self.strings]
        ends = [(start + size, start) for start, size in found if start >= 0]
        if ends:
            _, start = min(ends)
            return Reading(data[:start].decode(errors="replace"), finished=True)
        text, shown = codecs.utf_8_decode(
            data[: len(data) - self._begun(data)], "replace", False
        )
        return Reading(text, data[shown:])

    def rest(self, before: Reading) -> str:
        """What was held back of a text that ends without a stop string."""
        return before.held.decode(errors="replace")

    def cut(self, ids: Iterable[int]) -> tuple[str, bool]:
        """The text of all ids, before the first stop string, and whether one came."""
        last = self.read(Reading(), ids)
        return last.text + self.rest(last), last.finished

    def _piece(self, number: int) -> bytes:
        return self.pieces[number] if 0 <= number < len(self.pieces) else NO_ID

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a stop string."""
        most = max(map(len, self.strings), default=0)
        tails = range(min(most, len(data)), 0, -1)
        begun = (n for n in tails if any(s.startswith(data[-n:]) for s in self.strings))
        return next(begun, 0)
