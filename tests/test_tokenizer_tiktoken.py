"""OpenAI's vocabularies: published ids, a cache instead of a network, one-line errors.

reference_ids.json beside the rank files has ids that tiktoken gave for its text.
"""

import functools
import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from byte_pairs import encoded
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import bpe, tokenizer_files, tokenizer_tiktoken
from jaxlm.data.tokenizers import TOKENIZERS, TiktokenTokenizer, restore, save

RANKS = Path(__file__).parents[2] / "shared" / "data" / "tiktoken"
NAMES = ("gpt2", "cl100k_base")
TEXTS = {
    "accents": "naïve café, Ærøskøbing; Việt Nam — “ẞ”\n",
    "emoji": "🙂👩‍👩‍👧‍👦🏳️‍🌈 ok 👍🏽!!",
    "code": Path(__file__).read_text(encoding="utf-8"),
    "blanks": " \t\n\n   x  \r\n 1234567   ",
    "special": "a<|endoftext|>b\0c",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A directory with the ranks as tiktoken looks for them."""
    if not RANKS.exists():
        pytest.skip("the rank files of tiktoken are not beside this checkout")
    place = tmp_path_factory.mktemp("tiktoken")
    install = RANKS / "install_cache.py"
    subprocess.run(
        [sys.executable, install, RANKS, place], check=True, capture_output=True
    )
    return place


@pytest.fixture
def published(cache, monkeypatch):
    """A function from a name to its tokenizer."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
    return lambda name: TOKENIZERS["tiktoken"]([], schema.Data(encoding=name))


@pytest.fixture
def cached(request, monkeypatch):
    """As `published`, from whatever cache there is, and never from the network."""

    def unreachable(url):
        raise ConnectionError

    if RANKS.exists():
        place = request.getfixturevalue("cache")
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(place))
    monkeypatch.setattr("tiktoken.load.read_file", unreachable)

    def load(name):
        try:
            return TOKENIZERS["tiktoken"]([], schema.Data(encoding=name))
        except ConfigError as error:
            if "(ConnectionError)" in str(error):
                pytest.skip(f"the ranks of {name} are in no cache of tiktoken's")
            raise

    return load


# Of tiktoken's own tests (tests/test_encoding.py), and gpt2's "Hello world" of the
# documentation of transformers' GPT2Tokenizer.
KNOWN = {
    "gpt2": {
        "Hello world": [15496, 995],
        " Hello world": [18435, 995],
        "hello world": [31373, 995],
        "0" * 9: [10535, 830],
        "0" * 16: [25645],
        "0" * 17: [8269, 10535, 830],
        "": [],
    },
    "cl100k_base": {
        "hello world": [15339, 1917],
        "'rer": [2351, 81],
        "today\n ": [31213, 198, 220],
        "today\n  \n": [31213, 14211],
        " \x850": [220, 126, 227, 15],
        "👍": [9468, 239, 235],
    },
}


@pytest.mark.parametrize("name", KNOWN)
def test_well_known_texts_have_their_well_known_ids(cached, name):
    tokenizer = cached(name)
    found = {text: tokenizer.encode(text).tolist() for text in KNOWN[name]}
    assert found == KNOWN[name]


@functools.cache
def noise(codec):
    """A million random bytes as text."""
    data = np.random.default_rng(0).bytes(1_000_000)
    return data.decode(codec, errors="replace")


def parts(name):
    """The ranks and the expression that tiktoken publishes."""
    encoding = tiktoken.get_encoding(name)
    return encoding._mergeable_ranks, encoding._pat_str


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_the_published_ones(published, name):
    reference = json.loads((RANKS / "reference_ids.json").read_text())
    tokenizer, expected = published(name), reference[name]
    assert tokenizer.encode(reference["_text"]).tolist() == expected["ids"]
    assert tokenizer.vocab_size == expected["n_vocab"]
    assert tokenizer.specials == {"separator": expected["eot"], "eos": expected["eot"]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TEXTS)
def test_ids_are_those_of_joining_one_pair_at_a_time(published, name, kind):
    tokenizer, text = published(name), TEXTS[kind]
    assert tokenizer.encode(text).tolist() == encoded(text, *parts(name))
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("codec", ["latin-1", "utf-8"])
def test_a_million_random_bytes_are_encoded_as_by_tiktoken(published, name, codec):
    tokenizer, text = published(name), noise(codec)
    ids = tokenizer.encode(text)
    assert ids.tolist() == tiktoken.get_encoding(name).encode_ordinary(text)
    assert tokenizer.decode(ids) == text
    some = text[:30_000]
    assert tokenizer.encode(some).tolist() == encoded(some, *parts(name))


