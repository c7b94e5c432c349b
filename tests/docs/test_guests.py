"""The page on guests, with more partitions and in an evaluation; `test_pages.py` runs its commands."""

import json
from pathlib import Path

import pytest

from tests.docs.page_runner import has_fields, parse_records
from tests.docs.pages import DOCS, blocks, call, commands, write_files

PAGE = DOCS / "how-to" / "guests.md"
(COMMAND,) = commands(PAGE)
EXPECTED = [record for block in blocks(PAGE) if block.name == "lists.jsonl" for record in parse_records(block.text)]


@pytest.fixture
def example(tmp_path, monkeypatch):
    write_files(PAGE, tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("partitions", "shown"), [("1", slice(None)), ("3", slice(4, 5))])
def test_guest_history_joins_the_user_in_any_partition(example, partitions, shown):
    call([*COMMAND, "--partitions", partitions])
    lists = [json.loads(line) for line in Path("lists.jsonl").read_text().splitlines()]
    if partitions != "1":
        lists = [record for record in lists if record.get("cause") == "identify"]
    assert [len(record.get("items", ())) for record in lists] == [len(one.get("items", ())) for one in EXPECTED[shown]]
    assert all(map(has_fields, EXPECTED[shown], lists))
    assert not Path("lists.dead-letters.jsonl").exists()


def test_evaluation_counts_guest_and_user_as_one(example):
    call(["evaluate", "guests.jsonl", "--config", "guests.toml", "--json", "report.json", "--partitions", "3"])
    report = json.loads(Path("report.json").read_bytes())
    assert (report["events"], report["users"], report["rejected"]) == (3, 1, {})
