"""The page on outputs: its examples satisfy their schemas; `test_pages.py` compares them with the job's files."""

import json

import pytest
from jsonschema import Draft202012Validator

from freshflow.cli.reference.json_schemas import build_schema
from tests.docs.pages import DOCS, blocks

SCHEMA_OF = {
    "lists.jsonl": "recommendations",
    "related.jsonl": "related",
    "metrics.jsonl": "metrics",
    "lists.dead-letters.jsonl": "dead-letters",
}
EXAMPLES = [(block.name, json.loads(block.text)) for block in blocks(DOCS / "reference" / "outputs.md", "json")]


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_example_satisfies_its_schema(name, example):
    schema = SCHEMA_OF.get(name) or ("metrics" if "kind" in example else "recommendations")
    Draft202012Validator(build_schema(schema)).validate(example)


def test_every_output_has_an_example():
    assert {name for name, _ in EXAMPLES} == {*SCHEMA_OF, ""}
