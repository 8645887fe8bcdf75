"""A preparation keeps what it should, goes on after a kill, and is read as a corpus."""

import hashlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import corpus, prepare, shards, tokenizers
from jaxlm.data.request import Request

ROOT = Path(__file__).parent.parent
DATA = schema.Data(held_out=0.2)


def prose(number: int) -> str:
    """A document of 80 words that resembles no other."""
    rng = random.Random(number)
    letters = "abcdefghijklmnoprstuvwy"
    return " ".join("".join(rng.choices(letters, k=5)) for _ in range(80)) + " é."


GOOD = [prose(number) for number in range(60)]
NEAR = GOOD[0].replace(GOOD[0].split()[40], "other")  # 5 of 77 shingles are new
BAD = [GOOD[7], "too short", NEAR, " ", GOOD[59] + "\n", "5 " * 60, "word\0" + GOOD[9]]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> str:
    """60 good documents, and among them some to be dropped; 7 shards of 4 KiB."""
    path = tmp_path_factory.mktemp("source") / "a.jsonl"
    texts = [*GOOD[:20], *BAD[:2], *GOOD[20:], *BAD[2:]]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def request(source: str, **changes) -> Request:
    return Request(**dict(source=source, data=DATA, chunk=4096) | changes)


def content(directory: Path) -> dict[str, str]:
    """Every file's hash, but the lock's."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.iterdir())
        if path.name != ".lock"
    }


@pytest.fixture(scope="module")
def made(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    prepare.prepare(request(source), out)
    return out


def documents(ids, offsets, tokenizer) -> list[str]:
    """The documents between offsets, each without the separator that ends it."""
    spans = zip(offsets[:-1], offsets[1:], strict=True)
    texts = [tokenizer.decode(ids[start:stop]) for start, stop in spans]
    assert all(text.endswith("\0") for text in texts)
    return [text[:-1] for text in texts]


def test_good_documents_are_kept_in_order_each_in_its_part(made):
    found = shards.load(made)
    assert len(found.manifest["shards"]) > 5
    byte = tokenizers.ByteTokenizer()
    train = documents(found.train, shards.offsets(found, "train"), byte)
    held_out = documents(found.held_out, shards.offsets(found, "held_out"), byte)
    last = "word" + GOOD[9]  # near to GOOD[9], and so left out
    assert last not in train + held_out
    assert (train, held_out) == corpus.split(GOOD, 0.2)


def test_every_document_is_counted_once_with_the_reason(made):
    manifest = shards.load(made).manifest
    dropped = {name: n for name, n in manifest["dropped"].items() if n}
    assert dropped == {
        "empty": 1,
        "length": 1,
        "word_length": 1,
        "exact_duplicate": 2,
        "near_duplicate": 2,
    }
    kept = manifest["train"]["documents"] + manifest["held_out"]["documents"]
    assert manifest["read"]["documents"] == kept + sum(dropped.values()) == 67
    sizes = [manifest[part]["bytes"] for part in shards.PARTS]
    assert sum(sizes) == sum(len(text.encode()) for text in GOOD)


def test_the_index_says_which_documents_of_the_source_were_kept(made):
    kept = np.concatenate([np.load(path) for path in sorted(made.glob("kept-*"))])
    assert kept.tolist() == [*range(20), *range(22, 62)]


def test_the_manifest_names_the_text_by_its_hash(made, source):
    lines = Path(source).read_text().splitlines()
    text = "".join(json.loads(line)["text"].replace("\0", "") + "\0" for line in lines)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert shards.load(made).manifest["text_sha256"] == digest


def test_the_number_of_workers_changes_nothing(made, source, tmp_path):
    prepare.prepare(request(source), tmp_path, workers=2)
    assert content(tmp_path) == content(made)


def test_a_finished_preparation_has_shards_and_a_manifest_alone(made):
    kinds = {path.name.split("-")[0] for path in made.iterdir()}
    assert kinds == {".lock", "manifest.json", "train", "held_out", "kept"}
    assert not list(made.glob("*.partial"))


def test_progress_adds_up_to_the_text(source, tmp_path):
    seen = []
    manifest = prepare.prepare(request(source), tmp_path, advance=seen.append)
    assert sum(seen) == manifest["read"]["bytes"]
    assert len(seen) > 10


def test_a_finished_preparation_is_left_as_it_is(source, tmp_path):
    copy = tmp_path / "a.jsonl"
    copy.write_text(Path(source).read_text())
    first = prepare.prepare(request(str(copy)), tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    copy.unlink()
    assert prepare.prepare(request(str(copy)), tmp_path / "out") == first
    before.pop(tmp_path / "out/.lock")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_source_that_was_changed_since_is_refused(source, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    first = folder / "a.jsonl"
    first.write_text(Path(source).read_text())
    asked = request(str(folder))
    made = prepare.prepare(asked, out)
    assert made["files"] == {str(first): first.stat().st_size}

    def again():
        return prepare.prepare(asked, out)

    (folder / "b.jsonl").write_text('{"text": "more"}\n')
    with pytest.raises(ConfigError, match=r"b.jsonl: absent -> 17\); restore it or"):
        again()
    (folder / "b.jsonl").unlink()
    text, later = first.read_text(), time.time() + 60
    first.write_text(text + "\n")
    with pytest.raises(ConfigError, match=r"a.jsonl: \d+ -> \d+\); restore it or"):
        again()
    first.write_text(text.replace(GOOD[5][:3], "xyz"))
    os.utime(first, (later, later))
    with pytest.raises(ConfigError, match="was changed since .*as many bytes"):
        again()
    first.write_text(text)
    os.utime(first, (later, later))
    assert again() == made


class Killed(Exception):
    pass


def stop_after(monkeypatch, writes: int):
    """Lets so many files be written, and then nothing more."""
    write, left = shards._write, iter(range(writes))

    def limited(path, data):
        if next(left, None) is None:
            raise Killed
        return write(path, data)

    monkeypatch.setattr(shards, "_write", limited)


@pytest.mark.parametrize("writes", [0, 1, 3, 7, 8, 20, 43, 44])
def test_a_stop_after_any_file_is_made_good(
    made, source, tmp_path, monkeypatch, writes
):
    with monkeypatch.context() as patch:
        stop_after(patch, writes)
        with pytest.raises(Killed):
            prepare.prepare(request(source), tmp_path)
    prepare.prepare(request(source), tmp_path)
    assert content(tmp_path) == content(made)


def start(source, out, printed) -> subprocess.Popen:
    """The program itself, in another process group, printing to a file."""
    command = [
        *(sys.executable, "-m", "experiments.prepare", f"--source={source}"),
        *(f"--out={out}", "--held_out=0.2", "--shard_mib=1", "--workers=2"),
    ]
    with open(printed, "w") as file:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True
        )


def members(group: int) -> list[str]:
    """Command lines of the processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) == group:
                found.append((path / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return [line for line in found if line]


def test_a_killed_program_goes_on_and_leaves_no_process(tmp_path):
    if not Path("/proc/self").exists():
        pytest.skip("processes are found in /proc")
    rng = random.Random(0)
    texts = [prose(n) for n in range(9_000)]
    texts += rng.sample(texts, 500)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "a.jsonl").write_text(lines)
    whole, out, printed = (tmp_path / name for name in ("whole", "out", "printed"))
    data = schema.Data(held_out=0.2)
    once = request(str(tmp_path / "a.jsonl"), data=data, chunk=2**20)
    assert prepare.prepare(once, whole)["dropped"]["exact_duplicate"] == 500
    kills, reached = 0, []
    for shard in (0, 1):
        program = start(tmp_path / "a.jsonl", out, printed)
        record = out / f"shard-{shard:05}.json"
        while not record.exists() and program.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        program.kill()
        program.wait()
        kills += program.returncode == -signal.SIGKILL
        reached.append(len(list(out.glob("shard-*.json"))))
        deadline = time.monotonic() + 20
        while members(program.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert members(program.pid) == []
    assert kills == 2 and reached == sorted(reached)
    program = start(tmp_path / "a.jsonl", out, printed)
    assert program.wait() == 0, printed.read_text()
    assert content(out) == content(whole)
    assert re.search(r"exact_duplicate\s+500 documents", printed.read_text())


def test_another_text_than_before_is_refused(source, tmp_path, monkeypatch):
    lines = Path(source).read_text().splitlines(keepends=True)
    copy = tmp_path / "a.jsonl"
    copy.write_text("".join(lines))
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(Killed):
            prepare.prepare(request(str(copy)), tmp_path / "out")
    first = json.loads((tmp_path / "out/shard-00000.json").read_text())["read"]
    for changed in (
        ['{"text": "new"}\n', *lines[1:]],
        lines[:3],
        lines[: first["documents"]],
    ):
        copy.write_text("".join(changed))
        with pytest.raises(ConfigError, match="is not the text that .* begun with"):
            prepare.prepare(request(str(copy)), tmp_path / "out")


def test_another_request_than_before_is_refused(made, source, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="another request .near: 0.8 -> 0.0"):
        prepare.prepare(request(source, near=0.0), made)
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(Killed):
            prepare.prepare(request(source), tmp_path)
    with pytest.raises(ConfigError, match="another request .data.held_out: 0.2 -> 0.3"):
        prepare.prepare(request(source, data=replace(DATA, held_out=0.3)), tmp_path)


@pytest.mark.parametrize("name", ["train-00000.bin", "kept-00001.npy"])
def test_a_stopped_preparation_with_a_file_cut_short_is_refused(
    source, tmp_path, monkeypatch, name
):
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(Killed):
            prepare.prepare(request(source), tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ConfigError, match=f"{name} has .* were written"):
        prepare.prepare(request(source), tmp_path)


def test_two_preparations_of_one_directory_are_refused(source, tmp_path):
    with (
        prepare.claim(tmp_path, "out"),
        pytest.raises(ConfigError, match="written by another process"),
    ):
        prepare.prepare(request(source), tmp_path)


@pytest.mark.parametrize("texts", [[], ["short"], [GOOD[0], GOOD[0]]])
def test_a_source_that_leaves_nothing_says_what_was_dropped(tmp_path, texts):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts)
    )
    message = (
        f"has {len(texts)} documents and leaves none to (train on|hold out) .dropp"
    )
    with pytest.raises(ConfigError, match=message) as error:
        prepare.prepare(request(str(tmp_path / "a.jsonl")), tmp_path / "out")
    assert "\n" not in str(error.value)


