"""From prompts to texts, through a tokenizer."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlm.core.config import ConfigError
from jaxlm.core.sampling import Sampling
from jaxlm.core.schema import Model
from jaxlm.data.tokenizers import Tokenizer
from jaxlm.sampling import ask, constraint, strategies
from jaxlm.sampling.stops import Reading, Stops


class Text(NamedTuple):
    """What was said after a prompt.

    text: without what ended it. ids: all tokens, with those that ended it. ended:
    'stop' for a stop id or string, 'length' where there was no more room. score: what
    the strategy ranks by. logprobs: (ids,), natural, of each token under the model,
    before filters; top: (ids, K) ids and log-probabilities of the likeliest.
    """

    text: str
    ids: np.ndarray
    ended: str
    score: float | None = None
    logprobs: np.ndarray | None = None
    top: tuple[np.ndarray, np.ndarray] | None = None


class _Asked(NamedTuple):
    """A request in ids: arguments of strategies.generate, and what reads the answer.

    stops: None where ids have no pieces of their own, and none are needed.
    """

    prompts: list[np.ndarray]
    options: dict[str, Any]
    tokenizer: Tokenizer
    stops: Stops | None
    ends: tuple[int, ...]


def sample(
    params: Any,
    config: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    settings: Sampling,
    *,
    start: int | None = None,
    prefix: bool = False,
    ends: tuple[int, ...] = (),
    draft: tuple[Any, Model] | None = None,
) -> list[list[Text]]:
    """`settings.samples` continuations of each prompt, the best first.

    The prompt of an encoder-decoder is what its encoder reads, and its decoder begins
    with the token `start`. prefix: the model reads its prompt both ways. ends:
    ids that end a text, besides the tokenizer's own and the settings'. draft:
    parameters and settings of a model that guesses for this one. Raises ConfigError
    for what cannot be, before anything runs.
    """
    asked = _asked(config, tokenizer, prompts, settings, start, ends)
    found = strategies.generate(
        params,
        config,
        asked.prompts,
        settings,
        prefix=prefix,
        draft=draft,
        watch=_watch(asked) if settings.stop else None,
        **asked.options,
    )
    return [[_text(asked, row) for row in rows] for rows in found]


def stream(
    params: Any,
    config: Model,
    tokenizer: Tokenizer,
    prompt: str,
    settings: Sampling,
    *,
    start: int | None = None,
    prefix: bool = False,
    ends: tuple[int, ...] = (),
) -> Iterator[str]:
    """The text that `sample` gives, in pieces, as soon as each is certain.

    A piece is whole characters, and never the beginning of a stop string.
    """
    if settings.strategy not in STREAMED or settings.samples != 1:
        raise ConfigError(
            f"sampling.strategy {settings.strategy!r} with sampling.samples "
            f"{settings.samples} cannot be streamed; choose {' or '.join(STREAMED)}, "
            "and one sample"
        )
    asked = _asked(config, tokenizer, [prompt], settings, start, ends, streamed=True)
    rows = strategies.one_by_one(
        params, config, asked.prompts[0], settings, prefix=prefix, **asked.options
    )
    return _pieces(asked, rows)


def _pieces(asked: _Asked, rows: Iterator[ask.Row]) -> Iterator[str]:
    reading, said = Reading(), 0
    for row in rows:
        reading = asked.stops.read(reading, _unended(asked, row.ids[said:]))
        said = len(row.ids)
        if reading.text:
            yield reading.text
        if reading.finished:
            return
    if rest := asked.stops.rest(reading):
        yield rest


def record(text: Text) -> dict[str, Any]:
    """A text as JSON values; what was not asked is left out."""
    values = {"text": text.text, "ended": text.ended, "ids": text.ids.tolist()}
    if text.score is not None:
        values["score"] = text.score
    if text.logprobs is not None:
        values["logprobs"] = text.logprobs.tolist()
    if text.top is not None:
        pairs = zip(*(part.tolist() for part in text.top), strict=True)
        values["top"] = [list(zip(*pair, strict=True)) for pair in pairs]
    return values


def _asked(config, tokenizer, prompts, settings, start, ends, streamed=False) -> _Asked:
    ids = [
        np.asarray(tokenizer.encode(prompt, specials=True), np.int32)
        for prompt in prompts
    ]
    options = {}
    if config.architecture == "encoder_decoder":
        _check_sources(config, ids, start)
        options["sources"] = ids
        ids = [np.array([start], np.int32)] * len(ids)
    end = tokenizer.specials.get("eos")
    ends = (*settings.stop_ids, *ends, *(() if end is None else (end,)))
    if not ends and (settings.regex or settings.json_schema):
        # What stands between documents is how such a model ends one.
        ends = tuple(filter(None.__ne__, [tokenizer.specials.get("separator")]))
    for wanted, compiled in (
        (settings.regex, constraint.of_regex),
        (settings.json_schema, constraint.of_json_schema),
    ):
        if wanted:
            made = compiled(wanted, tokenizer, ends=ends, vocab_size=config.vocab_size)
            options["table_QV"] = made.table_QV
    options["stop_ids"] = ends
    try:
        stops = Stops.of(tokenizer, settings.stop)
    except ConfigError:
        if settings.stop or streamed:
            raise
        stops = None
    return _Asked(ids, options, tokenizer, stops, ends)


def _check_sources(config: Model, ids: list[np.ndarray], start: int | None) -> None:
    if start is None:
        raise ConfigError(
            "config.model.architecture 'encoder_decoder' begins with a token of its "
            "own and none is known; give start, an id"
        )
    most = config.context if config.positions == "learned" else math.inf
    for source in ids:
        if not 1 <= len(source) <= most:
            raise ConfigError(
                f"--prompt has {len(source)} tokens and the encoder reads 1 to {most}; "
                "give another"
            )


def _watch(asked: _Asked):
    """How many ids a text has, once it has met a stop string; each is read once."""
    read: dict[int, tuple[int, Reading]] = {}

    def ended(row: int, ids: np.ndarray) -> int | None:
        said, reading = read.get(row, (0, Reading()))
        for one in _unended(asked, ids)[said:]:
            if reading.finished:
                break
            said, reading = said + 1, asked.stops.read(reading, [one])
        read[row] = said, reading
        return said if reading.finished else None

    return ended


def _unended(asked: _Asked, ids: np.ndarray) -> np.ndarray:
    """The ids without the one that ended them."""
    return ids[:-1] if len(ids) and int(ids[-1]) in asked.ends else ids


def _text(asked: _Asked, row: ask.Row) -> Text:
    ids = _unended(asked, row.ids)
    if asked.stops is None:
        text, finished = asked.tokenizer.decode(ids), False
    else:
        text, finished = asked.stops.cut(ids)
    stopped = finished or len(ids) < len(row.ids)
    return Text(text, row.ids, "stop" if stopped else "length", *row[1:])


STREAMED = ("greedy", "sample")
