"""What each id adds to a text that goes before it, in bytes.

A decoder that looks back further than the text's beginning, or ahead, has no such
pieces. Those that it has make masks of a constraint, and let a text be read as it is
written, at a cost that does not grow with it.
"""

import json
import re

from jaxlm.core.config import ConfigError, choose
from jaxlm.data.tokenizers import Tokenizer

# Decoders of `tokenizers` that treat every token but the first alike.
DECODERS = (
    "ByteFallback",
    "ByteLevel",
    "Fuse",
    "Metaspace",
    "Replace",
    "Sequence",
    "Strip",
    "WordPiece",
)
BYTE = re.compile("<0x([0-9A-F]{2})>")  # as ByteFallback names it


def pieces(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    """The bytes of ids 0 to vocab_size - 1 after other text, special ones included.

    Joined they are the UTF-8 of a continuation; a byte that is no UTF-8 stands for what
    no text has. Raises ConfigError where ids have no pieces of their own.
    """
    return choose(PIECES, tokenizer.name, "tokenizer")(tokenizer)


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Ids that no text has: separators, ends, masks, and what else is so marked."""
    found = set(tokenizer.specials.values())
    if tokenizer.name in ("bpe", "tiktoken"):
        encoding = tokenizer._encoding
        found |= {
            encoding.encode_single_token(token) for token in encoding.special_tokens_set
        }
    if tokenizer.name == "json":
        added = tokenizer._tokenizer.get_added_tokens_decoder()
        found |= {number for number, token in added.items() if token.special}
    return frozenset(found)


def _each(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    """Every id has a text, whatever stands beside it."""
    texts = (tokenizer.decode([number]) for number in range(tokenizer.vocab_size))
    return tuple(text.encode("utf-8", errors="surrogatepass") for text in texts)


def _bytes(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    return tuple(bytes([number]) for number in range(tokenizer.vocab_size))


def _ranks(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    return tuple(tokenizer._bytes)


def _json(tokenizer: Tokenizer) -> tuple[bytes, ...]:
    inner = tokenizer._tokenizer
    kinds = _decoders(json.loads(tokenizer.json).get("decoder"))
    unknown = kinds - {*DECODERS}
    if unknown:
        raise ConfigError(
            f"tokenizer.json has the decoder {min(unknown)!r}, which reads tokens by "
            f"their neighbours; use a tokenizer with one of {', '.join(DECODERS)}"
        )
    size = tokenizer.vocab_size
    names = [inner.id_to_token(number) or "" for number in range(size)]
    if "ByteLevel" in kinds:
        return tuple(map(_byte_level, names))

    def decode(rows):
        return inner.decode_batch(rows, skip_special_tokens=False)

    alone = decode([[number] for number in range(size)])
    ordinary = (
        number
        for number in sorted({*range(size)} - special_ids(tokenizer))
        if alone[number] and not BYTE.fullmatch(names[number])
    )
    before = next(ordinary, 0)
    texts = decode([[before, number] for number in range(size)])
    found = [text.removeprefix(alone[before]).encode() for text in texts]
    if "ByteFallback" in kinds:
        for number, name in enumerate(names):
            if match := BYTE.fullmatch(name):
                found[number] = bytes.fromhex(match[1])
    return tuple(found)


def _decoders(decoder: dict | None) -> set[str]:
    """The kinds of a decoder and of those that it is a sequence of."""
    if not decoder:
        return set()
    inner = map(_decoders, decoder.get("decoders", []))
    return {decoder["type"]}.union(*inner)


def _byte_level(name: str) -> bytes:
    """A token whose characters stand for bytes; one with others is as it is written."""
    found = [BYTES.get(letter) for letter in name]
    return name.encode() if None in found else bytes(found)


def _letters() -> dict[str, int]:
    """GPT-2's characters of bytes: their own where they show, else from 256 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [number for number in range(256) if number not in shown]
    letters = {chr(number): number for number in shown}
    return letters | {chr(256 + place): number for place, number in enumerate(others)}


BYTES = _letters()

PIECES = {
    "byte": _bytes,
    "character": _each,
    "word": _each,
    "bpe": _ranks,
    "tiktoken": _ranks,
    "json": _json,
}
