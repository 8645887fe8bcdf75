"""The settings of how text is drawn from a model."""

import math
from dataclasses import dataclass, fields

from jaxlm.core.checks import require
from jaxlm.core.config import choose
from jaxlm.core.filter_values import PENALTIES, check_number, check_once, shown

INT32 = 2**31 - 1  # what a seed holds

STRATEGIES = (
    "greedy",
    "sample",
    "best_of",
    "beam",
    "diverse_beam",
    "contrastive",
    "speculative",
)
DRAWING = ("sample", "best_of", "speculative")  # by chance

# A setting that some strategies alone read: the others refuse it.
READERS = {
    "beams": ("beam", "diverse_beam"),
    "groups": ("diverse_beam",),
    "diversity": ("diverse_beam",),
    "length_penalty": ("beam", "diverse_beam"),
    "early_stopping": ("beam", "diverse_beam"),
    "best_of": ("best_of",),
    "alpha": ("contrastive",),
    "candidates": ("contrastive",),
    "draft": ("speculative",),
    "draft_tokens": ("speculative",),
    "ngram": ("speculative",),
}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """From a prompt to text. What the strategy has no use for is refused."""

    # greedy, sample, best_of, beam, diverse_beam, contrastive, speculative
    strategy: str = "sample"
    # Rows of sampling/filters that a number describes, in the order applied, after
    # bias, banned, forced and the constraint. Where nothing is drawn: penalties alone.
    filters: tuple[tuple[str, float], ...] = (("temperature", 0.8),)
    bias: tuple[tuple[int, float], ...] = ()  # (id, what is added to its logit)
    banned: tuple[int, ...] = ()  # ids that are never said
    forced: tuple[int, ...] = ()  # ids that every continuation begins with
    regex: str = ""  # what the text matches, from its first to its last character
    json_schema: str = ""  # what the text is an instance of
    max_new_tokens: int = 64
    min_new_tokens: int = 0  # before them no stop id is said
    samples: int = 1  # continuations of each prompt
    seed: int = 0
    stop: tuple[str, ...] = ()  # a text ends before the first of these
    stop_ids: tuple[int, ...] = ()  # besides the tokenizer's own end
    # Top tokens told beside each chosen one, with their log-probabilities; 0: the
    # chosen one's alone; -1: none.
    logprobs: int = -1
    beams: int = 4
    groups: int = 2  # diverse_beam: of beams, each unlike the ones before it
    diversity: float = 0.5  # diverse_beam: off a log-probability, for each such use
    length_penalty: float = 1.0  # beam: scores are divided by length to this power
    early_stopping: str = "no"  # no, yes, never: as transformers' False, True, "never"
    best_of: int = 4  # drawn, of which `samples` are told
    alpha: float = 0.6  # contrastive: weight of being unlike what stands before
    candidates: int = 4  # contrastive: most likely tokens that are compared
    # speculative: a model's directory, or ngram: what followed the last tokens before
    draft: str = "ngram"
    draft_tokens: int = 4  # speculative: proposed at a time
    ngram: int = 3  # speculative: last tokens that the n-gram draft looks for
    cache: str = "compute"  # compute: the model's own numbers; int8

    def __post_init__(self):
        _one_of(self, "strategy", *STRATEGIES)
        _one_of(self, "early_stopping", "no", "yes", "never")
        _one_of(self, "cache", "compute", "int8")
        for name in ("max_new_tokens", "samples", "beams", "groups", "best_of"):
            _within(self, name, 1, INT32)
        for name in ("candidates", "draft_tokens", "ngram"):
            _within(self, name, 1, INT32)
        _within(self, "min_new_tokens", 0, INT32)
        _within(self, "logprobs", -1, INT32)
        _within(self, "seed", 0, INT32)
        _within(self, "diversity", 0, 1e6)
        _within(self, "length_penalty", -1e6, 1e6)
        _within(self, "alpha", 0, 1)
        require("" not in self.stop, "sampling.stop '' is empty; leave it out")
        self._check_readers()
        self._check_filters()
        self._check_tokens()
        self._check_counts()

    @property
    def applied(self) -> tuple[tuple[str, float], ...]:
        """The filters that the strategy applies: penalties alone where none draws."""
        draws = self.strategy in DRAWING
        return tuple(f for f in self.filters if draws or f[0] in PENALTIES)

    def _check_readers(self) -> None:
        """What differs from its default is read."""
        for field in fields(self):
            readers = READERS.get(field.name, STRATEGIES)
            value = getattr(self, field.name)
            require(
                self.strategy in readers or value == field.default,
                f"sampling.{field.name} {value!r} does nothing with sampling.strategy "
                f"{self.strategy!r}; leave it out, or choose {' or '.join(readers)}",
            )
        require(
            self.draft == "ngram" or self.ngram == Sampling.ngram,
            f"sampling.ngram {self.ngram} does nothing with sampling.draft "
            f"{self.draft!r}; leave it out, or choose ngram",
        )

    def _check_filters(self) -> None:
        for name, value in self.filters:
            check_number(name, value)
            require(
                (name, value) in (*self.applied, *Sampling.filters),
                f"sampling.filters {name} {shown(value)} does nothing with "
                f"sampling.strategy {self.strategy!r}; leave it out, or choose "
                f"{' or '.join(DRAWING)}",
            )
        check_once(name for name, _ in self.filters)

    def _check_tokens(self) -> None:
        """Ids that are asked for and forbidden, or asked for twice."""
        biased = [token for token, _ in self.bias]
        lists = dict(
            bias=biased, banned=self.banned, forced=self.forced, stop_ids=self.stop_ids
        )
        for name, ids in lists.items():
            below = [token for token in ids if not 0 <= token <= INT32]
            require(not below, f"sampling.{name} {below} is no id; give 0 or more")
        for token, value in self.bias:
            require(
                math.isfinite(value),
                f"sampling.bias {value} of token {token} is no number; to forbid the "
                "token, name it in sampling.banned",
            )
            require(
                biased.count(token) == 1,
                f"sampling.bias has token {token} {biased.count(token)} times; give "
                "the sum once",
            )
        for name in ("bias", "forced", "stop_ids"):
            both = sorted({*lists[name]} & {*self.banned})
            require(
                not both,
                f"sampling.{name} and sampling.banned both have {both}; remove them "
                "from one",
            )
        require(
            len(self.forced) <= self.max_new_tokens,
            f"sampling.forced has {len(self.forced)} ids and sampling.max_new_tokens "
            f"is {self.max_new_tokens}; give fewer, or more room",
        )
        early = max(self.min_new_tokens, len(self.forced) - 1)
        ends = sorted({*self.forced[:early]} & {*self.stop_ids})
        require(
            not ends,
            f"sampling.forced has {ends}, in sampling.stop_ids, before the text may "
            "end; remove them from one",
        )

    def _check_counts(self) -> None:
        """How many tokens and continuations there can be, of what kind."""
        require(
            self.min_new_tokens <= self.max_new_tokens,
            f"sampling.min_new_tokens {self.min_new_tokens} is more than "
            f"sampling.max_new_tokens {self.max_new_tokens}; give fewer, or more room",
        )
        require(
            not (self.regex and self.json_schema),
            f"sampling.regex {self.regex!r} and sampling.json_schema are both given; "
            "give one",
        )
        beams = (self.beams, f"beams {self.beams}")
        most, source = {
            "greedy": (1, "strategy 'greedy'"),
            "contrastive": (1, "strategy 'contrastive'"),
            "best_of": (self.best_of, f"best_of {self.best_of}"),
            "beam": beams,
            "diverse_beam": beams,
        }.get(self.strategy, (INT32, ""))
        require(
            self.samples <= most,
            f"sampling.samples {self.samples} is more than sampling.{source} finds; "
            f"give at most {most}",
        )
        require(
            self.strategy != "diverse_beam" or self.beams % self.groups == 0,
            f"sampling.beams {self.beams} over sampling.groups {self.groups} leaves "
            f"{self.beams % self.groups}; choose a divisor of {self.beams}",
        )


def _one_of(settings: Sampling, name: str, *names: str) -> None:
    choose(dict.fromkeys(names), getattr(settings, name), f"sampling.{name}")


def _within(settings: Sampling, name: str, least: float, most: float) -> None:
    value = getattr(settings, name)
    require(
        least <= value <= most,
        f"sampling.{name} {value} is not between {least} and {most}; give a number in "
        "that range",
    )