def test_without_rules_and_duplicates_every_text_is_kept(source, tmp_path):
    manifest = prepare.prepare(request(source, rules=(), near=0.0), tmp_path)
    assert {k: v for k, v in manifest["dropped"].items() if v} == {
        "empty": 1,
        "exact_duplicate": 2,
    }


def write(directory: Path, files: dict[str, str]) -> dict[str, str]:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return content(directory)


@pytest.mark.parametrize(
    "files",
    [
        {"notes.partial": "mine", "shard-list.json": "[]"},
        {"request.json": '{"id": 7}'},  # of another program
        {"shard-00000.json": "{}", "train-00000.bin": ""},  # whose request is gone
    ],
    ids=["notes", "request", "records"],
)
def test_files_of_others_stay_as_they_are(source, tmp_path, files):
    before = write(tmp_path / "out", files)
    with pytest.raises(ConfigError, match="out has other files; give an empty") as why:
        prepare.prepare(request(source), tmp_path / "out")
    assert "\n" not in str(why.value)
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("pattern", ["", "**/*", "*/*.json"])
def test_what_is_written_is_never_read_as_a_document(tmp_path, pattern):
    texts = tmp_path / "texts"
    before = write(texts / "a", {"a.json": json.dumps({"text": GOOD[0]})})
    asked = request(str(texts / pattern))
    for _ in range(2):
        with pytest.raises(ConfigError, match="is inside of --source .*another --out"):
            prepare.prepare(asked, texts / "out")
        assert content(texts / "out") == {} and content(texts / "a") == before


