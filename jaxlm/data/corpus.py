"""From documents to two streams of tokens: one to train on, one held out."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxlm.core import schema
from jaxlm.core.config import ConfigError, choose
from jaxlm.data import mixing, shards, sources, tokenizers
from jaxlm.data.mixing import Mixed
from jaxlm.data.shards import Mapped
from jaxlm.data.tokenizers import SEPARATOR, Tokenizer


@dataclass(frozen=True, eq=False, kw_only=True)
class Corpus:
    """T tokens a stream.

    train, held_out: (T,) uint16 ids, 32 bits where the vocabulary has more than 65,536;
        arrays, the `shards.Mapped` of a prepared corpus, or the `Mixed` of a mixture.
    held_out_offsets: (documents + 1,) places where documents, each with its separator,
        begin and end.
    pairs: whether documents are sources and targets by turns.
    bytes_per_token: UTF-8 bytes of the held-out stream over its tokens, a separator
        counting as one byte and one token. So bits a byte are nats a token / ln 2 /
        bytes_per_token; bytes as tokens have exactly 1, and every tokenizer is charged
        for the same bytes, ends of documents included. Of a mixture it is the mean of
        the sources by their weights, in which they are evaluated.
    record: what the text was, as JSON values, for a run to keep.
    """

    train: np.ndarray | Mapped | Mixed
    held_out: np.ndarray | Mapped | Mixed
    held_out_offsets: np.ndarray
    pairs: bool
    tokenizer: Tokenizer
    bytes_per_token: float
    record: dict[str, Any]


def build(settings: schema.Data, tokenizer: Tokenizer | None = None) -> Corpus:
    """The corpus that the settings describe, in `tokenizer`'s ids where one is given.

    A function of the settings, and of the text that the source finds here. Raises
    ConfigError for an unknown source or tokenizer and for an empty split.
    """
    if settings.mixture:
        return _mixture(settings, tokenizer)
    names = {**sources.SOURCES, "prepared": None}
    source = choose(names, settings.source, "config.data.source")
    if source is None:
        return _prepared(settings, tokenizer)
    make = choose(tokenizers.TOKENIZERS, settings.tokenizer, "config.data.tokenizer")
    pairs = settings.source in sources.PAIRED
    documents = list(map(clean if pairs else plain, source(settings)))
    # Half a pair is none.
    documents = [text for text in documents if all(map(str.strip, units([text])))]
    if pairs and len(documents) == 1:
        raise ConfigError(
            f"config.data.path {settings.path!r} has a single pair, and one is to be "
            "held out; give more"
        )
    if not documents:
        raise ConfigError(
            f"config.data.source {settings.source!r} has no text on this machine; "
            "choose another, such as 'markov'"
        )
    tokenizer = tokenizer or make(units(documents), settings)
    train, held_out = split(documents, settings.held_out)
    train_tokens, _ = join(train, tokenizer)
    held_out_tokens, held_out_offsets = join(held_out, tokenizer)
    ends = len(held_out) - 1 if separator_of(tokenizer) is not None else 0
    held_out_bytes = sum(len(text.encode()) for text in held_out) + ends
    return Corpus(
        train=train_tokens,
        held_out=held_out_tokens,
        held_out_offsets=held_out_offsets,
        pairs=pairs,
        tokenizer=tokenizer,
        bytes_per_token=held_out_bytes / len(held_out_tokens),
        record={
            **_describe(settings, documents),
            "tokenizer": tokenizer.name,
            "vocab_size": tokenizer.vocab_size,
            "train_tokens": len(train_tokens),
            "held_out_tokens": len(held_out_tokens),
        },
    )


def split(documents: Sequence[str], fraction: float) -> tuple[list[str], list[str]]:
    """(train, held out) documents, about `fraction` of them held out.

    A document's own SHA-256 decides, so adding others moves none and equal documents
    stay together; where that leaves a part empty it is given the nearest document. A
    single document is cut instead, and its tail is held out. Raises ConfigError where a
    part is empty all the same.
    """
    if len(documents) == 1:
        (text,) = documents
        place = len(text) - round(len(text) * fraction)
        train, held_out = [text[:place]], [text[place:]]
    else:
        places = [lot(text) for text in documents]
        # Never none and never all: a few documents may all fall on one side.
        border = min(max(fraction, min(places) + 1e-15), max(places))
        pairs = list(zip(documents, places, strict=True))
        train = [text for text, place in pairs if place >= border]
        held_out = [text for text, place in pairs if place < border]
    for part, change in ((train, "lower"), (held_out, "raise")):
        if not any(part):
            sizes = [sum(map(len, texts)) for texts in (train, held_out)]
            raise ConfigError(
                f"config.data.held_out {fraction} of {len(documents)} documents leaves "
                f"{sizes[0]} characters to train on and {sizes[1]} to evaluate; "
                f"{change} it, or give more text"
            )
    return train, held_out


def join(
    documents: Sequence[str], tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
    """(T,) ids of the documents with a separator, where there is one, between them.

    And (documents + 1,) places where each begins, the last one being T.
    """
    parts = [tokenizer.encode(text) for text in units(documents)]
    separator = separator_of(tokenizer)
    if separator is not None:
        end = np.array([separator], np.int32)
        parts[:-1] = [np.concatenate([part, end]) for part in parts[:-1]]
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32
    offsets = np.cumsum([0, *map(len, parts)])
    return np.concatenate(parts).astype(dtype), offsets


def units(documents: Sequence[str]) -> list[str]:
    """What is encoded by itself: the documents, and each part of those that are pairs.

    A pair is one document to the split, and two to the separators.
    """
    return [unit for text in documents for unit in text.split(sources.UNIT)]


def separator_of(tokenizer: Tokenizer) -> int | None:
    """The id between documents; a tokenizer without one may have an end of text."""
    specials = tokenizer.specials
    return specials.get("separator", specials.get("eos"))


def _prepared(settings: schema.Data, tokenizer: Tokenizer | None) -> Corpus:
    """The corpus that experiments.prepare wrote to `settings.path`."""
    if not settings.path:
        raise ConfigError(
            "config.data.path '' names no prepared corpus; give the --out of "
            "experiments.prepare"
        )
    found = shards.load(Path(settings.path))
    manifest, request = found.manifest, found.manifest["request"]
    for name, made in request["data"].items():
        if tokenizer is None and getattr(settings, name) != made:
            raise ConfigError(
                f"config.data.{name} {getattr(settings, name)!r} is not the {made!r} "
                f"that {settings.path} was prepared with; give {made!r}, or prepare it "
                "again"
            )
    own = tokenizers.restore(manifest["tokenizer"])
    if tokenizer is not None and tokenizer != own:
        raise ConfigError(
            f"config.data.path {settings.path!r} was prepared in the ids of another "
            f"tokenizer ({own.name}); prepare its text again with this one"
        )
    counts = manifest["held_out"]
    ends = counts["documents"] if separator_of(own) is not None else 0
    return Corpus(
        train=found.train,
        held_out=found.held_out,
        held_out_offsets=shards.offsets(found, "held_out"),
        pairs="target_field" in request,
        tokenizer=own,
        bytes_per_token=(counts["bytes"] + ends) / counts["tokens"],
        record={
            "source": settings.source,
            "path": settings.path,
            "documents": manifest["train"]["documents"] + counts["documents"],
            "bytes": manifest["train"]["bytes"] + counts["bytes"],
            "sha256": manifest["text_sha256"],
            "request": request,
            "tokenizer": own.name,
            "vocab_size": own.vocab_size,
            "train_tokens": len(found.train),
            "held_out_tokens": len(found.held_out),
        },
    )


def _mixture(settings: schema.Data, tokenizer: Tokenizer | None) -> Corpus:
    """The corpora of all sources, in the ids of the first one's tokenizer."""
    found: list[Corpus] = []
    for name, _ in settings.mixture:
        source, _, path = name.partition(":")
        alone = replace(settings, source=source, path=path, mixture=())
        found.append(build(alone, tokenizer))
        tokenizer = found[0].tokenizer
    names, weights = zip(*settings.mixture, strict=True)
    mixing.schedule(weights)  # refuses weights that cannot be
    held_out, offsets, size, rates = [], [np.zeros(1, np.int64)], 0, []
    end = [] if separator_of(tokenizer) is None else [separator_of(tokenizer)]
    for part in found:
        stream = part.held_out
        held_out_bytes = part.bytes_per_token * len(stream)
        offsets.append(part.held_out_offsets[1:] + size)
        if stream[len(stream) - 1 :].tolist() != end:
            parts = getattr(stream, "parts", (stream,))
            stream = Mapped.of([*parts, np.array(end, stream.dtype)])
            offsets[-1][-1] += len(end)
            held_out_bytes += len(end)
        held_out.append(stream)
        rates.append(held_out_bytes / len(stream))
        size += len(stream)
    records = [part.record for part in found]
    return Corpus(
        train=Mixed(names, weights, tuple(part.train for part in found)),
        held_out=Mixed(names, weights, tuple(held_out)),
        held_out_offsets=np.concatenate(offsets),
        pairs=all(part.pairs for part in found),
        tokenizer=tokenizer,
        bytes_per_token=float(np.average(rates, weights=weights)),
        record={
            "source": "mixture",
            "path": "",
            "documents": sum(record["documents"] for record in records),
            "bytes": sum(record["bytes"] for record in records),
            "sha256": hashlib.sha256(
                "".join(record["sha256"] for record in records).encode()
            ).hexdigest(),
            "mixture": dict(zip(names, records, strict=True)),
            "tokenizer": tokenizer.name,
            "vocab_size": tokenizer.vocab_size,
            "train_tokens": sum(record["train_tokens"] for record in records),
            "held_out_tokens": size,
        },
    )


def _describe(settings: schema.Data, documents: Sequence[str]) -> dict[str, Any]:
    data = SEPARATOR.join(documents).encode()
    facts = {
        "source": settings.source,
        "path": settings.path,
        "documents": len(documents),
        "bytes": len(data) - (len(documents) - 1),  # without separators
        "sha256": hashlib.sha256(data).hexdigest(),
        "python": platform.python_version(),
    }
    if settings.source == "markov":
        facts["entropy_rate"] = sources.entropy_rate(settings.markov)
    return facts


def plain(text: str) -> str:
    """`clean` text that is no pair."""
    return clean(text).replace(sources.UNIT, "")


def clean(text: str) -> str:
    """Text without NUL, the separator, and without surrogates, which have no UTF-8."""
    text = text.replace(SEPARATOR, "")
    if text.isascii():  # known without a look, and so most text is left alone
        return text
    return text.encode("utf-8", errors="replace").decode()


def lot(text: str) -> float:
    """A number in [0, 1) that looks random and depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
