"""Sources and targets are prepared together: kept, dropped and held out as one."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from objective_tasks import config_of, parts, task_of

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import corpus, objectives, prepare, readers, shards
from jaxlm.data.loader import Loader, held_out_batches
from jaxlm.data.request import Request
from jaxlm.data.tokenizers import ByteTokenizer

ROOT = Path(__file__).parent.parent
DATA = schema.Data(held_out=0.2)
BYTES = ByteTokenizer()
PAIRS = [(f"the number {n} in words", f"le nombre {n}, é") for n in range(200)]
NUL, UNIT = "\0", "\x1f"


def write(path, pairs) -> str:
    rows = ({"en": source, "id": 1, "fr": target} for source, target in pairs)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def request(source, **changes) -> Request:
    usual = dict(field="en", target_field="fr", data=DATA, chunk=2000, rules=(), near=0)
    return Request(source=source, **usual | changes)


def pairs_of(ids) -> list[tuple[str, str]]:
    """What is between the NULs of a stream, two at a time."""
    texts = BYTES.decode(ids[:]).split(NUL)
    assert texts.pop() == "" and len(texts) % 2 == 0
    return list(zip(texts[::2], texts[1::2], strict=True))


def kept(directory) -> list[tuple[str, str]]:
    found = shards.load(directory)
    return pairs_of(found.train) + pairs_of(found.held_out)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    prepare.prepare(request(write(out / "a.jsonl", PAIRS)), out / "out")
    return out / "out"


def test_every_pair_is_whole_in_one_part_and_in_order(made):
    found = shards.load(made)
    assert len(found.manifest["shards"]) > 3
    train, held_out = pairs_of(found.train), pairs_of(found.held_out)
    assert sorted(train + held_out) == sorted(PAIRS)
    assert train == [pair for pair in PAIRS if pair in train]
    assert abs(len(held_out) - 40) < 4 * np.sqrt(200 * 0.2 * 0.8)
    counts = [found.manifest[part]["documents"] for part in shards.PARTS]
    assert counts == [len(train), len(held_out)]


def test_prepared_pairs_are_those_of_tab_separated_lines(made, tmp_path):
    lines = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
    (tmp_path / "a.tsv").write_text(lines)
    direct = corpus.build(replace(DATA, source="pairs", path=str(tmp_path / "a.tsv")))
    found = corpus.build(replace(DATA, source="prepared", path=str(made)))
    assert found.pairs and direct.pairs
    for part in shards.PARTS:
        ids, expected = getattr(found, part), getattr(direct, part)
        assert ids[:].tolist() == [*expected.tolist(), 0]
    assert found.bytes_per_token == direct.bytes_per_token == 1
    edges = direct.held_out_offsets.tolist()
    assert found.held_out_offsets.tolist() == [*edges[:-1], edges[-1] + 1]


def test_a_source_is_read_and_its_target_written(made):
    found = corpus.build(replace(DATA, source="prepared", path=str(made)))
    config = config_of("conditional", "encoder_decoder")
    task = objectives.task_on(config, found)
    loader = Loader.make(found.train, replace(DATA, batch=1), task)
    batches = [loader.batch_at(step) for step in range(loader.windows)]
    batches += held_out_batches(found.held_out, replace(DATA, batch=1), task, 999)
    read = []
    for batch in batches:
        source = batch.encoder_inputs[0][batch.encoder_segments[0] == 1]
        target = batch.targets[0][batch.weights[0] == 1]
        read.append(tuple(BYTES.decode(ids[:-1]) for ids in (source, target)))
    assert sorted(read) == sorted(PAIRS)


def test_pairs_of_several_sources_are_pairs(made, tmp_path):
    others = [(f"{source}!", f"{target}!") for source, target in PAIRS]
    lines = "".join(f"{source}\t{target}\n" for source, target in others)
    (tmp_path / "a.tsv").write_text(lines)
    names = f"pairs:{tmp_path / 'a.tsv'}", f"prepared:{made}"
    data = replace(DATA, batch=2, mixture=tuple((name, 1.0) for name in names))
    found = corpus.build(data)
    task = objectives.task_on(config_of("conditional", "encoder_decoder"), found)
    loader = Loader.make(found.train, data, task)
    batches = [loader.batch_at(step) for step in range(20)]
    batches += held_out_batches(found.held_out, data, task, 999)
    read = set()
    for batch in batches:
        for source, target, ones in zip(
            batch.encoder_inputs, batch.targets, batch.weights, strict=True
        ):
            if ones.any():
                texts = source, target[ones > 0]
                read.add(tuple(BYTES.decode(ids).split(NUL)[0] for ids in texts))
    assert read <= set(PAIRS + others) and len(read) > 100
    held_out = pairs_of(shards.load(made).held_out)
    assert read & set(PAIRS) >= set(held_out)


def test_one_sequence_has_both_sides(made):
    found = corpus.build(replace(DATA, source="prepared", path=str(made)))
    task = task_of("conditional")
    cut = Loader.make(found.train, DATA, task).cut
    first = objectives.get(task.settings).example(cut.window(0)[:], None, task)
    sides = tuple(BYTES.decode(ids[:-1]) for ids in parts(first))
    assert sides == pairs_of(found.train)[0]


GOOD = [f"w{n} {'word ' * n} a sentence of its own" for n in range(8)]


@pytest.mark.parametrize(
    "pair, reason",
    [
        ((GOOD[0], GOOD[1]), "exact_duplicate"),
        ((f" {GOOD[0]}", f"{GOOD[1]}\n"), "exact_duplicate"),
        ((GOOD[0], GOOD[4]), None),  # another target of the same source
        ((GOOD[1], GOOD[0]), None),  # the way back
        ((GOOD[5], " "), "empty"),
        (("", GOOD[5]), "empty"),
        ((GOOD[5], "# # # #"), "symbols"),
        (("# # # #", GOOD[5]), "symbols"),
        ((GOOD[2] + UNIT, GOOD[3] + NUL), "exact_duplicate"),
    ],
)
def test_a_side_alone_drops_both_and_only_two_equal_ones_repeat(tmp_path, pair, reason):
    first = [(GOOD[0], GOOD[1]), (GOOD[2], GOOD[3]), *PAIRS[:20]]
    source = write(tmp_path / "a.jsonl", [*first, pair])
    asked = request(source, rules=("symbols",))
    manifest = prepare.prepare(asked, tmp_path / "out")
    dropped = {name: n for name, n in manifest["dropped"].items() if n}
    assert dropped == ({reason: 1} if reason else {})
    expected = first + [pair] * (reason is None)
    assert sorted(kept(tmp_path / "out")) == sorted(expected)


def test_a_pair_is_near_another_by_both_sides_together(tmp_path):
    def words(seed, count=60):
        random = np.random.default_rng(seed)
        return [str(n) for n in random.integers(10**6, size=count)]

    one, two = words(1), words(2)
    changed = [*one[:-1], "other"]
    first = [(" ".join(one), " ".join(two)), *PAIRS[:20]]
    near = (" ".join(changed), " ".join(two))
    other = (" ".join(one), " ".join(words(3)))  # a third of all shingles is shared
    source = write(tmp_path / "a.jsonl", [*first, near, other])
    manifest = prepare.prepare(request(source, near=0.8), tmp_path / "out")
    assert {k: n for k, n in manifest["dropped"].items() if n} == {"near_duplicate": 1}
    assert sorted(kept(tmp_path / "out")) == sorted([*first, other])


class Killed(Exception):
    pass


@pytest.mark.parametrize("writes", [1, 6, 14])
def test_a_stop_is_made_good(made, tmp_path, monkeypatch, writes):
    source = write(tmp_path / "a.jsonl", PAIRS)
    write_file, left = shards._write, iter(range(writes))

    def limited(path, data):
        if next(left, None) is None:
            raise Killed
        return write_file(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "_write", limited)
        with pytest.raises(Killed):
            prepare.prepare(request(source), tmp_path / "out")
    prepare.prepare(request(source), tmp_path / "out")
    for path in made.glob("[thk]*-*"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_columns_are_pairs_as_fields_are(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    import pyarrow

    rows = [{"fr": target, "x": 1, "en": source} for source, target in PAIRS]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    write(tmp_path / "a.jsonl", PAIRS)
    one, two = (
        list(readers.documents(str(tmp_path / name), "en", "fr"))
        for name in ("a.jsonl", "a.parquet")
    )
    assert one == two == [UNIT.join(pair) for pair in PAIRS]


def test_fields_of_a_field_are_pairs_too(tmp_path):
    """As translations often are: {"translation": {"en": ..., "fr": ...}}."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    import pyarrow

    rows = [
        {"translation": {"en": source, "fr": target}, "a.b": "x"}
        for source, target in PAIRS[:9]
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for name in ("a.jsonl", "a.parquet"):
        path, fields = str(tmp_path / name), ("translation.en", "translation.fr")
        found = list(readers.documents(path, *fields))
        assert found == [UNIT.join(pair) for pair in PAIRS[:9]]
        assert list(readers.documents(path, "a.b")) == ["x"] * 9
        with pytest.raises(ConfigError, match="no field 'translation.de'; give"):
            list(readers.documents(path, "translation.de"))
        with pytest.raises(ConfigError, match="dict in field 'translation' and not"):
            list(readers.documents(path, "translation"))


@pytest.mark.parametrize(
    "name, target, message",
    [
        ("a.txt", "fr", "--target_field 'fr' names a field and .*a.txt has none"),
        ("a.jsonl", "de", "a.jsonl:1 has no field 'de'; give --target_field"),
        (
            "a.jsonl",
            "id",
            "int in field 'id' and not text; give another --target_field",
        ),
    ],
)
def test_rows_without_both_fields_are_named(tmp_path, name, target, message):
    write(tmp_path / name, PAIRS[:2])
    with pytest.raises(ConfigError, match=message) as error:
        list(readers.documents(str(tmp_path / name), "en", target))
    assert "\n" not in str(error.value)


def test_a_column_that_is_no_target_is_answered_with_its_flag(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    import pyarrow

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"en": ["x"]}), path)
    with pytest.raises(ConfigError, match="'fr'; give --target_field, one of en"):
        list(readers.documents(str(path), "en", "fr"))


