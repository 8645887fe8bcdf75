"""A JSON object with a name and a date, whatever the model is.

Tokens that would leave the schema have no chance (Willard & Louf 2023, arXiv
2307.09702), so the text parses where it ends before max_new_tokens. For answers that a
program reads; give your own with --config.json_schema='{"type": ...}', or a regular
expression with --config.json_schema= --config.regex=... Needs pip install
'jaxlm[constraint]'.

    python -m experiments.sample --workdir=runs/tiny --config=configs/sampling/json.py
"""

from jaxlm.core import schema

SCHEMA = """{
  "type": "object",
  "properties": {
    "name": {"type": "string", "maxLength": 12},
    "born": {"type": "string", "format": "date"}
  },
  "required": ["name", "born"]
}"""


def get_config():
    config = schema.sampling_defaults()
    config.json_schema = SCHEMA
    return config
