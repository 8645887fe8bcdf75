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
WEIGHTS = flags.DEFINE_enum(
    "weights", "own", ["own", "int8"], "int8: fewer bytes to read, nearly the same."
)
STEPS = flags.DEFINE_integer(
    "steps", 1, "Of an encoder: rounds in which masks are filled.", lower_bound=1
)
STREAM = flags.DEFINE_bool("stream", False, "Print each token as soon as it is drawn.")
JSON = flags.DEFINE_bool("json", False, "Print one JSON object a text.")

OVERRIDES = (STRATEGY, MAX_NEW_TOKENS, SAMPLES, SEED, STOP, DRAFT)


def settings() -> schema.Sampling:
    """The config's settings, or the defaults, and what flags put in their place."""
    found = schema.Sampling() if cli.FLAGS.config is None else cli.settings()
    changes = {flag.name: flag.value for flag in OVERRIDES if flag.value is not None}
    if STOP.value is not None:
        changes["stop"] = tuple(STOP.value)
    if FILTERS.value is not None:
        changes["filters"] = parse_filters(FILTERS.value)
    if TEMPERATURE.value is not None:
        filters = changes.get("filters", found.filters)
        if "temperature" not in dict(filters):
            filters = (("temperature", 1.0), *filters)
        warm = {"temperature": TEMPERATURE.value}
        changes["filters"] = tuple((name, warm.get(name, x)) for name, x in filters)
    return dataclasses.replace(found, **changes)


def main() -> None:
    model, wanted = cli.model(), settings()
    if STREAM.value and (JSON.value or len(PROMPT.value) > 1):
        raise ConfigError(
            "--stream shows one text as it grows; give one --prompt and no --json"
        )
    cli.compilation_cache()

    from jaxlm import hub
    from jaxlm.quant import int8
    from jaxlm.sampling import drafts, infill, text

    loaded = hub.load(model)
    if loaded.tokenizer is None:
        raise ConfigError("--model has no tokenizer to read text with; add its files")
    if WEIGHTS.value == "int8":
        loaded = loaded._replace(params=int8.quantize(loaded.params))
    asked = (loaded.params, loaded.config, loaded.tokenizer)
    if loaded.config.architecture == "encoder":
        if STREAM.value:
            raise ConfigError("--stream is for a model that continues; leave it out")
        filled = infill.sample(*asked, PROMPT.value, wanted, steps=STEPS.value)
        for prompt, texts in zip(PROMPT.value, filled, strict=True):
            for one in texts:
                told = {"prompt": prompt, "text": one.text, "ids": one.ids.tolist()}
                if wanted.logprobs == 0:
                    told["logprobs"] = one.logprobs.tolist()
                print(json.dumps(told) if JSON.value else one.text)
        return
    if STEPS.value != 1:
        raise ConfigError(f"--steps {STEPS.value} is for an encoder; leave it out")
    reads = {"start": loaded.start, "prefix": loaded.prefix, "ends": loaded.ends}
    # What an encoder reads is not the beginning of what the decoder says.
    source = loaded.config.architecture == "encoder_decoder"
    if STREAM.value:
        pieces = text.stream(*asked, PROMPT.value[0], wanted, **reads)
        print("" if source else PROMPT.value[0], end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
        return
    if wanted.strategy == "speculative" and wanted.draft != "ngram":
        draft = hub.load(wanted.draft)
        drafts.check_tokenizers(wanted.draft, draft.tokenizer, loaded.tokenizer)
        reads["draft"] = draft.params, draft.config
    found = text.sample(*asked, PROMPT.value, wanted, **reads)
    for prompt, texts in zip(PROMPT.value, found, strict=True):
        for one in texts:
            if JSON.value:
                print(json.dumps({"prompt": prompt} | text.record(one)))
            else:
                print(one.text if source else prompt + one.text)


if __name__ == "__main__":
    cli.run(main)
