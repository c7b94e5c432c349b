"""The whole graph with one worker, over a small simulated file with all kinds of noise in it."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from freshflow.config.schema import JobConfig, MetricsConfig
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]
CLOCK_MS = 1_800_000_000_000


class Run(NamedTuple):
    """A job that has run: its input by kind of line and as lines, and what came out."""

    kinds: Counter[str]
    lines: list[bytes]
    lists: list[Json]
    dead_letters: list[Json]
    metrics: list[Json]
    progress: JobStats


@pytest.fixture(params=[1, 3], ids=["1 partition", "3 partitions"])
def run(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    simulate: Callable[..., Counter[str]],
    run_here: Callable[..., JobStats],
    read: Callable[[str], list[Json]],
) -> Run:
    kinds = simulate("events.jsonl", events=800, users=60, items=60, requests=0.3)
    places = JobUrls(str(tmp_path / "events.jsonl"), str(tmp_path / "lists.jsonl"), metrics=str(tmp_path / "m.jsonl"))
    job, metrics = JobConfig(partitions=request.param), MetricsConfig(report_every_events=200)
    progress = run_here(places, clock=lambda: CLOCK_MS, job=job, metrics=metrics)
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    return Run(kinds, lines, read("lists.jsonl"), read("lists.dead-letters.jsonl"), read("m.jsonl"), progress)


def test_a_job_accounts_for_every_line_and_publishes_what_it_should(run: Run) -> None:
    no_line_is_lost(run)
    every_request_is_answered_once(run)
    every_list_that_changed_is_published(run)
    every_list_says_where_it_comes_from(run)
    what_is_no_event_is_a_dead_letter(run)
    partitions_report_on_themselves(run)


def no_line_is_lost(run: Run) -> None:
    kinds, progress = run.kinds, run.progress
    assert progress.n_read == kinds.total() == len(run.lines)
    assert learned_or_noise(progress) == kinds["behaviour"] + kinds["late"] + kinds["bot"]
    assert 0 < progress.total_count("noise_rate") < kinds["bot"]
    assert progress.total_count("duplicate") == kinds["duplicate"]
    assert 0 < progress.total_count("reordered") <= kinds["late"]
    assert progress.total_count("answers") == kinds["request"]
    assert progress.n_rejected.total() == kinds["broken"]
    done = learned_or_noise(progress) + progress.total_count("answers") + progress.n_rejected.total()
    assert done + kinds["item"] + kinds["duplicate"] == progress.n_read
    assert min(kinds[kind] for kind in ("late", "bot", "duplicate", "broken", "item", "request")) > 0


def learned_or_noise(progress: JobStats) -> int:
    return progress.total_count("events") + progress.total_count("noise_rate")


def every_request_is_answered_once(run: Run) -> None:
    asked = {n: line for n, line in enumerate(run.lines, start=1) if line.startswith(b'{"type":"request"')}
    answers = {one["source"]["line"]: one for one in run.lists if one["cause"] == "request"}
    assert answers.keys() == asked.keys()
    assert all(f'"{one["request_id"]}"'.encode() in asked[line] for line, one in answers.items())
    assert all(f'"{one["user_id"]}"'.encode() in asked[line] for line, one in answers.items())


def every_list_that_changed_is_published(run: Run) -> None:
    published = [one for one in run.lists if one["cause"] == "interaction"]
    assert len(published) == run.progress.total_count("lists")
    assert len(published) + run.progress.total_count("unchanged") == learned_or_noise(run.progress)
    by_user: dict[str, list[list[str]]] = {}
    for one in published:
        by_user.setdefault(one["user_id"], []).append([item["item_id"] for item in one["items"]])
    assert all(earlier != later for lists in by_user.values() for earlier, later in pairwise(lists))


def every_list_says_where_it_comes_from(run: Run) -> None:
    assert len({one["list_id"] for one in run.lists}) == len(run.lists)
    for one in run.lists:
        line = run.lines[one["source"]["line"] - 1]
        assert f'"ts":{one["event_ts"]}'.encode() in line
        assert one["computed_at"] == CLOCK_MS
        order = [(-item["score"], item["item_id"]) for item in one["items"]]
        assert order == sorted(order)
        assert len({item["item_id"] for item in one["items"]}) == len(order) <= 20


def what_is_no_event_is_a_dead_letter(run: Run) -> None:
    assert len(run.dead_letters) == run.kinds["broken"]
    for letter in run.dead_letters:
        raw = run.lines[letter["source"]["line"] - 1]
        assert letter["raw"].encode() == raw if "raw" in letter else letter["code"] == "not_utf8"
        assert letter["source"]["file"].endswith("events.jsonl")
        assert letter["reason"].endswith(".")
    assert Counter(letter["code"] for letter in run.dead_letters) == run.progress.n_rejected


def partitions_report_on_themselves(run: Run) -> None:
    reports = [report for report in run.metrics if report["kind"] == "partition"]
    last = {report["partition"]: report for report in reports}
    assert sum(report["counts"]["events"] for report in last.values()) == run.progress.total_count("events")
    assert sum(report["counts"].get("noise_rate", 0) for report in last.values()) == run.progress.total_count(
        "noise_rate"
    )
    assert len(reports) > len(last)
    assert all(0 < report["quality"]["hr20"] <= 1 for report in last.values())


def test_a_job_without_an_event_leaves_an_empty_output(
    tmp_path: Path, run_here: Callable[..., JobStats], read: Callable[[str], list[Json]]
) -> None:
    (tmp_path / "events.jsonl").write_bytes(b"\n\n")
    (tmp_path / "lists.jsonl").write_bytes(b"of an earlier run\n")
    assert run_here(JobUrls(str(tmp_path / "events.jsonl"), str(tmp_path / "lists.jsonl"))).n_read == 0
    assert read("lists.jsonl") == []
