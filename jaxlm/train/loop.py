"""Training from text to checkpoint: restore, step, measure, save."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

from jaxlm.core import schema
from jaxlm.core.batch import Batch
from jaxlm.core.claims import claim
from jaxlm.core.config import ConfigError
from jaxlm.data import corpus as corpora
from jaxlm.data import loader, objectives, tokenizers
from jaxlm.data.corpus import Corpus
from jaxlm.data.mixing import Mixture
from jaxlm.train import start as starts
from jaxlm.train import step as steps
from jaxlm.train import workdir as workdirs
from jaxlm.train.checkpoint import Checkpoints
from jaxlm.train.evaluate import Evaluation, evaluate
from jaxlm.train.metrics import Metrics, NotFinite
from jaxlm.train.schedules import Hyper
from jaxlm.train.state import TrainState


class Stopped(NamedTuple):
    """A run that a signal ended: its state after `step` steps is saved."""

    step: int


class Setup(NamedTuple):
    """What a run needs before its first step, all of it made from the settings."""

    config: schema.Experiment
    corpus: Corpus
    program: steps.Program
    batches: loader.Loader | Mixture
    held_out: list[Batch]

    def evaluate(self, state: TrainState) -> Evaluation:
        """The loss on held-out text."""
        return evaluate(
            self.program.eval_step,
            state.params,
            map(self.place, self.held_out),
            bytes_per_token=objectives.bytes_per_token(
                self.config.objective, self.corpus
            ),
        )

    def place(self, batch: Batch) -> Batch:
        """The batch on its devices."""
        return jax.device_put(batch, self.program.batch_sharding)


def train(
    config: schema.Experiment,
    workdir: Path,
    *,
    corpus: Corpus | None = None,
    utilization: Callable[[schema.Model, float], float | None] = lambda *_: None,
) -> Evaluation | Stopped:
    """Trains to the last step, from wherever `workdir` is, and evaluates.

    `corpus` is that of `config.data`, for who has built it already.
    `utilization(model, tokens_per_second)` is the model FLOPs utilization to show.
    Raises ConfigError for settings that cannot be, and where the loss diverges.
    """
    setup = prepare(config, corpus)
    with claim(workdir, "workdir"):
        reading = {
            "epochs": setup.batches.epochs(config.train.steps),
            "padding": setup.batches.waste,
        }
        entry = corpus_entry(setup.corpus) | reading
        workdirs.describe(workdir, setup.config, entry)
        with (
            Checkpoints(workdir, config.checkpoint) as checkpoints,
            graceful_stop() as stop,
        ):
            finished = workdir / "result.json"
            if finished.exists() and checkpoints.latest() == config.train.steps:
                return Evaluation(**workdirs.read_json(finished))
            state, start = restore(setup, checkpoints)
            with (
                Metrics(workdir, start=start, every=config.train.log_every) as log,
                progress(config.train.steps, start) as bar,
            ):
                try:
                    state, done = run_steps(
                        setup, state, start, log, checkpoints, bar, utilization, stop
                    )
                except NotFinite as error:
                    rate = config.optimizer.learning_rate
                    raise ConfigError(
                        f"{error}; last good checkpoint: {checkpoints.where()}; lower "
                        f"config.optimizer.learning_rate {rate} in another --workdir"
                    ) from None
                if done < config.train.steps:
                    return Stopped(done)
                result = setup.evaluate(state)
                log.write(done, result._asdict(), "held_out")
        workdirs.write_json(finished, result._asdict())
        return result


def run_steps(
    setup: Setup,
    state: TrainState,
    start: int,
    log: Metrics,
    checkpoints: Checkpoints,
    bar: tqdm,
    utilization: Callable[[schema.Model, float], float | None],
    stop: threading.Event,
) -> tuple[TrainState, int]:
    """Steps from `start` to the last, or to a signal; the last one is saved."""
    config, program = setup.config, setup.program
    tokens, hyper = setup.batches.tokens_a_step, Hyper.of(config)
    done, total = start, config.train.steps
    batches = loader.prefetch(setup.batches.batch_at, start, total, place=setup.place)
    for index, batch in batches:
        state, metrics = program.train_step(state, batch, hyper)
        done = index + 1
        log.add(done, metrics)
        bar.update()
        last = stop.is_set() or done == total
        save = last or done % config.checkpoint.every == 0
        evaluate_now = done < total and done % config.evaluation.every == 0
        if save or evaluate_now or done % config.train.log_every == 0:
            row = log.flush(tokens)  # raises, so that nothing bad is ever saved
            show(bar, row, utilization(config.model, row["tokens_per_second"]))
        # Measured before it is saved: a rerun drops rows past its checkpoint, and so
        # has each evaluation once, wherever it was stopped.
        if evaluate_now:
            log.write(done, setup.evaluate(state)._asdict(), "held_out")
            log.restart_clock()
        if save:
            checkpoints.save(done, state)
        if last:
            batches.close()
            break
    return state, done


def prepare(config: schema.Experiment, corpus: Corpus | None = None) -> Setup:
    """Text, built unless it is given, batches and program.

    The step is traced, so that whatever cannot be is refused before anything is
    compiled or written.
    """
    corpus = corpus or corpora.build(config.data, starts.tokenizer(config))
    config = with_vocabulary(starts.with_vocabulary(config), corpus.tokenizer)
    starts.check(config)
    program, task = steps.build(config), objectives.task_on(config, corpus)
    batches = loader.Loader.make(corpus.train, config.data, task)
    program.trace(batches.batch_at(0), Hyper.of(config))
    return Setup(
        config=config,
        corpus=corpus,
        program=program,
        batches=batches,
        held_out=loader.held_out_batches(
            corpus.held_out, config.data, task, config.evaluation.batches
        ),
    )


def with_vocabulary(config: schema.Experiment, tokenizer) -> schema.Experiment:
    """The settings with a vocabulary size, which must hold all ids of the objective."""
    least = objectives.vocabulary_of(config, tokenizer).size
    size = config.model.vocab_size or least
    if size < least:
        raise ConfigError(
            f"config.model.vocab_size {size} is smaller than the {least} ids of this "
            f"tokenizer and config.objective.name {config.objective.name!r}; give "
            f"{least} or more"
        )
    return replace(config, model=replace(config.model, vocab_size=size))


def restore(setup: Setup, checkpoints: Checkpoints) -> tuple[TrainState, int]:
    """The newest state on disk, or a new one, and how many steps it has done."""
    program, train = setup.program, setup.config.train
    if checkpoints.latest() is None:
        state = program.init(train.seed)
        if train.start_from:
            first = jax.device_put(
                starts.weights(setup.config), program.shardings.params
            )
            state = state.replace(params=first)
        return state, 0
    state = checkpoints.restore(program.abstract_state())
    return state, int(state.step)


def corpus_entry(corpus: Corpus) -> dict[str, Any]:
    """What `corpus.json` holds of the text itself."""
    return {**corpus.record, "tokenizer": tokenizers.save(corpus.tokenizer)}


@contextmanager
def graceful_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; a second Ctrl-C interrupts as usual."""
    stop, before = threading.Event(), {}

    def request(signum, frame):
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGTERM, signal.SIGINT):
            before[name] = signal.signal(name, request)
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def progress(total: int, start: int) -> tqdm:
    """A bar on stderr: steps, time left, and what `show` adds."""
    often = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, initial=start, unit="step", mininterval=often)


def show(bar: tqdm, row: dict[str, float], mfu: float | None) -> None:
    """Loss, tokens a second, and MFU where the device's peak is known."""
    rate = row["tokens_per_second"]
    shown = {"loss": f"{row['loss']:.3f}", "tokens/s": f"{rate:,.0f}"}
    if mfu is not None:
        shown["MFU"] = f"{mfu:.1%}"
    bar.set_postfix(shown, refresh=False)
