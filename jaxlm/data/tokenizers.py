"""From text to integers and back.

A separator stands between documents. In a text it is the character NUL, which bytes,
characters and words therefore drop from what they encode; a vocabulary with a separator
of its own keeps it.
"""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from jaxlm.core import schema
from jaxlm.core.config import ConfigError, choose
from jaxlm.data import (
    tokenizer_files,
    tokenizer_tiktoken,
    tokenizer_word,
    tokenizer_wordpiece,
)
from jaxlm.data.tokenizer_json import JsonTokenizer
from jaxlm.data.tokenizer_tiktoken import BytePairTokenizer, TiktokenTokenizer
from jaxlm.data.tokenizer_word import WordTokenizer

SEPARATOR = "\0"
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # what ids past the vocabulary decode to


class Tokenizer(Protocol):
    """What the rest of the code may ask of a tokenizer."""

    name: ClassVar[str]  # its row in TOKENIZERS

    @property
    def vocab_size(self) -> int:
        """Ids are 0 to vocab_size - 1."""

    @property
    def specials(self) -> dict[str, int]:
        """Ids with a meaning: 'separator' between documents, 'eos' after a text, ..."""

    def encode(self, text: str, *, specials: bool = False) -> np.ndarray:
        """(T,) int32 ids of a text, which is taken as it stands.

        Nothing that is written in it is special. With `specials`, those are added that
        the tokenizer's models expect around it, and where it is a `JsonTokenizer`,
        those that are written in it are read.
        """

    def decode(self, ids) -> str:
        """The text of a sequence of ids.

        A separator becomes NUL, or what the tokenizer's own file calls it.
        """


@dataclass(frozen=True)
class ByteTokenizer:
    """The 256 bytes of UTF-8; byte 0 is the separator."""

    name: ClassVar[str] = "byte"
    vocab_size: ClassVar[int] = 256

    @property
    def specials(self) -> dict[str, int]:
        return {"separator": 0}

    def encode(self, text: str, *, specials: bool = False) -> np.ndarray:
        """(T,) int32 ids; nothing is ever added."""
        # A lone surrogate has no UTF-8; it becomes '?'.
        data = text.replace(SEPARATOR, "").encode("utf-8", errors="replace")
        return np.frombuffer(data, np.uint8).astype(np.int32)

    def decode(self, ids) -> str:
        ids = np.asarray(ids, np.int64)
        # Byte 255 never occurs in UTF-8, so it decodes to UNKNOWN.
        data = np.where((ids >= 0) & (ids < 256), ids, 255).astype(np.uint8)
        return data.tobytes().decode("utf-8", errors="replace")


@dataclass(frozen=True)
class CharacterTokenizer:
    """One id a character of `alphabet`, which holds NUL where documents are several.

    alphabet: distinct characters in increasing order; id i is alphabet[i].
    """

    alphabet: str
    name: ClassVar[str] = "character"

    def __post_init__(self):
        ordered = "".join(sorted(set(self.alphabet)))
        if not self.alphabet or ordered != self.alphabet:
            raise ConfigError(
                f"alphabet {self.alphabet!r} is not one or more distinct characters "
                f"in increasing order; give {ordered or 'ab'!r}"
            )

    @property
    def vocab_size(self) -> int:
        return len(self.alphabet)

    @property
    def specials(self) -> dict[str, int]:
        return {"separator": 0} if self.alphabet[0] == SEPARATOR else {}

    def encode(self, text: str, *, specials: bool = False) -> np.ndarray:
        """(T,) int32 ids; nothing is ever added.

        Raises ConfigError for a character outside the alphabet.
        """
        alphabet, points = _codes(self.alphabet), _codes(text.replace(SEPARATOR, ""))
        ids = np.searchsorted(alphabet, points)
        unknown = points[alphabet[np.minimum(ids, len(alphabet) - 1)] != points]
        if unknown.size:
            raise ConfigError(
                f"character {chr(unknown[0])!r} is not among the {self.vocab_size} of "
                "this character tokenizer; leave it out, or train with "
                "config.data.tokenizer 'byte'"
            )
        return ids.astype(np.int32)

    def decode(self, ids) -> str:
        size = self.vocab_size
        ids = np.asarray(ids, np.int64).tolist()
        return "".join(self.alphabet[i] if 0 <= i < size else UNKNOWN for i in ids)


def _codes(text: str) -> np.ndarray:
    """(T,) code points."""
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), "<u4")


def encode_all(
    tokenizer: Tokenizer, texts: Sequence[str], *, threads: int | None = None
) -> list[np.ndarray]:
    """The ids of each text, (T,) int32, by as many threads as there are cores.

    Byte pairs gain by them: tiktoken works outside Python's lock. `tokenizers` has
    threads of its own (RAYON_NUM_THREADS says how many), and holds the lock for a
    single text.
    """
    if isinstance(tokenizer, JsonTokenizer):
        return tokenizer.encode_all(texts)
    threads = threads or os.cpu_count() or 1
    if threads == 1:
        return [tokenizer.encode(text) for text in texts]
    # Handing over a text costs about as much as encoding a short one: so many at once.
    size = max(1, min(256, len(texts) // (16 * threads)))
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]

    def encode(part: Sequence[str]) -> list[np.ndarray]:
        return [tokenizer.encode(text) for text in part]

    with ThreadPoolExecutor(threads) as pool:
        return [ids for part in pool.map(encode, parts) for ids in part]


def save(tokenizer: Tokenizer) -> dict[str, Any]:
    """What JSON needs to keep of a tokenizer, for `restore` to read."""
    return {"name": tokenizer.name, **dataclasses.asdict(tokenizer)}


def restore(saved: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `save` described; the corpus is not needed."""
    fields = {  # JSON has lists for tuples
        key: tuple(value) if isinstance(value, list) else value
        for key, value in saved.items()
    }
    return choose(CLASSES, fields.pop("name"), "saved tokenizer")(**fields)


def byte(documents: Sequence[str], settings: schema.Data) -> ByteTokenizer:
    """Every text has the same bytes, so the documents do not matter."""
    return ByteTokenizer()


def character(documents: Sequence[str], settings: schema.Data) -> CharacterTokenizer:
    """The characters that occur, and a separator only where something is to separate.

    So a Markov chain, which is one document, has exactly its own symbols.
    """
    letters = set().union(*documents) - {SEPARATOR}
    if len(documents) > 1:
        letters.add(SEPARATOR)
    if not letters:
        raise ConfigError(
            "config.data.tokenizer 'character' found no character in the text; give "
            "a config.data.source that has some"
        )
    return CharacterTokenizer("".join(sorted(letters)))


KINDS = (
    ByteTokenizer,
    CharacterTokenizer,
    WordTokenizer,
    BytePairTokenizer,
    TiktokenTokenizer,
    JsonTokenizer,
)
CLASSES = {kind.name: kind for kind in KINDS}

TOKENIZERS = {
    "byte": byte,
    "character": character,
    "word": tokenizer_word.trained,
    "bpe": tokenizer_tiktoken.trained,
    "wordpiece": tokenizer_wordpiece.trained,
    "tiktoken": tokenizer_tiktoken.published,
    "json": tokenizer_files.chosen,
}
