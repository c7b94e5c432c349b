"""Related items of a whole job: beside the same lists, by several processes, and from a place of their own."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import msgspec
import pytest

from freshflow.config.schema import Config
from freshflow.errors import FreshFlowError
from freshflow.streaming.job import JobUrls, prepare
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulate: Callable[..., Counter[str]]) -> JobUrls:
    """A job over a simulated shop, in the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    simulate("events.jsonl", events=900, users=60, items=60)
    return JobUrls("events.jsonl", "lists.jsonl")


def relating(places: JobUrls, related: str) -> JobUrls:
    return msgspec.structs.replace(places, related=related)


def test_lists_are_the_same_bytes_whether_related_items_are_published_or_not(
    places: JobUrls, run_here: Callable[..., JobStats], read: Callable[[str], list[Json]]
) -> None:
    assert run_here(places, clock=lambda: 0).total_count("related") == 0
    without = Path("lists.jsonl").read_bytes()
    progress = run_here(relating(places, "related.jsonl"), clock=lambda: 0)
    assert Path("lists.jsonl").read_bytes() == without
    assert progress.total_count("related") == len(read("related.jsonl")) > 40


def test_two_processes_publish_each_item_from_one_partition(
    places: JobUrls, freshflow: Callable[..., CompletedProcess[str]], read: Callable[[str], list[Json]]
) -> None:
    options = ["--input", places.input, "--output", places.output, "--related", "related.jsonl", "--quiet"]
    done = freshflow("run", *options, "--partitions", 4, "--processes", 2)
    assert (done.returncode, done.stderr) == (0, "")
    records = [one for one in read("related.jsonl") if "item_id" in one]
    owners = {one["item_id"]: one["model"]["partition"] for one in records}
    assert len(owners) > 40
    assert set(owners.values()) == {0, 1, 2, 3}
    assert all(owners[one["item_id"]] == one["model"]["partition"] for one in records)


@pytest.mark.parametrize(
    ("related", "sentence"),
    [
        ("lists.jsonl", "--output and --related both name lists.jsonl"),
        ("nowhere/related.jsonl", "The folder of the output nowhere/related.jsonl does not exist"),
        ("related.csv", "The output related.csv must end in one of"),
    ],
)
def test_a_place_that_another_option_names_or_that_cannot_be_written_is_refused(
    places: JobUrls, related: str, sentence: str
) -> None:
    with pytest.raises(FreshFlowError, match=re.escape(sentence)):
        prepare(relating(places, related), Config(), is_resuming=False)
