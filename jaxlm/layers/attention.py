"""Attention. B batch, T query time, S key time, D width, N heads, K key heads, H head.

N / K query heads share each key head: K = N is multi-head, K = 1 multi-query
(Shazeer 2019, arXiv 1911.02150), between them grouped-query attention (Ainslie et al.
2023, arXiv 2305.13245).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxlm.core.architecture import Model
from jaxlm.core.config import ConfigError, choose
from jaxlm.core.params import Param, fan_in, zeros
from jaxlm.core.weights import contract
from jaxlm.layers import blockwise
from jaxlm.layers.cache import Rounded
from jaxlm.layers.norms import NORMS


def projections_spec(config: Model) -> dict:
    """Queries, keys, values and output; the output's variance shrinks with depth.

    Queries start so that scaled scores have unit variance, whatever the scale.
    """
    D, N, K, H = config.width, config.heads, config.key_heads, config.head_width
    q_init = fan_in(D, 1 / (H * config.scale**2))
    out_init = fan_in(N * H, 1 / (2 * config.depth))
    spec = {
        "q": Param((D, N, H), ("embed", "heads", "head"), q_init),
        "k": Param((D, K, H), ("embed", "kv_heads", "head"), fan_in(D)),
        "v": Param((D, K, H), ("embed", "kv_heads", "head"), fan_in(D)),
        "out": Param((N, H, D), ("heads", "head", "embed"), out_init),
    }
    if config.biases == "all":
        spec["q_bias"] = Param((N, H), ("heads", "head"), zeros)
        spec["k_bias"] = Param((K, H), ("kv_heads", "head"), zeros)
        spec["v_bias"] = Param((K, H), ("kv_heads", "head"), zeros)
        spec["out_bias"] = Param((D,), ("embed",), zeros)
    if config.qk_norm != "none":
        norm = choose(NORMS, config.qk_norm, "config.model.qk_norm")
        spec["q_norm"] = norm.spec(H, config.biases, "head")
        spec["k_norm"] = norm.spec(H, config.biases, "head")
    return spec


def project(params: dict, x_BTD: jax.Array, name: str, config: Model) -> jax.Array:
    """Queries ('q'), keys ('k') or values ('v') of each token: (B, T, heads, H).

    With config.qk_norm each query and key head is normalized by itself (Henry et al.
    2020, arXiv 2010.04245; with a gain, as in Dehghani et al. 2023, arXiv 2302.05442).
    """
    y_BTNH = contract("btd,dnh->btnh", x_BTD, params[name])
    if f"{name}_bias" in params:
        # Flat, as cuBLAS adds a bias: a vector.
        bias = params[f"{name}_bias"].astype(y_BTNH.dtype).reshape(1, 1, -1)
        y_BTNH = (y_BTNH.reshape(*x_BTD.shape[:2], -1) + bias).reshape(y_BTNH.shape)
    if f"{name}_norm" in params:
        rows, *_, width = y_BTNH.shape
        norm = NORMS[config.qk_norm].apply
        y_BMH = y_BTNH.reshape(rows, -1, width)  # a token's heads one after another
        y_BMH = norm(params[f"{name}_norm"], y_BMH, config.norm_epsilon)
        y_BTNH = y_BMH.reshape(y_BTNH.shape)
    return y_BTNH


def output(params: dict, x_BTNH: jax.Array) -> jax.Array:
    """What the heads found, mixed back into the residual stream: (B, T, D)."""
    y_BTD = contract("btnh,nhd->btd", x_BTNH, params["out"])
    if "out_bias" in params:
        y_BTD = y_BTD + params["out_bias"].astype(y_BTD.dtype)[None, None]
    return y_BTD


def weights(
    q_BTNH,
    k_BSKH,
    *,
    past=None,
    mask_BNTS=None,
    bias_BNTS=None,
    is_causal=False,
    scale,
    cap=None,
) -> jax.Array:
    """softmax(q k scale), (B, N, T, S) in float32, with every number in memory.

    `past` are keys of a cache, (B, K, C, H), which stand before the others: then the
    result, mask and bias have C + S places. `cap` bounds scores softly by
    cap tanh(scores / cap) (Gemma Team 2024, arXiv 2408.00118, section 2), before bias
    and mask. A row that sees nothing is uniform.
    """
    (B, T, N, H), K = q_BTNH.shape, k_BSKH.shape[2]
    q_BTKGH = q_BTNH.reshape(B, T, K, N // K, H)
    scores = jnp.einsum(
        "btkgh,bskh->bkgts", q_BTKGH, k_BSKH, preferred_element_type=jnp.float32
    )
    if past is not None:
        numbers, scale_BKC = _unscaled(past, q_BTNH.dtype)
        # Keys first: XLA on a CPU copies the second factor to turn it round.
        before = jnp.einsum(
            "bkch,btkgh->bkgtc", numbers, q_BTKGH, preferred_element_type=jnp.float32
        )
        if scale_BKC is not None:
            before = before * scale_BKC[:, :, None, None]
        scores = jnp.concatenate([before, scores], axis=-1)
    scores_BNTS = scale * scores.reshape(B, N, T, -1)
    if cap is not None:
        scores_BNTS = cap * jnp.tanh(scores_BNTS / cap)
    if bias_BNTS is not None:
        scores_BNTS = scores_BNTS + bias_BNTS
    S = scores_BNTS.shape[-1]
    seen_BNTS = jnp.tri(T, S, dtype=bool)[None, None] if is_causal else None
    for seen in (mask_BNTS, seen_BNTS):
        if seen is not None:
            scores_BNTS = jnp.where(seen, scores_BNTS, blockwise.HIDDEN)
    return jax.nn.softmax(scores_BNTS, axis=-1)


def mix(weights_BNTS: jax.Array, v_BSKH: jax.Array, past=None) -> jax.Array:
    """The values that each head's weights ask for: (B, T, N, H) in the type of v.

    `past`: values of a cache, (B, K, C, H), which the first C weights are of.
    """
    (B, N, T, _), (S, K, H) = weights_BNTS.shape, v_BSKH.shape[1:]
    weights_BKGTS = weights_BNTS.reshape(B, K, N // K, T, -1)
    before, now = weights_BKGTS[..., :-S], weights_BKGTS[..., -S:]
    found = jnp.einsum("bkgts,bskh->btkgh", now.astype(v_BSKH.dtype), v_BSKH)
    if past is not None:
        numbers, scale_BKC = _unscaled(past, v_BSKH.dtype)
        if scale_BKC is not None:
            before = before * scale_BKC[:, :, None, None]
        before = before.astype(v_BSKH.dtype)
        found = found + jnp.einsum("bkgtc,bkch->bkgth", before, numbers).transpose(
            0, 3, 1, 2, 4
        )
    return found.reshape(B, T, N, H)


def _unscaled(past, dtype) -> tuple[jax.Array, jax.Array | None]:
    """Vectors in the compute type, and what each is still to be multiplied by."""
    if isinstance(past, Rounded):
        return past.numbers.astype(dtype), past.scale
    return past, None


def plain(q_BTNH, k_BSKH, v_BSKH, *, past=(None, None), **options):
    """softmax(q k scale) v, each step in memory (arXiv 1706.03762, eq. 1).

    past: keys and values of a cache, see `weights`.
    """
    weights_BNTS = weights(q_BTNH, k_BSKH, past=past[0], **options)
    return mix(weights_BNTS, v_BSKH, past[1])


def xla(
    q_BTNH, k_BSKH, v_BSKH, *, mask_BNTS=None, bias_BNTS=None, is_causal=False, scale
):
    """The same by XLA's own kernel."""
    return jax.nn.dot_product_attention(
        q_BTNH, k_BSKH, v_BSKH, bias_BNTS, mask_BNTS, scale=scale, is_causal=is_causal
    )


