"""The page on outputs: its commands write records as it shows them."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from freshflow.cli.reference.json_schemas import build_schema
from tests.docs.pages import DOCS, blocks, call, commands

PAGE = DOCS / "reference" / "outputs.md"
SHOWN = {block.name: json.loads(block.text) for block in blocks(PAGE, "json")}
SCHEMA_OF = {
    "lists.jsonl": "recommendations",
    "tombstone": "recommendations",
    "related.jsonl": "related",
    "metrics.jsonl": "metrics",
    "receipt": "metrics",
    "lists.dead-letters.jsonl": "dead-letters",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    with contextlib.chdir(folder):
        for command in commands(PAGE):
            call(command)
    return folder


@pytest.mark.parametrize("name", SCHEMA_OF)
def test_what_is_shown_is_of_its_schema(name):
    Draft202012Validator(build_schema(SCHEMA_OF[name])).validate(SHOWN[name])
    assert SHOWN.keys() == SCHEMA_OF.keys()


@pytest.mark.parametrize("name", [name for name in SCHEMA_OF if name.endswith(".jsonl")])
def test_the_job_writes_records_of_the_fields_that_are_shown(folder, name):
    shown = SHOWN[name]
    records = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    alike = [record for record in records if list(record) == list(shown)]
    assert any(has_all_of(record, shown) for record in alike)


def has_all_of(record: Any, shown: Any) -> bool:
    """Whether a record has each field that is shown; of lists, whether its first entry has those of the first."""
    if isinstance(shown, dict):
        return shown.keys() <= record.keys() and all(has_all_of(record[name], shown[name]) for name in shown)
    if isinstance(shown, list):
        return not shown or (bool(record) and has_all_of(record[0], shown[0]))
    return type(record) is type(shown)
