"""A real LLaMA of a megabyte, against llama2.c's arithmetic written out in NumPy."""

from pathlib import Path

import numpy as np
import pytest

from jaxlm import hub
from jaxlm.core.sampling import Sampling
from jaxlm.sampling import strategies

FOLDER = Path(__file__).parent.parent.parent / "shared/data/models/stories260k"
CHECKPOINT = FOLDER / "stories260K.bin"
pytestmark = pytest.mark.skipif(
    not CHECKPOINT.exists(), reason=f"needs {CHECKPOINT.name} in ../shared/data/models"
)


def read(path):
    """Header and arrays in the order in which llama2.c's legacy export wrote them."""
    D, F, L, N, K, V, context = (int(n) for n in np.fromfile(path, np.int32, 7))
    data = np.fromfile(path, np.float32, offset=28)
    H = D // N
    shapes = dict(
        table=(V, D),
        attention_norm=(L, D),
        q=(L, N * H, D),
        k=(L, K * H, D),
        v=(L, K * H, D),
        out=(L, D, N * H),
        mlp_norm=(L, D),
        gate=(L, F, D),
        down=(L, D, F),
        up=(L, F, D),
        norm=(D,),
    )
    arrays, start = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        arrays[name] = data[start : start + size].reshape(shape).astype(np.float64)
        start += size
    return arrays, (L, N, K, H)


def rms(x, gain):
    return x / np.sqrt((x * x).mean() + 1e-5) * gain


def turn(x_NH, position):
    """Pairs of neighbours, each by its own rate: llama2.c's rotary positions."""
    H = x_NH.shape[1]
    angles = position * 10_000.0 ** (-np.arange(0, H, 2) / H)
    pairs = (x_NH[:, 0::2] + 1j * x_NH[:, 1::2]) * np.exp(1j * angles)
    return np.stack([pairs.real, pairs.imag], -1).reshape(x_NH.shape)


def last_logits(weights, sizes, tokens):
    """One token after another through all layers, with keys and values kept."""
    w, (L, N, K, H) = weights, sizes
    keys, values = [[] for _ in range(L)], [[] for _ in range(L)]
    for position, token in enumerate(tokens):
        x = w["table"][token]
        for layer in range(L):
            h = rms(x, w["attention_norm"][layer])
            q = turn((w["q"][layer] @ h).reshape(N, H), position)
            keys[layer].append(turn((w["k"][layer] @ h).reshape(K, H), position))
            values[layer].append((w["v"][layer] @ h).reshape(K, H))
            seen = []
            for head in range(N):
                k = np.stack(keys[layer])[:, head // (N // K)]
                v = np.stack(values[layer])[:, head // (N // K)]
                scores = np.exp(k @ q[head] / np.sqrt(H))
                seen.append(scores / scores.sum() @ v)
            x = x + w["out"][layer] @ np.concatenate(seen)
            h = rms(x, w["mlp_norm"][layer])
            gate = w["gate"][layer] @ h
            gate = gate / (1 + np.exp(-gate))
            x = x + w["down"][layer] @ (gate * (w["up"][layer] @ h))
    return w["table"] @ rms(x, w["norm"])


@pytest.fixture(scope="module")
def stories():
    return hub.load(CHECKPOINT)


def test_logits_equal_llama2c(stories):
    tokens = [1, 403, 407, 261, 378, 5, 9, 320]
    expected = last_logits(*read(CHECKPOINT), tokens)
    found = np.asarray(hub.logits(stories, [tokens]))[0, -1]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_stories260k_tells_its_story(stories):
    """Greedy from the beginning-of-text token, as `run stories260K.bin -t 0` prints."""
    begin = stories.tokenizer.specials["bos"]
    settings = Sampling(strategy="greedy", max_new_tokens=40)
    ((row,),) = strategies.generate(stories.params, stories.config, [[begin]], settings)
    tokens = row.ids
    text = stories.tokenizer.decode(tokens).strip()
    assert text.startswith("Once upon a time, there was a little girl named Lily.")
    weights, told = read(CHECKPOINT), [begin]
    for token in tokens[:20]:
        assert token == last_logits(*weights, told).argmax()
        told.append(token)
