"""The grid: which pairs there are, what is equal among them, and every pair once."""

import csv
import json
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxlm.core import schema
from jaxlm.core.batch import Batch
from jaxlm.core.config import ConfigError, from_mapping, override
from jaxlm.data import corpus as corpora
from jaxlm.data import objectives
from jaxlm.data.tokenizers import ByteTokenizer
from jaxlm.grid import findings, pairs, report, results
from jaxlm.grid import run as grids
from jaxlm.scaling import cost
from jaxlm.train import loop
from jaxlm.train import run as runs
from jaxlm.train import step as steps
from jaxlm.train.schedules import Hyper

ROOT = Path(__file__).parent.parent
BYTES = ByteTokenizer()
KINDS = ("causal_decoder", "prefix_decoder", "encoder_decoder", "encoder")
NAMES = ("causal", "prefix", "masked", "span", "ul2")
SENSIBLE = {
    *(("causal_decoder", name) for name in ("causal", "prefix", "span", "ul2")),
    *(("prefix_decoder", name) for name in ("prefix", "span", "ul2")),
    *(("encoder_decoder", name) for name in ("prefix", "masked", "span", "ul2")),
    ("encoder", "masked"),
}


def config_of(argument="", **changes):
    get_config = runpy.run_path(str(ROOT / "configs/grid.py"))["get_config"]
    config = from_mapping(schema.Experiment, get_config(argument))
    return override(config, changes)


def models(config):
    """The model of each pair that can be trained, by (kind, objective)."""
    cells = pairs.pairs(config, BYTES)
    return {
        (cell.kind, cell.objective): cell
        for cell in cells
        if cell.config and not cell.after
    }


def test_the_pairs_are_those_that_make_sense_and_the_others_say_why():
    cells = [cell for cell in pairs.pairs(config_of(), BYTES) if not cell.after]
    assert len(cells) == len(KINDS) * len(NAMES)
    trained = {(cell.kind, cell.objective) for cell in cells if cell.config}
    assert trained == SENSIBLE
    for cell in cells:
        assert (len(cell.refused) > 20) == (cell.config is None)


@pytest.mark.parametrize("width, depth", [(64, 4), (96, 6), (512, 8)])
def test_equal_parameters_are_within_a_hundredth(width, depth):
    config = config_of(**{"model.width": width, "model.depth": depth})
    counts = {
        pair: cost.counts(cell.config.model).total
        for pair, cell in models(config).items()
    }
    assert max(counts.values()) < 1.01 * min(counts.values())
    both = models(config)["encoder_decoder", "prefix"].config.model
    assert depth // 2 - 1 <= both.depth == both.layers_of_encoder <= depth // 2


@pytest.mark.parametrize("width, depth", [(64, 4), (96, 6), (512, 8)])
def test_equal_flops_are_within_a_hundredth(width, depth):
    config = config_of(
        **{"model.width": width, "model.depth": depth, "grid.equal": "flops"}
    )
    flops = [cell.flops_a_token for cell in models(config).values()]
    assert max(flops) < 1.01 * min(flops)


def test_with_equal_flops_two_stacks_have_twice_the_parameters():
    """Raffel et al. 2019, section 3.2.2: each token passes one of the two.

    Where the context is short beside the width; attention to half of it is cheaper.
    """
    wide = {"model.width": 1024, "model.depth": 8, "grid.equal": "flops"}
    cells = models(config_of(**wide))
    decoder, both = (
        cost.counts(cells[kind, "prefix"].config.model).non_embedding
        for kind in ("causal_decoder", "encoder_decoder")
    )
    assert both / decoder == pytest.approx(2, rel=0.02)


def test_flops_of_two_towers_are_counted_by_hand():
    """Width 8, one layer a side, 2 heads, 16 tokens: 8 to read and 8 to write."""
    model = schema.Model(
        vocab_size=10,
        context=16,
        width=8,
        depth=1,
        heads=2,
        positions="rope",
        biases="none",
        norm="rms",
        architecture="encoder_decoder",
    )
    attention, mlp, words = 4 * 8 * 8, 2 * 8 * 32, 8 * 10
    products = 2 * (3 * attention + 2 * mlp + 2 * words)  # of a source and a target
    looked = 3 * (2 * 2 * 8 * 8 + 3 * 2 * 8)  # scores, values and softmax, 8 keys
    assert pairs.flops_a_token(model) == 3 * (products + looked) / 2


