"""Whole documents side by side in rows of one length, none of them cut that fits.

P pieces: documents, and of those longer than a row what each of its rows has. A
document of m tokens takes m + 1 places of a row, the separator before it and its own
tokens, and from them its tokens and the separator after it are predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxlm.data.cuts import places_of


@dataclass(frozen=True, eq=False)
class Packed:
    """A cut of a text, as in `cuts`: rows of whole documents for `documents` 'apart'.

    starts, lengths, rows: (P,) the place of a piece's first input, how many it has, and
    its row; sorted by row, and in it by what has to come first.
    """

    tokens: np.ndarray
    separator: int
    size: int
    starts: np.ndarray
    lengths: np.ndarray
    rows: np.ndarray

    offsets = 1

    @classmethod
    def of(cls, tokens: np.ndarray, separator: int, size: int) -> "Packed":
        """The documents between separators, in rows of `size` inputs.

        A document that is longer fills rows of its own, and its rest begins a row.
        """
        before_D, after_D = _documents(tokens, separator)
        places_D = after_D - before_D
        whole_D, rest_D = np.divmod(places_D, size)
        long_D = whole_D + (rest_D > 0) > 1
        full_D = np.where(long_D, whole_D, 0)
        first_D = np.cumsum(full_D) - full_D  # the row of a document's first full piece
        full_rows = np.arange(full_D.sum())
        full_starts = np.repeat(before_D, full_D) + size * (
            full_rows - np.repeat(first_D, full_D)
        )
        # Rests first: they are no beginnings, so each begins a row that others fill.
        rests = long_D & (rest_D > 0)
        rest_starts, short = (before_D + size * whole_D)[rests], ~long_D
        rooms = size - rest_D[rests]
        fitted = first_fit(places_D[short].tolist(), size, rooms=rooms.tolist())
        starts = [full_starts, rest_starts, before_D[short]]
        lengths = [np.full(len(full_rows), size), rest_D[rests], places_D[short]]
        after = len(full_rows)
        rows = [full_rows, after + np.arange(len(rooms)), after + np.array(fitted, int)]
        order = np.argsort(np.concatenate(rows), kind="stable")
        made = (np.concatenate(parts)[order] for parts in (starts, lengths, rows))
        return cls(tokens, separator, size, *made)

    @property
    def count(self) -> int:
        """Rows."""
        return int(self.rows[-1]) + 1 if len(self.rows) else 0

    all = count

    @property
    def waste(self) -> float:
        """The part of all rows that is padding."""
        return 1 - self.lengths.sum() / max(1, self.count * self.size)

    def window(self, place: int, offset: int = 0) -> np.ndarray:
        """(S,) the inputs of a row and its last target; at most size + 1."""
        first, last = np.searchsorted(self.rows, [place, place + 1])
        spans = zip(self.starts[first:last], self.lengths[first:last], strict=True)
        pieces = [(int(start), int(start + length)) for start, length in spans]
        end = pieces[-1][1]
        return np.concatenate([self._read(*span) for span in [*pieces, (end, end + 1)]])

    def _read(self, start: int, stop: int) -> np.ndarray:
        """Tokens, with the separators that a text lacks before it and after it."""
        found = self.tokens[max(0, start) : stop]
        return np.pad(
            found,
            (max(0, -start), max(0, stop - len(self.tokens))),
            constant_values=self.separator,
        )


def first_fit(
    lengths: Sequence[int], size: int, rooms: Sequence[int] = ()
) -> list[int]:
    """The row of each piece: the longest first, each in the first row with room for it.

    rooms: what is left of the first rows; all others have `size`. Without them at most
    11/9 of the fewest rows, and 6/9 more (Dósa 2007, The Tight Bound of First Fit
    Decreasing). O(P log P): a tree knows the largest room below each of its nodes.
    """
    leaves = 1 << max(0, len(lengths) + len(rooms) - 1).bit_length()
    room = [0] * leaves + [*rooms, *[size] * (leaves - len(rooms))]
    for node in reversed(range(1, leaves)):
        room[node] = max(room[2 * node], room[2 * node + 1])
    rows = [0] * len(lengths)
    for piece in sorted(range(len(lengths)), key=lambda piece: -lengths[piece]):
        node = 1
        while node < leaves:
            node *= 2
            if room[node] < lengths[piece]:
                node += 1
        room[node] -= lengths[piece]
        rows[piece] = node - leaves
        while node > 1:
            node //= 2
            largest = max(room[2 * node], room[2 * node + 1])
            if room[node] == largest:
                break
            room[node] = largest
    return rows


def _documents(tokens: np.ndarray, separator: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the separators before and after each document are, which has a token."""
    edges = np.concatenate([[-1], places_of(separator, tokens), [len(tokens)]])
    some = np.diff(edges) > 1
    return edges[:-1][some], edges[1:][some]
