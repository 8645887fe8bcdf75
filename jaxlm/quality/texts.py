"""Held-out text cut into what a model continues and what people wrote there."""

from pathlib import Path

import numpy as np

from jaxlm.core.config import ConfigError
from jaxlm.core.quality import Quality
from jaxlm.core.schema import Data
from jaxlm.data import corpus as corpora
from jaxlm.data import sources, tokenizers
from jaxlm.data.tokenizers import Tokenizer
from jaxlm.hub.pretrained import is_run
from jaxlm.train import workdir as workdirs


def held_out(config: Quality, model: Path, tokenizer: Tokenizer) -> list[np.ndarray]:
    """The ids of each document that the model has not learned from.

    Raises ConfigError where the run's text is not here, or a model brings none.
    """
    if config.path:
        try:
            found = sources.files(Data(source="files", path=config.path))
        except ConfigError as error:
            named = str(error).replace("config.data.path", "config.path")
            raise ConfigError(named) from None
        return tokenizers.encode_all(tokenizer, found)
    if not is_run(model):
        raise ConfigError(
            f"--model {model} brings no text to continue; give --config.path=FILES"
        )
    corpus = corpora.build(workdirs.settings(model).data, tokenizer)
    learned = workdirs.read_json(model / "corpus.json")["sha256"]
    if corpus.record["sha256"] != learned:
        raise ConfigError(
            f"--model {model} learned from other text (sha256 {learned[:12]}) than its "
            "settings find here, so what it held out is unknown; give --config.path"
        )
    ends = [*tokenizer.specials.values()]
    documents = np.split(corpus.held_out, corpus.held_out_offsets[1:-1])
    return [ids[~np.isin(ids, ends)] for ids in documents]


def windows(documents: list[np.ndarray], config: Quality) -> np.ndarray:
    """(2 prompts, time) ids: texts to be continued, and as many others.

    Each from inside a document, none overlapping another, drawn at random by the seed.
    """
    size = config.prompt_tokens + config.new_tokens
    found = [
        ids[: len(ids) // size * size].reshape(-1, size)
        for ids in documents
        if len(ids) >= size
    ]
    whole = np.concatenate(found) if found else np.zeros((0, size), np.int32)
    if len(whole) < 2 * config.prompts:
        raise ConfigError(
            f"config.prompts {config.prompts}, and as many texts to compare with, of "
            f"{size} tokens are more than the {len(whole)} in the held-out text; give "
            f"at most {len(whole) // 2}, or fewer tokens"
        )
    random = np.random.default_rng(config.seed)
    chosen = random.permutation(len(whole))[: 2 * config.prompts]
    return whole[chosen].astype(np.int32)
