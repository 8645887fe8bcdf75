"""Weights as int8 numbers, whose products are summed in int32.

A quarter of float32's bytes are read for a token, and a CPU multiplies four numbers
where it did one. Weights have a scale an output (Dettmers et al. 2022, arXiv
2208.07339, section 2.1, vector-wise). Tokens are two int8 numbers each, steps and what
they leave, so that they lose nothing that matters and nothing is calibrated; where one
token is read at a time the second costs nothing, as XLA has no fast product of one row.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxlm.core.config import ConfigError
from jaxlm.core.weights import product

STEPS = 127.0
FINER = 2 * STEPS  # of what rounding leaves, half a step

# The axes of each matrix that a product sums over; those of a layer without its depth.
SUMMED = {
    "q": (0,),
    "k": (0,),
    "v": (0,),
    "out": (0, 1),
    "up": (0,),
    "gate": (0,),
    "down": (0,),
    "kernel": (0,),
    "transform": (0,),
    "table": (1,),
}
BRANCHES = ("attention", "cross", "mlp")


@flax.struct.dataclass
class Int8:
    """numbers: int8, of the weight's shape; scale: float32, of its outputs' shape."""

    numbers: jax.Array
    scale: jax.Array

    def contract(self, equation: str, x: jax.Array) -> jax.Array:
        """einsum(equation, x, weight) in the type of x; see core/weights."""
        inputs, result = equation.split("->")
        ours, weight = inputs.split(",")
        summed = tuple(ours.index(letter) for letter in ours if letter not in result)
        steps, scale = _steps(x, summed)
        high = jnp.round(steps)
        low = jnp.round((steps - high) * FINER)
        both = jnp.concatenate([high, low]).astype(jnp.int8)
        products = product(
            equation, both, self.numbers, preferred_element_type=jnp.int32
        )
        high, low = jnp.split(products.astype(jnp.float32), 2)
        found = (high + low / FINER) * _spread(scale, ours, result)
        return (found * _spread(self.scale, weight, result)).astype(x.dtype)

    def __getitem__(self, ids: Any) -> jax.Array:
        """Rows of a table, in float32."""
        rows = self.numbers[ids].astype(jnp.float32)
        return rows * self.scale[ids][..., None]


def quantize(params: dict) -> dict:
    """A model's parameters with its matrices as int8, biases and norms as they are."""
    return _walk(params)


def _walk(tree: dict, parent: str = "", stacked: bool = False) -> dict:
    found = {}
    for name, part in tree.items():
        if isinstance(part, dict):
            found[name] = _walk(part, name, stacked or name == "blocks")
        elif parent in (*BRANCHES, "head", "tokens") and name in SUMMED:
            found[name] = of(part, tuple(axis + stacked for axis in SUMMED[name]))
        else:
            found[name] = part
    return found


def of(weight: jax.Array, summed: tuple[int, ...]) -> Int8:
    """A weight whose products sum over these axes."""
    if not jnp.issubdtype(weight.dtype, jnp.floating):
        raise ConfigError(f"a weight of type {weight.dtype} is rounded already")
    steps, scale = jax.jit(_steps, static_argnums=1)(weight, summed)
    return Int8(jnp.round(steps).astype(jnp.int8), scale)


def _steps(x: jax.Array, summed: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """x in steps, -127 to 127, and their size for each place that is not summed."""
    x = x.astype(jnp.float32)
    size = jnp.abs(x).max(summed, keepdims=True) / STEPS
    return x / jnp.where(size == 0, 1, size), size.squeeze(summed)


def _spread(scale: jax.Array, letters: str, result: str) -> jax.Array:
    """A scale, of those letters that are not summed, with the axes of the result."""
    own = [letter for letter in letters if letter in result]
    missing = tuple(at for at, letter in enumerate(result) if letter not in own)
    order = sorted(range(len(own)), key=lambda at: result.index(own[at]))
    return jnp.expand_dims(scale.transpose(order), missing)