@pytest.mark.parametrize(
    "kind, name, published",
    [("causal_decoder", "causal", 4.8e9), ("encoder_decoder", "span", 11.0e9)],
)
def test_the_papers_sizes_are_those_it_publishes(kind, name, published):
    """Wang et al. 2022 (arXiv 2204.05832), table 1: 4.8B and 11.0B."""
    cell = models(config_of("paper"))[kind, name]
    assert cost.counts(cell.config.model).total == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("pair", sorted(SENSIBLE), ids="-".join)
def test_the_papers_runs_trace(pair):
    config = models(config_of("paper"))[pair].config
    config = override(config, {"mesh.data": 1})
    program = steps.build(config, jax.devices()[:1])
    task = objectives.task(config, BYTES)
    time, encoder_time = objectives.get(config.objective).lengths(task)
    rows = config.data.batch
    ids = jax.ShapeDtypeStruct((rows, time), "int32")
    read = jax.ShapeDtypeStruct((rows, encoder_time), "int32")
    batch = Batch(ids, ids, jax.ShapeDtypeStruct((rows, time), "float32"))
    if encoder_time:
        batch = batch._replace(encoder_inputs=read)
    program.trace(batch, Hyper.of(config))


@pytest.mark.parametrize("context", [64, 128, 626])
def test_every_pair_reads_about_as_many_tokens(context):
    config = config_of(**{"model.context": context, "grid.questions": 0})
    for pair, cell in models(config).items():
        task = objectives.task(cell.config, BYTES)
        read = sum(objectives.get(cell.config.objective).lengths(task))
        assert 0.97 * context <= read <= context, pair


def test_the_papers_lengths_of_span_corruption():
    """Wang et al. 2022, section 4.1: 512 tokens to the encoder, 114 to the decoder."""
    settings = schema.Objective(name="span")
    assert pairs.lengths(settings, 626) == (512, 114)


def flags_of(command):
    """{'--name': 'value'} of a command in a docstring."""
    words = shlex.split(command.replace("\\\n", " "))
    return dict(word.split("=", 1) for word in words if word.startswith("--"))


def test_the_papers_ids_are_prepared_as_its_config_reads_them():
    """What `experiments.prepare` is told in the docstring, and config.data."""
    text = runpy.run_path(str(ROOT / "configs/grid.py"))["__doc__"]
    (command,) = (
        block for block in text.split("\n\n") if "experiments.prepare" in block
    )
    flags = flags_of(command[: command.index("python -m experiments.grid")])
    data = config_of("paper").data
    assert data.source == "prepared" and flags["--out"] == data.path
    assert flags["--tokenizer"] == data.tokenizer
    assert int(flags["--tokenizer_size"]) == data.tokenizer_size
    assert float(flags["--held_out"]) == data.held_out


def test_the_papers_ids_hold_those_that_objectives_add():
    class Large(ByteTokenizer):
        vocab_size = config_of("paper").data.tokenizer_size

    open_ended = config_of("paper", **{"model.vocab_size": None})
    needed = pairs.with_vocabulary(open_ended, Large()).model.vocab_size
    assert Large.vocab_size < needed <= config_of("paper").model.vocab_size


def test_the_paper_without_its_ids_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="data/c4 .* experiments.prepare") as error:
        grids.grid(config_of("paper", **{"mesh.data": 1}), tmp_path / "grid")
    assert "\n" not in str(error.value) and not (tmp_path / "grid").exists()


def test_every_objective_is_on_the_page_of_objectives():
    trained = {name for _, name in models(config_of("objectives"))}
    assert trained == set(objectives.OBJECTIVES)


def test_a_mixture_suits_what_all_of_its_parts_do():
    config = config_of("objectives", **{"grid.kinds": KINDS})
    kinds = {kind for kind, name in models(config) if name == "mixture"}
    assert kinds == set(KINDS) - {"encoder"}
    mixture = (("causal", 1.0), ("span", 1.0))
    config = override(config, {"objective.mixture": mixture})
    kinds = {kind for kind, name in models(config) if name == "mixture"}
    assert kinds == {"causal_decoder"}


