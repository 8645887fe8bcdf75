"""Of eight texts drawn, the one whose tokens are the likeliest on average.

For when a single good text is wanted and eight times the work does not matter: fewer
slips than one draw has, more variety than a beam. --samples=3 tells the best three.

    python -m experiments.sample --workdir=runs/tiny \\
        --config=configs/sampling/best_of.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.strategy = "best_of"
    config.best_of = 8
    config.filters = (("top_p", 0.95),)
    return config
