"""The likeliest text that four beams find, longer ones not held against it.

Log-probabilities are divided by length to the power 0.6, much as in Wu et al. 2016
(arXiv 1609.08144, sec. 7), and the search is over once four texts have ended. For
translation and other work whose answer the source fixes. Open-ended text becomes dull
and repeats itself (Holtzman et al. 2020). --samples=4 tells all four.

    python -m experiments.sample --workdir=runs/tiny --config=configs/sampling/beam.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.strategy = "beam"
    config.beams = 4
    config.length_penalty = 0.6
    config.early_stopping = "yes"
    return config
