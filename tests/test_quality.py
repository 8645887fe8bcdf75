"""Strategies compared on one model: what is counted, drawn, kept, and refused."""

import json
import re
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import scipy.special

from jaxlm import hub
from jaxlm.core import schema
from jaxlm.core.config import ConfigError, from_mapping, override
from jaxlm.core.quality import Quality
from jaxlm.core.sampling import STRATEGIES, Sampling
from jaxlm.data.tokenizers import ByteTokenizer, CharacterTokenizer
from jaxlm.quality import points, report, run, texts
from jaxlm.quality.closeness import area, mauve
from jaxlm.quality.measures import distinct, repetition, words
from jaxlm.sampling import strategies
from jaxlm.train import loop

ROOT = Path(__file__).parent.parent
SMALL = Quality(
    lines=(
        ("ancestral", Sampling(filters=())),
        ("greedy", Sampling(strategy="greedy")),
    ),
    temperatures=(0.5, 1.0),
    prompts=20,
    prompt_tokens=6,
    new_tokens=10,
    rows=8,
)


def test_words_are_runs_of_letters_and_single_marks():
    assert words("It's 3.5, naïve!\n--") == [
        *("It", "'", "s", "3", ".", "5", ",", "naïve", "!", "-", "-")
    ]


def test_distinct_n_is_what_a_hand_counts():
    """'a b a b' has the pairs ab, ba, ab and 'b a' has ba: 2 of 4 differ."""
    said = [["a", "b", "a", "b"], ["b", "a"], ["c"]]
    assert distinct(said, 1) == 3 / 7
    assert distinct(said, 2) == 2 / 4
    assert distinct(said, 3) == 2 / 2
    assert np.isnan(distinct(said, 5))


def test_repetition_is_what_a_hand_counts():
    """Pairs of 'a b a b a': ab ba ab ba, half of them said before; of 'a b c': none.

    What another text said is no repetition, and a text without pairs does not count.
    """
    said = [list("ababa"), list("abc"), ["a"]]
    assert repetition(said, 2) == (1 / 2 + 0) / 2
    assert np.isnan(repetition(said, 6))


