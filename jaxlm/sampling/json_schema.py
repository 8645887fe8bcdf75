"""A JSON schema as a regular expression.

outlines-core translates, and passes over in silence what it cannot: bounds of numbers,
what a property that it lacks requires, the second of two keywords of a string. So what
it is given is written anew here, out of what it obeys; all else is an error.
"""

import json
from typing import Any

from jaxlm.core.config import ConfigError
from jaxlm.sampling import expression

NAMED = "sampling.json_schema"
NOTES = {  # keywords that bind nothing
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "$schema",
    "$id",
    "$defs",
    "definitions",
}
FORMATS = ("date", "date-time", "uuid")  # the others may write a bare quote
TYPES = {  # and what else the library reads beside each
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": set(),
    "number": set(),
    "boolean": set(),
    "null": set(),
    "array": {"items", "minItems", "maxItems"},
    "object": {"additionalProperties"},
}
LENGTHS = ("minLength", "maxLength")
BARE = [*range(0x20), *b'"\\']  # bytes that a JSON string has with a backslash alone
FORMS = {  # of keywords' values
    "type": (str, list),
    "properties": dict,
    "required": list,
    "additionalProperties": (bool, dict),
    "anyOf": list,
    "enum": list,
    "$ref": str,
    "pattern": str,
    "format": str,
}


def regex(schema: str) -> str:
    """The expression of the JSON texts of a schema that is given as JSON.

    All of them are instances of it; not every instance is among them: properties that
    it does not name, other orders and other white space are not. Raises ConfigError for
    a schema that is no JSON, or asks for more than an expression can say.
    """
    try:
        root = json.loads(schema)
    except ValueError as error:
        raise ConfigError(f"{NAMED} is not JSON ({error}); correct it") from None
    written = json.dumps(_node(root, root, "#", ()), ensure_ascii=False)
    try:
        return expression.outlines().json_schema.build_regex_from_schema(written)
    except ValueError as error:
        raise ConfigError(
            f"{NAMED} does not translate ({' '.join(str(error).split())}); simplify it"
        ) from None


def _node(node: Any, root: Any, path: str, above: tuple[str, ...]) -> dict[str, Any]:
    """One schema, without notes and references. above: references it is inside of."""
    if not isinstance(node, dict):
        raise _error(path, f"{json.dumps(node)} is no object", "name a type")
    _check_forms(node, path)
    keys = set(node) - NOTES
    shape = next((name for name in SHAPES if name in keys), None)
    if shape is None:
        raise _error(
            path,
            f"keywords {', '.join(sorted(keys)) or '(none)'} say no type",
            f"give one of {', '.join(SHAPES)}",
        )
    make, beside = SHAPES[shape]
    if shape == "type":
        beside = set().union(*(_of_type(name, path) for name in _types(node)))
    for key in sorted(keys - {shape} - beside):
        raise _error(
            path,
            f"the keyword {key!r} is not supported beside {shape!r}",
            f"leave it out; supported are {', '.join(sorted(beside)) or 'none'}",
        )
    return make(node, root, path, above)


def _check_forms(node: dict[str, Any], path: str) -> None:
    """Values that the library would pass over, as they are none of JSON schema's."""
    for key, value in node.items():
        shown = f"{key} {json.dumps(value)}"
        if key in FORMS and not isinstance(value, FORMS[key]):
            raise _error(path, f"{shown} is of the wrong type", "see json-schema.org")
        if key in ("anyOf", "enum", "type") and not value:
            raise _error(path, f"{shown} allows nothing", "give at least one")
        counts = key in (*LENGTHS, "minItems", "maxItems")
        if counts and (type(value) is not int or value < 0):
            raise _error(path, f"{shown} is no count", "give 0 or more")


def _properties(node, root, path, above):
    if "object" not in _types(node, "object"):
        raise _error(path, f"type {node['type']!r} has properties", "give 'object'")
    properties, required = node["properties"], node.get("required", [])
    missing = [name for name in required if name not in [*properties]]
    if missing:
        raise _error(
            path, f"required has {missing}, which properties lacks", "add them to it"
        )
    # The library writes names as they stand, so they come as JSON would have them.
    made = {
        _quoted(name): _node(inner, root, f"{path}/properties/{name}", above)
        for name, inner in properties.items()
    }
    return {
        "type": "object",
        "properties": made,
        "required": [_quoted(name) for name in required],
    }


