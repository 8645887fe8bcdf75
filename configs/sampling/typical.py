"""Tokens about as surprising as the model expects, neither unlikely nor too likely.

Locally typical sampling, Meister et al. 2023 (arXiv 2202.00666), with 0.95 of the
probability. For stories and summaries; against repetition, as it may leave out even the
likeliest token.

    python -m experiments.sample --workdir=runs/tiny \\
        --config=configs/sampling/typical.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.filters = (("typical", 0.95),)
    return config
