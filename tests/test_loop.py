"""A run: the same bits whatever happens to it, and nothing written is ever lost."""

import json
import os
import signal
import threading
import time

import jax
import numpy as np
import pytest

from jaxlm.core import schema
from jaxlm.core.claims import claim
from jaxlm.core.config import ConfigError, override
from jaxlm.train import loop, metrics, run, workdir
from jaxlm.train.metrics import Metrics, NotFinite

SMALL = override(
    schema.Experiment(),
    {
        "model.width": 16,
        "model.depth": 1,
        "model.heads": 2,
        "model.context": 16,
        "data.batch": 8,
        "data.source": "files",
        "train.steps": 12,
        "train.log_every": 2,
        "evaluation.every": 6,
        "evaluation.batches": 2,
        "checkpoint.every": 4,
        "mesh.data": 8,
    },
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    words = np.random.default_rng(0).integers(100, size=(400, 12))
    path.write_text("\n\n".join(" ".join(map(str, row)) for row in words))
    return override(SMALL, {"data.path": str(path)})


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    result = loop.train(config, folder)
    return folder, result


def leaves(folder):
    return [np.asarray(x) for x in jax.tree.leaves(run.load(folder).params)]


def assert_same_bits(one, other):
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def stop_at(step, monkeypatch, how):
    """Calls `how()` once, just before the metrics of that step are written down."""
    add = Metrics.add

    def counted(self, done, values):
        add(self, done, values)
        if done == step:
            how()

    monkeypatch.setattr(Metrics, "add", counted)


def test_the_same_seed_gives_the_same_bits(config, whole, tmp_path):
    result = loop.train(config, tmp_path / "again")
    assert result == whole[1]
    assert_same_bits(whole[0], tmp_path / "again")


def test_another_seed_gives_another_model(config, whole, tmp_path):
    loop.train(override(config, {"train.seed": 1}), tmp_path / "other")
    pairs = zip(leaves(whole[0]), leaves(tmp_path / "other"), strict=True)
    assert any((a != b).any() for a, b in pairs)


@pytest.mark.parametrize("step", [6, 7])  # an evaluation is due at 6
def test_resuming_after_sigterm_is_the_uninterrupted_run_bit_for_bit(
    step, config, whole, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        stop_at(step, patch, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert loop.train(config, tmp_path) == loop.Stopped(step)
    assert run.load(tmp_path).step == step
    assert loop.train(config, tmp_path) == whole[1]
    assert_same_bits(whole[0], tmp_path)
    assert rows(tmp_path) == rows(whole[0])


def test_resuming_after_a_crash_is_the_uninterrupted_run_bit_for_bit(
    config, whole, tmp_path, monkeypatch
):
    def crash():
        raise KeyError("power cut")

    with monkeypatch.context() as patch:
        stop_at(11, patch, crash)
        with pytest.raises(KeyError):
            loop.train(config, tmp_path)
    assert run.load(tmp_path).step == 8
    assert loop.train(config, tmp_path) == whole[1]
    assert_same_bits(whole[0], tmp_path)
    assert rows(tmp_path) == rows(whole[0])


def rows(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


def test_a_finished_run_is_left_as_it_is(config, whole):
    before = rows(whole[0])
    assert loop.train(config, whole[0]) == whole[1]
    assert rows(whole[0]) == before


def test_training_learns(whole):
    losses = [json.loads(row) for row in rows(whole[0])]
    losses = [row["loss"] for row in losses if row["kind"] == "train"]
    assert losses[-1] < losses[0]


def test_evaluating_the_run_again_gives_its_own_result(config, whole):
    trained = run.load(whole[0])
    again = run.evaluate(trained, trained.config)  # on one device, not on eight
    assert again == pytest.approx(whole[1], rel=1e-6)


def test_perplexity_and_bits_are_the_loss_in_other_units(whole):
    found = whole[1]
    assert found.perplexity == pytest.approx(np.exp(found.loss))
    assert found.bits_per_byte == pytest.approx(found.loss / np.log(2))  # bytes


def test_a_loss_of_some_tokens_alone_is_not_told_in_bits_a_byte(config, tmp_path):
    changes = {"objective.name": "prefix", "train.steps": 1}
    result = loop.train(override(config, changes), tmp_path)
    assert result.bits_per_byte is None and "bits" not in str(result)
    assert str(result).startswith(f"loss {result.loss:.4f} nats/token")
    written = [json.loads(row) for row in rows(tmp_path)]
    assert not any("bits_per_byte" in row for row in written)


def test_a_nan_stops_with_its_step_and_the_last_good_checkpoint(
    config, tmp_path, monkeypatch
):
    add = Metrics.add

    def poisoned(self, done, values):
        add(self, done, values | {"loss": np.nan} if done == 7 else values)

    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "add", poisoned)
        with pytest.raises(ConfigError, match="loss is nan at step 7.*checkpoints/4"):
            loop.train(config, tmp_path)
    assert run.load(tmp_path).step == 4


def test_a_diverging_learning_rate_is_named(config, tmp_path):
    wild = override(config, {"optimizer.learning_rate": 1e30})
    with pytest.raises(ConfigError, match=r"at step \d+;.*none was saved.*1e\+30"):
        loop.train(wild, tmp_path)


def test_another_configs_workdir_is_refused_with_the_difference(config, whole):
    other = override(config, {"model.width": 32})
    with pytest.raises(ConfigError, match="model.width: 16 -> 32") as error:
        loop.train(other, whole[0])
    assert "\n" not in str(error.value)
    assert workdir.settings(whole[0]).model.width == 16


@pytest.mark.parametrize("documents", ["joined", "packed"])
def test_a_run_says_how_often_it_reads_its_text_and_how_much_is_padding(
    config, tmp_path, documents
):
    run_of = override(config, {"objective.documents": documents})
    loop.train(run_of, tmp_path)
    told = workdir.read_json(tmp_path / "corpus.json")
    read = config.train.steps * config.data.batch * config.model.context
    kept = 1 - told["padding"]
    # Windows leave out up to two of themselves; rows of padding are counted as read.
    assert told["epochs"] * told["train_tokens"] == pytest.approx(read * kept, rel=0.05)
    assert (told["padding"] > 0) == (documents == "packed")


def test_changed_text_under_the_same_path_is_refused(config, whole, tmp_path):
    copy = tmp_path / "text.txt"
    copy.write_text("\n\n".join(f"Other text, line {i}." for i in range(900)))
    moved = override(config, {"data.path": str(copy)})
    loop.train(moved, tmp_path / "run")
    copy.write_text(copy.read_text().replace("Other", "Newer"))
    with pytest.raises(ConfigError, match="corpus.json differs: .*sha256"):
        loop.train(moved, tmp_path / "run")


def test_evaluating_on_changed_text_is_refused(config, tmp_path):
    copy = tmp_path / "text.txt"
    copy.write_text("\n\n".join(f"Other text, line {i}." for i in range(900)))
    moved = override(config, {"data.path": str(copy)})
    loop.train(moved, tmp_path / "run")
    copy.write_text(copy.read_text().replace("Other", "Newer"))
    trained = run.load(tmp_path / "run")
    with pytest.raises(ConfigError, match="gives other text here"):
        run.evaluate(trained, trained.config)


def test_two_writers_of_one_workdir_are_refused(config, tmp_path):
    with (
        claim(tmp_path, "workdir"),
        pytest.raises(ConfigError, match="another process"),
    ):
        loop.train(config, tmp_path)


def test_a_cut_off_line_of_metrics_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "kind": "train"}\n{"step": 2, "ki')
    with Metrics(tmp_path, start=5, every=1):
        assert path.read_text() == '{"step": 1, "kind": "train"}\n'


def test_a_step_that_is_no_number_is_found_among_many(tmp_path):
    with Metrics(tmp_path, start=0, every=10) as log:
        for step in range(1, 6):
            log.add(step, {"loss": np.inf if step >= 3 else 1.0})
        with pytest.raises(NotFinite, match="loss is inf at step 3"):
            log.flush(tokens_per_step=1)


def test_tensorboard_holds_the_numbers_of_the_jsonl(whole):
    found = list((whole[0] / "tensorboard").glob("events.*"))
    assert found and b"held_out/bits_per_byte" in found[0].read_bytes()


def test_a_second_interrupt_is_not_swallowed():
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    with pytest.raises(KeyboardInterrupt), loop.graceful_stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(config, tmp_path):
    small = override(config, {"model.vocab_size": 100})
    with pytest.raises(ConfigError, match="vocab_size 100 is smaller.*256"):
        loop.train(small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tokens_a_second_are_tokens_over_seconds(tmp_path, monkeypatch):
    clock = iter([10.0, 14.0, 14.0])
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: next(clock))
    with Metrics(tmp_path, start=0, every=1) as log:
        log.add(1, {"loss": 1.0})
        log.add(2, {"loss": 1.0})
        assert log.flush(tokens_per_step=100)["tokens_per_second"] == 50.0