def test_equal_distributions_have_area_1_and_disjoint_ones_1_in_252():
    """Of disjoint ones x = (1 - s)^5 and y = s^5: the integral of y dx is 5 B(6, 5)."""
    assert area(np.array([0.3, 0.7]), np.array([0.3, 0.7])) == pytest.approx(1)
    found = area(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert 5 * scipy.special.beta(6, 5) == pytest.approx(1 / 252)
    assert found == pytest.approx(1 / 252, rel=1e-4)


def test_the_area_is_that_under_the_curve_of_the_paper():
    """x(s) = exp(-5 KL(q, r)), y(s) = exp(-5 KL(p, r)), r = s p + (1 - s) q."""
    p, q = np.array([0.1, 0.2, 0.7]), np.array([0.5, 0.3, 0.2])

    def point(s):
        r = s * p + (1 - s) * q
        x = np.exp(-5 * (q * np.log(q / r)).sum())
        y = np.exp(-5 * (p * np.log(p / r)).sum())
        return x, y, 5 * x * (q * (p - q) / r).sum()  # the last is dx / ds

    inside = scipy.integrate.quad(lambda s: -point(s)[1] * -point(s)[2], 0, 1)[0]
    # dx / ds is negative, and from x(1) to 0 the curve goes on at a height of 1.
    expected = -inside + scipy.integrate.quad(lambda x: 1, 0, point(1)[0])[0]
    assert area(p, q) == pytest.approx(expected, rel=1e-3)


def test_closeness_is_1_of_the_same_texts_and_least_of_texts_apart():
    random = np.random.default_rng(0)
    people = random.normal(size=(60, 8))
    assert mauve(people, people) == pytest.approx(1)
    apart = mauve(people + 50 * np.eye(8)[0], people + 50 * np.eye(8)[1])
    assert apart == pytest.approx(1 / 252, rel=1e-4)
    near = mauve(people, random.normal(size=(60, 8)))
    far = mauve(people, random.normal(size=(60, 8)) + 1)
    assert apart < far < near < 1


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of bytes, and its copy to judge it."""
    folder = tmp_path_factory.mktemp("quality")
    numbers = np.random.default_rng(0).integers(10**8, 10**9, 5000)
    (folder / "text.txt").write_text("\n\n".join(f"<i>{n}" for n in numbers))
    changes = {
        "model.width": 16,
        "model.depth": 1,
        "model.heads": 2,
        "model.context": 24,
        "data.source": "files",
        "data.path": str(folder / "text.txt"),
        "data.batch": 8,
        "train.steps": 2,
        "evaluation.batches": 1,
    }
    loop.train(override(schema.Experiment(), changes), folder / "model")
    shutil.copytree(folder / "model", folder / "scorer")
    return folder


def compare(runs, workdir, config=SMALL):
    return run.compare(config, runs / "model", runs / "scorer", workdir)


@pytest.fixture(scope="module")
def compared(runs):
    assert compare(runs, runs / "all") == 3
    return runs / "all"


def test_perplexity_is_that_of_the_continuations_alone(runs):
    scorer = hub.load(runs / "scorer")
    ids_PT = np.random.default_rng(0).integers(1, 256, (20, 16)).astype(np.int32)
    found = run.score(scorer, ids_PT, SMALL)
    logs = scipy.special.log_softmax(np.asarray(hub.logits(scorer, ids_PT)), axis=-1)
    nats = [-logs[p, t - 1, ids_PT[p, t]] for p in range(20) for t in range(6, 16)]
    assert found.perplexity == pytest.approx(np.exp(np.mean(nats)), rel=1e-5)
    states = np.asarray(hub.hidden(scorer, ids_PT))
    expected = np.stack([rows[6:].sum(0) / 10 for rows in states])
    np.testing.assert_allclose(found.features_PD, expected, atol=1e-6)


def test_every_text_has_draws_of_its_own_and_all_its_tokens(runs):
    """Twenty equal prompts are continued in twenty ways, whatever is drawn at once."""
    model = hub.load(runs / "model")
    prompts = np.tile(np.arange(65, 71, dtype=np.int32), (20, 1))
    (drawn, *_, greedy) = points.plan(SMALL, model.tokenizer)
    found = points.draw(model, prompts, drawn.settings, SMALL)
    assert found.shape == (20, 10) and len(np.unique(found, axis=0)) == 20
    assert 0 not in found  # the separator
    other = points.draw(model, prompts, drawn.settings, replace(SMALL, rows=20))
    np.testing.assert_array_equal(found, other)
    one = points.draw(model, prompts, greedy.settings, SMALL)
    wanted = Sampling(strategy="greedy", max_new_tokens=10, banned=(0,))
    (expected,) = strategies.generate(model.params, model.config, prompts[:1], wanted)
    np.testing.assert_array_equal(one, np.tile(expected[0].ids, (20, 1)))


def test_a_temperature_stands_where_the_line_has_one_or_first():
    lines = (
        ("p", Sampling(filters=(("top_p", 0.9),))),
        ("q", Sampling(filters=(("presence", 1.0), ("temperature", 9.0)))),
    )
    config = replace(SMALL, lines=lines, temperatures=(0.5,))
    p, q = points.plan(config, ByteTokenizer())
    assert p.settings.filters == (("temperature", 0.5), ("top_p", 0.9))
    assert q.settings.filters == (("presence", 1.0), ("temperature", 0.5))


def test_windows_are_held_out_text_once_each(runs):
    documents = texts.held_out(SMALL, runs / "model", ByteTokenizer())
    whole = texts.windows(documents, SMALL)
    assert whole.shape == (40, 16)
    held_out = [bytes(ids.astype(np.uint8)) for ids in documents]
    places = set()
    for ids in whole:
        piece = bytes(ids.astype(np.uint8))
        assert any(piece in text for text in held_out)
        places.add(piece)
    assert len(places) == 40


def test_the_table_has_people_first_and_a_row_a_point(compared):
    facts, found = run.read(compared)
    names = [point["row"]["name"] for point in found]
    assert names == ["human", "ancestral-0.5", "ancestral-1", "greedy"]
    for point in found:
        taken = [words(text) for text in point["texts"]]
        assert point["row"]["distinct_2"] == distinct(taken, 2)
        assert point["row"]["repetition"] == repetition(taken)
    human = found[0]
    text = (compared.parent / "text.txt").read_text()
    for prompt, said in zip(human["prompts"], human["texts"], strict=True):
        assert prompt + said in text
    assert facts["config"]["prompts"] == 20


def stamps(workdir):
    return {p.stem: p.stat().st_mtime_ns for p in workdir.glob("points/*.json")}


def test_a_second_run_draws_what_is_missing_or_has_changed(runs, compared):
    before = stamps(compared)
    (compared / "points" / "greedy.json").unlink()
    hotter = Sampling(filters=(("top_k", 5.0),))
    lines = (("ancestral", hotter), ("greedy", Sampling(strategy="greedy")))
    config = replace(SMALL, lines=lines, temperatures=(1.0,))
    was = json.loads((compared / "points" / "ancestral-1.json").read_text())
    assert compare(runs, compared, config) == 2
    now = json.loads((compared / "points" / "ancestral-1.json").read_text())
    assert now["texts"] != was["texts"]
    assert compare(runs, compared) == 3
    last = stamps(compared)
    assert last["ancestral-0.5"] == before["ancestral-0.5"]
    assert json.loads((compared / "points" / "ancestral-1.json").read_text()) == was
    assert last.keys() == before.keys()
    assert compare(runs, compared) == 3
    assert {k for k, v in stamps(compared).items() if v != last[k]} == {"human"}


def test_the_page_needs_no_other_file_and_escapes_what_it_quotes(compared, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(compared, workdir)
    for path in workdir.glob("points/*.json"):
        entry = json.loads(path.read_text())
        for name in {"prompts", "texts"} & entry.keys():
            entry[name] = [f"<i>{name} of {path.stem}"] * 20
        path.write_text(json.dumps(entry))
    page = report.write(workdir).read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<i>" not in page
    for quoted in ("prompts of human", "texts of human", "texts of ancestral-1"):
        assert "&lt;i&gt;" + quoted in page
    for line, _ in SMALL.lines:
        assert line in page
    for name in ("frontier", "temperatures"):
        assert (workdir / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def line(**settings):
    return (("a", Sampling(**settings)),)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"prompts": 19}, "prompts 19 are too few to compare; give 20"),
        ({"prompts": 10**6}, "give at most [0-9]+, or fewer tokens"),
        ({"new_tokens": 100}, "exceed the context of --model, 24; give 24 in all"),
        ({"lines": ()}, "config.lines .* none"),
        ({"temperatures": (1.0, 1.0)}, "temperatures .* not all different"),
        ({"temperatures": (-1.0,)}, "temperature -1 is out of range"),
        ({"lines": line(regex="a+")}, "'a' has sampling.regex 'a.', which is alike"),
        ({"lines": line(samples=2)}, "'a' has sampling.samples 2, which is alike"),
        ({"lines": line(strategy="speculative")}, "choose sample"),
        ({"lines": (("a b", Sampling()), ("a-b", Sampling()))}, "two points named"),
        ({"path": "no/such"}, "^config.path .no/such. matches no file"),
        ({"seed": -1}, "seed -1 is out of range"),
    ],
)
def test_what_cannot_be_compared_is_one_line(changes, message, runs, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        compare(runs, tmp_path / "new", replace(SMALL, **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_strategy_that_does_not_exist_is_answered_with_the_names():
    with pytest.raises(ConfigError, match="'beem' is unknown; did you mean 'beam'"):
        replace(SMALL, lines=line(strategy="beem"))


def test_a_scorer_has_the_models_vocabulary(runs):
    model = hub.load(runs / "model")
    other = model._replace(tokenizer=CharacterTokenizer("\0ab"))
    with pytest.raises(ConfigError, match="--scorer has another tokenizer") as caught:
        run.check(SMALL, model, other)
    assert "character of 3" in str(caught.value)
    with pytest.raises(ConfigError, match="--scorer has no tokenizer"):
        run.check(SMALL, model, model._replace(tokenizer=None))
    encoder = replace(model.config, architecture="encoder")
    with pytest.raises(ConfigError, match="--model is no decoder with a head"):
        run.check(SMALL, model._replace(config=encoder), model)


def test_a_workdir_of_other_models_or_texts_is_refused(runs, compared):
    for changed in ({"seed": 1}, {"new_tokens": 9}):
        with pytest.raises(ConfigError, match="holds another comparison: config"):
            compare(runs, compared, replace(SMALL, **changed))
    with pytest.raises(ConfigError, match="holds another comparison: model"):
        run.compare(SMALL, runs / "scorer", runs / "scorer", compared)


def test_the_config_has_every_strategy_that_is_not_another_one():
    get_config = runpy.run_path(str(ROOT / "configs/quality.py"))["get_config"]
    config = from_mapping(Quality, get_config().to_dict())
    named = {settings.strategy for _, settings in config.lines}
    assert named == {*STRATEGIES} - {"speculative"}
