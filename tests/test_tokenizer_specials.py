"""A document that speaks of special tokens has none: only a prompt may write them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jaxlm.core import schema
from jaxlm.data import corpus, prepare, tokenizer_files
from jaxlm.data.request import Request
from jaxlm.data.tokenizer_json import JsonTokenizer
from jaxlm.data.tokenizers import encode_all

tokenizers = pytest.importorskip(
    "tokenizers", reason="needs the hub's libraries: pip install 'jaxlm[hub]'"
)


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"[]abm", "##a", "##s", "##k"]


def unigrams():
    """A vocabulary as T5's, whose </s> is a unigram like any other."""
    tokens = ["<unk>", "</s>", "\u2581", *"</s>ab", "\u2581a"]
    rows = [(token, -1.0 - len(token) % 2) for token in tokens]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(rows, 0))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.decoder = tokenizers.decoders.Metaspace()
    return made, "</s>"


def words():
    """White space parts words, and one of them is [SEP]."""
    ids = {token: number for number, token in enumerate(["[UNK]", "[SEP]", *"[]SEPab"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return made, "[SEP]"


def byte_level():
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    ids = {t: n for n, t in enumerate(["<|endoftext|>", *letters, "ab", "Ġab"])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(ids, [("a", "b"), ("Ġ", "ab")]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    return made, "<|endoftext|>"


def pieces():
    ids = {token: number for number, token in enumerate(PIECES)}
    return tokenizer_files.bert(ids, {})[0], "[MASK]"


@pytest.mark.parametrize("make", [unigrams, words, byte_level, pieces])
def test_a_special_token_that_is_written_out_in_a_text_is_text(make):
    """And one of a prompt's, for which `specials` asks, is the token."""
    made, token = make()
    made.add_special_tokens([tokenizers.AddedToken(token, normalized=False)])
    tokenizer = JsonTokenizer(made.to_str())
    number = tokenizer.id_of(token)
    for text in (token, f"a {token} b", f"a{token}b", f"{token}{token} a", "a b"):
        ids = tokenizer.encode(text)
        assert number not in ids.tolist()
        np.testing.assert_array_equal(encode_all(tokenizer, [text] * 2), [ids, ids])
        if make in (unigrams, byte_level):
            assert tokenizer.decode(ids) == text
        prompt = tokenizer.encode(text, specials=True).tolist()
        assert prompt.count(number) == text.count(token)


def test_separators_of_a_corpus_are_between_its_documents_alone(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*PIECES, *"cdep"]) + "\n")
    texts = [f"a b [SEP] [SEP] c {'d ' * n}" for n in range(40)]
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": t}) + "\n" for t in texts)
    )
    data = schema.Data(
        tokenizer="json", tokenizer_path=str(tmp_path / "vocab.txt"), held_out=0.3
    )
    asked = Request(source=str(tmp_path / "a.jsonl"), data=data, rules=(), near=0.0)
    made = prepare.prepare(asked, tmp_path / "out")
    found = corpus.build(replace(data, source="prepared", path=str(tmp_path / "out")))
    for part in ("train", "held_out"):
        ids = getattr(found, part)[:]
        assert (ids == tokenizer_files.at(tmp_path).specials["sep"]).sum() == (
            made[part]["documents"]
        )
