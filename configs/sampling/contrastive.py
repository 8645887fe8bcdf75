"""The likely token whose state is least like those of the tokens before it.

Contrastive search, Su et al. 2022 (arXiv 2202.06417, eq. 5): of the four likeliest,
with alpha 0.6. Always the same text, as with greedy search, without its loops.

    python -m experiments.sample --workdir=runs/tiny \\
        --config=configs/sampling/contrastive.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.strategy = "contrastive"
    config.candidates = 4
    config.alpha = 0.6
    return config
