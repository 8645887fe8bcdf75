"""One layer of a transformer. B batch, T time, S key time, U encoder time, D width."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jaxlm.core.architecture import Model
from jaxlm.core.config import choose
from jaxlm.core.params import named_key
from jaxlm.layers import attention, cache
from jaxlm.layers.dropout import drop
from jaxlm.layers.mlps import MLPS
from jaxlm.layers.norms import NORMS
from jaxlm.layers.positions import POSITIONS
from jaxlm.models.views import View


class Block(NamedTuple):
    """How branches (attention, cross, mlp) meet the residual stream.

    norms(branches) -> names of the layer's norms. apply(x_BTD, branches, norm, branch)
    -> x_BTD, where norm(name, x_BTD) and branch(name, x_BTD) give (B, T, D).
    final_norm: whether the stream that leaves the last layer is still to be normalized.
    """

    norms: Callable
    apply: Callable
    final_norm: bool = True


def pre(x_BTD, branches, norm, branch):
    """x + f(norm(x)) (Xiong et al. 2020, arXiv 2002.04745, table 1)."""
    for name in branches:
        x_BTD = x_BTD + branch(name, norm(f"{name}_norm", x_BTD))
    return x_BTD


def post(x_BTD, branches, norm, branch):
    """norm(x + f(x)) (Vaswani et al. 2017, arXiv 1706.03762, section 3.1)."""
    for name in branches:
        x_BTD = norm(f"{name}_norm", x_BTD + branch(name, x_BTD))
    return x_BTD


def sandwich(x_BTD, branches, norm, branch):
    """x + norm(f(norm(x))) (Ding et al. 2021, arXiv 2105.13290, section 2.4)."""
    for name in branches:
        y_BTD = branch(name, norm(f"{name}_norm", x_BTD))
        x_BTD = x_BTD + norm(f"{name}_post_norm", y_BTD)
    return x_BTD


def parallel(x_BTD, branches, norm, branch):
    """x + f(norm(x)) + g(norm(x)), one norm (PaLM, arXiv 2204.02311, section 2)."""
    y_BTD = norm("norm", x_BTD)
    return sum((branch(name, y_BTD) for name in branches), start=x_BTD)


def _one_each(branches):
    return [f"{name}_norm" for name in branches]


def _two_each(branches):
    return [f"{name}{end}" for name in branches for end in ("_norm", "_post_norm")]


BLOCKS = {
    "pre": Block(_one_each, pre),
    "post": Block(_one_each, post, final_norm=False),
    "sandwich": Block(_two_each, sandwich),
    "parallel": Block(lambda branches: ["norm"], parallel),
}


def spec(config: Model, cross: bool = False) -> dict:
    """One layer's parameters; with `cross` it looks at an encoder's output too."""
    block = choose(BLOCKS, config.block, "config.model.block")
    norm = choose(NORMS, config.norm, "config.model.norm")
    mlp = choose(MLPS, config.mlp, "config.model.mlp")
    branches = {"attention": attention.projections_spec(config)}
    if cross:
        branches["cross"] = attention.projections_spec(config)
    branches["mlp"] = mlp.spec(config)
    norms = block.norms(branches)
    return branches | {name: norm.spec(config.width, config.biases) for name in norms}


def apply(params: dict, x_BTD, memory: dict, key, view: View, config: Model):
    """x_BTD after one layer, and what the layer leaves behind.

    memory: {'attention': (k, v) of earlier tokens, 'cross': (k, v) of the encoder's},
    as far as a cache has them. What is left behind are attention weights where
    view.observe, and where view.keep what a cache does not have yet: 'attention',
    (k_BTKH, v_BTKH), and 'cross', (k_BKUH, v_BKUH). key: of dropout, or None.
    """
    left = {}

    def norm(name, x_BTD):
        return NORMS[config.norm].apply(params[name], x_BTD, config.norm_epsilon)

    def branch(name, y_BTD):
        if name == "mlp":
            y_BTD = MLPS[config.mlp].apply(params["mlp"], y_BTD)
        else:
            look = self_attention if name == "attention" else cross_attention
            own = None if key is None else named_key(key, f"{name}_weights")
            y_BTD, left[name] = look(
                params[name], y_BTD, memory.get(name), own, view, config
            )
        return drop(y_BTD, config.residual_dropout, key, name)

    branches = [name for name in ("attention", "cross", "mlp") if name in params]
    x_BTD = BLOCKS[config.block].apply(x_BTD, branches, norm, branch)
    return x_BTD, {name: kept for name, kept in left.items() if kept is not None}


def self_attention(params: dict, x_BTD, memory, key, view: View, config: Model):
    """Attention of a sequence to itself, and to what `memory` holds of it."""
    project = partial(attention.project, params, x_BTD, config=config)
    rotate = partial(
        POSITIONS[config.positions].rotate,
        positions_BT=view.positions_BT,
        config=config,
    )
    q_BTNH, k_BTKH, v_BTKH = rotate(project("q")), rotate(project("k")), project("v")
    found_BTNH, left = _look(
        q_BTNH, k_BTKH, v_BTKH, view.sight, memory, key, view, config
    )
    if view.keep:
        left = k_BTKH, v_BTKH
    return attention.output(params, found_BTNH), left


def cross_attention(params: dict, x_BTD, memory, key, view: View, config: Model):
    """Attention of a sequence to what the encoder made, or to its keys in `memory`."""
    q_BTNH, left = attention.project(params, x_BTD, "q", config), None
    if view.encoded_BUD is not None:
        memory = tuple(
            cache.heads_first(attention.project(params, view.encoded_BUD, name, config))
            for name in "kv"
        )
        left = memory if view.keep else None
    k_BUKH, v_BUKH = map(cache.heads_first, memory)
    found_BTNH, seen = _look(
        q_BTNH, k_BUKH, v_BUKH, view.cross, None, key, view, config
    )
    return attention.output(params, found_BTNH), seen if left is None else left


def _look(q_BTNH, k_BSKH, v_BSKH, sight, past, key, view, config):
    """(what the heads found, (B, T, N, H); the weights where view.observe)."""
    rate = config.attention_dropout
    if view.observe or (key is not None and rate > 0):
        weights_BNTS = attention.weights(
            q_BTNH, k_BSKH, scale=config.scale, cap=config.score_cap, **sight._asdict()
        )
        left = weights_BNTS if view.observe else None
        weights_BNTS = drop(weights_BNTS, rate, key, "weights")
        return attention.mix(weights_BNTS, v_BSKH), left
    attend = attention.attend(config, past)
    return attend(q_BTNH, k_BSKH, v_BSKH, **sight._asdict()), None
