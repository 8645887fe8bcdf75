"""From a source of any size to a prepared corpus: filter, deduplicate, encode, write.

The source is read in chunks of some megabytes, and each becomes one shard. A shard is
done when its record is on disk, so a stopped preparation goes on after the last record;
it reads the earlier text once more, to remember what it has seen and to see that the
text is the same. Equal requests write equal files, stopped or not.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import compress, count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from jaxlm.core.claims import claim
from jaxlm.core.config import ConfigError, choose, difference
from jaxlm.data import corpus, duplicates, readers, shards, tokenizers
from jaxlm.data.json_files import read_object
from jaxlm.data.request import (
    BEGUN,
    Examined,
    Request,
    chunks,
    examine,
    read,
    require_apart,
    require_own,
    require_same_text,
    text_bytes,
)
from jaxlm.data.threads import ahead

GROUP = 2**18  # bytes examined and encoded together: their arrays stay in cache


def prepare(
    request: Request,
    out: Path,
    *,
    workers: int = 1,
    advance: Callable[[int], Any] = lambda size: None,
) -> dict[str, Any]:
    """The manifest of the corpus in `out`, which is made as far as it is not there.

    workers: threads that examine and encode. advance: told how many bytes of text are
    done since it was last called. Raises ConfigError for a request
    that cannot be, for another request or another text than `out` was begun with, for
    other files in it, and where nothing is left to train on or to hold out.
    """
    if request.target_field == request.field:
        raise ConfigError(
            f"--target_field {request.target_field!r} is --field too, and a pair has "
            "two texts; give another"
        )
    choose(tokenizers.TOKENIZERS, request.data.tokenizer, "--tokenizer")
    out = Path(out).expanduser()
    with claim(out, "out"):
        require_own(out)
        if (out / shards.MANIFEST).exists():
            require_same_text(request, out)
        else:
            pool = ThreadPoolExecutor(workers)
            try:
                work = _Work(request, out, pool, advance)
                shards.write_manifest(out, work.run())
            finally:
                pool.shutdown(cancel_futures=True)
        manifest = shards.load(out).manifest
        _require_same(out, manifest["request"], request)
        for pattern in ("shard-*.json", BEGUN, "*.partial"):
            for path in out.glob(pattern):  # of use to a stopped preparation alone
                path.unlink()
    return manifest


class _Work:
    """One preparation: the shards on disk, and what of them the next ones depend on."""

    def __init__(
        self,
        request: Request,
        out: Path,
        pool: ThreadPoolExecutor,
        advance: Callable[[int], Any],
    ):
        self.request, self.out = request, out
        self.pool, self.advance = pool, advance
        paths = (self._path("shard", number, "json") for number in count())
        self.records = list(map(read_object, takewhile(Path.exists, paths)))
        if self.records:
            _require_same(out, read_object(out / BEGUN), request)
        for entry in (e for record in self.records for e in record["files"].values()):
            shards.check_size(out, entry)
        shards.write_json(out / BEGUN, request.describe())
        saved = [row["tokenizer"] for row in self.records if row["tokenizer"]]
        self.tokenizer = tokenizers.restore(saved[0]) if saved else None
        self.seen = duplicates.Seen(request.near)
        self.files = readers.sizes(request.source)
        try:
            require_apart(request, self.files, out)
        except ConfigError:
            if not self.records:  # or the next source would have it as a document
                (out / BEGUN).unlink()
            raise
        self.examine = partial(examine, limits=request.limits, near=request.near)

    def run(self) -> dict[str, Any]:
        """Writes the shards that are not there; the manifest of all."""
        # What is read, what is encoded and what is written are three shards in a row.
        for number, (record, arrays) in enumerate(ahead(self._shards())):
            if arrays:
                record["files"] = {
                    name: self._write(name, number, array)
                    for name, array in arrays.items()
                }
                shards.write_json(self._path("shard", number, "json"), record)
                self.records.append(record)
        return self._manifest()

    def _shards(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each shard's record, and what to write: nothing where it is written."""
        start, before = 0, iter(self.records[:])
        for number, (chunk, digest) in enumerate(ahead(read(self.request))):
            if record := next(before, None):
                self._require(record["text_sha256"] == digest)
                self._remember(number, chunk, start)
                yield record, {}
            else:
                record, arrays = self._encode(chunk, start)
                yield record | {"text_sha256": digest}, arrays
            start += len(chunk)
        self._require(next(before, None) is None)

    def _remember(self, number: int, chunk: list[str], start: int) -> None:
        """Sees the documents that a stopped run kept."""
        kept = np.load(self._path("kept", number, "npy")) - start
        texts = [chunk[place] for place in kept.tolist()]
        for _, found in self._examined(texts, ()):
            for one in found:
                self.seen.reason(one.digest, one.sketch)
        self.advance(text_bytes(chunk))

    def _encode(self, chunk: list[str], start: int) -> tuple[dict, dict]:
        """The record of one shard, and its arrays by the names of their files."""
        reasons: list[str | None] = []
        sizes: list[int] = []
        groups: Iterable[list[str]] = self._keep(chunk, reasons, sizes)
        record: dict[str, Any] = {"tokenizer": None}
        if self.tokenizer is None:  # it may learn, from all of the chunk
            groups = list(groups)
            if any(groups):
                make = tokenizers.TOKENIZERS[self.request.data.tokenizer]
                texts = corpus.units([text for group in groups for text in group])
                self.tokenizer = make(texts, self.request.data)
                record["tokenizer"] = tokenizers.save(self.tokenizer)
        waiting = [self.pool.submit(self._ids, group) for group in groups if group]
        ids, held_out = [], []
        for future in waiting:
            group, mine, held = future.result()
            ids += mine
            held_out += held
            self.advance(text_bytes(group))
        separator = self.tokenizer and corpus.separator_of(self.tokenizer)
        end = np.array([] if separator is None else [separator], np.int32)
        sides = 2 if self.request.target_field else 1  # encoded each by itself
        kept = [place for place, reason in enumerate(reasons) if reason is None]
        held_out, sizes_kept = np.array(held_out, bool), np.array(sizes)[kept]
        arrays: dict[str, Any] = {"kept.npy": np.array(kept, np.int64) + start}
        for part, chosen in (("train", ~held_out), ("held_out", held_out)):
            mine = list(compress(ids, np.repeat(chosen, sides)))
            lengths = [0, *(len(unit) + len(end) for unit in mine)]
            offsets = np.cumsum(lengths, dtype=np.int64)
            arrays[f"{part}.bin"] = [one for unit in mine for one in (unit, end)]
            arrays[f"{part}.npy"] = offsets
            record[part] = {
                "documents": int(chosen.sum()),
                "bytes": int(sizes_kept[chosen].sum()),
                "tokens": int(offsets[-1]),
            }
        record["dropped"] = Counter(filter(None, reasons))
        record["read"] = {"documents": len(chunk), "bytes": sum(sizes)}
        return record, arrays

    def _keep(
        self, chunk: list[str], reasons: list, sizes: list
    ) -> Iterator[list[str]]:
        """What is kept, a group at a time; says of each document why not, its bytes."""
        for group, found in self._examined(chunk, self.request.rules):
            mine = [
                one.reason or self.seen.reason(one.digest, one.sketch) for one in found
            ]
            reasons += mine
            sizes += [one.size for one in found]
            self.advance(
                sum(one.size for one, why in zip(found, mine, strict=True) if why)
            )
            yield [text for text, why in zip(group, mine, strict=True) if why is None]

    def _examined(
        self, texts: list[str], rules: Sequence[str]
    ) -> Iterator[tuple[list[str], list[Examined]]]:
        """Groups of the texts, each with what the threads find, as they find it."""
        groups = list(chunks(texts, GROUP))
        return zip(
            groups,
            self.pool.map(partial(self.examine, rules=rules), groups),
            strict=True,
        )

    def _ids(self, texts: list[str]) -> tuple[list[str], list[np.ndarray], list[bool]]:
        """The texts, the ids of all their sides, and which are held out."""
        units = corpus.units(texts)
        # This is one of many threads already.
        ids = tokenizers.encode_all(self.tokenizer, units, threads=1)
        part = self.request.data.held_out
        return texts, ids, [corpus.lot(text) < part for text in texts]

    def _write(self, name: str, number: int, array: Any) -> dict[str, Any]:
        part, kind = name.split(".")
        path = self._path(part, number, kind)
        if kind == "bin":
            return shards.write_ids(path, array, self._dtype())
        return shards.write_array(path, array)

    def _manifest(self) -> dict[str, Any]:
        def total(part: str, *names: str) -> dict[str, int]:
            rows = [record[part] for record in self.records]
            return {name: sum(row.get(name, 0) for row in rows) for name in names}

        reasons = ["empty", *self.request.rules, *duplicates.REASONS]
        manifest = {
            "format": 1,
            "request": self.request.describe(),
            "files": self.files,
            "text_sha256": self.records[-1]["text_sha256"] if self.records else None,
            "tokenizer": self.tokenizer and tokenizers.save(self.tokenizer),
            "vocab_size": self.tokenizer and self.tokenizer.vocab_size,
            "dtype": self._dtype(),
            "read": total("read", "documents", "bytes"),
            "dropped": total("dropped", *reasons),
            "train": total("train", "documents", "bytes", "tokens"),
            "held_out": total("held_out", "documents", "bytes", "tokens"),
            "shards": [{"files": record["files"]} for record in self.records],
        }
        for part in shards.PARTS:
            if not manifest[part]["tokens"]:
                raise ConfigError(self._empty(part, manifest))
        return manifest

    def _empty(self, part: str, manifest: dict[str, Any]) -> str:
        read, dropped = manifest["read"]["documents"], manifest["dropped"]
        counts = ", ".join(f"{name} {n}" for name, n in dropped.items() if n)
        purpose = {"train": "train on", "held_out": "hold out"}[part]
        return (
            f"--source {self.request.source!r} has {read} documents and leaves none to "
            f"{purpose} (dropped: {counts or 'none'}; --held_out "
            f"{self.request.data.held_out}); give more text, --filters=none or another "
            "--held_out, in another --out"
        )

    def _dtype(self) -> str:
        large = self.tokenizer is not None and self.tokenizer.vocab_size > 2**16
        return "<u4" if large else "<u2"

    def _path(self, name: str, number: int, kind: str) -> Path:
        return self.out / f"{name}-{number:05}.{kind}"

    def _require(self, same: bool) -> None:
        if not same:
            raise ConfigError(
                f"--source {self.request.source!r} is not the text that {self.out} was "
                "begun with; restore it or give another --out"
            )


def _require_same(out: Path, old: dict[str, Any], request: Request) -> None:
    changed = difference(old, request.describe())
    if changed:
        raise ConfigError(
            f"--out {out} was made with another request ({'; '.join(changed)}); give "
            "the same or another --out"
        )
