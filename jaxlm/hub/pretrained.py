"""Weights of others, and our own, as a model's settings and parameters.

One parameter at a time is allocated, filled from the file and put where it lives, the
largest first, so that the peak stays near the size of the checkpoint.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlm.core import params as specs
from jaxlm.core.config import ConfigError, choose
from jaxlm.core.schema import Model
from jaxlm.hub import names, source
from jaxlm.hub.families import FAMILIES
from jaxlm.hub.families.row import Family
from jaxlm.hub.names import Slot
from jaxlm.hub.tensors import Tensors
from jaxlm.models import transformer
from jaxlm.sharding import rules as sharding

OURS = "jaxlm_tokenizer.json"  # in an export whose tokenizer others do not know
FLOATS = {
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float64": "float32",
}
ALIGNMENT = 64  # bytes; on a CPU, JAX then takes an array over without copying it


class Pretrained(NamedTuple):
    """A model with its weights.

    tokenizer: None where the file brings none. start: the id that a decoder with an
    encoder begins with, where the file says it. prefix: whether a prompt's tokens see
    one another both ways, and ends: ids that end a text, as a run's objective has it.
    """

    config: Model
    params: Any
    tokenizer: Any
    start: int | None = None
    prefix: bool = False
    ends: tuple[int, ...] = ()


def load(
    path: str | Path,
    *,
    dtype: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
    rules: str = "replicated",
) -> Pretrained:
    """Whatever is at `path`: a Hugging Face directory, GGUF, llama2.c, a run of ours.

    dtype: of the parameters ('float32', 'bfloat16', 'float16'); None: the file's own.
    mesh, rules: where they live; None: the first device. Raises ConfigError, one line,
    for files that are damaged, of another model, or pickled.
    """
    if dtype not in (None, "float32", "bfloat16", "float16"):
        raise ConfigError(
            f"dtype {dtype!r} is unknown; choose one of float32, bfloat16, float16"
        )
    path = Path(path).expanduser()
    if is_run(path):
        return _load_run(path, dtype, mesh, rules)
    found = source.open_source(path)
    kind = found.config.get("model_type")
    family = choose(FAMILIES, str(kind), f"{path}: model_type")
    config = untie(family, found.config, found.tensors)
    find = names.finder(family, found.tensors.shapes)
    model = family.read(config, lambda name: find(name) is not None)
    spec = transformer.spec(model)
    slots = names.slots(family, model, spec)
    written = names.match(family, slots, found.tensors.shapes)
    check_copies(family, model, found.tensors, written)
    places = _places(spec, mesh, rules)
    params: dict[str, jax.Array] = {}
    for name in sorted(slots, key=lambda name: -slots[name].size):
        array = fill(slots[name], found.tensors, written, dtype)
        params[name] = _put(array, places[name])
        del array
    params = specs.map_spec(lambda name, _: params.pop(name), spec)
    start = config.get("decoder_start_token_id")
    return Pretrained(model, params, found.tokenizer or _own_tokenizer(path), start)


def fill(
    slot: Slot, tensors: Tensors, written: dict[str, str], dtype: str | None
) -> np.ndarray:
    """One parameter, its layers read one after another into their places."""
    sources = [written[name] for name in slot.names]
    array = _aligned(slot.param.shape, np.dtype(dtype or _dtype(sources, tensors)))
    for part, name in zip(array if slot.stacked else [array], sources, strict=True):
        whole = slot.layout.whole(part)
        if whole is not None:
            tensors.read_into(name, whole)
        else:
            ours = part.reshape(slot.layout.fine)
            ours[...] = slot.layout.view(tensors.read(name))
    return array


def _dtype(sources: list[str], tensors: Tensors) -> str:
    """The layers' own type; float32 where they differ or are wider."""
    kinds = {tensors.dtypes[name] for name in sources}
    if not kinds <= FLOATS.keys():
        raise ConfigError(
            f"tensor {sources[0]!r} holds {', '.join(sorted(kinds))}, which is not "
            f"read as weights; convert it to one of {', '.join(FLOATS)}"
        )
    return FLOATS[kinds.pop()] if len(kinds) == 1 else "float32"


def untie(family: Family, config: dict, tensors: Tensors) -> dict:
    """config.json, told by the weights where it says 'tied' of a head that is not."""
    find = names.finder(family._replace(copies={}), tensors.shapes)
    head = find(family.lm_head) if family.lm_head else None
    tied = config.get("tie_word_embeddings", family.tied)
    if not (head and tied):
        return config
    table = find(family.copies[family.lm_head])
    if table is None or _equal(tensors, head, table):
        return config
    return config | {"tie_word_embeddings": False}


def check_copies(
    family: Family, model: Model, tensors: Tensors, written: dict[str, str]
) -> None:
    """Tensors that repeat another one do; a file without this is of another model."""
    for name, of in names.copies(family, tensors.shapes).items():
        original = written.get(of)
        if name in written.values() or original is None:
            continue
        if not _equal(tensors, name, original):
            raise ConfigError(
                f"tensor {name!r} {tensors.shapes[name]} is not the {original!r} "
                f"{tensors.shapes[original]} that it is tied to; such a model has no "
                "place here"
            )


def is_run(path: Path) -> bool:
    """Whether `path` is the directory of a training run of ours."""
    try:
        entry = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(entry, dict) and {"hash", "config"} <= entry.keys()


def _load_run(path: Path, dtype, mesh, rules: str) -> Pretrained:
    from jaxlm.data import objectives
    from jaxlm.train import run

    trained = run.load(path)
    model = trained.config.model
    places = _places(transformer.spec(model), mesh, rules)

    def move(name: str, param: specs.Param) -> jax.Array:
        array = trained.params
        for key in name.split("/"):
            array = array[key]
        return _put(array if dtype is None else array.astype(dtype), places[name])

    params = specs.map_spec(move, transformer.spec(model))
    start, ends = None, ()
    if model.architecture == "encoder_decoder":
        words = objectives.vocabulary_of(trained.config, trained.tokenizer)
        start = words.start
        ends = (words.ids["end"],) if "end" in words.ids else ()
    prefix = trained.config.objective.name == "prefix"
    return Pretrained(model, params, trained.tokenizer, start, prefix, ends)


def _equal(tensors: Tensors, one: str, other: str) -> bool:
    if tensors.shapes[one] != tensors.shapes[other]:
        return False
    return np.array_equal(tensors.read(one), tensors.read(other))


def _own_tokenizer(path: Path):
    from jaxlm.data import tokenizers

    saved = path / OURS
    return (
        tokenizers.restore(json.loads(saved.read_text())) if saved.is_file() else None
    )


def _places(spec, mesh, rules: str) -> dict[str, Any]:
    """{path: the device or the sharding of each parameter}."""
    if mesh is None:
        where = specs.map_spec(lambda *_: jax.local_devices()[0], spec)
    else:
        where = sharding.param_shardings(spec, mesh, sharding.get(rules))
    found = {}

    def note(name: str, _) -> None:
        leaf = where
        for key in name.split("/"):
            leaf = leaf[key]
        found[name] = leaf

    specs.map_spec(note, spec)
    return found


def _put(array, where) -> jax.Array:
    if isinstance(array, np.ndarray) and isinstance(where, jax.sharding.Sharding):
        return jax.make_array_from_callback(array.shape, where, lambda at: array[at])
    return jax.device_put(array, where)


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