def test_an_objective_that_is_not_in_the_grid_asks_for_no_room():
    """In 4 tokens there is none for UL2's spans, and causal modeling needs none."""
    little = {"model.context": 4, "grid.context": 2, "grid.continuation": 2}
    alone = {"grid.kinds": ("causal_decoder",), "grid.adapt": ()}
    config = config_of(**little, **alone, **{"grid.objectives": ("causal",)})
    (cell,) = pairs.pairs(config, BYTES)
    assert cell.config.model.vocab_size >= BYTES.vocab_size
    wider = config_of(**little, **alone, **{"grid.objectives": ("ul2",)})
    (cell,) = pairs.pairs(wider, BYTES)
    with pytest.raises(ConfigError, match="context 4 has no room"):
        objectives.task(cell.config, BYTES)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"grid.kinds": ("decoder",)}, "config.grid.kinds 'decoder' is unknown"),
        ({"grid.objectives": ("next",)}, "config.grid.objectives 'next' is unknown"),
        ({"grid.kinds": ("encoder",), "grid.objectives": ("ul2",)}, "have no pair"),
        ({"model.positions": "learned"}, "config.model.positions 'learned'"),
        ({"grid.objectives": ("denoise",)}, "questions 500 cannot be .* 'denoise'"),
        (
            {"grid.adapt": (("encoder", "masked", "encoder", "mixture"),)},
            "cannot be asked of a model that learned 'mixture'",
        ),
        (
            {"grid.context": 120, "grid.continuation": 9},
            "context 120 and .* 9 are 129 tokens, and config.model.context is 128",
        ),
        ({"grid.adapt": (("encoder", "ul2", "encoder", "masked"),)}, "does not train"),
        (
            {"grid.adapt": (("encoder", "masked", "encoder", "ul2"),)},
            "ends with a pair that is none",
        ),
        (
            {"grid.adapt": (("encoder_decoder", "span", "causal_decoder", "causal"),)},
            "goes from one model to another",
        ),
    ],
)
def test_an_impossible_grid_is_one_line(changes, said):
    with pytest.raises(ConfigError, match=said) as error:
        pairs.pairs(config_of(**changes), BYTES)
    assert "\n" not in str(error.value)


