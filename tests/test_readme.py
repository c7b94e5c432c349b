"""The README: what it shows can be done, and gives what it shows. What it does on Kafka is in `tests/kafka`."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from freshflow.cli.reference.json_schemas import build_schema
from freshflow.events.model import CONTROL_TYPES
from freshflow.outputs.records import LIST_REASONS
from tests.docs.pages import ROOT, blocks, call, commands

README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
EVENT, LIST = (block.text for block in blocks(README, "json"))


def test_the_targets_of_make_that_it_names_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {name for name, *_ in commands(README, "make")} == {"demo", "run", "test"}
    assert set(re.findall(r"[`\n]make ([a-z-]+)", TEXT)) <= targets


def test_events_of_your_own_become_lists_as_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("events.jsonl").write_text(EVENT)
    call(next(of for of in commands(README) if "events.jsonl" in of))
    written = json.loads(Path("lists.jsonl").read_text())
    assert list(written) == list(json.loads(LIST))
    assert "1 items for u7" in call(["explain", "u7", "--lists", "lists.jsonl"])


def test_the_list_that_it_shows_is_of_the_schema():
    Draft202012Validator(build_schema("recommendations")).validate(json.loads(LIST))


def test_it_names_every_control_event_and_every_reason():
    rows = re.findall(r"^\| `(\w+)`", TEXT, re.MULTILINE)
    assert set(CONTROL_TYPES) <= set(rows)
    (row,) = re.findall(r"^\| `reason` \| (.*) \|$", TEXT, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) >= set(LIST_REASONS)
