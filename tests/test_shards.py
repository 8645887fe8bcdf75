"""Shards read as one stream, and a file that was changed is noticed."""

import errno
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.core.config import ConfigError
from jaxlm.data import shards
from jaxlm.data.shards import Mapped


def write(directory, *, dtype="<u2", sizes=((3, 2), (0,), (4,))):
    """Shards whose ids count from 0; a shard's sizes are those of its documents."""
    first, files = 0, []
    for number, lengths in enumerate(sizes):
        found = {}
        for part in shards.PARTS:
            ids = np.arange(first, first + sum(lengths), dtype=np.int32)
            path = directory / f"{part}-{number:05}"
            found[f"{part}.bin"] = shards.write_ids(
                path.with_suffix(".bin"), [ids[:1], ids[1:]], dtype
            )
            found[f"{part}.npy"] = shards.write_array(
                path.with_suffix(".npy"), np.cumsum([0, *lengths])
            )
        first += sum(lengths)
        files.append({"files": found})
    shards.write_manifest(directory, {"dtype": dtype, "shards": files})
    return directory


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_shards_are_mapped_one_after_another(tmp_path, dtype):
    found = shards.load(write(tmp_path, dtype=dtype))
    for stream in (found.train, found.held_out):
        assert stream.dtype == np.dtype(dtype)
        assert all(isinstance(part, np.memmap) for part in stream.parts)
        assert stream[:].tolist() == list(range(9))
    assert shards.offsets(found, "train").tolist() == [0, 3, 5, 5, 9]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.bin")) == 2 * 9 * int(
        dtype[-1]
    )


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_a_stream_reads_like_one_array(sizes, data):
    whole = np.arange(sum(sizes), dtype=np.uint16)
    stream = Mapped.of(np.split(whole, np.cumsum(sizes)[:-1]))
    assert len(stream) == len(whole)
    bound = st.none() | st.integers(-30, 30)
    span = slice(data.draw(bound), data.draw(bound))
    np.testing.assert_array_equal(stream[span], whole[span])
    assert stream[span].dtype == np.uint16
    if len(whole):
        places = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8))
        grid = np.array([places, places], int)
        np.testing.assert_array_equal(stream[grid], whole[grid])


@pytest.mark.parametrize("place", [-1, 9])
def test_a_place_outside_of_a_stream_is_an_error(tmp_path, place):
    stream = shards.load(write(tmp_path)).train
    with pytest.raises(IndexError, match="9 tokens"):
        stream[np.array([0, place])]


@pytest.mark.parametrize("name", ["train-00002.bin", "held_out-00000.npy"])
def test_a_shard_cut_short_is_named_with_both_sizes(tmp_path, name):
    path = write(tmp_path) / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        ConfigError, match=f"{name} has {size - 1} bytes and {size} were"
    ):
        shards.load(tmp_path)
    path.unlink()
    with pytest.raises(ConfigError, match=f"{name} is missing and {size} were written"):
        shards.load(tmp_path)


def test_a_changed_byte_is_found_when_asked_for(tmp_path):
    write(tmp_path)
    files = [*tmp_path.glob("*.bin"), *tmp_path.glob("*.npy")]
    assert shards.verify(tmp_path) == sum(path.stat().st_size for path in files)
    path = tmp_path / "train-00000.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    shards.load(tmp_path)
    with pytest.raises(
        ConfigError, match="train-00000.bin has sha256 .* manifest says"
    ):
        shards.verify(tmp_path)


def test_a_manifest_with_a_wrong_hash_is_refused(tmp_path):
    path = write(tmp_path) / shards.MANIFEST
    text = json.loads(path.read_text())
    digest = text["shards"][0]["files"]["train.bin"]["sha256"]
    path.write_text(path.read_text().replace(digest, "0" * 64))
    with pytest.raises(ConfigError, match="manifest.json is not what was written: its"):
        shards.load(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_manifest_that_is_none_is_named(tmp_path, content):
    (tmp_path / shards.MANIFEST).write_text(content)
    with pytest.raises(ConfigError, match="manifest.json is"):
        shards.load(tmp_path)


def test_a_directory_without_a_manifest_says_what_to_do(tmp_path):
    with pytest.raises(
        ConfigError, match="is no prepared corpus; make one with python"
    ):
        shards.load(tmp_path)
    (tmp_path / "shard-00000.json").write_text("{}")
    with pytest.raises(ConfigError, match="was not finished; run the same command"):
        shards.load(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(*paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards.os, "replace", fail)
    with pytest.raises(ConfigError, match="a.json: No space left on device; make room"):
        shards.write_json(tmp_path / "a.json", {"a": 1})
    assert not (tmp_path / "a.json").exists()
