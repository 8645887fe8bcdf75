"""Trains a model. Rerun the same command to go on after a stop.

    python -m experiments.pretrain --config=configs/tiny.py --workdir=runs/tiny
    python -m experiments.pretrain --config=configs/tiny.py --workdir=runs/deep \
        --config.model.depth=4
"""

from experiments import cli

cli.define_config()
cli.define_workdir("Where the run is kept; one that is there already goes on.")


def main() -> None:
    config, workdir = cli.settings(), cli.workdir()
    cli.compilation_cache()

    import jax

    from jaxlm.scaling import cost, hardware
    from jaxlm.train import loop

    device = hardware.find(jax.devices()[0].device_kind)
    peak = device and device.peak[config.model.compute] * jax.device_count()
    result = loop.train(
        config,
        workdir,
        utilization=lambda model, rate: cost.utilization(model, peak)(rate),
    )
    if isinstance(result, loop.Stopped):
        print(f"stopped after step {result.step}; the same command goes on from there")
        return
    print(f"held-out {result}; {workdir}")


if __name__ == "__main__":
    cli.run(main)
