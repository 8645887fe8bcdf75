"""What a schema's constraint lets through is JSON, and an instance of the schema."""

import json
import re

import numpy as np
import pytest

from jaxlm.core.config import ConfigError
from jaxlm.data.tokenizers import ByteTokenizer
from jaxlm.sampling import constraint

pytest.importorskip("outlines_core", reason="pip install 'jaxlm[constraint]'")

PERSON = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Person",
    "type": "object",
    "$defs": {"short": {"type": "string", "minLength": 1, "maxLength": 3}},
    "properties": {
        "name": {"$ref": "#/$defs/short", "description": "of a person"},
        "age": {"type": ["integer", "null"]},
        'a "quoted" näme': {"enum": ["x", 1.5, True, None, 'say "é"\n']},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
        "code": {"type": "string", "pattern": "^[A-C]|x+$"},
        "map": {"type": "object", "additionalProperties": {"const": 7}},
        "day": {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "number"}]},
        "none": {"type": "object", "additionalProperties": False},
    },
    "required": ["age", "code"],
    "additionalProperties": False,
}


def is_person(value):
    """The schema above, by hand."""
    checks = {
        "name": lambda v: isinstance(v, str) and 1 <= len(v) <= 3,
        "age": lambda v: v is None or type(v) is int,
        'a "quoted" näme': lambda v: v in ("x", 1.5, True, None, 'say "é"\n'),
        "tags": lambda v: len(v) <= 2 and all(type(x) is bool for x in v),
        "code": lambda v: bool(re.search("^[A-C]|x+$", v)),
        "map": lambda v: all(x == 7 for x in v.values()),
        "day": lambda v: type(v) in (str, int, float),
        "none": lambda v: v == {},
    }
    return (
        value.keys() <= checks.keys()
        and {"age", "code"} <= value.keys()
        and all(checks[key](inner) for key, inner in value.items())
    )


def compiled(schema):
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return constraint.of_json_schema(text, ByteTokenizer(), ends=[0]).table_QV


def accepts(table_QV, text):
    state = 0
    for byte in [*text.encode(), 0]:
        state = table_QV[state, byte]
        if state < 0:
            return False
    return True


def texts(table_QV, count, seed=0):
    """Texts of random bytes among those allowed, the end as soon as it may come."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        state, data = 0, []
        while table_QV[state, 0] < 0 or (len(data) < 60 and rng.random() < 0.5):
            (allowed,) = np.nonzero(table_QV[state, 1:] >= 0)
            if not len(allowed):
                break
            plain = allowed[allowed < 127]  # so that strings come to an end
            data.append(1 + rng.choice(plain if len(plain) else allowed))
            state = table_QV[state, data[-1]]
        yield bytes(map(int, data)).decode()


def test_every_text_is_an_instance():
    table_QV = compiled(PERSON)
    found = [json.loads(text) for text in texts(table_QV, 300)]
    assert all(map(is_person, found))
    assert set().union(*found) == PERSON["properties"].keys()


@pytest.mark.parametrize(
    "text, expected",
    [
        ('{"age": 3, "code": "x"}', True),
        ('{"age":null,"code":"B"}', True),
        ('{"name": "日é🙂", "age": -10, "code": "xx"}', True),
        ('{"age": 3}', False),
        ('{"age": 3, "code": "D"}', False),
        ('{"age": 3, "code": "A|x"}', False),
        ('{"name": "long", "age": 3, "code": "x"}', False),
        ('{"name": "", "age": 3, "code": "x"}', False),
        ('{"age": 03, "code": "x"}', False),
        ('{"age": 3, "code": "x", "none": {}}', True),
        ('{"age": 3, "code": "x", "none": {"a": 1}}', False),
        ('{"age": 3, "tags": [true, false], "code": "x"}', True),
        ('{"age": 3, "tags": [true, false, true], "code": "x"}', False),
        ('{"age": 3, "code": "x", "map": {"any": 7, "k": 7}}', True),
        ('{"age": 3, "code": "x", "map": {"any": 8}}', False),
        ('{"age": 3, "code": "x", "day": -1.5e+3}', True),
    ],
)
def test_texts_by_hand(text, expected):
    if expected:
        assert is_person(json.loads(text))
    assert accepts(compiled(PERSON), text) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        {"type": "object", "properties": {"a": {"type": "null"}, "b": {"const": 1}}},
        {"type": "string", "format": "date"},
    ],
    ids=["number", "array", "object", "date"],
)
def test_other_types_are_json_as_well(schema):
    table_QV = compiled(schema)
    kinds = {"number": (int, float), "array": list, "object": dict, "string": str}
    for text in texts(table_QV, 100):
        assert isinstance(json.loads(text), kinds[schema["type"]])


def test_a_number_may_have_what_comes_after_its_first_digits():
    table_QV = compiled({"type": "number"})
    for text in ("1", "12.5", "-0.25e-10", "0"):
        assert accepts(table_QV, text)
    for text in ("1.", "01", "+1", "1e5x", ""):
        assert not accepts(table_QV, text)


@pytest.mark.parametrize(
    "schema, words",
    [
        ("{", r"json_schema is not JSON \(.*; correct it"),
        (True, "#: true is no object; name a type"),
        ({}, r"#: keywords \(none\) say no type; give one of properties, anyOf"),
        ({"type": "strng"}, "#: type 'strng' is unknown; give string, integer"),
        ({"type": "integer", "minimum": 3}, "'minimum' is not supported beside 'type'"),
        ({"type": "integer", "minLength": 3}, "'minLength' is not supported"),
        ({"allOf": [{"type": "null"}]}, "keywords allOf say no type"),
        ({"oneOf": [{"type": "null"}]}, "keywords oneOf say no type"),
        ({"type": "object", "minProperties": 1}, "'minProperties' is not supported"),
        (
            {"properties": {"a": {"type": "array", "contains": {}}}},
            "#/properties/a: the keyword 'contains'",
        ),
        ({"properties": {}, "required": ["a"]}, r"required has \['a'\], which prop"),
        ({"type": "array", "properties": {}}, "type 'array' has properties"),
        ({"type": "string", "pattern": "a", "minLength": 1}, "minLength and pattern"),
        ({"type": "string", "pattern": ".*"}, "'.*' may write a quote, a backslash"),
        ({"type": "string", "pattern": "(?=a)"}, "pattern.*does not compile"),
        ({"type": "string", "pattern": "a)|(b"}, "pattern.*does not compile"),
        ({"type": "string", "format": "email"}, "format 'email' is not one of date"),
        ({"type": "string", "minLength": "3"}, 'minLength "3" is no count; give 0 or'),
        ({"type": "string", "minLength": 3, "maxLength": 1}, "does not translate"),
        ({"enum": []}, r"enum \[\] allows nothing; give at least one"),
        ({"enum": [[1]]}, r"the value \[1\] is none of"),
        ({"type": "string", "enum": ["a", 1]}, "the value 1 is none of string"),
        ({"properties": []}, r"properties \[\] is of the wrong type"),
        ({"$ref": "#/$defs/a"}, "'#/\\$defs/a' is not in the schema; define it"),
        ({"$ref": "https://a.org/b"}, "is not in the schema"),
        (
            {"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}
            | {"$ref": "#/$defs/a"},
            "'#/\\$defs/a' is inside of itself.*; write out",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else json.dumps(value),
)
def test_what_an_expression_cannot_say_is_one_line(schema, words):
    with pytest.raises(ConfigError, match=words) as error:
        compiled(schema if schema == "{" else json.dumps(schema))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("sampling.json_schema")
