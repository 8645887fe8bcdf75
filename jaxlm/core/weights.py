"""A weight is anything that contracts."""

import math
from typing import Any

import jax
import jax.numpy as jnp


def contract(equation: str, x: jax.Array, weight) -> jax.Array:
    """`einsum(equation, x, weight)` in the precision of `x`.

    A weight that is not an array (a low-rank pair, an int8 tensor with scales) brings
    its own `contract(equation, x)` method; layers call this function and never know.
    """
    if hasattr(weight, "contract"):
        return weight.contract(equation, x)
    return product(equation, x, weight.astype(x.dtype))


def product(equation: str, x: jax.Array, weight: jax.Array, **options: Any):
    """einsum, of 'btnh,nhd->btd' as of a vector of n h numbers with a matrix.

    Told of two axes, XLA may order them as x has them in memory, and copy the weight
    for it each time: a third of the time of a token on a CPU.
    """
    inputs, result = equation.split("->")
    ours, _ = inputs.split(",")
    summed = [letter for letter in ours if letter not in result]
    together, count = "".join(summed), len(summed)
    if count > 1 and inputs.endswith(",".join([together, together]) + result[-1]):
        size = math.prod(weight.shape[:count])
        x = x.reshape(*x.shape[:-count], size)
        weight = weight.reshape(size, *weight.shape[count:])
        equation = equation.replace(together, together[0])
    return jnp.einsum(equation, x, weight, **options)
