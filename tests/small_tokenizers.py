"""Tokenizers of a few ids, one of each kind: name -> (tokenizer, a prompt's ids).

Every one has the text 'a', 'b' and 'ab'; where ids are bytes, é and 日 are in parts.
"""

from importlib import util

from jaxlm.data import tokenizer_files
from jaxlm.data.tokenizer_json import JsonTokenizer
from jaxlm.data.tokenizer_tiktoken import BytePairTokenizer
from jaxlm.data.tokenizer_word import WordTokenizer
from jaxlm.data.tokenizers import ByteTokenizer, CharacterTokenizer


def unigrams():
    """As T5's: a word begins with a space, which decoding drops at a text's start."""
    import tokenizers as t

    tokens = ["<unk>", "</s>", "a", "b", "\u2581", "\u2581ab", "é", "日", "\u2581b"]
    made = t.Tokenizer(t.models.Unigram([(token, -1.0) for token in tokens], 0))
    made.decoder = t.decoders.Metaspace()
    made.add_special_tokens([t.AddedToken("</s>", normalized=False)])
    return JsonTokenizer(made.to_str(), {"eos": 1, "unk": 0}), [2]


def scored():
    """As Llama 2's: pieces with spaces, bytes of what is none of them."""
    from jaxlm.hub import vocabulary

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in "é日".encode())]
    tokens += ["\u2581", "a", "b", "ab", "\u2581ab"]
    made = vocabulary.scored(
        tokens, [0.0] * len(tokens), space="\u2581", prefix=True, kinds=[2, 3, 3]
    )
    return JsonTokenizer(made, {"unk": 0, "bos": 1, "eos": 2}), [9]


def byte_level():
    """As GPT-2's, without most bytes, and with tokens that were added."""
    import tokenizers as t

    letters = {chr(n) for n in "é".encode()} | {"æ", "Ĺ", "¥"}
    tokens = ["<|end|>", *"ab", "Ġ", *sorted(letters), "ab", "Ġab"]
    ids = {token: number for number, token in enumerate(tokens)}
    made = t.Tokenizer(t.models.BPE(ids, [("a", "b"), ("Ġ", "ab")]))
    made.decoder = t.decoders.ByteLevel()
    made.add_special_tokens([t.AddedToken("<|end|>", normalized=False)])
    made.add_tokens([t.AddedToken("b a", normalized=False)])
    return JsonTokenizer(made.to_str(), {"eos": 0}), [1]


def pieces_of_words():
    """As BERT's: a word begins with a space that no sign has before it."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += ["a", "##b", "##ab", "ab", ".", "é"]
    ids = {token: number for number, token in enumerate(tokens)}
    made, roles = tokenizer_files.bert(ids, {})
    return JsonTokenizer(made.to_str(), roles), [5]


SMALL = {
    "byte": lambda: (ByteTokenizer(), [97]),
    "character": lambda: (CharacterTokenizer("\0 abé日"), [2]),
    "word": lambda: (WordTokenizer((" a", " b", "a", "b", "ab", "é", "日")), [4]),
    "bpe": lambda: (BytePairTokenizer.of([(b"a", b"b"), (b"\xc3", b"\xa9")]), [64]),
}
if util.find_spec("tokenizers"):
    SMALL |= {
        "byte_level": byte_level,
        "unigrams": unigrams,
        "scored": scored,
        "pieces_of_words": pieces_of_words,
    }
