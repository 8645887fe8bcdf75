"""The ids that objectives put between those of a text: masks, ends, sentinels."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jaxlm.core.config import ConfigError
from jaxlm.data.corpus import separator_of
from jaxlm.data.tokenizers import Tokenizer

# What a tokenizer may call the id of a role; the first that it has is taken.
ROLES = {
    "mask": ("mask",),
    "cls": ("cls", "bos"),
    "sep": ("sep", "eos", "separator"),
    "end": ("eos", "separator"),
    "R": (),  # UL2's modes
    "S": (),
    "X": (),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Vocabulary:
    """V ids: the tokenizer's own, then roles that it lacks, then sentinels.

    size: V. text: how many are the tokenizer's. sentinels: how many there are, `top`
    being the first of them, top - 1 the next. ids: of roles, as in ROLES. special: ids
    of the tokenizer that are no text. pad, start: what fills a row, and what a decoder
    above an encoder reads first. separator: the id between documents, or None.
    """

    size: int
    text: int
    sentinels: int
    top: int
    ids: dict[str, int]
    special: frozenset[int]
    pad: int
    start: int | None
    separator: int | None

    @cached_property
    def special_V(self) -> np.ndarray:
        """(V,) True for every id that is no text."""
        special_V = np.arange(self.size) >= self.text
        special_V[list(self.special)] = True
        return special_V

    @cached_property
    def words(self) -> np.ndarray:
        """The ids that are text, in order."""
        return np.flatnonzero(~self.special_V).astype(np.int32)


def make(
    tokenizer: Tokenizer, roles: Collection[str] = (), sentinels: int = 0
) -> Vocabulary:
    """The vocabulary of objectives that need these roles and so many sentinels.

    Where the tokenizer lacks one of them, all that it lacks are added, so that an id
    means the same to every objective that has more ids than the text; sentinels are
    added on top, unless the tokenizer has T5's. Raises ConfigError where those are too
    few.
    """
    specials = dict(tokenizer.specials)
    ids = {
        role: next(specials[name] for name in names if name in specials)
        for role, names in ROLES.items()
        if specials.keys() & set(names)
    }
    size = tokenizer.vocab_size
    own = _sentinels(tokenizer)
    if sentinels and own and sentinels > own:
        raise ConfigError(
            f"an example has up to {sentinels} spans and the tokenizer {own} sentinels "
            "for them; give a shorter config.model.context or longer "
            "config.objective.mean_span"
        )
    more = sentinels and not own
    if more or set(roles) - ids.keys():
        for role in ROLES:
            if role not in ids:
                ids[role], size = size, size + 1
    if own:
        specials |= {f"sentinel {i}": tokenizer.vocab_size - 1 - i for i in range(own)}
    size += sentinels if more else 0
    return Vocabulary(
        size=size,
        text=tokenizer.vocab_size,
        sentinels=own or sentinels,
        top=(tokenizer.vocab_size if own else size) - 1,
        ids=ids,
        special=frozenset(specials.values()),
        pad=specials.get("pad", 0),
        start=specials.get("bos", specials.get("pad", ids.get("end"))),
        separator=separator_of(tokenizer),
    )


def _sentinels(tokenizer: Tokenizer) -> int:
    """How many of T5's sentinels, <extra_id_0> and so on, are the tokenizer's last."""
    if tokenizer.name != "json":
        return 0
    count = 0
    while tokenizer.id_of(f"<extra_id_{count}>") == tokenizer.vocab_size - 1 - count:
        count += 1
    return count
