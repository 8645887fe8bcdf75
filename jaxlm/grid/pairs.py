"""Kinds of model times objectives: each pair as an experiment, or why it is none.

Wang et al. 2022 (arXiv 2204.05832). L layers a side, F hidden numbers of an MLP.
"""

from dataclasses import replace
from typing import NamedTuple

from jaxlm.core import params as specs
from jaxlm.core import schema
from jaxlm.core.config import ConfigError, choose, override
from jaxlm.core.schema import Experiment, Model
from jaxlm.data import objectives
from jaxlm.data.objectives import span
from jaxlm.data.objectives.suits import KINDS, unsuited
from jaxlm.data.questions import FORMS
from jaxlm.data.tokenizers import Tokenizer
from jaxlm.models import transformer
from jaxlm.scaling import cost

STEP = 8  # by which a hidden width may move to make models equal


class Pair(NamedTuple):
    """One cell: config is that of its run, or None where `refused` says why not.

    after: the name of the pair whose weights it starts from, or ''. flops_a_token: of
    training.
    """

    kind: str
    objective: str
    config: Experiment | None
    refused: str = ""
    after: str = ""
    flops_a_token: float = 0.0

    @property
    def name(self) -> str:
        """What its run is called."""
        own = f"{self.kind}-{self.objective}"
        return f"{self.after}-to-{own}" if self.after else own


def pairs(config: Experiment, tokenizer: Tokenizer) -> list[Pair]:
    """Every pair of the grid, kind by kind, and then those that go on from another.

    All have the same text, steps, tokens a step and ids: a vocabulary that suffices for
    any objective. Raises ConfigError for a grid without a pair that can be trained, for
    one that adapts what it does not train, and for questions that cannot be asked.
    """
    settings = config.grid
    for kind in settings.kinds:
        choose(dict.fromkeys(KINDS, True), kind, "config.grid.kinds")
    for name in settings.objectives:
        choose(objectives.OBJECTIVES, name, "config.grid.objectives")
    if config.model.positions == "learned":
        raise ConfigError(
            "config.model.positions 'learned' are as many as config.model.context, "
            "which differs between pairs; choose 'rope', say"
        )
    if settings.questions:
        _check_questions(config)
    config = with_vocabulary(config, tokenizer)
    cells = [
        _pair(config, kind, name)
        for kind in settings.kinds
        for name in settings.objectives
    ]
    trained = {cell.name: cell for cell in cells if cell.config}
    if not trained:
        raise ConfigError(
            f"config.grid.kinds {settings.kinds} and config.grid.objectives "
            f"{settings.objectives} have no pair that can be trained; give "
            "('causal_decoder',) and ('causal',), say"
        )
    return cells + [_adapted(config, *entry, trained) for entry in settings.adapt]


def _check_questions(config: Experiment) -> None:
    settings = config.grid
    names = {*settings.objectives, *(new for *_, new in settings.adapt)}
    unasked = sorted(names & objectives.OBJECTIVES.keys() - FORMS.keys())
    if unasked:
        raise ConfigError(
            f"config.grid.questions {settings.questions} cannot be asked of a model "
            f"that learned {unasked[0]!r}; give 0, or objectives of {', '.join(FORMS)}"
        )
    # Relative positions would reach further, and then a model would be asked how it
    # reads a longer text than any that it learned from, and not what it learned.
    asked = settings.context + settings.continuation
    if asked > config.model.context:
        raise ConfigError(
            f"config.grid.context {settings.context} and config.grid.continuation "
            f"{settings.continuation} are {asked} tokens, and config.model.context "
            f"is {config.model.context}; give fewer, or more context"
        )


def with_vocabulary(config: Experiment, tokenizer: Tokenizer) -> Experiment:
    """The settings with as many ids as any pair needs, so that all have as many.

    Of pairs that are not in the grid too, for it may grow.
    """
    if config.model.vocab_size:
        return config
    # Any number of ids serves to see how many there are.
    sized = override(config, {"model.vocab_size": tokenizer.vocab_size})
    sizes = [
        _ids(sized, kind, name, tokenizer)
        for kind in KINDS
        for name in objectives.OBJECTIVES
    ]
    return override(config, {"model.vocab_size": max(sizes)})


def _ids(config: Experiment, kind: str, name: str, tokenizer: Tokenizer) -> int:
    """How many a pair needs; the tokenizer's alone where it cannot be trained here."""
    try:
        cell = _pair(config, kind, name)
        if cell.config:
            return objectives.vocabulary_of(cell.config, tokenizer).size
    except ConfigError:  # no room in this context, say; told where it is in the grid
        pass
    return tokenizer.vocab_size


