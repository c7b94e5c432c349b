"""The README: its commands run and print the output shown. `tests/kafka` has those on Kafka."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from freshflow.cli.reference.json_schemas import build_schema
from freshflow.events.model import CONTROL_TYPES
from tests.docs.page_runner import assert_output
from tests.docs.pages import ROOT, blocks, call, commands

README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
EVENT, LIST = (block.text for block in blocks(README, "json"))


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {name for name, *_ in commands(README, "make")} == {"demo", "run", "test"}
    assert set(re.findall(r"[`\n]make ([a-z-]+)", TEXT)) <= targets


def test_own_file_gives_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("events.jsonl").write_text(EVENT)
    call(next(command for command in commands(README) if "events.jsonl" in command))
    written = json.loads(Path("lists.jsonl").read_text())
    assert list(written) == list(json.loads(LIST))
    assert "1 items for u7" in call(["explain", "u7", "--lists", "lists.jsonl"])


def test_list_satisfies_the_schema():
    Draft202012Validator(build_schema("recommendations")).validate(json.loads(LIST))


def test_text_names_every_control_event():
    assert {f"`{name}`" for name in CONTROL_TYPES} <= set(re.findall(r"`\w+`", TEXT))


@pytest.mark.slow
def test_output_of_make_run_is_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    recipe = re.search(r"^run:.*?\n\n", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert recipe is not None
    for command in re.findall(r"freshflow (.*)", recipe[0].partition("\n")[2]):
        output = call(command.split(), COLUMNS="80")
    assert_output("…\n" + blocks(README, "text")[0].text, output, "make run")
