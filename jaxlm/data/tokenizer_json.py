"""A tokenizer of Hugging Face's `tokenizers` package."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from jaxlm.core.config import ConfigError


@dataclass(frozen=True)
class JsonTokenizer:
    """A tokenizer as `tokenizers` writes it to tokenizer.json.

    json: that file's text.
    specials: 'bos', 'eos', 'pad', 'unk', 'mask', 'cls', 'sep', ... and their ids.
    chat_template: the Jinja template that lays out a conversation, if there is one.
    """

    json: str
    specials: dict[str, int] = field(default_factory=dict, hash=False)
    chat_template: str | None = None
    name: ClassVar[str] = "json"

    @functools.cached_property
    def _tokenizer(self):
        tokenizer = library().Tokenizer.from_str(self.json)
        # A file may say how its author cut and padded; a text is taken as it stands.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @functools.cached_property
    def _plain(self):
        """The same, to which a special token that is written out is text."""
        tokenizer = library().Tokenizer.from_str(self._tokenizer.to_str())
        tokenizer.encode_special_tokens = True
        return tokenizer

    @functools.cached_property
    def _special(self) -> dict[int, str]:
        """What is no text by id; the unknown stands for text."""
        added = self._tokenizer.get_added_tokens_decoder()
        unknown = self.specials.get("unk")
        return {
            number: token.content
            for number, token in added.items()
            if token.special and number != unknown
        }

    @functools.cached_property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def encode(self, text: str, *, specials: bool = False) -> np.ndarray:
        """(T,) int32 ids; with `specials`, those that the model expects around a text.

        Then a special token that is written out in the text is read as one, too: the
        text is a prompt and no document.
        """
        if specials:
            return np.array(self._tokenizer.encode(_utf8(text)).ids, np.int32)
        return self._text(self._plain.encode(_utf8(text), add_special_tokens=False))

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text as `encode` gives them, by the library's threads."""
        found = self._plain.encode_batch_fast(
            [_utf8(text) for text in texts], add_special_tokens=False
        )
        return list(map(self._text, found))

    def _text(self, encoding) -> np.ndarray:
        """The ids of a text; special tokens that the model found are spelled out.

        Unigrams find them, and words between spaces: they are in the vocabulary.
        """
        ids, special = np.array(encoding.ids, np.int32), self._special
        if not np.isin(ids, list(special)).any():
            return ids
        spelled: list[int] = []
        for number in ids.tolist():
            if number in special:
                pieces = map(self._tokenizer.model.tokenize, special[number])
                spelled += [piece.id for found in pieces for piece in found]
            else:
                spelled.append(number)
        return np.array(spelled, np.int32)

    def id_of(self, token: str) -> int | None:
        """The id of a token by its name, '<extra_id_0>' say."""
        return self._tokenizer.token_to_id(token)

    def decode(self, ids) -> str:
        """The text, special tokens in it; ids past the vocabulary become U+FFFD."""
        ids = np.asarray(ids, np.int64)
        unknown = (ids < 0) | (ids >= self.vocab_size)
        runs = np.split(np.where(unknown, -1, ids), np.flatnonzero(unknown))
        return "\N{REPLACEMENT CHARACTER}".join(
            self._tokenizer.decode(run[run >= 0].tolist(), skip_special_tokens=False)
            for run in runs
        )


def _utf8(text: str) -> str:
    """The text with lone surrogates, which have no UTF-8, as '?'."""
    return text.encode("utf-8", errors="replace").decode()


def library():
    """The `tokenizers` package."""
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(
            "this tokenizer needs the package tokenizers, which is not installed; run "
            "pip install 'jaxlm[hub]'"
        ) from None
    return tokenizers
