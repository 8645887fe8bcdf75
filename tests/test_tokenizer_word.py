"""Words with unknowns, and pieces of words: what is frequent has an id."""

import re
from collections import Counter
from importlib import util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import prose, tokenizer_word
from jaxlm.data.tokenizers import TOKENIZERS

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def words(documents, size=4096):
    return TOKENIZERS["word"](documents, schema.Data(tokenizer_size=size))


def test_words_are_numbered_by_frequency_and_then_by_alphabet():
    tokenizer = words(["the cat, the dog", "a cat"])
    # ' cat' twice, the others once: ' ' < ',' < 'a' < 't'.
    assert tokenizer.words == (" cat", " dog", " the", ",", "a", "the")
    assert tokenizer.specials == {"separator": 0, "unk": 1}
    assert tokenizer.encode("a dog, the dog").tolist() == [6, 3, 5, 4, 3]


def test_rare_words_are_unknown():
    tokenizer = words(["a a a b b c"], size=4)
    # ' a' and ' b' occur twice, 'a' and ' c' once.
    assert tokenizer.words == (" a", " b") and tokenizer.vocab_size == 4
    assert tokenizer.encode("a a b c").tolist() == [1, 2, 3, 1]
    assert tokenizer.decode(tokenizer.encode("a a b c")) == f"{UNKNOWN} a b{UNKNOWN}"


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text(st.characters(codec="utf-8")))
def test_every_character_is_in_one_word(text):
    assert "".join(tokenizer_word.PIECES.findall(text)) == text


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab1é_ ,.\n日🙂")))
def test_a_text_of_known_words_comes_back(text):
    tokenizer = words([text, "a"])
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_most_frequent_words_of_english_are_known():
    texts = list(prose.english())[:100]
    counts = Counter(re.findall(r" [a-z]+", " ".join(texts)))
    known = set(words(texts, size=500).words)
    assert {word for word, _ in counts.most_common(50)} <= known


@pytest.mark.parametrize("size", [1, 2])
def test_a_size_without_a_word_is_refused(size):
    with pytest.raises(
        ConfigError, match=f"tokenizer_size {size} leaves no word.*give 3 or more$"
    ):
        words(["a"], size)


# WordPiece

needs_library = pytest.mark.skipif(
    not util.find_spec("tokenizers"),
    reason="needs the hub's libraries: pip install 'jaxlm[hub]'",
)


def pieces(documents, size=4096):
    return TOKENIZERS["wordpiece"](documents, schema.Data(tokenizer_size=size))


def longest_first(word, vocabulary):
    """BERT's pieces of a word (google-research/bert, WordpieceTokenizer)."""
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        for stop in range(len(word), start, -1):
            if prefix + word[start:stop] in vocabulary:
                break
        else:
            return ["[UNK]"]
        found.append(prefix + word[start:stop])
        start = stop
    return found


@pytest.fixture(scope="module")
def english():
    return list(prose.english())[:100]


@needs_library
def test_berts_special_tokens_come_first():
    tokenizer = pieces(["low lower lowest"])
    assert tokenizer.specials == {
        **{"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4},
        "separator": 3,
    }
    text = tokenizer.decode(range(5))
    assert text == "[PAD] [UNK] [CLS] [SEP] [MASK]"
    (low,) = tokenizer.encode("LOW")
    assert tokenizer.encode("low", specials=True).tolist() == [2, low, 3]
    marked = tokenizer.encode("low[MASK]", specials=True)
    assert marked.tolist() == [2, low, 4, 3]


@needs_library
def test_pieces_grow_by_the_most_frequent_pair():
    # First the letters, in order. Five words have ##o+##w as well as l+##o, and ##o has
    # the smaller id; then l+##ow, in all five; then ##e+##r, in two.
    size = 5 + len(["##e", "##o", "##r", "##w", "e", "l", "o", "r", "w"]) + 3
    tokenizer = pieces(["low low low lower lower e o r w"], size)
    vocabulary = tokenizer._tokenizer.get_vocab()
    learned = sorted(vocabulary, key=vocabulary.get)[-3:]
    assert learned == ["##ow", "low", "##er"]
    assert tokenizer.encode("lower").tolist() == [size - 2, size - 1]


@needs_library
def test_learning_twice_gives_the_same_ids(english):
    first = pieces(english, 1000)
    assert first.vocab_size == 1000
    assert all(pieces(english, 1000) == first for _ in range(3))


@needs_library
def test_words_are_cut_as_bert_cuts_them(english):
    tokenizer = pieces(english, 1000)
    vocabulary = tokenizer._tokenizer.get_vocab()
    for text in english[:20]:
        for word in re.findall(r"[A-Za-z]+", text):
            expected = longest_first(word.lower(), vocabulary)
            found = tokenizer.encode(word).tolist()
            assert found == [vocabulary[piece] for piece in expected]


@needs_library
def test_a_size_below_single_characters_is_refused():
    # Two characters that begin words, and 'b' that goes on.
    with pytest.raises(
        ConfigError, match="tokenizer_size 7 is below the 5 special.*give 8 or more$"
    ):
        pieces(["ab a b"], 7)
    assert pieces(["ab a b"], 8).vocab_size == 8
