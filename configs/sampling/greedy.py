"""The likeliest token each time: always the same text, soon repeating itself.

For short answers that are right or wrong, and to see what a model holds most likely.
Likelier texts there may be: configs/sampling/beam.py looks for them.

    python -m experiments.sample --workdir=runs/tiny --config=configs/sampling/greedy.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.strategy = "greedy"
    return config
