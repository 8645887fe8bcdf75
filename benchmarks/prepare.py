"""Preparing text, and tiktoken's own threads on the same text in the same run.

    python -m benchmarks.prepare --source='texts/*.txt' --rounds=5

One JSON line with megabytes of text a second: `tiktoken` is encode_ordinary_batch with
as many threads; `encode` the same texts as arrays of ids; `plain` everything from the
source to the manifest without filters and near duplicates; `all` with them. A ratio is
the median over the turns of tiktoken's seconds over those of `plain`, or of `all`.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from experiments import cli

SOURCE = flags.DEFINE_string("source", None, "As of experiments.prepare.")
ENCODING = flags.DEFINE_string("encoding", "gpt2", "As of experiments.prepare.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each.", lower_bound=1)
WORKERS = flags.DEFINE_integer("workers", os.cpu_count(), "Threads.")


def measure(source: str, encoding: str, *, rounds: int, workers: int) -> dict[str, Any]:
    """Best and median of `rounds` turns of each, taken in turns."""
    import tiktoken

    from jaxlm.core import schema
    from jaxlm.data import prepare, readers, tokenizers
    from jaxlm.data.request import Request

    data = schema.Data(tokenizer="tiktoken", encoding=encoding)
    peer = tiktoken.get_encoding(encoding)
    tokenizer = tokenizers.TOKENIZERS[data.tokenizer]([], data)
    texts = list(dict.fromkeys(readers.documents(source, "text")))

    def program(**changes: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            asked = Request(source=source, data=data, chunk=2**23, **changes)
            prepare.prepare(asked, Path(folder), workers=workers)

    turns: dict[str, Callable[[], Any]] = {
        "tiktoken": lambda: peer.encode_ordinary_batch(texts, num_threads=workers),
        "encode": lambda: tokenizers.encode_all(tokenizer, texts, threads=workers),
        "plain": lambda: program(rules=(), near=0.0),
        "all": program,
    }
    size, seconds = sum(len(text.encode()) for text in texts), {}
    for _ in range(rounds):
        for name, turn in turns.items():
            begun = time.perf_counter()
            turn()
            seconds.setdefault(name, []).append(time.perf_counter() - begun)

    def ratio(name: str) -> float:
        pairs = zip(seconds["tiktoken"], seconds[name], strict=True)
        return round(statistics.median(peer / own for peer, own in pairs), 2)

    rates = {name: [size / 1e6 / s for s in found] for name, found in seconds.items()}
    return {
        "megabytes": size / 1e6,
        "documents": len(texts),
        "encoding": encoding,
        "workers": workers,
        "ratio_to_tiktoken": {name: ratio(name) for name in ("plain", "all")},
        "best": {name: round(max(found), 2) for name, found in rates.items()},
        "median": {n: round(statistics.median(r), 2) for n, r in rates.items()},
    }


def main() -> None:
    found = measure(
        SOURCE.value, ENCODING.value, rounds=ROUNDS.value, workers=WORKERS.value
    )
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    cli.run(main)
