"""What a model learns to predict: from the tokens of one example to one row of a Batch.

Each row is a pure function of the tokens, a generator and a `Task`.
"""

from dataclasses import replace

from jaxlm.core import schema
from jaxlm.core.checks import require
from jaxlm.core.config import choose
from jaxlm.data import vocabulary, words
from jaxlm.data.corpus import Corpus
from jaxlm.data.objectives import mixture
from jaxlm.data.objectives.causal import CAUSAL
from jaxlm.data.objectives.conditional import CONDITIONAL
from jaxlm.data.objectives.denoise import DENOISE
from jaxlm.data.objectives.masked import MASKED
from jaxlm.data.objectives.prefix import PREFIX
from jaxlm.data.objectives.span import SPAN
from jaxlm.data.objectives.suits import refusal
from jaxlm.data.objectives.task import Objective, Task
from jaxlm.data.objectives.ul2 import UL2
from jaxlm.data.tokenizers import Tokenizer
from jaxlm.data.vocabulary import Vocabulary

OBJECTIVES = {
    "causal": CAUSAL,
    "prefix": PREFIX,
    "masked": MASKED,
    "span": SPAN,
    "denoise": DENOISE,
    "ul2": UL2,
    "conditional": CONDITIONAL,
}
OBJECTIVES["mixture"] = mixture.over(dict(OBJECTIVES))


def get(settings: schema.Objective) -> Objective:
    """The row that the settings name."""
    return choose(OBJECTIVES, settings.name, "config.objective.name")


def check(model: schema.Model, settings: schema.Objective) -> None:
    """Raises ConfigError for a model that does not learn from the objective."""
    get(settings)
    line = refusal(model, settings)
    require(line is None, line)


def task_on(config: schema.Experiment, corpus: Corpus) -> Task:
    """The `task` of an experiment in a corpus's ids.

    Raises ConfigError, besides, where the objective reads pairs and the text has none.
    """
    data = config.data
    named = f"source {data.source!r}"
    if data.mixture:
        named = f"mixture {tuple(name for name, _ in data.mixture)}"
    elif data.path:
        named += f" with path {data.path!r}"
    require(
        corpus.pairs or get(config.objective).cut != "pairs",
        f"config.objective.name {config.objective.name!r} reads pairs and config.data."
        f"{named} has texts; choose source 'pairs', or one that experiments.prepare "
        "was given a --target_field for",
    )
    return task(config, corpus.tokenizer)


def task(config: schema.Experiment, tokenizer: Tokenizer) -> Task:
    """What the objective of an experiment has to know, its vocabulary included.

    Raises ConfigError where the objective does not suit the model, where a sequence
    has no room for an example, and where the tokenizer lacks a separator that is
    needed.
    """
    settings = config.objective
    names = {settings.name, *(name for name, _ in settings.mixture)}
    by_word = "masked" in names and settings.mask_unit == "word"
    by_sentence = "denoise" in names and settings.permutation > 0
    ids = vocabulary_of(config, tokenizer)
    needs = get(settings).cut == "pairs" or settings.documents != "joined"
    require(
        not needs or ids.separator is not None,
        f"config.objective.name {settings.name!r} with documents "
        f"{settings.documents!r} looks for a separator and the tokenizer "
        f"{tokenizer.name!r} has none for this text; choose config.data.tokenizer "
        "'byte', say",
    )
    return replace(
        _bare(config),
        vocabulary=ids,
        starts=words.starts(tokenizer) if by_word else None,
        ends=words.sentence_ends(tokenizer) if by_sentence else None,
    )


def bytes_per_token(settings: schema.Objective, corpus: Corpus) -> float | None:
    """Those of the tokens that the loss is of; None where it leaves out any of a text.

    What it asks for may then be the tokens that are easy to guess, or ids of its own.
    """
    return corpus.bytes_per_token if get(settings).complete else None


def vocabulary_of(config: schema.Experiment, tokenizer: Tokenizer) -> Vocabulary:
    """The ids of a tokenizer, and those that the objective of an experiment adds."""
    row, bare = get(config.objective), _bare(config)
    spans = row.sentinels(bare)
    if spans:
        # As many as any objective has here, so that each sentinel is one id in all.
        most = (SPAN.sentinels(bare), UL2.sentinels(bare), config.objective.sentinels)
        spans = max(spans, *most)
    return vocabulary.make(tokenizer, row.roles(bare), spans)


def _bare(config: schema.Experiment) -> Task:
    """The task without what the tokenizer has to say."""
    settings, model = config.objective, config.model
    check(model, settings)
    bare = Task(
        settings=settings,
        architecture=model.architecture,
        context=model.context,
        encoder_context=settings.encoder_context or model.context,
        vocabulary=None,
        starts=None,
        ends=None,
    )
    _check_lengths(config, get(settings), bare)
    return bare


def _check_lengths(config: schema.Experiment, row: Objective, bare: Task) -> None:
    name = bare.settings.name
    parts = [
        choose(OBJECTIVES, part, "config.objective.mixture")
        for part, _ in bare.settings.mixture
    ]
    shortest = min(bare.context, bare.encoder_context if bare.looks else bare.context)
    least = 6 if UL2 in (row, *parts) else 2  # its rarest spans need some room
    require(
        all(part.reads(bare) >= 2 for part in (row, *parts)) and shortest >= least,
        f"config.model.context {bare.context} has no room for an example of "
        f"config.objective.name {name!r}; give more",
    )
    _, encoder_time = row.lengths(bare)
    require(
        config.model.positions != "learned" or encoder_time <= bare.context,
        f"config.objective.encoder_context {encoder_time} is more than the "
        f"{bare.context} positions that config.model.context has learned; give at most "
        f"{bare.context}",
    )
