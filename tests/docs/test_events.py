"""The page on events: its examples are valid and show every type; its CSV equals its JSON."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from freshflow.cli.reference.json_schemas import build_schema
from freshflow.config.schema import Config
from freshflow.events.json_schema import WIRE_EVENT_TYPES
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.events.reject_codes import REJECT_CODES
from tests.docs.pages import DOCS, blocks, call, commands, write_files
from tests.docs.refusals import SAMPLES, refused

PAGE = DOCS / "reference" / "events.md"
(LINES,) = (block.text.splitlines() for block in blocks(PAGE, "json"))


def test_commands_accept_every_record_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(PAGE, tmp_path)
    for command in commands(PAGE):
        call(command)
    assert not list(Path("events").glob("*dead-letters*"))
    lists = [json.loads(line) for line in Path("events/lists.jsonl").read_text().splitlines()]
    assert [one.get("cause", "tombstone") for one in lists] == ["interaction", "request", "search", "tombstone"]


def test_examples_show_every_type_and_satisfy_the_schema():
    events = [json.loads(line) for line in LINES]
    for event in events:
        Draft202012Validator(build_schema("events")).validate(event)
    tags = {record.__struct_config__.tag for record in WIRE_EVENT_TYPES} - {
        None,
        "identify",
    }  # which has a page of its own
    assert tags < {event["type"] for event in events}


def test_csv_gives_the_events_of_the_json():
    (text,) = (block.text for block in blocks(PAGE, "csv"))
    header, *rows = text.splitlines()
    parser, origin = EventParser(Config().events), Origin("file", "-")
    rows = RawBatch(origin, tuple((n, row.encode()) for n, row in enumerate(rows)), 0, tuple(header.split(",")))
    events, rejected = parser.parse(rows)
    assert not rejected
    assert [type(event).__name__ for event in events] == ["Interaction", "Interaction", "ItemUpdate"]
    assert (events[0].ts_ms, events[1].value, events[2].categories) == (1764000010000, 4.0, ("shoes", "red"))


@pytest.mark.parametrize("code", REJECT_CODES)
def test_sample_is_rejected_with_its_code(code):
    assert refused(code).code == code
    assert refused(code).raw in SAMPLES[code].lines or code == "ahead"
