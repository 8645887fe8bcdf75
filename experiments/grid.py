"""Architectures x objectives on one text: trained, asked, and compared on a page.

    python -m experiments.grid --config=configs/grid.py --workdir=runs/grid

Rerun the same command to go on after a stop: finished pairs are kept.
"""

import importlib.util
import shlex
import sys

from experiments import cli

cli.define_config()
cli.define_workdir("Where results.csv is; a grid that is there already goes on.")


def main() -> int:
    from jaxlm.core.config import ConfigError

    config, workdir = cli.settings(), cli.workdir()
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"{name} is missing; pip install 'jaxlm[show]'")
    cli.compilation_cache()

    from jaxlm.grid import report, run

    command = shlex.join(["python", "-m", "experiments.grid", *sys.argv[1:]])
    done = run.grid(config, workdir, command=command)
    print(
        f"{done.finished} of {done.planned} pairs in {workdir}/results.csv "
        f"({done.refused} make no sense)"
    )
    if done.finished:
        print(f"report: {report.write(workdir)}")
    if done.finished < done.planned:
        print("stopped; the same command goes on from there")
        return 1
    return 0


if __name__ == "__main__":
    cli.run(main)
