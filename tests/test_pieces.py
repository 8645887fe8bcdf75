"""What an id adds to a text is what decoding shows it to add."""

import random
from pathlib import Path

import pytest
from small_tokenizers import SMALL

from jaxlm.core.config import ConfigError
from jaxlm.data.pieces import pieces, special_ids
from jaxlm.data.tokenizer_json import JsonTokenizer

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
SHARED = Path(__file__).parents[2] / "shared" / "data"


def added(tokenizer, prompt, ids):
    first, both = tokenizer.decode(prompt), tokenizer.decode([*prompt, *ids])
    assert both.startswith(first)
    return both.removeprefix(first)


def check(tokenizer, table, prompt, ids):
    """Whether these ids made a text, whose pieces then are its bytes."""
    data = b"".join(table[number] for number in ids)
    if UNKNOWN in (text := data.decode(errors="replace")):
        return False  # decoders differ in how many they put for broken characters
    assert added(tokenizer, prompt, ids) == text
    return True


@pytest.mark.parametrize("name", SMALL)
def test_pieces_joined_are_what_ids_add_to_a_prompt(name):
    tokenizer, prompt = SMALL[name]()
    table, rng = pieces(tokenizer), random.Random(0)
    assert len(table) == tokenizer.vocab_size
    usual = [*range(tokenizer.vocab_size)]
    if len(usual) > 255:  # few of their bytes make a text
        usual = [*tokenizer.encode("ba é日.").tolist(), *usual[256:]]
    drawn = [rng.choices(usual, k=rng.randrange(6)) for _ in range(400)]
    assert sum(check(tokenizer, table, prompt, ids) for ids in drawn) > 100


def test_pieces_by_hand():
    expected = {
        "byte": {0xC3: b"\xc3", 0: b"\0"},
        "character": {4: b"\xc3\xa9", 0: b"\0"},
        "word": {2: b" a", 1: UNKNOWN.encode()},
        "bpe": {256: b"ab", 257: b"\xc3\xa9", 258: b"\0"},
        "byte_level": {3: b" ", 4: b"\xa5", 9: b"ab", 10: b" ab", 11: b"b a"},
        "unigrams": {2: b"a", 4: b" ", 5: b" ab", 1: b"</s>"},
        "scored": {3: b"\xc3", 8: b" ", 12: b" ab", 2: b"</s>"},
        "pieces_of_words": {5: b" a", 6: b"b", 8: b" ab", 9: b".", 4: b" [MASK]"},
    }
    for name in SMALL:
        found = pieces(SMALL[name]()[0])
        assert {number: found[number] for number in expected[name]} == expected[name]


def test_special_ids_by_hand():
    expected = {
        "byte": {0},
        "character": {0},
        "word": {0, 1},
        "bpe": {258},
        "byte_level": {0},
        "unigrams": {0, 1},
        "scored": {0, 1, 2},
        "pieces_of_words": {0, 1, 2, 3, 4},
    }
    for name in SMALL:
        assert special_ids(SMALL[name]()[0]) == expected[name]


def test_a_special_token_of_no_role_is_special():
    tokenizers = pytest.importorskip("tokenizers", reason="pip install 'jaxlm[hub]'")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a"))
    made.add_special_tokens([tokenizers.AddedToken("<|im_start|>")])
    made.add_tokens([tokenizers.AddedToken("b")])
    assert special_ids(JsonTokenizer(made.to_str())) == {1}


def test_a_decoder_that_looks_at_neighbours_is_refused():
    tokenizers = pytest.importorskip("tokenizers", reason="pip install 'jaxlm[hub]'")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a"))
    made.decoder = tokenizers.decoders.BPEDecoder()
    with pytest.raises(ConfigError, match="'BPEDecoder', which.*use a tokenizer with"):
        pieces(JsonTokenizer(made.to_str()))


def test_stories260ks_pieces_are_what_it_decodes():
    directory = SHARED / "models" / "stories260k"
    if not directory.exists():
        pytest.skip("stories260k is not beside this checkout")
    from jaxlm.hub import llama2c

    tokenizer = llama2c.read_tokenizer(directory, 512)
    table, rng = pieces(tokenizer), random.Random(0)
    prompt = tokenizer.encode("Once", specials=True).tolist()
    text = "Once upon a time, there was a naïve girl: 日本 🙂!\n"
    texts = ["".join(rng.choices(text, k=20)) for _ in range(100)]
    drawn = [tokenizer.encode(t) for t in texts]
    drawn += [rng.choices(range(259, 512), k=8) for _ in range(200)]
    assert all(check(tokenizer, table, prompt, ids) for ids in drawn)
