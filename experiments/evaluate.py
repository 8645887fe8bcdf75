"""Loss, perplexity and bits per byte of a run, or of any model, on held-out text.

    python -m experiments.evaluate --workdir=runs/tiny
    python -m experiments.evaluate --workdir=runs/tiny --config=configs/tiny.py \
        --config.data.source=files --config.data.path='books/*.txt'
    python -m experiments.evaluate --model=SmolLM2.gguf --config=configs/tiny.py

Without --config the text is the run's own; with it, what its `data` and `evaluation`
say, in the run's tokens. --model is whatever experiments.convert reads; its text is
what --config says, by default the embedded prose, in sequences of config.model.context.
"""

import json

from absl import flags

from experiments import cli

cli.define_config()
cli.define_workdir("The run to evaluate.")
cli.define_model()
JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")


def main() -> None:
    model = cli.model()
    other = None if cli.FLAGS.config is None else cli.settings()
    cli.compilation_cache()

    if cli.FLAGS.workdir:
        from jaxlm.train import run

        trained = run.load(model)
        found = run.evaluate(trained, other or trained.config)
        about = {"step": trained.step}
    else:
        from jaxlm import hub
        from jaxlm.core import schema
        from jaxlm.hub.evaluate import evaluate

        found = evaluate(hub.load(model), other or schema.Experiment())
        about = {"model": str(model)}
    if JSON.value:
        print(json.dumps({**about, **found._asdict()}))
        return
    ((name, value),) = about.items()
    print(f"{name} {value}: {found}")


if __name__ == "__main__":
    cli.run(main)
