"""Top-p: of the likeliest tokens as few as have nine tenths of the probability.

Holtzman et al. 2020 (arXiv 1904.09751). For stories and other open-ended text, where
many words fit at one place and few at the next. A lower p is duller and safer.

    python -m experiments.sample --workdir=runs/tiny \\
        --config=configs/sampling/nucleus.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.filters = (("top_p", 0.9),)
    return config