def refusal(config: Experiment, kind: str, name: str) -> str:
    """Why the pair is none, or ''."""
    mixed = [part for part, _ in config.objective.mixture]
    reasons = (unsuited(kind, x) for x in (mixed if name == "mixture" else [name]))
    return next(filter(None, reasons), "")


def _pair(config: Experiment, kind: str, name: str) -> Pair:
    if reason := refusal(config, kind, name):
        return Pair(kind, name, None, reason)
    one_way = kind == "causal_decoder"
    settings = replace(
        config.objective, name=name, prefix="causal" if one_way else "bidirectional"
    )
    model = config.model
    if kind == "encoder_decoder":
        encoder, decoder = lengths(settings, model.context)
        settings = replace(settings, encoder_context=encoder)
        model = equal(model, config.grid.equal)
        flops = flops_a_token(model)
        model = replace(model, context=decoder)
    else:
        one = "encoder" if kind == "encoder" else "decoder"
        model = replace(model, architecture=one)
        flops = flops_a_token(model)
    # A run is the same in a larger grid.
    config = replace(config, model=model, objective=settings, grid=schema.Grid())
    return Pair(kind, name, config, flops_a_token=flops)


def _adapted(config, kind, name, new_kind, new_name, trained: dict[str, Pair]) -> Pair:
    """The pair that goes on from another one's weights."""
    first = trained.get(f"{kind}-{name}")
    entry = f"config.grid.adapt {(kind, name, new_kind, new_name)}"
    if first is None:
        raise ConfigError(
            f"{entry} goes on from a pair that this grid does not train; choose one of "
            f"{', '.join(trained)}"
        )
    for known, given in ((KINDS, new_kind), (objectives.OBJECTIVES, new_name)):
        choose(dict.fromkeys(known, True), given, "config.grid.adapt")
    second = _pair(config, new_kind, new_name)
    if second.config is None:
        raise ConfigError(f"{entry} ends with a pair that is none, {second.refused}")
    shapes = [
        specs.abstract(transformer.spec(cell.config.model)) for cell in (first, second)
    ]
    if shapes[0] != shapes[1]:
        raise ConfigError(
            f"{entry} goes from one model to another; leave encoder_decoder to itself"
        )
    steps = {"train.steps": config.grid.adapt_steps}
    return second._replace(config=override(second.config, steps), after=first.name)


def lengths(settings: schema.Objective, context: int) -> tuple[int, int]:
    """(U, T) of an encoder and the decoder above it that read `context` tokens.

    Half each, but for span corruption, whose text leaves more to the source.
    """
    if settings.name != "span":
        return context // 2, context - context // 2
    density, mean = settings.noise_density, settings.mean_span
    text = span.fill(density, mean, context, context, context)
    if not text:
        raise ConfigError(
            f"config.model.context {context} has no room for an example of "
            "config.objective.name 'span'; give more"
        )
    return span.sizes(text, density, mean)


def equal(decoder: Model, what: str) -> Model:
    """The encoder-decoder, as deep on both sides, that comes nearest to a decoder.

    In 'params' or in training 'flops' a token: the number of layers first, and then the
    hidden width in steps of 8. In 'depth' each side is the decoder's.
    """
    model = replace(decoder, architecture="encoder_decoder")
    if what == "depth":
        return replace(model, encoder_depth=decoder.depth)
    measure = {"params": lambda m: cost.counts(m).total, "flops": flops_a_token}[what]
    wanted = measure(decoder)

    def nearest(models: list[Model]) -> Model:
        return min(models, key=lambda m: abs(measure(m) - wanted))

    depths = range(1, decoder.depth + 1)
    model = nearest([replace(model, depth=L, encoder_depth=L) for L in depths])
    widths = {*range(STEP, 2 * decoder.hidden_width, STEP), decoder.hidden_width}
    return nearest([replace(model, mlp_width=F) for F in sorted(widths)])


def flops_a_token(model: Model) -> float:
    """Training FLOPs (Hoffmann et al. 2022) of each token of `model.context`.

    An encoder's token does not pass the decoder, nor the decoder's the encoder; each is
    taken to read half the context.
    """
    if model.layers_of_encoder:
        return cost.hoffmann(replace(model, context=model.context // 2)) / 2
    return cost.hoffmann(model)
