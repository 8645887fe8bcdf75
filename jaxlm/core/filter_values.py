"""Filters that one number describes: which numbers they can have."""

import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxlm.core.checks import require
from jaxlm.core.config import choose


class Range(NamedTuple):
    """What a number may be: `holds` of those that may, `remedy` says which they are."""

    holds: Callable[[float], bool]
    remedy: str


PROBABILITY = Range(lambda p: 0 < p <= 1, "a number in (0, 1]")
CUTOFF = Range(lambda p: 0 <= p < 1, "a number in [0, 1), 0.0003, say")
COUNT = Range(lambda n: n == int(n) >= 1, "a whole number, 1 or more")
PENALTY = Range(lambda x: True, "a number, 0.5, say")

# The filters that one number describes, as sampling/filters applies them.
NUMBERS = {
    "temperature": Range(
        lambda t: t == 0 or t >= 1e-6, "0, which is greedy, or at least 1e-06"
    ),
    "top_k": COUNT,
    "top_p": PROBABILITY,
    "min_p": Range(lambda p: 0 <= p <= 1, "a number in [0, 1]"),
    "typical": PROBABILITY,
    "epsilon": CUTOFF,
    "eta": CUTOFF,
    "repetition": Range(lambda x: x > 0, "more than 0, 1.2, say"),
    "presence": PENALTY,
    "frequency": PENALTY,
    "no_repeat_ngram": COUNT,
}

# Of those, the ones that change which token is the most likely.
PENALTIES = ("repetition", "presence", "frequency", "no_repeat_ngram")


def check_number(name: str, value: Any) -> None:
    """Raises ConfigError unless `value` is one that the filter `name` can have."""
    allowed = choose(NUMBERS, name, "sampling.filters")
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    require(
        real and math.isfinite(value) and allowed.holds(value),
        f"sampling.filters {name} {shown(value)} is out of range; give "
        f"{allowed.remedy}",
    )


def check_once(names: Iterable[str]) -> None:
    """Raises ConfigError where a filter is named twice."""
    names = list(names)
    for name in names:
        require(
            names.count(name) == 1,
            f"sampling.filters {name!r} is given {names.count(name)} times; give one",
        )


def parse_filters(text: str) -> tuple[tuple[str, float], ...]:
    """Filters as a command line has them: 'top_k=50,temperature=0.7', in this order."""
    found = []
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        choose(NUMBERS, name, "sampling.filters")
        try:
            found.append((name, float(value)))
        except ValueError:
            remedy = f"write {name}=NUMBER: {NUMBERS[name].remedy}"
            require(False, f"sampling.filters {part!r} has no number; {remedy}")
        check_number(*found[-1])
    check_once(name for name, _ in found)
    return tuple(found)


def shown(value: Any) -> str:
    """A number as a user writes it: 50, not 50.0."""
    return f"{value:g}" if isinstance(value, numbers.Real) else repr(value)
