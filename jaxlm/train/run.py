"""A trained run, read back from its directory."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.data import corpus as corpora
from jaxlm.data import loader, objectives, tokenizers
from jaxlm.train import step as steps
from jaxlm.train import workdir as workdirs
from jaxlm.train.checkpoint import Checkpoints
from jaxlm.train.evaluate import Evaluation
from jaxlm.train.evaluate import evaluate as measure


class Run(NamedTuple):
    """Settings, tokenizer, parameters, steps that made them, hash of their text."""

    config: schema.Experiment
    tokenizer: tokenizers.Tokenizer
    params: Any
    step: int
    sha256: str


def load(workdir: Path) -> Run:
    """The newest checkpoint in `workdir`, on one device, whatever mesh trained it.

    Raises ConfigError where there is no run or no checkpoint.
    """
    config = replace(workdirs.settings(workdir), mesh=schema.Mesh(data=1))
    program = steps.build(config, jax.local_devices()[:1])
    with Checkpoints(workdir, config.checkpoint, read_only=True) as checkpoints:
        state = checkpoints.restore(program.abstract_state())
    text = workdirs.read_json(Path(workdir) / "corpus.json")
    tokenizer = tokenizers.restore(text["tokenizer"])
    step = int(jax.device_get(state.step))
    return Run(config, tokenizer, state.params, step, text["sha256"])


def evaluate(trained: Run, on: schema.Experiment) -> Evaluation:
    """The run's loss on the held-out text of `on.data`, in the run's own tokens."""
    config = replace(trained.config, data=on.data, evaluation=on.evaluation)
    corpus = corpora.build(config.data, trained.tokenizer)
    if on.data == trained.config.data and corpus.record["sha256"] != trained.sha256:
        raise ConfigError(
            f"config.data.source {on.data.source!r} gives other text here (sha256 "
            f"{corpus.record['sha256'][:12]}) than the run was trained on "
            f"({trained.sha256[:12]}), some of which may be held out here; evaluate "
            "where it was trained, or name other text with --config"
        )
    return evaluate_on(corpus, trained.params, config)


def evaluate_on(
    corpus: corpora.Corpus, params: Any, config: schema.Experiment
) -> Evaluation:
    """The loss of these parameters on a corpus's held-out text, on one device."""
    program = steps.build(config, jax.local_devices()[:1])
    batches = loader.held_out_batches(
        corpus.held_out,
        config.data,
        objectives.task_on(config, corpus),
        config.evaluation.batches,
    )

    def eval_step(params, batch):
        # Waits, so that the bar tells of batches done and not of batches sent.
        batch = jax.device_put(batch, program.batch_sharding)
        return jax.block_until_ready(program.eval_step(params, batch))

    return measure(
        eval_step,
        params,
        tqdm(batches, unit="batch", leave=False),
        bytes_per_token=objectives.bytes_per_token(config.objective, corpus),
    )