def _any_of(node, root, path, above):
    inner = [
        _node(choice, root, f"{path}/anyOf/{place}", above)
        for place, choice in enumerate(node["anyOf"])
    ]
    return {"anyOf": inner}


def _values(node, root, path, above):
    values = node["enum"] if "enum" in node else [node["const"]]
    allowed = _types(node, *TYPES)
    for value in values:
        if not _kinds(value) & {*allowed}:
            raise _error(
                path,
                f"the value {json.dumps(value)} is none of {', '.join(allowed)}",
                "give strings, numbers, true, false or null, and their type",
            )
    return {"enum": values}


def _reference(node, root, path, above):
    name = node["$ref"]
    if name in above:
        raise _error(
            path,
            f"$ref {name!r} is inside of itself, and an expression has no such depth",
            "write out as many levels as you need",
        )
    found = root
    for part in name.removeprefix("#").split("/")[1:] if name[:1] == "#" else [None]:
        part = part and part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or part not in found:
            raise _error(path, f"$ref {name!r} is not in the schema", "define it there")
        found = found[part]
    return _node(found, root, path, (*above, name))


def _typed(node, root, path, above):
    made = {key: node[key] for key in node if key not in NOTES}
    if made.get("additionalProperties") is False:
        return {"properties": {}}
    for key in ("items", "additionalProperties"):
        if key in made and made[key] is not True:
            made[key] = _node(made[key], root, f"{path}/{key}", above)
    said = [key for key in (*LENGTHS, "pattern", "format") if key in made]
    if len(said) > 1 and said != [*LENGTHS]:
        raise _error(
            path, f"{' and '.join(said)} are not supported together", "give one"
        )
    if "format" in made and made["format"] not in FORMATS:
        raise _error(
            path,
            f"format {made['format']!r} is not one of {', '.join(FORMATS)}",
            "give a pattern",
        )
    if "pattern" in made:
        made["pattern"] = _pattern(made["pattern"], path)
    return made


def _pattern(pattern: str, path: str) -> str:
    """The pattern of a whole string, which must leave a JSON string whole."""
    inner = pattern.removeprefix("^")
    if inner.endswith("$") and not inner.endswith("\\$"):
        inner = inner[:-1]
    named = f"{NAMED} {path}: pattern {pattern!r}"
    expression.check(inner, named)
    found = expression.compiled(inner, named)
    if (found.next_SK[:, found.kind_B[BARE]] >= 0).any():
        raise _error(
            path,
            f"pattern {pattern!r} may write a quote, a backslash or a control",
            'write [^"\\\\\\x00-\\x1f] for . and the like',
        )
    return f"(?:{inner})"


def _types(node: dict, *default: str) -> tuple[str, ...]:
    """The names of the types that a node may have."""
    types = node.get("type", default)
    return (types,) if isinstance(types, str) else tuple(map(str, types))


def _of_type(name: str, path: str) -> set[str]:
    if name not in TYPES:
        raise _error(path, f"type {name!r} is unknown", f"give {', '.join(TYPES)}")
    return TYPES[name]


def _kinds(value: Any) -> set[str]:
    """The types of a value that has no parts."""
    kinds = {bool: {"boolean"}, type(None): {"null"}, str: {"string"}}
    kinds |= {int: {"integer", "number"}, float: {"number"}}
    return kinds.get(type(value), set())


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)[1:-1]


def _error(path: str, what: str, remedy: str) -> ConfigError:
    return ConfigError(f"{NAMED} {path}: {what}; {remedy}")


# What makes a schema of each, and the keywords that may stand beside it.
SHAPES = {
    "properties": (_properties, {"type", "required", "additionalProperties"}),
    "anyOf": (_any_of, set()),
    "enum": (_values, {"type"}),
    "const": (_values, {"type"}),
    "$ref": (_reference, set()),
    "type": (_typed, set()),
}
