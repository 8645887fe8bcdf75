"""The 40 likeliest tokens, a little sharpened.

Fan et al. 2018 (arXiv 1805.04833), with the k of GPT-2's samples (Radford et al. 2019).
Simple and fast; the same k is too many where one word fits and too few where any does,
which configs/sampling/nucleus.py repairs.

    python -m experiments.sample --workdir=runs/tiny --config=configs/sampling/top_k.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.filters = (("temperature", 0.9), ("top_k", 40))
    return config
