"""All tokens at least a tenth as likely as the likeliest, at a high temperature.

Nguyen et al. 2024 (arXiv 2407.01082). The bar rises where the model is sure, so that a
temperature above 1 makes texts more varied before it makes them nonsense.

    python -m experiments.sample --workdir=runs/tiny --config=configs/sampling/min_p.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.filters = (("temperature", 1.5), ("min_p", 0.1))
    return config