def test_a_text_is_no_pair_with_itself(tmp_path):
    source = write(tmp_path / "a.jsonl", PAIRS)
    with pytest.raises(ConfigError, match="--target_field 'en' is --field too"):
        prepare.prepare(request(source, target_field="en"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_program_counts_pairs_filters_none_and_says_how_to_train(tmp_path):
    source = write(tmp_path / "a.jsonl", [*PAIRS, PAIRS[7]])
    command = [sys.executable, "-m", "experiments.prepare", f"--source={source}"]
    command += [f"--out={tmp_path / 'out'}", "--field=en", "--target_field=fr"]
    done = subprocess.run(
        [*command, "--near=0", "--workers=1"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"(\w+) +([\d,]+) pairs", done.stdout)
    assert counts[:2] == [("read", "201"), ("exact_duplicate", "1")]
    assert sum(int(number) for _, number in counts[2:]) == 200
    assert "objective.name=conditional" in done.stdout.splitlines()[-1]


# ------------------------------------------------------------- what is no pair


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"source": "stdlib"}, "config.data.source 'stdlib' has texts"),
        (
            {"mixture": (("pairs:a.tsv", 1.0), ("stdlib", 1.0))},
            "config.data.mixture ('pairs:a.tsv', 'stdlib') has texts",
        ),
    ],
)
def test_an_even_number_of_texts_is_not_taken_for_pairs(
    tmp_path, monkeypatch, settings, named
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(corpus.sources.SOURCES, "stdlib", lambda _: ["a b"] * 4 + GOOD)
    lines = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
    (tmp_path / "a.tsv").write_text(lines)
    data = replace(DATA, **settings)
    config = replace(config_of("conditional"), data=data)
    found = corpus.build(data)
    with pytest.raises(ConfigError, match=re.escape(named)) as error:
        objectives.task_on(config, found)
    assert "\n" not in str(error.value) and "--target_field" in str(error.value)
    other = replace(config, objective=schema.Objective(name="causal"))
    assert objectives.task_on(other, found)


def test_texts_that_were_prepared_are_no_pairs(tmp_path):
    source = write(tmp_path / "a.jsonl", PAIRS)
    prepare.prepare(request(source, target_field=""), tmp_path / "out")
    data = replace(DATA, source="prepared", path=str(tmp_path / "out"))
    assert not corpus.build(data).pairs
    with pytest.raises(ConfigError, match="another request .*target_field"):
        prepare.prepare(request(source), tmp_path / "out")


def test_half_a_pair_and_a_single_pair_are_not_taken(tmp_path):
    path = tmp_path / "a.tsv"
    data = replace(DATA, source="pairs", path=str(path))
    path.write_text("a\tb\nc\t \nd\te\n")
    found = corpus.build(data)
    assert found.record["documents"] == 2
    path.write_text("a\tb\n")
    with pytest.raises(ConfigError, match="a.tsv' has a single pair"):
        corpus.build(data)
