"""The page on extending, from outside the package: its modules extend a job that only a configuration names them to."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, write_files

PAGE = DOCS / "how-to" / "extending.md"
START_S, N_TRACKS = 1_764_000_000, 12
MAX_LINES = 30

Run = Callable[..., CompletedProcess[str]]


def event_lines() -> list[str]:
    """Return a catalogue, in which t0 and t6 are expensive, and plays of its tracks."""
    events: list[dict[str, Any]] = [
        {"type": "item", "item_id": f"t{n}", "ts": START_S, "price": 500 if n % 6 == 0 else 5 + n}
        for n in range(N_TRACKS)
    ]
    events += [
        {
            "listener": {"id": f"u{n % 7}"},
            "track": f"t{n * n % N_TRACKS}",
            "at": START_S + 60 * n,
            "action": ("played", "bought", "paused")[n % 3],
        }
        for n in range(150)
    ]
    return [json.dumps(event) for event in events]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return a folder with the files of the page and events."""
    write_files(PAGE, tmp_path)
    (tmp_path / "plays.jsonl").write_text("\n".join(event_lines()) + "\n")
    return tmp_path


def python_path(shop: Path) -> str:
    return f"{shop}{os.pathsep}{ROOT}"


def job(shop: Path, freshflow: Run, output: str, *options: str, **settings: object) -> list[dict[str, Any]]:
    """Run the job of the page with another output; return its last report by partition."""
    arguments = ("run", "--config", "shop.toml", "--input", "plays.jsonl", "--output", output, "--metrics", "m.jsonl")
    done = freshflow(*arguments, *options, PYTHONPATH=python_path(shop), **settings)
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in (shop / "m.jsonl").read_text().splitlines()]
    return list({report["partition"]: report for report in reports if report["kind"] == "partition"}.values())


def lists(shop: Path, name: str) -> list[list[str]]:
    records = [json.loads(line) for line in (shop / name).read_text().splitlines()]
    return [[item["item_id"] for item in record["items"]] for record in records]


def test_every_module_of_the_page_is_short():
    modules = [block for block in blocks(PAGE, "python") if block.name]
    assert len(modules) == 4
    for module in modules:
        assert len(module.text.splitlines()) < MAX_LINES, module.name


def test_job_reads_the_format_applies_the_rule_and_writes_to_the_sink(shop, freshflow):
    (report,) = job(shop, freshflow, "csv://lists.csv")
    assert report["counts"]["events"] == 100  # a third of the plays are of an unknown type
    assert report["counts"]["rule_max_price"] > 0
    rows = [line.split(",") for line in (shop / "lists.csv").read_text().splitlines()]
    assert len(rows) == report["counts"]["lists"] > 50
    assert {user for user, *_ in rows} == {f"u{n}" for n in range(7)}
    assert not {"t0", "t6"} & {item for _, *items in rows for item in items}


def test_registered_feature_re_ranks_lists(shop, freshflow):
    without = '["my_shop.plays", "my_shop.max_price"]'
    job(shop, freshflow, "without.jsonl", plugins_modules=without)
    job(shop, freshflow, "with.jsonl")
    assert lists(shop, "with.jsonl") != lists(shop, "without.jsonl")


def test_every_process_of_a_job_has_the_extensions(shop, freshflow):
    reports = job(shop, freshflow, "lists.jsonl", "--processes", "2")
    assert sum(report["counts"]["events"] for report in reports) == 100
    assert sum(report["counts"]["rule_max_price"] for report in reports) > 0
    assert not {"t0", "t6"} & {item for items in lists(shop, "lists.jsonl") for item in items}


def test_module_that_is_not_there_is_named(shop, freshflow):
    arguments = ("run", "--config", "shop.toml", "--input", "plays.jsonl", "--output", "lists.jsonl")
    done = freshflow(*arguments, PYTHONPATH=python_path(shop), plugins_modules='["my_shop.missing"]')
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "the module 'my_shop.missing' cannot be imported (ModuleNotFoundError" in done.stderr