@pytest.mark.parametrize("codec", ["latin-1", "utf-8"])
def test_a_million_random_bytes_are_encoded_as_by_tokenizers(
    published, tmp_path, codec
):
    pytest.importorskip("tokenizers", reason="pip install 'jaxlm[hub]'")
    (tmp_path / "vocab.json").symlink_to(RANKS / "encoder.json")
    (tmp_path / "merges.txt").symlink_to(RANKS / "vocab.bpe")
    other = tokenizer_files.read(tmp_path).encode(noise(codec))
    np.testing.assert_array_equal(published("gpt2").encode(noise(codec)), other)


@pytest.mark.parametrize("name", NAMES)
def test_decoding_an_encoded_text_gives_it_back(published, name):
    tokenizer = published(name)

    @settings(derandomize=True, deadline=None, max_examples=500)
    @given(st.text(st.characters(codec="utf-8")))
    def holds(text):
        assert tokenizer.decode(tokenizer.encode(text)) == text

    holds()


@pytest.mark.parametrize("name", NAMES)
def test_any_ids_decode_as_tiktoken_decodes_them(published, name):
    tokenizer, encoding = published(name), tiktoken.get_encoding(name)
    rng = random.Random(0)
    for _ in range(200):
        ids = [rng.randrange(50_000) for _ in range(rng.randrange(30))]
        assert tokenizer.decode(ids) == encoding.decode(ids)


def test_ids_without_a_token_decode_to_a_replacement_character(published):
    tokenizer = published("cl100k_base")
    # 100261 to 100275 lie between the special tokens and have none.
    assert tokenizer.decode([64, 100261, 100277, -1, 64]) == "a\ufffd\ufffd\ufffda"
    assert tokenizer.decode([100257, 100258]) == "\0<|fim_prefix|>"


def test_bytes_are_numbered_as_in_gpt2(published):
    ids = [tiktoken.get_encoding("gpt2").encode_single_token(b) for b in bpe.BYTES]
    assert ids == list(range(256))


def test_long_runs_of_one_character_come_back(published):
    tokenizer = published("gpt2")
    for character in (" ", "a", "!", "\n"):
        ids = tokenizer.encode(character * 200_000)
        assert tokenizer.decode(ids) == character * 200_000


def test_a_run_keeps_the_name_alone(published):
    tokenizer = published("gpt2")
    saved = json.loads(json.dumps(save(tokenizer)))
    assert saved == {"name": "tiktoken", "encoding": "gpt2"}
    assert restore(saved) == tokenizer


# What can go wrong


def refused(name):
    with pytest.raises(ConfigError) as error:
        TOKENIZERS["tiktoken"]([], schema.Data(encoding=name))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_unknown_encoding_is_answered_with_the_names():
    message = refused("gpt3")
    assert message.startswith("config.data.encoding 'gpt3' is unknown; did you mean")
    assert "cl100k_base" in message and "o200k_base" in message


@pytest.fixture
def unloaded(monkeypatch):
    """p50k_base, as in a process that has not loaded it."""
    monkeypatch.delitem(tiktoken.registry.ENCODINGS, "p50k_base", raising=False)
    return "p50k_base"


def test_missing_ranks_without_a_network_are_named(unloaded, tmp_path, monkeypatch):
    def unreachable(url):
        raise ConnectionError("no route\nto host")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.load.read_file", unreachable)
    message = refused(unloaded)
    assert f"'p50k_base' has no ranks in TIKTOKEN_CACHE_DIR '{tmp_path}'" in message
    assert "failed (ConnectionError); set TIKTOKEN_CACHE_DIR" in message
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert "has no ranks in tiktoken's cache and" in refused(unloaded)


def test_a_network_that_never_answers_is_not_waited_for(
    unloaded, tmp_path, monkeypatch
):
    over = threading.Event()

    def silent(url):
        over.wait(30)
        raise ConnectionError

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.load.read_file", silent)
    monkeypatch.setattr(tokenizer_tiktoken, "WAIT", 0.1)
    try:
        assert "failed (TimeoutError)" in refused(unloaded)
    finally:
        over.set()


def test_ranks_that_were_changed_are_not_used(unloaded, tmp_path, monkeypatch):
    def changed(url):
        return b"IQ== 0\n"

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.load.read_file", changed)
    assert "failed (ValueError)" in refused(unloaded)


def test_a_restored_name_is_loaded_when_it_is_used():
    tokenizer = restore({"name": "tiktoken", "encoding": "gpt3"})
    assert tokenizer == TiktokenTokenizer("gpt3")
    with pytest.raises(ConfigError, match="'gpt3' is unknown"):
        tokenizer.encode("a")