def _has_fused_kernel(q_BTNH: jax.Array) -> bool:
    on_gpu, head_width = jax.default_backend() == "gpu", q_BTNH.shape[-1]
    return on_gpu and q_BTNH.dtype != jnp.float32 and head_width in range(8, 129, 8)


def cudnn(
    q_BTNH, k_BSKH, v_BSKH, *, mask_BNTS=None, bias_BNTS=None, is_causal=False, scale
):
    """cuDNN's fused kernel: the scores never reach memory.

    Raises ConfigError without a GPU, for inputs that are not 16-bit, and for a head
    width that the kernel does not have.
    """
    if not _has_fused_kernel(q_BTNH):
        raise ConfigError(
            "config.model.attention 'cudnn' needs a GPU, config.model.compute "
            "'bfloat16' and a head width of 8, 16, ... 128, not "
            f"{jax.default_backend()}, {q_BTNH.dtype} and {q_BTNH.shape[-1]}; "
            "choose auto"
        )
    return jax.nn.dot_product_attention(
        q_BTNH,
        k_BSKH,
        v_BSKH,
        None if bias_BNTS is None else bias_BNTS.astype(q_BTNH.dtype),
        mask_BNTS,
        scale=scale,
        is_causal=is_causal,
        implementation="cudnn",
    )


def blocks(
    q_BTNH, k_BSKH, v_BSKH, *, mask_BNTS=None, bias_BNTS=None, is_causal=False, scale
):
    """Blocks of queries, scores computed twice rather than kept: see blockwise.py."""
    if bias_BNTS is not None:
        raise ConfigError("config.model.attention 'blocks' has no bias; choose auto")
    return blockwise.attention(
        q_BTNH, k_BSKH, v_BSKH, mask_BNTS=mask_BNTS, is_causal=is_causal, scale=scale
    )


def auto(q_BTNH, k_BSKH, v_BSKH, *, bias_BNTS=None, **options):
    """The fastest that is exact here.

    The fused kernel for 16-bit inputs on a GPU, blocks on a CPU; XLA's own otherwise,
    and for biases, which blocks lack and the kernel wants rounded to 16 bits.
    """
    chosen = xla
    if bias_BNTS is None and _has_fused_kernel(q_BTNH):
        chosen = cudnn
    elif bias_BNTS is None and jax.default_backend() == "cpu":
        chosen = blocks
    return chosen(q_BTNH, k_BSKH, v_BSKH, bias_BNTS=bias_BNTS, **options)


ATTENTIONS = {
    "auto": auto,
    "plain": plain,
    "xla": xla,
    "cudnn": cudnn,
    "blocks": blocks,
}


def attend(config: Model, past=None) -> Callable:
    """The function (q_BTNH, k_BSKH, v_BSKH, *, mask_BNTS, bias_BNTS, is_causal) chosen.

    It returns (B, T, N, H). `is_causal` says that query t sees keys 0..t, without a
    mask in memory. past: keys and values of a cache, for which `plain` is best, as
    queries are few; a soft cap is for `plain` alone.
    """
    chosen = choose(ATTENTIONS, config.attention, "config.model.attention")
    if past is not None:
        return partial(plain, past=past, scale=config.scale, cap=config.score_cap)
    if config.score_cap is not None:
        return partial(plain, scale=config.scale, cap=config.score_cap)
    return partial(chosen, scale=config.scale)
