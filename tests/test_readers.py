"""A document a row or a file, and what cannot be read is named with its place."""

import bz2
import gzip
import itertools
import json
import random
import re
import sys
import tracemalloc
from types import SimpleNamespace

import pytest

from jaxlm.core.config import ConfigError
from jaxlm.data import readers, sources

ROWS = [{"text": "eins\n", "id": 1}, {"text": "zwei", "id": 2}, {"text": "ñ", "id": 3}]
HURT = gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20  # a block of no known type
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def read(source, field="text") -> list[str]:
    return list(readers.documents(str(source), field))


def test_json_lines_and_parquet_are_a_document_a_row(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    import pyarrow

    (tmp_path / "a.jsonl").write_text(LINES + "\n")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    texts = [row["text"] for row in ROWS]
    assert read(tmp_path / "a.jsonl") == read(tmp_path / "a.parquet") == texts
    assert read(tmp_path) == texts * 2


def test_json_files_have_a_document_a_line_as_those_of_c4(tmp_path):
    (tmp_path / "c4-train.0.json.gz").write_bytes(gzip.compress(LINES.encode()))
    (tmp_path / "c4-train.1.json").write_text(LINES)
    assert read(tmp_path / "c4-train.*") == [row["text"] for row in ROWS] * 2


@pytest.mark.parametrize(
    "suffix, pack", [(".gz", gzip.compress), (".bz2", bz2.compress)]
)
def test_packed_files_read_as_what_is_in_them(tmp_path, suffix, pack):
    (tmp_path / f"a.jsonl{suffix}").write_bytes(pack(LINES.encode()))
    (tmp_path / f"b.txt{suffix}").write_bytes(pack("\ufeffdrei\r\n".encode()))
    assert read(tmp_path) == ["eins\n", "zwei", "ñ", "drei\n"]


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    (tmp_path / "a.jsonl").write_text(LINES + "no JSON\n")
    first = itertools.islice(readers.documents(str(tmp_path), "text"), 3)
    assert len(list(first)) == 3


def test_few_text_files_are_cut_and_many_are_not(tmp_path):
    for number in range(2):
        (tmp_path / f"{number:03}").write_text("line\n" * 1000)
    assert len(read(tmp_path)) == 4 and "".join(read(tmp_path)) == "line\n" * 2000
    for number in range(2, 50):
        (tmp_path / f"{number:03}").write_text("x")
    assert len(read(tmp_path)) == 50


@pytest.mark.parametrize("block", [3, 4, 7, 4096, 5000])
def test_a_text_file_is_cut_alike_however_much_of_it_is_read_at_once(
    tmp_path, monkeypatch, block
):
    rng = random.Random(0)
    scraps = ["word ", "ß", "語", "😀", "\n", "\n\n", "\r\n", "\r", "x" * 3000]
    text = "\ufeff\r\nbegins" + "".join(rng.choices(scraps, k=300)) + "ends\r"
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.txt").write_bytes(b"")
    whole = text.removeprefix("\ufeff").replace("\r\n", "\n")
    monkeypatch.setattr(readers, "BLOCK", block)
    assert read(tmp_path) == [*sources.pieces(whole), ""]
    (tmp_path / "b.txt").write_bytes(text.encode() + b"\xe8\xaa")  # half a character
    place = len(text.encode())
    with pytest.raises(ConfigError, match=f"b.txt is not UTF-8 at byte {place};"):
        read(tmp_path)


def test_a_text_file_need_not_fit_into_memory(tmp_path):
    line = "x" * 99 + "\n"
    with gzip.open(tmp_path / "a.txt.gz", "wt", compresslevel=1) as file:
        for _ in range(500):
            file.write(line * 1000)
    tracemalloc.start()
    assert sum(map(len, readers.documents(str(tmp_path), "text"))) == 50_000_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000


def test_the_size_is_that_of_plain_text_alone(tmp_path):
    (tmp_path / "a.txt").write_text("eins")
    assert readers.size(str(tmp_path)) == 4
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"zwei"))
    assert readers.size(str(tmp_path)) is None
    assert readers.size("embedded") is None
    assert readers.size(str(tmp_path / "nothing")) is None


