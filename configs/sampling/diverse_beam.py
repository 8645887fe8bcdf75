"""Six beams in three groups, each group unlike the ones before it.

Vijayakumar et al. 2018 (arXiv 1610.02424): a word that earlier groups chose at the same
place costs half a nat. For several different answers to choose among; the first three
are told.

    python -m experiments.sample --workdir=runs/tiny \\
        --config=configs/sampling/diverse_beam.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.strategy = "diverse_beam"
    config.beams = 6
    config.groups = 3
    config.diversity = 0.5
    config.samples = 3
    return config
