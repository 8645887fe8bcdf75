"""Tokens a second of continuing texts, transformers' generate beside it.

Each turn continues the same prompts greedily, by ours in each form of the weights and
by the peer, in its own process with as many threads. What has to be read for a token,
weights and the cache at its mean length, over what a plain reading does in the same
run, says how near the machine's limit a turn came.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata, util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm import hub
from jaxlm.core import params as specs
from jaxlm.core import schema
from jaxlm.core.sampling import Sampling
from jaxlm.models import transformer
from jaxlm.quant import int8
from jaxlm.sampling import strategies

READING = (2**16, 2**11)  # the matrix whose product with a vector is plain reading

Turn = Callable[[int, int, int], float]  # (texts, prompt tokens, new tokens) -> seconds


def measure(config: schema.Decoding, *, rounds: int) -> Iterator[dict[str, Any]]:
    """One record a batch size, medians over `rounds` turns of each program."""
    model = config.model
    own = specs.init(transformer.spec(model), jax.random.key(0))
    own = jax.tree.map(lambda array: array.astype(model.compute), own)
    forms = {"own": own, "int8": int8.quantize(own) if "int8" in config.weights else {}}
    turns = {form: _ours(forms[form], model) for form in config.weights}
    sizes = {form: _bytes(forms[form]) for form in config.weights}
    device = jax.devices()[0]
    with contextlib.ExitStack() as stack:
        if util.find_spec("transformers") and device.platform == "cpu":
            turns["transformers"] = stack.enter_context(_peer(own, model))
            sizes["transformers"] = _bytes(own)
        for batch in config.batches:
            asked = batch, config.prompt_tokens, config.new_tokens
            first = batch, config.first_prompt, 1
            times, reading = _alternate(turns, asked, rounds)
            firsts, _ = _alternate(turns, first, rounds)
            tokens = batch * config.new_tokens
            cached = batch * _cache_bytes(model) * (asked[1] + asked[2] / 2)
            record = {
                "benchmark": "decode",
                "params": specs.count(transformer.spec(model)),
                "compute": model.compute,
                "batch": batch,
                "prompt_tokens": config.prompt_tokens,
                "new_tokens": config.new_tokens,
                "first_prompt": config.first_prompt,
                "read_gigabytes_per_second": round(reading / 1e9, 1),
                "programs": {},
                "device": device.device_kind,
                "versions": {n: metadata.version(n) for n in ("jax", "jaxlib")},
            }
            for name, seconds in times.items():
                each = statistics.median(seconds) / config.new_tokens
                found = {
                    "tokens_per_second": round(tokens / statistics.median(seconds), 1),
                    "bandwidth_fraction": round(
                        (sizes[name] + cached) / each / reading, 3
                    ),
                    "first_token_seconds": round(statistics.median(firsts[name]), 3),
                }
                if "transformers" in times and name != "transformers":
                    found["ratio_to_transformers"] = _ratio(times, name)
                    found["first_token_ratio"] = _ratio(firsts, name)
                record["programs"][name] = found
            if "transformers" in times:
                for package in ("torch", "transformers"):
                    record["versions"][package] = metadata.version(package)
            yield record


def _ratio(times: dict[str, list[float]], name: str) -> float:
    """How many times the peer's speed, the median over the rounds."""
    pairs = zip(times["transformers"], times[name], strict=True)
    return round(statistics.median(peer / ours for peer, ours in pairs), 2)


def _ours(params: Any, model: schema.Model) -> Turn:
    def turn(batch: int, prompt: int, new: int) -> float:
        settings = Sampling(strategy="greedy", max_new_tokens=new, filters=())
        ids_BT = _prompts(model, batch, prompt)
        began = time.perf_counter()
        found = strategies.generate(params, model, ids_BT, settings)
        seconds = time.perf_counter() - began
        assert all(len(row.ids) == new for (row,) in found)
        return seconds

    return turn


@contextlib.contextmanager
def _peer(params: Any, model: schema.Model) -> Iterator[Turn]:
    """transformers on the same weights, in a process that sleeps between its turns."""
    pipe = subprocess.PIPE
    with tempfile.TemporaryDirectory() as folder:
        hub.save(hub.Pretrained(model, params, None), folder)
        command = [sys.executable, "-m", "benchmarks.transformers_generate", folder]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:

            def turn(batch: int, prompt: int, new: int) -> float:
                ids_BT = _prompts(model, batch, prompt).tolist()
                print(json.dumps([ids_BT, new]), file=process.stdin, flush=True)
                return float(process.stdout.readline())

            yield turn
            process.stdin.close()


def _prompts(model: schema.Model, batch: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(model.vocab_size, size=(batch, length))


def _alternate(turns: dict[str, Turn], asked, rounds: int):
    """(seconds of each program's turns, bytes a second of plain reading)."""
    read = _reader()
    times = {name: [] for name in turns}
    readings = []
    for warm in range(rounds + 1):
        readings += [read()]
        for name, turn in turns.items():
            seconds = turn(*asked)
            if warm:  # the first compiles
                times[name].append(seconds)
    return times, statistics.median(readings[1:])


def _reader() -> Callable[[], float]:
    matrix, vector = jnp.ones(READING), jnp.ones(READING[1])
    product = jax.jit(lambda matrix, vector: matrix @ vector)
    product(matrix, vector).block_until_ready()

    def read() -> float:
        began = time.perf_counter()
        product(matrix, vector).block_until_ready()
        return matrix.nbytes / (time.perf_counter() - began)

    return read


def _bytes(params: Any) -> int:
    return sum(array.nbytes for array in jax.tree.leaves(params))


def _cache_bytes(model: schema.Model) -> int:
    """Of one token of one text: keys and values of each layer."""
    each = jnp.dtype(model.compute).itemsize
    return 2 * model.depth * model.key_heads * model.head_width * each