def test_built_in_sources_have_their_names():
    assert read("embedded")[0] and read("stdlib")[0]


def test_a_dataset_is_streamed_by_name_and_split(monkeypatch):
    def load_dataset(name, split, streaming):
        assert streaming
        return [{"body": f"{name} {split} {number}"} for number in range(2)]

    library = SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert read("datasets:own/name", "body") == ["own/name train 0", "own/name train 1"]
    assert read("datasets:name:test", "body")[0] == "name test 0"
    with pytest.raises(ConfigError, match="datasets:name, row 0 has no field 'text'"):
        read("datasets:name")

    def broken(name, split, streaming):
        raise RuntimeError("no such thing\nmore about it")

    library.load_dataset = broken
    with pytest.raises(
        ConfigError, match=r"datasets:x cannot be read \(no such thing\)"
    ):
        read("datasets:x")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_local_dataset_is_read_by_the_library_itself(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="datasets is missing")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "train.jsonl").write_text(LINES)
    (folder / "test.jsonl").write_text('{"text": "vier"}\n')
    assert read(f"datasets:{folder}") == ["eins\n", "zwei", "ñ"]
    assert read(f"datasets:{folder}:test") == ["vier"]
    for source, message in (
        (f"{folder}:nope", "Bad split: nope.* give another name or split"),
        (tmp_path / "nothing", "Couldn't find any data file"),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            read(f"datasets:{source}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", b'\n{"text": "\xff"}\n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1 is JSON but no object"),
        ("a.jsonl", '{"body": "x", "id": 1}', "a.jsonl:1 has no field 'text'; give "
         "--field, one of body, id"),
        ("a.jsonl", '{"text": 3}', "a.jsonl:1 has int in field 'text' and not text"),
        ("a.txt", b"ab\xff", "a.txt is not UTF-8 at byte 2"),
        ("a.txt.gz", "plain", "a.txt.gz cannot be read (Not a gzipped file"),
        (
            "a.jsonl.gz",
            gzip.compress(b"x" * 9999, mtime=0)[:-9],
            "a.jsonl.gz cannot be read",
        ),
        ("a.txt.gz", HURT, "a.txt.gz cannot be read (Error -3 while decompressing"),
        ("a.jsonl.gz", HURT, "a.jsonl.gz cannot be read (Error -3 while decompressing"),
        ("a.json", json.dumps(ROWS[0], indent=1), "a.json:1 is not JSON"),
        ("a.jsonl", "[" * 200_000, "a.jsonl:1 is not JSON (maximum recursion depth"),
        ("a.txt.xz", "plain", "a.txt.xz cannot be read"),
        ("a.txt.bz2", "plain", "a.txt.bz2 cannot be read"),
        ("a.parquet", "plain", "a.parquet is no Parquet file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_in_one_line(tmp_path, name, content, message):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is missing")
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_a_parquet_file_with_a_damaged_page_is_named_in_one_line(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    import pyarrow

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": [f"{n:9}" for n in range(999)]}), path)
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * 2000 + data[2004:])  # the end is its index
    with pytest.raises(ConfigError, match="a.parquet is .* damaged") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_a_missing_column_and_a_row_without_text_are_named(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    import pyarrow

    table = pyarrow.table({"body": ["x", None], "id": [1, 2]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(
        ConfigError, match="no column 'text'; give --field, one of body"
    ):
        read(tmp_path)
    with pytest.raises(ConfigError, match="a.parquet, row 1 has NoneType in field"):
        read(tmp_path, "body")


def test_a_source_that_is_none_is_answered_with_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match="--source 'nope' matches no file.*embedded"):
        read("nope")


@pytest.mark.parametrize(
    "package, source", [("pyarrow", None), ("datasets", "datasets:x")]
)
def test_a_missing_library_is_named(tmp_path, monkeypatch, package, source):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"needs the package {package}.*pip install"):
        read(source or tmp_path)
