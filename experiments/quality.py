"""How good and how diverse a model's text is, by strategy and temperature.

    python -m experiments.quality --config=configs/quality.py --model=runs/tiny \\
        --scorer=runs/wide --workdir=runs/quality

Held-out text is continued in each way, and the larger --scorer says how natural it
finds that. Rerun the same command to go on after a stop.
"""

import importlib.util
import shlex
import sys
from pathlib import Path

from absl import flags

from experiments import cli
from jaxlm.core import schema

cli.define_config(None, schema.Quality)
cli.define_workdir("Where results.csv and the report go.")
MODEL = flags.DEFINE_string("model", None, "What continues: a run, or a model's files.")
SCORER = flags.DEFINE_string(
    "scorer", None, "What judges: a larger model with the same tokenizer."
)


def main() -> None:
    from jaxlm.core.config import ConfigError

    config = cli.settings()
    for name in ("model", "scorer", "workdir"):
        if not cli.FLAGS[name].value:
            raise ConfigError(f"--{name} is missing; give --{name}=PATH")
    for name in ("jinja2", "matplotlib", "sklearn"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"{name} is missing; pip install 'jaxlm[show]'")
    cli.compilation_cache()

    from jaxlm.quality import report, run

    workdir = cli.workdir()
    model, scorer = (Path(flag.value).expanduser() for flag in (MODEL, SCORER))
    command = shlex.join(["python", "-m", "experiments.quality", *sys.argv[1:]])
    found = run.compare(config, model, scorer, workdir, command=command)
    print(f"{found} points in {workdir}/results.csv")
    print(f"report: {report.write(workdir)}")


if __name__ == "__main__":
    cli.run(main)