def test_the_program_answers_a_wrong_grid_in_a_line(small, tmp_path):
    command = [sys.executable, "-m", "experiments.grid", "--config=configs/grid.py"]
    command += [f"--workdir={tmp_path / 'grid'}", "--config.data.source=files"]
    command += [f"--config.data.path={small.data.path}", "--config.grid.kinds=('gru',)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("grid: config.grid.kinds 'gru' is unknown")
    assert not (tmp_path / "grid").exists()


def test_entropy_is_of_what_is_asked_alone():
    """Targets 1, 1, 2, 3 with a weight, 9 without: 1/2 ln 2 + 2 (1/4 ln 4)."""
    weights = np.float32([[1, 1, 1], [0, 1, 0]])
    batch = Batch(None, np.array([[1, 1, 2], [9, 3, 9]]), weights)
    expected = np.log(2) / 2 + np.log(4) / 2
    assert grids.entropy([batch]) == pytest.approx(expected)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A grid of two kinds and two objectives, of a few steps each."""
    folder = tmp_path_factory.mktemp("text")
    for number in range(60):
        words = " ".join(f"{number} and {i}" for i in range(60))
        (folder / f"{number:02}.txt").write_text(words)
    return config_of(
        **{
            "model.width": 16,
            "model.depth": 2,
            "model.heads": 2,
            "model.context": 32,
            "data.source": "files",
            "data.path": str(folder),
            "data.held_out": 0.2,
            "train.steps": 6,
            "train.log_every": 1,
            "evaluation.batches": 2,
            "checkpoint.every": 3,
            "grid.kinds": ("causal_decoder", "encoder"),
            "grid.objectives": ("causal", "masked"),
            "grid.adapt": (("encoder", "masked", "causal_decoder", "causal"),),
            "grid.adapt_steps": 4,
            "grid.questions": 12,
            "grid.context": 12,
            "grid.continuation": 4,
            "grid.per": "bytes",
        }
    )


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """The grid, and its folder, that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with jax.default_device(jax.devices()[0]):
        return folder, grids.grid(small, folder, command="the command")


def table(folder):
    """results.csv without what depends on the clock."""
    with (folder / "results.csv").open() as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def test_each_pair_is_a_row_and_the_refused_are_told(whole):
    folder, done = whole
    assert (done.finished, done.planned, done.refused) == (3, 3, 2)
    assert [row["name"] for row in table(folder)] == [
        "causal_decoder-causal",
        "encoder-masked",
        "encoder-masked-to-causal_decoder-causal",
    ]
    assert all(float(row["chance"]) == 0.25 for row in table(folder))
    assert [row["steps"] for row in table(folder)] == ["6", "6", "4"]


def test_the_page_has_every_pair_and_needs_nothing_else(whole):
    for name in ("jinja2", "matplotlib"):
        pytest.importorskip(name, reason="pip install 'jaxlm[show]'")
    folder, _ = whole
    page = report.write(folder).read_text()
    for said in ("the command", "it sees them all", "encoder-masked", "±"):
        assert said in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png;base64,") == 3
    for name in ("accuracy", "loss", "curves"):
        assert (folder / f"report/{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_finished_is_not_done_again(whole, small, monkeypatch):
    folder, _ = whole
    monkeypatch.setattr(loop, "train", None)
    assert grids.grid(small, folder).finished == 3


def test_a_grid_may_not_change(whole, small):
    folder, _ = whole
    with pytest.raises(ConfigError, match="optimizer.learning_rate: 0.003 -> 0.01"):
        grids.grid(override(small, {"optimizer.learning_rate": 1e-2}), folder)


@pytest.fixture
def signal_at(monkeypatch):
    """A function that has a signal come once, at a step of the run that is chosen."""
    real, stops = loop.run_steps, []

    def arrange(chosen, at):
        def interrupted(setup, state, start, *rest):
            *_, stop = rest
            if chosen(setup.config) and not stops:
                batch_at = setup.batches.batch_at

                class Signalled:
                    tokens_a_step = setup.batches.tokens_a_step

                    def batch_at(self, step):
                        if step == at:
                            stops.append(step)
                            stop.set()
                        return batch_at(step)

                setup = setup._replace(batches=Signalled())
            return real(setup, state, start, *rest)

        monkeypatch.setattr(loop, "run_steps", interrupted)
        return stops

    return arrange


def test_an_interrupted_grid_goes_on_to_the_same_table(
    whole, small, tmp_path, signal_at
):
    """Stopped after the second pair's fourth step, and then run to its end."""
    stops = signal_at(lambda config: config.objective.name == "masked", 3)
    stopped = grids.grid(small, tmp_path)
    assert stops and stopped.finished == 1
    assert [row["name"] for row in table(tmp_path)] == ["causal_decoder-causal"]
    assert grids.grid(small, tmp_path).finished == 3
    assert table(tmp_path) == table(whole[0])


def test_a_grid_may_grow_while_a_pair_is_unfinished(whole, small, tmp_path, signal_at):
    """One objective, stopped within its pair; then the others are asked for too."""
    stops = signal_at(lambda config: True, 4)
    one = override(small, {"grid.objectives": ("causal",), "grid.adapt": ()})
    assert grids.grid(one, tmp_path).finished == 0 and stops
    assert any((tmp_path / "runs/causal_decoder-causal/checkpoints").iterdir())
    assert grids.grid(small, tmp_path).finished == 3
    assert table(tmp_path) == table(whole[0])


def test_a_smaller_grid_leaves_what_was_found_on_the_page(whole, small, tmp_path):
    for name in ("jinja2", "matplotlib"):
        pytest.importorskip(name, reason="pip install 'jaxlm[show]'")
    folder = shutil.copytree(whole[0], tmp_path / "grid")
    fewer = {"grid.kinds": ("encoder",), "grid.objectives": ("masked",)}
    done = grids.grid(override(small, fewer | {"grid.adapt": ()}), folder)
    assert (done.finished, done.planned) == (1, 1)
    page = report.write(folder).read_text()
    assert "causal_decoder-causal" in page and page.count("it sees them all") == 1
    facts = json.loads((folder / "grid.json").read_text())
    assert sorted(facts["kinds"]) == ["causal_decoder", "encoder"]
    assert sorted(facts["objectives"]) == ["causal", "masked"]
    refused = {(cell["kind"], cell["objective"]) for cell in facts["refused"]}
    assert refused == {("causal_decoder", "masked"), ("encoder", "causal")}


def test_a_grid_that_was_moved_goes_on_to_the_same_table(
    whole, small, tmp_path, signal_at, monkeypatch
):
    """Stopped within the adapted pair, moved, and named from where it now is."""
    stops = signal_at(lambda config: bool(config.train.start_from), 1)
    assert grids.grid(small, tmp_path / "here").finished == 2
    begun = tmp_path / "here/runs/encoder-masked-to-causal_decoder-causal"
    assert stops and any((begun / "checkpoints").iterdir())
    shutil.move(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    assert grids.grid(small, Path("there")).finished == 3
    assert table(tmp_path / "there") == table(whole[0])


def test_going_on_from_other_weights_is_one_line(whole, small, tmp_path):
    """The same settings but for the run to start from, which has other ones."""
    config = adapted(small, whole[0])
    loop.train(config, tmp_path / "run")
    other = str(whole[0] / "runs/causal_decoder-causal")
    config = override(config, {"train.start_from": other})
    with pytest.raises(ConfigError, match="config.json differs: started_from") as error:
        loop.train(config, tmp_path / "run")
    assert "\n" not in str(error.value)


def test_the_text_is_read_once_and_each_run_is_what_it_is_alone(
    whole, small, tmp_path, monkeypatch
):
    cells = pairs.pairs(small, BYTES)
    alone = loop.train(cells[0].config, tmp_path / "alone")
    assert float(table(whole[0])[0]["loss"]) == alone.loss
    real, built = corpora.build, []

    def build(*arguments):
        built.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(corpora, "build", build)
    assert grids.grid(small, tmp_path / "grid").finished == 3
    assert len(built) == 1


def test_a_grid_without_questions_has_every_objective_and_its_curve(tmp_path):
    for name in ("jinja2", "matplotlib"):
        pytest.importorskip(name, reason="pip install 'jaxlm[show]'")
    config = config_of(
        "objectives",
        **{
            "model.width": 16,
            "model.depth": 1,
            "model.heads": 2,
            "model.context": 32,
            "train.steps": 2,
            "train.log_every": 1,
            "evaluation.batches": 1,
            "grid.kinds": ("causal_decoder",),
            "grid.objectives": ("denoise", "conditional", "mixture"),
        },
    )
    done = grids.grid(config, tmp_path)
    assert (done.finished, done.refused) == (3, 0)
    assert {row["accuracy"] for row in table(tmp_path)} == {"nan"}
    page = report.write(tmp_path).read_text()
    assert "Questions" not in page and page.count("data:image/png;base64,") == 2
    drawn = {path.name for path in (tmp_path / "report").glob("*.png")}
    assert drawn == {"curves.png", "loss.png"}
    for said in ("denoise", "conditional", "mixture"):
        assert f"<td>{said}</td>" in page


def test_a_page_without_questions_says_how_many_learned_and_how_much():
    """Losses 2.0 and 3.4 of entropies 3.0 and 3.2: one is below, by 1 nat."""
    row = {"kind": "encoder_decoder", "objective": "span", "seconds": 2.2}
    rows = [
        row | {"loss": 2.0, "entropy": 3.0},
        row | {"loss": 3.4, "entropy": 3.2, "objective": "ul2"},
    ]
    said = findings.margins(rows)
    assert said.startswith("1 of them predict")
    both = "1.00 nats (the encoder-decoder with span)"
    assert f"by {both} to {both}. None took longer than 3 s." in said
    assert findings.margins(rows[:1]).startswith("All of them predict")


def test_the_table_is_right_while_it_is_being_written(tmp_path):
    table = results.Results(tmp_path)
    row = dict.fromkeys(results.COLUMNS, 1.0) | {"kind": "k", "objective": "o"}
    for name in ("b", "a"):
        table.add(row | {"name": name, "after": ""}, ["a", "b"])
        assert name in [row["name"] for row in results.read(tmp_path / "results.csv")]
    names = [row["name"] for row in results.read(tmp_path / "results.csv")]
    assert names == ["a", "b"]
    assert results.Results(tmp_path).rows == table.rows


def test_a_broken_table_is_one_line(tmp_path):
    (tmp_path / "results.csv").write_text("name,loss\na,high\n")
    with pytest.raises(ConfigError, match="is not the table of a grid") as error:
        results.Results(tmp_path)
    assert "\n" not in str(error.value)


def adapted(small, folder, **changes):
    start = str(folder / "runs/encoder-masked")
    cells = pairs.pairs(small, BYTES)
    (cell,) = (cell for cell in cells if cell.after)
    return override(cell.config, {"train.start_from": start, **changes})


def test_adapting_starts_from_the_weights_of_the_first_run(whole, small, tmp_path):
    config = adapted(small, whole[0])
    setup = loop.prepare(config)
    with loop.Checkpoints(tmp_path, config.checkpoint) as checkpoints:
        state, done = loop.restore(setup, checkpoints)
    first = runs.load(config.train.start_from)
    assert first.step == 6 and done == int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, first.params)
    assert first.config.objective.name == "masked"
    assert setup.config.objective.name == "causal"


def test_the_vocabulary_is_that_of_the_run_to_start_from(whole, small):
    config = adapted(small, whole[0], **{"model.vocab_size": None})
    first = json.loads((whole[0] / "runs/encoder-masked/config.json").read_text())
    size = first["config"]["model"]["vocab_size"]
    assert loop.prepare(config).config.model.vocab_size == size > 256


def test_weights_of_another_shape_are_one_line(whole, small, tmp_path):
    config = adapted(small, whole[0], **{"model.width": 8})
    with pytest.raises(ConfigError, match="width: 16 -> 8") as error:
        loop.train(config, tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_a_run_that_is_not_there_is_one_line(small, tmp_path):
    config = override(small, {"train.start_from": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="has no config.json") as error:
        loop.train(config, tmp_path / "run")
    assert "\n" not in str(error.value)