def test_a_glob_that_passes_by_the_output_may_have_it_beside(source, made, tmp_path):
    (tmp_path / "a.jsonl").write_text(Path(source).read_text())
    prepare.prepare(request(f"{tmp_path}/**/*.jsonl"), tmp_path / "out")
    first = "train-00000.bin"
    assert (tmp_path / "out" / first).read_bytes() == (made / first).read_bytes()


# -------------------------------------------------------------------- as a corpus


def prepared(out, **changes) -> schema.Data:
    return replace(DATA, source="prepared", path=str(out), **changes)


def test_a_prepared_corpus_is_the_corpus_of_its_documents(made, monkeypatch):
    found = corpus.build(prepared(made))
    monkeypatch.setitem(corpus.sources.SOURCES, "given", lambda _: list(GOOD))
    direct = corpus.build(replace(DATA, source="given"))
    for part in shards.PARTS:
        ids, expected = getattr(found, part), getattr(direct, part)
        assert ids[:].tolist() == [*expected.tolist(), 0]  # each document has an end
    edges, expected = found.held_out_offsets, direct.held_out_offsets
    assert edges[:-1].tolist() == expected[:-1].tolist()
    assert edges[-1] == len(found.held_out)
    assert found.bytes_per_token == direct.bytes_per_token == 1
    assert found.tokenizer == direct.tokenizer
    assert json.loads(json.dumps(found.record)) == found.record
    assert found.record["documents"] == 60
    assert found.record["train_tokens"] + found.record["held_out_tokens"] == (
        found.record["bytes"] + 60
    )


