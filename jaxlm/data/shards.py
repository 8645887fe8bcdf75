"""A prepared corpus on disk: shards of tokens, mapped into memory and never loaded.

manifest.json        what it is, counts, and the size and SHA-256 of every file
train-00000.bin      ids, '<u2' or '<u4', a separator after each document
train-00000.npy      (documents + 1,) int64: where each document begins and ends; of
                     pairs, each of the two texts
held_out-00000.bin, held_out-00000.npy, ...
kept-00000.npy       which documents of the source these are, counted from 0
"""

import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxlm.core.config import ConfigError
from jaxlm.data.json_files import read_object

PARTS = ("train", "held_out")
MANIFEST = "manifest.json"


@dataclass(frozen=True, eq=False)
class Mapped:
    """(T,) ids in several arrays, read where they are indexed.

    starts: (parts + 1,) the place of each part's first token, and T.
    """

    parts: tuple[np.ndarray, ...]
    starts: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[np.ndarray]) -> "Mapped":
        """The parts one after another; one at least, all of one dtype."""
        return cls(tuple(parts), np.cumsum([0, *map(len, parts)]))

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0].dtype

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        """The ids of a slice without a step, or at places from 0, in their shape."""
        if isinstance(places, slice):
            start, stop, _ = places.indices(len(self))
            stop = max(start, stop)
            first, last = np.searchsorted(
                self.starts[1:-1], [start, stop], side="right"
            )
            spans = zip(self.parts[first : last + 1], self.starts[first:], strict=False)
            found = [part[max(0, start - at) : max(0, stop - at)] for part, at in spans]
            return found[0] if len(found) == 1 else np.concatenate(found)
        places = np.asarray(places)
        if places.size and not 0 <= places.min() <= places.max() < len(self):
            raise IndexError(f"places outside of {len(self)} tokens")
        numbers = np.searchsorted(self.starts, places, side="right") - 1
        ids = np.empty(places.shape, self.dtype)
        for number in np.unique(numbers):
            inside = numbers == number
            ids[inside] = self.parts[number][places[inside] - self.starts[number]]
        return ids


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is in a directory: its manifest, and the tokens of both parts."""

    directory: Path
    manifest: dict[str, Any]
    train: Mapped
    held_out: Mapped


def load(directory: Path) -> Prepared:
    """Maps the shards of a finished preparation. Checks sizes, which costs nothing.

    Raises ConfigError where there is no manifest, where it was changed, and for a file
    that is missing or has another size than the manifest says.
    """
    directory = Path(directory).expanduser()
    manifest = read_manifest(directory)
    for entry in _entries(manifest):
        check_size(directory, entry)

    def mapped(part: str) -> Mapped:
        files = [shard["files"][f"{part}.bin"] for shard in manifest["shards"]]
        arrays = [
            np.memmap(directory / entry["file"], manifest["dtype"], mode="r")
            for entry in files
            if entry["bytes"]  # an empty file cannot be mapped
        ]
        return Mapped.of(arrays or [np.empty(0, manifest["dtype"])])

    return Prepared(directory, manifest, *map(mapped, PARTS))


def offsets(prepared: Prepared, part: str) -> np.ndarray:
    """(documents + 1,) int64 places where a part's documents begin and end."""
    found, total = [np.zeros(1, np.int64)], 0
    for shard in prepared.manifest["shards"]:
        index = np.load(prepared.directory / shard["files"][f"{part}.npy"]["file"])
        found.append(index[1:] + total)
        total += index[-1]
    return np.concatenate(found)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a finished preparation, unchanged since."""
    path = directory / MANIFEST
    if not path.exists():
        remedy = (
            "was not finished; run the same command again"
            if any(directory.glob("shard-*.json"))
            else "is no prepared corpus; make one with python -m experiments.prepare"
        )
        raise ConfigError(f"{directory} has no {MANIFEST} and {remedy}")
    manifest = read_object(path)
    if manifest.pop("sha256", None) != _digest_json(manifest):
        raise ConfigError(
            f"{path} is not what was written: its own sha256 does not fit; copy it "
            "again or prepare the corpus again"
        )
    return manifest


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Adds the manifest's own hash and writes it, which finishes a preparation."""
    write_json(directory / MANIFEST, manifest | {"sha256": _digest_json(manifest)})


def verify(directory: Path) -> int:
    """Reads all files and compares them with the manifest; how many bytes they have."""
    directory, total = Path(directory).expanduser(), 0
    for entry in _entries(read_manifest(directory)):
        check_size(directory, entry)
        with open(directory / entry["file"], "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != entry["sha256"]:
            raise ConfigError(
                f"{directory / entry['file']} has sha256 {found[:12]} and the manifest "
                f"says {entry['sha256'][:12]}; copy it again or prepare it again"
            )
        total += entry["bytes"]
    return total


def check_size(directory: Path, entry: dict[str, Any]) -> None:
    """Raises ConfigError unless the file has the size that was written."""
    path = directory / entry["file"]
    size = path.stat().st_size if path.exists() else None
    if size != entry["bytes"]:
        found = "is missing" if size is None else f"has {size} bytes"
        raise ConfigError(
            f"{path} {found} and {entry['bytes']} were written; copy it "
            "again or prepare the corpus again"
        )


def write_ids(path: Path, ids: Sequence[np.ndarray], dtype: str) -> dict[str, Any]:
    """Writes arrays of ids one after another; what the manifest says of the file."""
    return _write(path, b"".join(array.astype(dtype).tobytes() for array in ids))


def write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Writes a .npy file; what the manifest says of it."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return _write(path, buffer.getvalue())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes the whole file or nothing."""
    _write(path, (json.dumps(value, indent=1) + "\n").encode())


def _write(path: Path, data: bytes) -> dict[str, Any]:
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a name never stands for less than the whole file
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; make room and run the same command "
            "again"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    return {"file": path.name, "bytes": len(data), "sha256": digest}


def _entries(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """What the manifest says of every file."""
    return [entry for shard in manifest["shards"] for entry in shard["files"].values()]


def _digest_json(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
