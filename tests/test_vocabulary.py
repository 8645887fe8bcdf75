"""Ids beyond the text's, and where words and sentences are among those of the text."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from objective_tasks import BYTES, config_of, task_of

from jaxlm.core.config import ConfigError, override
from jaxlm.data import objectives, sources, vocabulary, words
from jaxlm.data.corpus import build
from jaxlm.data.tokenizers import CharacterTokenizer
from jaxlm.train import loop


@dataclass
class Told:
    """A tokenizer that has these special ids, and the text of each id."""

    texts: list[str]
    specials: dict[str, int] = field(default_factory=dict)
    name: str = "json"

    @property
    def vocab_size(self):
        return len(self.texts)

    def id_of(self, token):
        return self.texts.index(token) if token in self.texts else None

    def decode(self, ids):
        return "".join(self.texts[i] for i in ids).removeprefix("_").replace("_", " ")


def test_ids_of_a_byte_tokenizer_by_hand():
    """256 bytes; mask, [CLS], R, S, X above them, and sentinels down from the top."""
    made = vocabulary.make(BYTES, ("mask",), 100)
    assert made.ids == {
        "mask": 256,
        "cls": 257,
        "R": 258,
        "S": 259,
        "X": 260,
        "sep": 0,
        "end": 0,
    }
    assert (made.size, made.top, made.sentinels) == (361, 360, 100)
    assert made.start == made.separator == made.pad == 0
    assert made.special_V.sum() == 1 + 5 + 100  # byte 0 is no text either
    assert made.words.tolist() == list(range(1, 256))


@pytest.mark.parametrize("name", ["causal", "prefix"])
def test_nothing_is_added_for_objectives_that_need_nothing(name):
    assert task_of(name).vocabulary.size == 256


def test_an_id_means_the_same_to_every_objective():
    """So that a model trained with one can go on with another."""
    made = [
        task_of(name, architecture).vocabulary
        for name, architecture in (
            ("masked", "encoder"),
            ("denoise", "decoder"),
            ("span", "decoder"),
            ("ul2", "encoder_decoder"),
            ("mixture", "decoder"),
        )
    ]
    assert all(one.ids == made[0].ids for one in made)
    assert {one.size for one in made} == {261, 361}


def test_a_tokenizers_own_ids_are_taken():
    specials = {"mask": 4, "cls": 2, "sep": 3, "pad": 1, "eos": 3, "bos": 2}
    own = Told(["a", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "b"], specials)
    made = vocabulary.make(own, ("mask", "cls", "sep", "end"))
    assert made.size == 6 and made.pad == 1 and made.start == 2
    assert [made.ids[role] for role in ("mask", "cls", "sep", "end")] == [4, 2, 3, 3]
    assert made.words.tolist() == [0, 5]


def test_t5s_own_sentinels_are_found_and_none_added():
    """As in its vocabulary of 32,100, whose last hundred are <extra_id_99> to 0."""
    texts = ["a", "b", "</s>", *(f"<extra_id_{i}>" for i in range(99, -1, -1))]
    own = Told(texts, {"eos": 2, "pad": 1})
    made = vocabulary.make(own, ("end",), 28)
    assert made.size == 103 and made.top == 102 and made.sentinels == 100
    assert made.start == 1 and made.words.tolist() == [0]
    with pytest.raises(ConfigError, match="up to 127 spans and the tokenizer 100"):
        vocabulary.make(own, ("end",), 127)


def test_a_model_with_too_few_ids_is_refused_with_both_numbers():
    config = config_of("span")
    assert loop.with_vocabulary(config, BYTES).model.vocab_size == 361
    enough = override(config, {"model.vocab_size": 512})
    assert loop.with_vocabulary(enough, BYTES).model.vocab_size == 512
    small = override(config, {"model.vocab_size": 360})
    with pytest.raises(ConfigError, match="vocab_size 360 is smaller than the 361 ids"):
        loop.with_vocabulary(small, BYTES)


def test_as_many_sentinels_as_are_asked_for():
    config = config_of("span", sentinels=9)
    assert objectives.vocabulary_of(config, BYTES).sentinels == 9
    config = config_of("span", sentinels=1)  # an example of UL2 has up to 8 spans here
    assert objectives.vocabulary_of(config, BYTES).sentinels == 8


# -------------------------------------------------------------------- words, sentences


def marked(find, tokenizer, text):
    """The text with a bar before each id that `find` is True for."""
    ids = tokenizer.encode(text)
    pieces = [tokenizer.decode([i]) for i in ids]
    return "".join("|" * bool(b) + p for b, p in zip(find(ids), pieces, strict=True))


def test_words_of_letters_by_hand():
    for tokenizer in (
        BYTES,
        CharacterTokenizer("".join(sorted(set("It's 2 cats, no?")))),
    ):
        found = marked(words.starts(tokenizer), tokenizer, "It's 2 cats, no?")
        assert found == "|It|'|s| |2| |cats|,| |no|?"


def test_a_letter_of_two_bytes_is_one_letter():
    ids = BYTES.encode("né à")
    assert words.starts(BYTES)(ids).tolist() == [1, 0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    "texts, expected",
    [
        (["un", "happy", " dog", "s", "."], [1, 0, 1, 0, 1]),  # GPT-2: spaces
        (["_un", "happy", "_dog", "s", "."], [1, 0, 1, 0, 1]),  # SentencePiece
    ],
)
def test_words_of_pieces_by_hand(texts, expected):
    tokenizer = Told(texts)
    assert words.starts(tokenizer)(np.arange(5)).tolist() == expected


def test_sentences_by_hand():
    text = "One. Two! 3.14? No"
    ids = BYTES.encode(text)
    ends = np.flatnonzero(words.sentence_ends(BYTES)(ids))
    assert [text[i] for i in ends] == [".", "!", "?", "o"]
    ids = np.array([65, 0, 66])  # a separator ends what is before it, and itself
    assert words.sentence_ends(BYTES)(ids).tolist() == [False, True, True]


def test_ids_past_the_text_are_no_letters():
    found = words.starts(BYTES)(np.array([97, 257, 98, 300]))
    assert found.tolist() == [True, True, True, True]
    assert not words.sentence_ends(BYTES)(np.array([257, 300, 97]))[:2].any()


# -------------------------------------------------------------------------------- pairs


PAIRS = "Go.\tVa !\tCC-BY\nRun!\tCours !\nWho?\tQui ?\nHi.\tSalut.\nNo.\tNon.\n"


def test_pairs_stay_together_and_are_read_as_pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text(PAIRS, encoding="utf-8")
    config = config_of("conditional", "encoder_decoder")
    data = {"data.source": "pairs", "data.path": str(path), "data.held_out": 0.4}
    config = override(config, data | {"data.batch": 1})
    corpus = build(config.data)
    made = objectives.task(config, corpus.tokenizer)
    from jaxlm.data.loader import Loader, held_out_batches

    train = Loader.make(corpus.train, config.data, made)
    batches = [train.batch_at(step) for step in range(train.windows)]
    batches += held_out_batches(corpus.held_out, config.data, made, 99)
    found = set()
    for batch in batches:
        source = batch.encoder_inputs[batch.encoder_segments == 1]
        target = batch.targets[batch.weights == 1]
        found.add((BYTES.decode(source[:-1]), BYTES.decode(target[:-1])))
    lines = (line.split("\t") for line in PAIRS.splitlines())
    assert found == {(line[0], line[1]) for line in lines}


def test_a_line_without_a_tab_is_named(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("Go.\tVa !\nRun!\n")
    settings = dataclasses.replace(config_of("causal").data, path=str(path))
    with pytest.raises(ConfigError, match="whose line 2 has no tab between"):
        sources.pairs(settings)
    settings = dataclasses.replace(settings, path=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="has no pairs; give"):
        sources.pairs(settings)


ARCHIVE = Path(__file__).parents[2] / "shared/data/text/fra-eng.zip"


@pytest.mark.skipif(not ARCHIVE.exists(), reason="../shared has no fra-eng.zip")
def test_an_archive_of_translations_is_read():
    settings = dataclasses.replace(config_of("causal").data, path=str(ARCHIVE))
    found = sources.pairs(settings)
    assert found[0] == "Go.\x1fVa !" and len(found) > 100_000
