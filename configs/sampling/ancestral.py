"""Each token drawn from the model's own distribution, which nothing changes.

What the model has learned, unlikely words among it: the sample to measure a model by,
and what other strategies are compared with. Long texts by small models lose the thread.

    python -m experiments.sample --workdir=runs/tiny \\
        --config=configs/sampling/ancestral.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.filters = ()
    return config
