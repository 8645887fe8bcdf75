"""Each token predicts the next."""

import numpy as np

from jaxlm.data.objectives.task import Example, Objective, Task, apart


def example(tokens_S: np.ndarray, random, task: Task) -> Example:
    """S = T + 1, and every prediction counts alike."""
    ones_T = np.ones(len(tokens_S) - 1, np.float32)
    return apart(Example(tokens_S[:-1], tokens_S[1:], ones_T), task)


CAUSAL = Objective(
    example,
    reads=lambda task: task.context,
    overlap=lambda task: 1,
    draws=False,
    complete=True,
)
