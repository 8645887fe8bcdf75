"""Text from a run, or from any model that experiments.convert reads.

python -m experiments.sample --workdir=runs/tiny --prompt='The function '
python -m experiments.sample --model=SmolLM2.gguf --prompt='The capital of France is'
python -m experiments.sample --workdir=runs/tiny --config=configs/sampling/beam.py
python -m experiments.sample --workdir=runs/tiny --filters=top_k=50,temperature=0.7

A prompt for an encoder alone has mask tokens in it, which are filled.
"""

import dataclasses
import json

from absl import flags

from experiments import cli
from jaxlm.core import schema
from jaxlm.core.config import ConfigError
from jaxlm.core.filter_values import parse_filters

cli.define_workdir("The run to sample from.")
cli.define_model()
cli.define_config(None, schema.Sampling)
PROMPT = flags.DEFINE_multi_string(
    "prompt", ["The "], "What a text begins with; may be given more than once."
)
STRATEGY = flags.DEFINE_string("strategy", None, "In place of the config's.")
FILTERS = flags.DEFINE_string(
    "filters", None, "In place of the config's: name=number,... in the order applied."
)
TEMPERATURE = flags.DEFINE_float("temperature", None, "0 takes the likeliest token.")
MAX_NEW_TOKENS = flags.DEFINE_integer("max_new_tokens", None, "Tokens to add, at most.")
SAMPLES = flags.DEFINE_integer("samples", None, "Texts to draw for each prompt.")
SEED = flags.DEFINE_integer("seed", None, "The same seed draws the same text.")
STOP = flags.DEFINE_multi_string("stop", None, "A text ends before this string.")
DRAFT = flags.DEFINE_string("draft", None, "speculative: a model that guesses.")
STREAM = flags.DEFINE_bool("stream", False, "Print each token as soon as it is drawn.")
JSON = flags.DEFINE_bool("json", False, "Print one JSON object a text.")

FLAGS = (STRATEGY, MAX_NEW_TOKENS, SAMPLES, SEED, STOP, DRAFT)


def settings() -> schema.Sampling:
    """The config's settings, or the defaults, and what flags put in their place."""
    found = schema.Sampling() if cli.FLAGS.config is None else cli.settings()
    changes = {flag.name: flag.value for flag in FLAGS if flag.value is not None}
    if STOP.value is not None:
        changes["stop"] = tuple(STOP.value)
    if FILTERS.value is not None:
        changes["filters"] = parse_filters(FILTERS.value)
    if TEMPERATURE.value is not None:
        others = changes.get("filters", found.filters)
        others = tuple(pair for pair in others if pair[0] != "temperature")
        changes["filters"] = (*others, ("temperature", TEMPERATURE.value))
    return dataclasses.replace(found, **changes)


def main() -> None:
    model, wanted = cli.model(), settings()
    if STREAM.value and (JSON.value or len(PROMPT.value) > 1):
        raise ConfigError("--stream shows one text as it grows; give one --prompt")
    cli.compilation_cache()

    from jaxlm import hub
    from jaxlm.sampling import text

    loaded = hub.load(model)
    asked = (loaded.params, loaded.config, loaded.tokenizer)
    reads = {"start": loaded.start, "prefix": loaded.prefix}
    if STREAM.value:
        print(PROMPT.value[0], end="", flush=True)
        for piece in text.stream(*asked, PROMPT.value[0], wanted, **reads):
            print(piece, end="", flush=True)
        print()
        return
    if wanted.strategy == "speculative" and wanted.draft != "ngram":
        draft = hub.load(wanted.draft)
        reads["draft"] = draft.params, draft.config
    found = text.sample(*asked, PROMPT.value, wanted, **reads)
    for prompt, texts in zip(PROMPT.value, found, strict=True):
        for one in texts:
            if JSON.value:
                print(json.dumps({"prompt": prompt} | text.record(one)))
            else:
                print(prompt + one.text)


if __name__ == "__main__":
    cli.run(main)
