"""What the tests share: eight simulated devices, strict broadcasting, a warm cache."""

import gc
import itertools
import os
from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 8)
# Arrays of different rank do not broadcast silently: a missing axis is an error.
jax.config.update("jax_numpy_rank_promotion", "raise")
# The programs' own cache: whatever has been compiled once, here or there, is read back.
jax.config.update(
    "jax_compilation_cache_dir",
    os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(Path.home() / ".cache/jaxlm"),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


LOOK = 25  # tests between two looks at the maps of memory
MANY = 25_000  # maps; Linux ends a process that has more than 65,530
_tests = itertools.count(1)


def pytest_runtest_teardown(item, nextitem):
    """Lets go of compiled programs, a few maps each, before there are too many."""
    maps = Path("/proc/self/maps")
    if next(_tests) % LOOK == 0 and maps.exists():
        with maps.open() as lines:
            many = sum(1 for _ in lines) > MANY
        if many:
            jax.clear_caches()
            gc.collect()


@pytest.fixture(scope="session")
def cpus():
    """The eight simulated devices."""
    return jax.devices("cpu")[:8]


@pytest.fixture(scope="session")
def tiny():
    """A function that makes small model settings: tiny(positions='rope', ...)."""
    from jaxlm.core import schema

    base = dict(vocab_size=17, context=12, width=16, depth=2, heads=4, kv_heads=2)
    return lambda **changes: schema.Model(**(base | changes))


@pytest.fixture(scope="session")
def random_params():
    """A function that makes parameters unlike the initial ones: no bias 0, no gain 1.

    From NumPy, so that nothing is compiled and nothing depends on the code under test.
    """
    from jaxlm.core.params import map_spec
    from jaxlm.models import transformer

    def make(config, seed=0):
        rng = np.random.default_rng(seed)

        def draw(name, p):
            shift = 1.0 if name.endswith("scale") else 0.0
            return np.float32(rng.normal(size=p.shape) * 0.3 + shift)

        return map_spec(draw, transformer.spec(config))

    return make


@pytest.fixture(scope="session")
def tokens():
    """A function that makes random token ids: tokens(batch, time, vocab_size)."""

    def make(rows, time, vocab_size=17, seed=0):
        rng = np.random.default_rng(seed)
        return rng.integers(vocab_size, size=(rows, time), dtype=np.int32)

    return make


@pytest.fixture(scope="session")
def forward():
    """transformer.forward, compiled once for all tests that give it equal shapes."""
    from jaxlm.models import transformer

    return jax.jit(transformer.forward, static_argnums=1)
