"""The house has floors: a file imports its own folder and lower floors only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "core": 0,
    "layers": 1,
    "pages": 1,
    "models": 2,
    "data": 2,
    "quant": 2,
    "sharding": 2,
    "train": 3,
    "sampling": 3,
    "scaling": 4,
    "hub": 4,
    "show": 4,
    "grid": 5,
    "quality": 5,
}
FILES = sorted((ROOT / "jaxlm").rglob("*.py"))


def imports(path):
    """Dotted names of all modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms(path):
    """The folders of jaxlm that a file imports from."""
    parts = (name.split(".") for name in imports(path))
    return {p[1] for p in parts if p[0] == "jaxlm" and len(p) > 1 and p[1] in FLOORS}


def climbs(room, imported):
    return FLOORS[imported] >= FLOORS[room] and imported != room


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_never_climb_a_floor(path):
    room = path.relative_to(ROOT / "jaxlm").parts[0]
    if room == "__init__.py":
        assert not rooms(path)
        return
    assert not [other for other in rooms(path) if climbs(room, other)]


def test_the_rule_would_notice_a_climb():
    assert climbs("layers", "models") and climbs("data", "models")
    assert not climbs("models", "models") and not climbs("train", "data")


def test_every_folder_has_a_floor():
    folders = {path.parent.name for path in (ROOT / "jaxlm").glob("*/__init__.py")}
    assert folders == set(FLOORS)


def test_nothing_imports_experiments():
    outside = [*FILES, *(ROOT / "configs").rglob("*.py")]
    found = [(p, n) for p in outside for n in imports(p) if n.startswith("experiments")]
    assert not found


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.py")), ids=str)
def test_configs_import_settings_alone(path):
    allowed = {"jaxlm.core", "jaxlm.core.schema"}
    allowed |= {"jaxlm.models", "jaxlm.models.families"}
    assert set(imports(path)) <= allowed


def modules_after(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(found.stdout.split())


def test_data_and_families_need_no_jax():
    names = "jaxlm.data.loader, jaxlm.data.corpus, jaxlm.models.families"
    assert "jax" not in modules_after(f"import {names}")


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"jax", "numpy", "ml_collections", "flax", "optax"}
    assert not heavy & modules_after("import jaxlm")


def test_no_file_is_longer_than_a_sitting():
    paths = [*FILES, *(ROOT / "experiments").rglob("*.py")]
    lengths = {p: len(p.read_text().splitlines()) for p in paths}
    assert {p.name for p, n in lengths.items() if n > 300} <= set()
