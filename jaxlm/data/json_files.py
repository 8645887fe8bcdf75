"""JSON files written by others: an object, or an error that names the file."""

import json
from pathlib import Path
from typing import Any

from jaxlm.core.config import ConfigError


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    return parse_object(path, path.read_bytes())


def parse_object(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON object in some bytes of the file `path`."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not JSON ({error}); copy or download it again"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is JSON but no object; copy or download it again")
    return values
