"""The directory of a run: what it was, what it measured, and who is writing to it.

config.json      the settings and their hash
corpus.json      source, size and hash of the text, and the tokenizer
metrics.jsonl    a line a logged step or evaluation (train/metrics)
tensorboard/     the same for TensorBoard
checkpoints/     the state (train/checkpoint)
result.json      the last evaluation, once the run is finished
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlm.core import config as configs
from jaxlm.core import schema
from jaxlm.core.config import ConfigError

# The same run may have another patch release of Python, and start from a run that has
# moved; the hash of the settings has the latter in it.
UNCOMPARED = ("hash:", "python:", "config.train.start_from:")


def write_json(path: Path, value: Any) -> None:
    """Writes the whole file or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    """What `write_json` wrote; a file that is not there or is not JSON is one line."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"--workdir {path.parent} has no {path.name}; give the directory of a run"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def describe(
    workdir: Path, config: schema.Experiment, corpus: Mapping[str, Any]
) -> None:
    """Records what this run is; refuses a directory that holds another run.

    `corpus` is JSON-able: the record of the text and its tokenizer. A run to start from
    is known by the hash of its settings, for its directory may move.
    """
    values = configs.to_dict(config)
    entry = {"hash": configs.digest(config), "config": values}
    if config.train.start_from:
        first = read_json(Path(config.train.start_from) / "config.json")
        entry["started_from"] = first["hash"]
    for name, new in (("config.json", entry), ("corpus.json", dict(corpus))):
        path = workdir / name
        if path.exists():
            changed = configs.difference(read_json(path), new)
            changed = [x for x in changed if not x.startswith(UNCOMPARED)]
            if changed:
                raise ConfigError(
                    f"--workdir {workdir} holds another run, whose {name} differs: "
                    f"{'; '.join(changed)}; give another --workdir or these settings"
                )
        else:
            write_json(path, new)


def settings(workdir: Path) -> schema.Experiment:
    """The settings of the run in `workdir`."""
    path = Path(workdir) / "config.json"
    entry = read_json(path)
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        raise ConfigError(f"{path} is not of a run of ours; give the --workdir of one")
    return configs.from_mapping(schema.Experiment, entry["config"])
