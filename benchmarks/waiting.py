"""What a training step loses to its batches: waiting for them, and sharing cores.

    python -m benchmarks.waiting --config=configs/tiny.py
    python -m benchmarks.waiting --config=configs/tiny.py --config.objective.name=span

One JSON line. Turns of the loop as it trains alternate with turns that take one batch
again and again, so that the difference is all that data costs.
"""

import json
import statistics
import time
from typing import Any

import jax
from absl import flags

from experiments import cli

cli.define_config()
STEPS = flags.DEFINE_integer("steps", 200, "Steps a round.", lower_bound=1)
ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds, after one to warm up.", 1)


def measure(config: Any, *, steps: int, rounds: int) -> dict[str, Any]:
    """The fraction of a step that its batch costs, the median over pairs of turns."""
    from jaxlm.data import loader
    from jaxlm.train import loop
    from jaxlm.train.schedules import Hyper

    setup = loop.prepare(config)
    program, hyper = setup.program, Hyper.of(setup.config)
    state, fractions = program.init(0), []
    same = setup.place(setup.batches.batch_at(0))

    def turn(batches) -> float:
        nonlocal state
        begun = time.perf_counter()
        for index, batch in batches:
            state, metrics = program.train_step(state, batch, hyper)
            if (index + 1) % config.train.log_every == 0:
                jax.device_get(metrics)
        jax.block_until_ready(state)
        return time.perf_counter() - begun

    for first in range(0, (rounds + 1) * steps, steps):
        read = loader.prefetch(
            setup.batches.batch_at, first, first + steps, place=setup.place
        )
        fresh = turn(read)
        held = turn((index, same) for index in range(first, first + steps))
        fractions.append(1 - held / fresh)
    return {
        "benchmark": "waiting",
        "objective": config.objective.name,
        "source": config.data.source,
        "batch": config.data.batch,
        "context": config.model.context,
        "steps": steps,
        "fraction": round(statistics.median(fractions[1:]), 4),
        "rounds": [round(fraction, 4) for fraction in fractions[1:]],
    }


def main() -> None:
    found = measure(cli.settings(), steps=STEPS.value, rounds=ROUNDS.value)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    cli.run(main)
