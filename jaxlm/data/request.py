"""What is to be prepared: its text, and what it says of each document."""

import dataclasses
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlm.core import schema
from jaxlm.core.config import ConfigError, difference, to_dict
from jaxlm.data import corpus, duplicates, filters, readers, shards, spans
from jaxlm.data.json_files import read_object
from jaxlm.data.sources import UNIT

BEGUN = "request.json"  # of a preparation that is not finished
CHOSEN = ("tokenizer", "tokenizer_size", "tokenizer_path", "encoding", "held_out")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to prepare: all that the written files depend on.

    source, field, target_field: see `readers.documents`.
    data: its fields CHOSEN count. A tokenizer that learns does so from the documents
        kept of the first chunk. A document's own hash says whether it is held out.
    rules, limits: see `filters`. near: see `duplicates.Seen`.
    chunk: bytes of text, at least, that make one shard.
    """

    source: str
    field: str = "text"
    target_field: str = ""
    data: schema.Data = dataclasses.field(default_factory=schema.Data)
    rules: tuple[str, ...] = tuple(filters.FILTERS)
    limits: filters.Limits = filters.Limits()
    near: float = 0.8
    chunk: int = 2**26

    def describe(self) -> dict[str, Any]:
        """The request as JSON values."""
        values = to_dict(self)
        values["data"] = {name: values["data"][name] for name in CHOSEN}
        if not self.target_field:  # as before there were pairs
            del values["target_field"]
        return values


class Examined(NamedTuple):
    """Of a document: why to drop it, its digest, its sketch, and its bytes of UTF-8."""

    reason: str | None
    digest: bytes
    sketch: np.ndarray | None
    size: int


def read(request: Request) -> Iterator[tuple[list[str], str]]:
    """Each chunk of documents, and the SHA-256 of the text up to its end."""
    text = hashlib.sha256()
    documents = map(
        corpus.clean if request.target_field else corpus.plain,
        readers.documents(request.source, request.field, request.target_field),
    )
    for chunk in chunks(documents, request.chunk):
        text.update("\0".join([*chunk, ""]).encode())
        yield chunk, text.hexdigest()


def require_own(out: Path) -> None:
    """Raises ConfigError for a directory with files of which no preparation knows."""
    if (out / shards.MANIFEST).exists():
        return
    if (out / BEGUN).exists():
        own = {"chunk", "near"} <= read_object(out / BEGUN).keys()
    else:
        names = {path.name for path in out.iterdir()}
        own = names <= {".lock", f"{BEGUN}.partial"}
    if not own:
        raise ConfigError(f"--out {out} has other files; give an empty directory")


def require_apart(request: Request, files: Iterable[str], out: Path) -> None:
    """Raises ConfigError where files of the source are those of the preparation."""
    inside = out.resolve()
    if any(Path(file).resolve().is_relative_to(inside) for file in files):
        raise ConfigError(
            f"--out {out} is inside of --source {request.source!r}, which would read "
            "what is written; give another --out"
        )


def require_same_text(request: Request, out: Path) -> None:
    """Raises ConfigError where files changed since a corpus was made from them.

    Files that are all gone are no change: the shards need none of them. Where one was
    written after the shards, all text is read again and hashed.
    """
    manifest, files = shards.read_manifest(out), readers.sizes(request.source)
    if not files or manifest["request"] != request.describe():
        return
    changed = difference(manifest.get("files", files), files)
    done = (out / shards.MANIFEST).stat().st_mtime_ns
    if not changed and any(Path(file).stat().st_mtime_ns > done for file in files):
        digests = deque((digest for _, digest in read(request)), maxlen=1)
        if list(digests) != [manifest["text_sha256"]]:
            changed = ["as many bytes, and others"]
    if changed:
        more = f"; {len(changed) - 3} more" if len(changed) > 3 else ""
        raise ConfigError(
            f"--source {request.source!r} was changed since {out} was made from it "
            f"({'; '.join(changed[:3])}{more}); restore it or give another --out"
        )


def chunks(documents: Iterable[str], size: int) -> Iterator[list[str]]:
    """The documents in lists of at least `size` bytes, the last perhaps of less."""
    chunk, total = [], 0
    for document in documents:
        chunk.append(document)
        total += _size(document)
        if total >= size:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk


def text_bytes(texts: Iterable[str]) -> int:
    """Bytes of UTF-8."""
    return sum(map(_size, texts))


def examine(
    texts: Sequence[str], *, rules: Sequence[str], limits: filters.Limits, near: float
) -> list[Examined]:
    """A function of each document alone; many at a time are faster.

    A pair fails a rule with either side; it repeats another where both sides do.
    """
    documents = spans.take_apart(texts, folded=True)
    sides = [text.split(UNIT) for text in texts]
    every = [side for text in sides for side in text]
    reasons: list[str | None] = [None] * len(every)
    if rules:
        pairs = len(every) > len(texts)
        apart = spans.take_apart(every, folded=True) if pairs else documents
        reasons = filters.reasons(apart, limits, rules)
    sketches = duplicates.sketches(documents) if near else [None] * len(texts)
    found, left = [], iter(reasons)
    for text, mine, sketch in zip(texts, sides, sketches, strict=True):
        why = next(filter(None, list(islice(left, len(mine)))), None)
        stripped = [side.strip() for side in mine]
        exact = duplicates.digest(UNIT.join(stripped))
        empty = None if all(stripped) else "empty"
        found.append(Examined(empty or why, exact, sketch, _size(text)))
    return found


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
