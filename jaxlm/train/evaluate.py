"""How well a model predicts text that it was not trained on."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlm.core.batch import Batch
from jaxlm.train.losses import Sums


class Evaluation(NamedTuple):
    """loss: nats a token. tokens: how many were predicted. perplexity: exp(loss).

    bits_per_byte: loss / ln 2 / bytes a token, which compares tokenizers; None where
        the loss is not of every token of the text.
    """

    loss: float
    tokens: int
    perplexity: float
    bits_per_byte: float | None

    def __str__(self) -> str:
        bits = self.bits_per_byte
        return (
            f"loss {self.loss:.4f} nats/token, perplexity {self.perplexity:.2f}"
            + ("" if bits is None else f", {bits:.4f} bits/byte")
            + f" over {self.tokens:,} tokens"
        )


def evaluate(
    eval_step: Callable[[Any, Batch], Sums],
    params: Any,
    batches: Iterable[Batch],
    *,
    bytes_per_token: float | None,
) -> Evaluation:
    """The mean loss over all tokens of the batches; fetched once, at the end."""
    total = Sums(*jnp.zeros((3,), jnp.float32))
    for batch in batches:
        total = jax.tree.map(jnp.add, total, eval_step(params, batch))
    return summarize(jax.device_get(total), bytes_per_token)


def summarize(total: Sums, bytes_per_token: float | None) -> Evaluation:
    """The means of sums over tokens, already fetched."""
    loss = float(total.loss / total.weight)
    bits = bytes_per_token and loss / math.log(2) / bytes_per_token
    return Evaluation(
        loss=loss,
        tokens=int(total.weight),
        perplexity=math.exp(min(loss, 700.0)),
        bits_per_byte=bits,
    )
