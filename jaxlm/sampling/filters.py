"""What is done to logits before a token is drawn. B batch, V vocabulary.

A filter is a function (logits, its value, what was said) -> logits, with -inf for what
is removed; at least one token of each row stays. A chain is several in a row. Their
names are compiled in and their values are not: another top_p compiles nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import numpy as np

from jaxlm.core.checks import require
from jaxlm.core.config import choose
from jaxlm.core.filter_values import check_number, check_once
from jaxlm.core.sampling import Sampling
from jaxlm.sampling import cutoffs, limits, penalties
from jaxlm.sampling.history import History


class Filter(NamedTuple):
    """array: (value, vocab_size) -> arrays; raises ConfigError for what cannot be.

    apply: (logits_BV, arrays, History) -> logits_BV, float32.
    """

    array: Callable[[Any, int], Any]
    apply: Callable[[jax.Array, Any, History], jax.Array]


@flax.struct.dataclass
class Chain:
    """Filters in the order in which they are applied."""

    names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    values: tuple[Any, ...]


def chain(settings: Sequence[tuple[str, Any]], vocab_size: int) -> Chain:
    """Pairs of a filter's name and value, checked, each alone and all together."""
    settings = list(settings)
    check_once(name for name, _ in settings)
    values = [
        choose(FILTERS, name, "sampling.filters").array(value, vocab_size)
        for name, value in settings
    ]
    _check_order(settings)
    _check_together(dict(settings))
    return Chain(tuple(name for name, _ in settings), tuple(values))


def from_settings(
    settings: Sampling,
    vocab_size: int,
    *,
    stop_ids: Iterable[int] = (),
    table_QV: np.ndarray | None = None,
) -> Chain:
    """The filters of a config: what may come at all, then the others as given there.

    stop_ids: what ends a text. table_QV: the constraint, compiled.
    """
    asked: list[tuple[str, Any]] = []
    for name in ("bias", "banned", "forced"):
        if getattr(settings, name):
            asked.append((name, getattr(settings, name)))
    if table_QV is not None:
        asked.append(("constraint", table_QV))
    if settings.min_new_tokens:
        asked.append(("min_new_tokens", (settings.min_new_tokens, tuple(stop_ids))))
    return chain([*asked, *settings.applied], vocab_size)


def apply(chain: Chain, logits_BV: jax.Array, history: History) -> jax.Array:
    """The logits after each filter in turn."""
    for name, value in zip(chain.names, chain.values, strict=True):
        logits_BV = FILTERS[name].apply(logits_BV, value, history)
    return logits_BV


def _number(name: str) -> Callable[[Any, int], np.float32]:
    def array(value, vocab_size):
        check_number(name, value)
        return np.float32(value)

    return array


def _spare(value: float, vocab_size: int) -> np.float32:
    check_number("top_p", value)
    return np.float32(1 - value)


def _check_order(settings: list[tuple[str, Any]]) -> None:
    """What a text must obey stands before what removes tokens, and might remove all."""
    removing = None
    for name, value in settings:
        require(
            name not in OBEYED or removing is None,
            f"sampling.filters {name!r} after {removing!r} may find none of its tokens "
            f"left; put {name!r} first",
        )
        if name in CUTTING or (name == "temperature" and value == 0):
            removing = name


def _check_together(values: dict[str, Any]) -> None:
    """Contradictions that are known before a token is drawn."""
    forced, banned = list(values.get("forced", ())), set(values.get("banned", ()))
    both = sorted(banned & {*forced})
    require(
        not both,
        f"sampling.forced and sampling.banned both have {both}; remove them from one",
    )
    count, stop_ids = values.get("min_new_tokens", (0, ()))
    early = sorted({*forced[:count]} & {*stop_ids})
    require(
        not early,
        f"sampling.forced has {early}, which ends a text, among the first "
        f"{count} tokens of sampling.min_new_tokens; remove it, or ask for fewer",
    )
    if "constraint" in values:
        _check_constraint(np.asarray(values["constraint"]), forced, list(banned))


def _check_constraint(table_QV, forced: list[int], banned: list[int]) -> None:
    """That the forced tokens fit, and that the banned ones leave a way on."""
    state = 0
    for token in forced:
        require(
            table_QV[state, token] >= 0,
            f"sampling.forced token {token} does not fit the constraint; remove one of "
            "the two",
        )
        state = table_QV[state, token]
    banned_V = np.isin(np.arange(table_QV.shape[1]), banned)
    reached, waiting = {int(state)}, [int(state)]
    while waiting and banned:
        row_V = table_QV[waiting.pop()]
        left_V = row_V[~banned_V]
        barred = np.flatnonzero(row_V >= 0)
        require(
            not barred.size or (left_V >= 0).any(),
            f"sampling.banned has {barred[:8].tolist()}, all that the constraint "
            "allows at one point of a text; remove one of them",
        )
        found = np.flatnonzero(np.bincount(left_V + 1)[1:])
        waiting += {*found.tolist()} - reached
        reached |= {*found.tolist()}


# What a text must obey, and what may remove all tokens that it could obey with.
OBEYED = ("banned", "forced", "constraint")
CUTTING = (
    "top_k",
    "top_p",
    "min_p",
    "typical",
    "epsilon",
    "eta",
    "no_repeat_ngram",
    "min_new_tokens",
)

FILTERS = {
    "temperature": Filter(_number("temperature"), cutoffs.temperature),
    "top_k": Filter(_number("top_k"), cutoffs.top_k),
    "top_p": Filter(_spare, cutoffs.top_p),
    "min_p": Filter(_number("min_p"), cutoffs.min_p),
    "typical": Filter(_number("typical"), cutoffs.typical),
    "epsilon": Filter(_number("epsilon"), cutoffs.epsilon),
    "eta": Filter(_number("eta"), cutoffs.eta),
    "repetition": Filter(_number("repetition"), penalties.repetition),
    "presence": Filter(_number("presence"), penalties.presence),
    "frequency": Filter(_number("frequency"), penalties.frequency),
    "no_repeat_ngram": Filter(_number("no_repeat_ngram"), penalties.no_repeat_ngram),
    "bias": Filter(limits.bias_array, limits.bias),
    "banned": Filter(limits.banned_array, limits.banned),
    "forced": Filter(limits.forced_array, limits.forced),
    "min_new_tokens": Filter(limits.min_new_tokens_array, limits.min_new_tokens),
    "constraint": Filter(limits.constraint_array, limits.constraint),
}