def test_a_tokenizer_that_learns_is_kept_with_the_shards(source, tmp_path):
    data = replace(DATA, tokenizer="character")
    prepare.prepare(request(source, data=data), tmp_path)
    found = corpus.build(prepared(tmp_path, tokenizer="character"))
    train, _ = corpus.split(GOOD, 0.2)
    assert found.tokenizer.decode(found.train[:]) == "".join(t + "\0" for t in train)
    letters = Counter("".join(GOOD) + "\0")
    assert found.tokenizer.vocab_size == len(letters)
    held_out = found.held_out_offsets[-1] / found.bytes_per_token
    assert held_out < len(found.held_out) * 1.0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"path": ""}, "config.data.path '' names no prepared corpus"),
        ({"path": "nowhere"}, "nowhere has no manifest.json and is no prepared corpus"),
        ({"held_out": 0.3}, "config.data.held_out 0.3 is not the 0.2 that"),
        (
            {"tokenizer": "character"},
            "config.data.tokenizer 'character' is not the 'by",
        ),
    ],
)
def test_settings_that_do_not_fit_the_shards_are_one_line(made, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        corpus.build(replace(prepared(made), **changes))
    assert "\n" not in str(error.value)


def test_ids_of_another_tokenizer_are_refused(made):
    assert corpus.build(prepared(made), tokenizers.ByteTokenizer()).record
    with pytest.raises(ConfigError, match="ids of another tokenizer .byte."):
        corpus.build(prepared(made), tokenizers.CharacterTokenizer("ab"))


def test_the_program_says_how_to_train_and_what_is_wrong_in_one_line(made, source):
    def run(*flags):
        command = [sys.executable, "-m", "experiments.prepare", *flags]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    same = f"--source={source}", f"--out={made}", "--held_out=0.2"
    refused = run(*same, "--limit=least_words=3")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "another request (chunk: 4096 -> 67108864; limits.least_w" in refused.stderr
    verified = run(f"--out={made}", "--verify")
    assert verified.returncode == 0 and "bytes are as they were" in verified.stdout


def test_the_program_needs_no_source_again_and_quotes_its_path(source, tmp_path):
    copy, out = tmp_path / "a.jsonl", tmp_path / "it's out"
    copy.write_text(Path(source).read_text())
    command = [sys.executable, "-m", "experiments.prepare", f"--source={copy}"]
    command += [f"--out={out}", "--held_out=0.2", "--workers=1"]
    printed = []
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
        copy.unlink(missing_ok=True)
    assert printed[0] == printed[1]
    words = shlex.split(printed[0].splitlines()[-1])
    assert f"--config.data.path={out}" in words
