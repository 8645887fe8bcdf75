"""Continuations to be timed, of random weights: the argument names the shape.

135m: SmolLM2-135M in float32 and int8, for two CPU cores, beside transformers.
1b: LLaMA 3.2 1B in bfloat16, for a GPU.

    python -m experiments.benchmark --config=configs/benchmarks/decode.py
"""

from jaxlm.core import schema
from jaxlm.models import families

SHAPES = {"135m": "smollm2/135m", "1b": "llama3_2/1b"}


def get_config(arg: str = "135m"):
    if arg not in SHAPES:
        raise ValueError(f"shape {arg!r} is unknown; choose one of {', '.join(SHAPES)}")
    config = schema.decoding_defaults()
    config.model = schema.to_config_dict(families.get(SHAPES[arg]))
    if arg == "1b":
        config.model.compute = "bfloat16"
        config.weights = ("own",)
    return config
