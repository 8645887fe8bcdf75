"""Times training steps or decoding: JSON lines, peers beside it where installed.

    python -m experiments.benchmark
    python -m experiments.benchmark --config=configs/benchmarks/train.py:width384
    python -m experiments.benchmark --config=configs/benchmarks/decode.py

Without --config: training steps of the two CPU sizes, or of the two GPU sizes where
there is a GPU.
"""

import json
import os
import runpy
import sys

from absl import flags

from experiments import cli
from jaxlm.core import schema

cli.define_config(None, schema.Experiment, schema.Decoding)
ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns of each program.", lower_bound=1)
SECONDS = flags.DEFINE_float(
    "seconds", 3.0, "Length of a turn of training.", lower_bound=0.0
)

CONFIG = "configs/benchmarks/train.py"
SIZES = {"cpu": ("width128", "width384"), "gpu": ("124m", "1.3b")}


def main() -> None:
    configs = [] if cli.FLAGS.config is None else [cli.settings()]
    # JAX would leave a quarter of a GPU's memory to others.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")

    import jax

    from benchmarks import decode, train_step
    from jaxlm.core.config import from_mapping

    if not configs:
        get_config = runpy.run_path(CONFIG)["get_config"]
        names = SIZES.get(jax.default_backend(), SIZES["gpu"])
        configs = [from_mapping(schema.Experiment, get_config(name)) for name in names]
    command = " ".join(["python -m experiments.benchmark", *sys.argv[1:]])
    for config in configs:
        if isinstance(config, schema.Decoding):
            records = decode.measure(config, rounds=ROUNDS.value)
        else:
            seconds = SECONDS.value
            records = [train_step.measure(config, rounds=ROUNDS.value, seconds=seconds)]
        for record in records:
            print(json.dumps(record | {"command": command}), flush=True)


if __name__ == "__main__":
    cli.run(main)
