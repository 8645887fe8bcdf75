"""All tokens above a bar that is lower where the model is unsure.

Eta sampling, Hewitt et al. 2022 (arXiv 2210.15191), with 0.0003, the least of what they
suggest. For long texts: it removes only what the model hardly meant.

    python -m experiments.sample --workdir=runs/tiny --config=configs/sampling/eta.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.filters = (("eta", 0.0003),)
    return config
