"""What every program shares: flags, one-line errors, and a warm compilation cache."""

import dataclasses
import difflib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from jaxlm.core import schema
from jaxlm.core.config import ConfigError, field_types, from_mapping

FLAGS = flags.FLAGS


_kinds: tuple[type, ...] = ()  # of settings that --config may give


def define_config(default: str | None = None, *kinds: type) -> None:
    """--config=configs/FILE.py[:argument] and its overrides, fields of the kinds.

    Without a kind: schema.Experiment. Of several, the first that has the file's fields.
    """
    global _kinds
    _kinds = kinds or (schema.Experiment,)
    config_flags.DEFINE_config_file(
        "config", default, "Settings: a file with get_config(); see configs/."
    )


def define_workdir(help: str) -> None:
    """--workdir=DIR."""
    flags.DEFINE_string("workdir", None, help)


def define_model() -> None:
    """--model=PATH."""
    flags.DEFINE_string(
        "model",
        None,
        "In place of --workdir: a directory with config.json and safetensors, a .gguf "
        "file, a llama2.c .bin file, or a run's directory.",
    )


def model() -> Path:
    """The model that --model or --workdir names; one of them, not both."""
    if FLAGS.model and FLAGS.workdir:
        raise ConfigError("--model and --workdir are both given; give one")
    return Path(FLAGS.model).expanduser() if FLAGS.model else workdir()


def settings() -> Any:
    """What --config and its overrides give, checked: of the kind that was defined."""
    if FLAGS.config is None:
        raise ConfigError("--config is missing; give --config=configs/FILE.py")
    values = FLAGS.config.to_dict()
    fits = (k for k in _kinds if {*values} <= {f.name for f in dataclasses.fields(k)})
    return from_mapping(next(fits, _kinds[0]), values)


def workdir() -> Path:
    """The directory that --workdir names."""
    if not FLAGS.workdir:
        also = ", or --model=PATH" if "model" in FLAGS else ""
        raise ConfigError(f"--workdir is missing; give --workdir=runs/NAME{also}")
    return Path(FLAGS.workdir).expanduser()


def run(main: Callable[[], int | None]) -> None:
    """Parses flags and calls `main()`; a user's error is one line and exit status 2."""

    def guarded(argv):
        if len(argv) > 1:
            _fail(f"argument {argv[1]!r} is not a flag; write --name=value")
        if not FLAGS["verbosity"].present:
            logging.set_verbosity(logging.ERROR)  # orbax tells of every step
        try:
            return main()
        except ConfigError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:  # the reader of our output has gone: `... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    app.run(guarded, flags_parser=_parse)


def compilation_cache() -> None:
    """Programs that took 0.1 s to compile and more are kept on disk between runs.

    In JAX_COMPILATION_CACHE_DIR, or ~/.cache/jaxlm where that is not set.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        folder = Path.home() / ".cache" / "jaxlm"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _parse(argv: list[str]) -> list[str]:
    """Positional arguments left after the flags; whatever is wrong is one line."""
    try:
        if "config" in FLAGS:
            _check_config_flags(argv)
        return FLAGS(argv)
    except (SystemExit, BrokenPipeError):  # --help was answered; absl would say 1
        sys.exit(0)
    except Exception as error:  # config files run any code, and absl wraps any error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = " ".join(lines) or repr(error)
        if "Traceback" in message:  # of a config file that raised: its last line says
            message = lines[-1].removeprefix(f"{ConfigError.__module__}.ConfigError: ")
        _fail(message)


def _check_config_flags(argv: list[str]) -> None:
    """Names the file or field that is not there, which absl's own words do not."""
    known = {name: k for kind in _kinds for name, k in field_types(kind).items()}
    for flag, following in itertools.zip_longest(argv[1:], argv[2:], fillvalue=""):
        name, equals, value = flag.lstrip("-").partition("=")
        if not flag.startswith("--config"):
            continue
        value = value if equals else following
        if name == "config" and not Path(value.partition(":")[0]).is_file():
            raise ConfigError(
                f"--config {value} is not a file; choose one of "
                f"{', '.join(sorted(map(str, Path('configs').rglob('*.py'))))}"
            )
        field = name.removeprefix("config.")
        if field != name and field not in known:
            close = difflib.get_close_matches(field, known, n=1) or ["GROUP.FIELD"]
            raise ConfigError(
                f"--{name} is not a field; did you mean --config.{close[0]}? "
                f"{_kinds[0].__module__.replace('.', '/')}.py lists them"
            )
        if field != name and known[field] in (int, float):
            _check_number(name, value, known[field])


def _check_number(name: str, value: str, kind: type) -> None:
    try:
        kind(value)
    except ValueError:
        raise ConfigError(
            f"--{name} {value!r} is not {kind.__name__}; give a number such as "
            f"{kind(3)}"
        ) from None


def _fail(message: str) -> None:
    print(f"{Path(sys.argv[0]).stem}: {message}", file=sys.stderr)
    sys.exit(2)
